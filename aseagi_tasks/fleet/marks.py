"""What worker and watchdog of a rented machine tell each other: small files, which outlive both.

    FOLDER/watchdog.json, leaving    the watchdog's own; the worker may read them
    FOLDER/marks/joined              the worker has joined
    FOLDER/marks/heartbeat           the last sign of life that came from the control plane
    FOLDER/marks/busy/PID.TASK       a task that runs now, in this process
    FOLDER/marks/activity            touched when a task ends
    FOLDER/marks/consumes/NAME       touched while this worker process takes tasks from the broker
    FOLDER/marks/leave               the worker asks for the machine's end; its content says why

Standard library only: the watchdog has to run where nothing else does.
"""

from __future__ import annotations

import os
from pathlib import Path

#: Where they are, unless ASEAGI_INSTANCE_FOLDER says otherwise.
FOLDER = "/var/lib/aseagi"
#: In Redis; beat renews it. Any change is a sign of life.
HEARTBEAT_KEY = "aseagi:heartbeat"
#: No mark is longer; the watchdog reads what a worker wrote, and trusts it no further.
MAX_BYTES = 2_000


def write(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, meets the old one or the new one."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with beside.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def read(path: Path) -> str | None:
    """What the file says; None where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return None


class Marks:
    """The worker's side of the folder.

    Args:
        folder: of the instance.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "marks"
        self.watchdog_leaves = folder / "leaving"

    def make(self) -> None:
        """The folders, where they are missing; busy marks of processes that are gone are taken away."""
        for name in ("busy", "consumes"):
            (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o755)
        for mark in (self.folder / "busy").iterdir():
            if not _is_alive(mark):
                mark.unlink(missing_ok=True)

    def joined(self) -> None:
        """Say that this machine takes part."""
        write(self.folder / "joined", "joined")

    def heartbeat(self, value: str) -> None:
        """Pass on what the control plane last said; only a change counts as a sign of life."""
        write(self.folder / "heartbeat", value)

    def leave(self, why: str) -> None:
        """Ask for the machine's end. The first reason stays."""
        if self.asked() is None:
            write(self.folder / "leave", why[: MAX_BYTES // 2])

    def asked(self) -> str | None:
        """Why this machine's end was asked for, by the worker or by the watchdog; None if it was not."""
        return read(self.watchdog_leaves) or read(self.folder / "leave")

    def consumes(self, name: str) -> None:
        """The worker process of this name is connected, and its loop turns."""
        (self.folder / "consumes" / name).touch()

    def consumed(self, name: str) -> float:
        """When it last said so, in seconds since the epoch; 0 if never."""
        try:
            return (self.folder / "consumes" / name).stat().st_mtime
        except OSError:
            return 0.0

    def begin(self, task_id: str) -> None:
        """A task begins in this process."""
        (self.folder / "busy" / f"{os.getpid()}.{task_id}").touch()

    def end(self, task_id: str) -> None:
        """It has ended."""
        (self.folder / "activity").touch()
        (self.folder / "busy" / f"{os.getpid()}.{task_id}").unlink(missing_ok=True)

    def is_busy(self) -> bool:
        """Whether a task runs whose process lives; a killed one's mark counts for nothing."""
        try:
            return any(_is_alive(mark) for mark in (self.folder / "busy").iterdir())
        except OSError:
            return False


def _is_alive(mark: Path) -> bool:
    pid = mark.name.partition(".")[0]
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
