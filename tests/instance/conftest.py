"""A rented machine in small: PID 1 with its children in a process namespace, and whom it asks for its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAIT_S = 90.0


def until(ready: Callable[[], object], what: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


class Landlord:
    """Answers the call that destroys an instance, and keeps what was asked.

    ``answers``: status and body of the next calls; 200 when they are used up.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, float]] = []
        self.answers: list[tuple[int, str]] = []
        landlord = self

        class Handler(BaseHTTPRequestHandler):
            def do_DELETE(self) -> None:
                landlord.asked.append((self.path, self.headers["Authorization"], time.monotonic()))
                status, body = landlord.answers.pop(0) if landlord.answers else (200, json.dumps({"success": True}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def landlord() -> Iterator[Landlord]:
    one = Landlord()
    yield one
    one.close()


class Machine:
    """What runs on the instance, with time limits of seconds. ``start`` again is a restart of the container."""

    def __init__(self, folder: Path, landlord: Landlord, **environment: str) -> None:
        self.folder, self.log = folder, folder / "said.log"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("ASEAGI_")},
            "PYTHONPATH": str(ROOT),
            "PYTHON": sys.executable,
            "PID1_PAUSE_S": "0.1",
            "WORKER_COMMAND": "sleep 1000",
            "ASEAGI_INSTANCE_FOLDER": str(folder),
            "ASEAGI_VAST_URL": landlord.url,
            "CONTAINER_ID": "4242",
            "CONTAINER_API_KEY": "a-key-for-one-instance",
            **{f"ASEAGI_INSTANCE_{name}": "1000" for name in ("IDLE_S", "SILENT_S", "JOIN_S", "LIFETIME_S")},
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # a process namespace of its own, where root may have one: PID 1 is PID 1, and its end is everybody's
        own = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"] if can_unshare() else []
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*own, str(ROOT / "worker_image" / "pid1.sh")],
                env=self.environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        """As a host does: everything at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        for pid in self.pids("-m aseagi_tasks.fleet.watchdog", "sleep 1000"):
            os.kill(pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    @property
    def leaving(self) -> str:
        path = self.folder / "leaving"
        return path.read_text() if path.exists() else ""

    def pids(self, *commands: str) -> list[int]:
        """Processes of this machine that run one of these commands."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
                ours = f"ASEAGI_INSTANCE_FOLDER={self.folder}".encode() in (process / "environ").read_bytes()
            except OSError:
                continue
            if ours and any(command.endswith(wanted) for wanted in commands):
                found.append(int(process.name))
        return found


@pytest.fixture
def machine(tmp_path: Path, landlord: Landlord) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(**environment: str) -> Machine:
        made.append(Machine(tmp_path, landlord, **environment))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def can_unshare() -> bool:
    if shutil.which("unshare") is None or os.getuid() != 0:
        return False
    return subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode == 0
