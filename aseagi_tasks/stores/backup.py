"""Backups of the records into the bucket, and back into an empty store.

Postgres is dumped by ``pg_dump`` (schema, data, policies, grants), SQLite copied by its own means while it is in use.
The password goes to the programs by their environment, never by their arguments.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from aseagi_tasks import keys
from aseagi_tasks.errors import ConfigError, RecordsUnavailable
from aseagi_tasks.stores.migrations import connect, migrations
from aseagi_tasks.stores.storage import Storage, Stored

#: Older backups than the newest so many are removed.
KEEP = 30
TIMEOUT_S = 3_600
_ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


def backup(source: Path | str, storage: Storage, scratch: Path, now: datetime) -> str:
    """Write a backup; returns its key.

    Args:
        source: the SQLite file, or the address of Postgres.
        scratch: a folder with space for it.
    Raises:
        ConfigError: ``pg_dump`` is missing or too old. RecordsUnavailable, StorageUnavailable.
    """
    key = keys.backup(now, "sqlite3" if isinstance(source, Path) else "dump")
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / key.rsplit("/", 1)[-1]
    try:
        if isinstance(source, Path):
            _copy(source, path)
        else:
            schemas = ("--schema=public", "--schema=supabase_migrations")
            _run("pg_dump", source, "--format=custom", "--no-owner", *schemas, f"--file={path}")
        storage.upload(path, key)
    finally:
        path.unlink(missing_ok=True)
    for old in list_backups(storage)[KEEP:]:
        storage.delete(old.key)
    return key


def list_backups(storage: Storage) -> list[Stored]:
    """What there is, newest first."""
    return sorted(storage.list("backups/"), key=lambda stored: stored.key.rsplit("/", 1)[-1], reverse=True)


def restore(target: Path | str, storage: Storage, key: str, scratch: Path) -> None:
    """Put a backup's records where there are none.

    Args:
        target: a SQLite file that is not there, or the address of a Postgres without our tables.
    Raises:
        ConfigError: the target holds records, or the backup is of the other kind. NotFound: no such backup.
    """
    wanted = "sqlite3" if isinstance(target, Path) else "dump"
    if not key.endswith("." + wanted):
        cure = "`aseagi export-records` and `import-records` move records from one kind of store to the other."
        raise ConfigError(key, f"is no backup of this kind of records (.{wanted}).", cure)
    if isinstance(target, Path) and target.exists():
        raise ConfigError(str(target), "is there already.", "Move it away, with the files -wal and -shm beside it.")
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / key.rsplit("/", 1)[-1]
    try:
        storage.download(key, path)
        if isinstance(target, Path):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
        else:
            _restore(target, path)
    finally:
        path.unlink(missing_ok=True)


def _restore(url: str, path: Path) -> None:
    """Roles and extensions first, which a dump of a schema does not hold; then all of it in one transaction."""
    with connect(url) as db:
        if db.execute("SELECT to_regclass('public.documents')").fetchone() != (None,):
            raise ConfigError("ASEAGI_POSTGRES_URL", "leads to a database with records.", "Restore into an empty one.")
        db.execute(migrations()[0].path.read_bytes())
    listed = path.with_suffix(".list")
    try:
        contents = _run("pg_restore", url, "--list", str(path))
        lines = [line for line in contents.splitlines() if not re.search(r" SCHEMA - public ", line)]  # always there
        listed.write_text("\n".join(lines))
        _run(
            "pg_restore", url, "--no-owner", "--single-transaction", "--exit-on-error", f"--use-list={listed}",
            f"--dbname={conninfo_to_dict(url).get('dbname') or 'postgres'}", str(path),
        )  # fmt: skip
    finally:
        listed.unlink(missing_ok=True)


def _copy(source: Path, path: Path) -> None:
    try:
        with sqlite3.connect(source) as live, sqlite3.connect(path) as copy:
            live.backup(copy)
    except sqlite3.Error as exc:
        raise RecordsUnavailable("copying the records", str(exc)) from exc
    finally:
        live.close()
        copy.close()


def _run(program: str, url: str, *arguments: str) -> str:
    """Run a PostgreSQL program against an address; what it printed."""
    if shutil.which(program) is None:
        raise ConfigError(program, "is not installed.", "apt-get install postgresql-client (or: brew install libpq).")
    ran = subprocess.run(
        [program, *arguments],
        env={**os.environ, **_environment(url)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if ran.returncode == 0:
        return ran.stdout
    said = ran.stderr.strip()
    if "server version mismatch" in said:
        cure = "Install the client programs of the server's version (apt-get install postgresql-client-NN)."
        raise ConfigError(program, f"is older than the server: {said}.", cure)
    raise RecordsUnavailable(f"running {program}", said)


def _environment(url: str) -> Mapping[str, str]:
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError as exc:
        raise ConfigError("ASEAGI_POSTGRES_URL", "is no address of Postgres.", "postgresql://user:…@host/name") from exc
    return {_ENVIRONMENT[name]: str(value) for name, value in parts.items() if name in _ENVIRONMENT and value}
