"""The leases that this process holds on jobs. One thread renews them, whoever works in which thread.

A holder is named ``NODE/START/PROCESS/``: the worker's node, that start of it, and the process that does the work.
From its beginning everybody knows what died with what: a process, or all processes of a node that was started again.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from aseagi_tasks import services
from aseagi_tasks.errors import RecordsUnavailable
from aseagi_tasks.settings import settings

log = logging.getLogger(__name__)
#: This start of the worker: processes that it forks have it too.
_START = uuid.uuid4().hex[:12]


@dataclass
class Lease:
    """One job's. ``lost``: another has it, or the job has ended; noticed when it is renewed."""

    job_id: str
    holder: str
    lost: bool = False
    #: moments of the monotonic clock at which the stage is told to stop, and is stopped
    soft_end: float | None = None
    hard_end: float | None = None

    def limit(self, seconds: float) -> None:
        """Let the stage take so long from now on; then it is told to stop, and a little later its process is ended.

        Only where processes do one stage at a time: threads cannot be stopped.
        """
        if does_one_at_a_time():
            self.soft_end = time.monotonic() + seconds
            self.hard_end = self.soft_end + seconds / 4 + settings().lease_s


class Room:
    """What stages that are threads of one process share: it dies with all of them, so a suspect has it for itself."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = self._suspects = 0

    @contextmanager
    def enter(self, *, alone: bool) -> Iterator[None]:
        """Wait for a place; with ``alone`` until everybody has left, and nobody comes in."""
        with self._changed:
            self._suspects += alone
            self._changed.wait_for(lambda: self._inside == 0 if alone else self._suspects == 0)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._suspects -= alone
                self._changed.notify_all()


_room = Room()


@contextmanager
def place(job_id: str) -> Iterator[None]:
    """A place in this process for a stage. A job at which a worker died before may be what killed it."""
    if does_one_at_a_time():
        yield
    else:
        with _room.enter(alone=services.records().job(job_id).deaths > 0):
            yield


class _Kept:
    """What this process holds and owes. Made anew in a forked process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.leases: dict[str, Lease] = {}
        #: given back while the records were away: (job, holder) → seconds
        self.owed: dict[tuple[str, str], float] = {}
        self.thread: threading.Thread | None = None

    def start(self) -> None:
        """With the lock held."""
        if self.thread is None:
            self.thread = threading.Thread(target=_renew_all, args=(self,), name="leases", daemon=True)
            self.thread.start()


_kept = _Kept()


def _after_fork() -> None:
    global _kept
    _kept = _Kept()


os.register_at_fork(after_in_child=_after_fork)


def holder(node: str, pid: int | None = None) -> str:
    """The name under which a process of this worker holds leases; default: this one."""
    return f"{node}/{_START}/{pid or os.getpid()}/"


def is_kept(job_id: str) -> bool:
    """Whether this process is at work on the job."""
    return job_id in _kept.leases


@contextmanager
def kept(job_id: str, holder: str) -> Iterator[Lease]:
    """Renew a lease that was taken, for as long as the block lasts. What becomes of it then is the caller's to say."""
    mine, lease = _kept, Lease(job_id, holder)
    with mine.lock:
        mine.leases[job_id] = lease
        mine.owed.pop((job_id, holder), None)
        mine.start()
    try:
        yield lease
    finally:
        with mine.lock:
            mine.leases.pop(job_id, None)


def of(job_id: str) -> Lease:
    """The lease under which this process works on a job."""
    return _kept.leases[job_id]


def give_back(job_id: str, holder: str, seconds: float) -> bool:
    """Give a lease up; for so long nobody needs to look at the job, since a message of it is on its way.

    Returns:
        False if another had it already, or the job has ended. Where the records are away it is given back later.
    """
    try:
        return services.records().put_off(job_id, seconds, holder=holder)
    except RecordsUnavailable:
        with _kept.lock:
            _kept.owed[job_id, holder] = seconds
            _kept.start()
        return True


def node_started(node: str) -> None:
    """What earlier starts of this node held died with them."""
    with suppress(RecordsUnavailable):  # then they run out by themselves
        services.records().drop_leases(f"{node}/", died=True)


def process_died(node: str, pid: int) -> None:
    """Called by a worker's main process for one that it lost: nobody waits for its leases to run out."""
    with suppress(RecordsUnavailable):
        services.records().drop_leases(holder(node, pid), died=True)


def give_back_all(node: str) -> None:
    """Called by a worker's main process when it leaves: what its processes had is free, and nobody died."""
    with suppress(RecordsUnavailable):
        services.records().drop_leases(f"{node}/{_START}/", died=False)


def _renew_all(mine: _Kept) -> None:
    pause = min(1.0, settings().lease_s / 4)
    renew_at = time.monotonic() + settings().lease_s / 4
    while True:
        time.sleep(pause)
        with mine.lock:
            leases, owed = list(mine.leases.values()), dict(mine.owed)
        for lease in leases:
            _enforce(lease)
        if time.monotonic() < renew_at:
            continue
        renew_at = time.monotonic() + settings().lease_s / 4
        try:
            for lease in leases:
                if not services.records().renew_lease(lease.job_id, lease.holder, settings().lease_s):
                    lease.lost = True
            for (job_id, name), seconds in owed.items():
                services.records().put_off(job_id, seconds, holder=name)
                with mine.lock:
                    mine.owed.pop((job_id, name), None)
        except RecordsUnavailable as exc:  # one that runs out meanwhile is renewed all the same, unless it was taken
            log.warning("leases are not renewed: %s", exc)
        except Exception:
            log.exception("leases are not renewed")


def _enforce(lease: Lease) -> None:
    """Stop a stage that takes too long: by the signal of Celery's soft time limit, then for good."""
    now = time.monotonic()
    if lease.hard_end is not None and now > lease.hard_end:
        log.error("job %s has not stopped in time: its process ends itself", lease.job_id)
        os.kill(os.getpid(), signal.SIGKILL)
    elif lease.soft_end is not None and now > lease.soft_end:
        lease.soft_end = None
        os.kill(os.getpid(), signal.SIGUSR1)


def does_one_at_a_time() -> bool:
    """Whether this is a process of Celery's pool of processes."""
    from billiard.process import current_process

    return getattr(current_process(), "index", None) is not None
