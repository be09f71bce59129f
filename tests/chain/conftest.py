"""A real stack for the tests of the chain: redis-server, worker processes, beat. One for the session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.samples import make_samples
from aseagi_tasks.settings import settings


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
