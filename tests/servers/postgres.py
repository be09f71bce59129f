"""A real PostgreSQL: a cluster of its own in a temporary directory, trust over a unix socket, no TCP.

PostgreSQL refuses to run as root; as root the cluster belongs to the ``postgres`` user that Debian's package makes.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

import psycopg

FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200", "listen_addresses=")


def programs() -> Path:
    """Where ``initdb`` and ``postgres`` are: Debian keeps them off the path, one folder a version."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    found = sorted(debian, key=lambda path: float(re.search(r"\d+(\.\d+)?", str(path))[0])) or [  # type: ignore[index]
        Path(which) for which in [shutil.which("postgres")] if which
    ]
    if not found:
        raise FileNotFoundError("postgres is not installed: apt-get install postgresql")
    return found[-1].parent


class Postgres:
    """One cluster. ``with Postgres() as server: psycopg.connect(server.url("postgres"))``.

    Args:
        settings: ``name=value`` for the server; the default does not wait for disks.
    """

    def __init__(self, settings: tuple[str, ...] = FAST) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aseagi-pg-"))
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user:
            shutil.chown(self.folder, self._user)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        """Of a database, as its superuser."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def __enter__(self) -> Postgres:
        data = self.folder / "data"
        options = ["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        self._run(str(programs() / "initdb"), "-D", str(data), *options)
        arguments = [word for setting in self._settings for word in ("-c", setting)]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [programs() / "postgres", "-D", data, "-k", self.folder, *arguments],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
                return self
            except psycopg.OperationalError:
                said = (self.folder / "log").read_text()
                assert self._process.poll() is None and time.monotonic() < deadline, said
                time.sleep(0.05)

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # "fast": clients are sent away
            self._process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def create(self, template: str = "template0") -> str:
        """Make a database with a name of its own, a copy of ``template``; returns the name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop(self, name: str) -> None:
        """Remove a database and end who is connected to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def _run(self, *command: str) -> None:
        ran = subprocess.run(command, capture_output=True, text=True, user=self._user, cwd=self.folder, check=False)
        assert ran.returncode == 0, ran.stderr
