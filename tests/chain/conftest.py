"""A real stack for the tests of the chain: redis-server, worker processes, beat. One for the session."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.samples import make_samples
from aseagi_tasks.settings import Settings, settings

ASEAGI = [str(Path(sys.executable).with_name("aseagi"))]
WAIT_S = 90


class Up:
    """A running `aseagi up` and what it said. ``with``: waits until all is up, and stops it."""

    def __init__(self, home: Path, *arguments: str, **settings: str) -> None:
        self.home, self.port = home, free_port()
        self.environment = {**os.environ, "ASEAGI_HOME": str(home), "ASEAGI_MONITOR_PORT": str(self.port), **settings}
        self.log: IO[bytes] = (home / "up.log").open("wb")
        self.process = subprocess.Popen(
            [*ASEAGI, "up", *arguments], env=self.environment, stdout=self.log, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> Up:
        try:
            until(lambda: "Monitor" in self.said, lambda: self.said)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(WAIT_S)
        self.log.close()

    @property
    def said(self) -> str:
        return (self.home / "up.log").read_text()

    @property
    def stack(self) -> Stack:
        return Stack(Settings(home=self.home))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*ASEAGI, *arguments], env=self.environment, capture_output=True, text=True, timeout=WAIT_S
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(ready: Callable[[], bool], what: Callable[[], str]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack of this test run's own home."""
    running = Stack(settings(), monitor=False)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's sample documents with their truth."""
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder)
    return folder


def processes_of(home: Path) -> list[str]:
    """Command lines of every process whose environment names this home."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"ASEAGI_HOME={home}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found
