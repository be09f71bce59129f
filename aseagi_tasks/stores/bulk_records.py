"""The records of bulk runs: one protocol, two implementations beside those of ``records.py``.

Moves of a run are conditional on the statuses that the caller allows. What a run may spend is decided where money is
set aside (``Records.reserve``) and what of it may begin where jobs are let in (``Records.admit``): in the database.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol, get_args

from aseagi_tasks.documents import Frozen, Status
from aseagi_tasks.stores.records import Job

RunStatus = Literal[
    "scanning",
    "waiting",
    "confirmed",
    "running",
    "paused",
    "finishing",
    "cancelling",
    "completed",
    "cancelled",
]
RunKind = Literal["bulk", "night"]
#: Runs that are looked after.
OPEN_RUNS: tuple[RunStatus, ...] = tuple(one for one in get_args(RunStatus) if one not in ("completed", "cancelled"))
#: Which open jobs of a run are to be cancelled: those that nobody has begun, those that wait for what is no message
#: batch (money, a setting), those whose money was refused for the cap, or all.
Which = Literal["not begun", "put off", "refused", "all"]

#: Jobs that one call cancels.
CANCELLED = 1_000


class Scan(Frozen):
    """How far a scan is, and what it has found. Bytes are bytes, the others objects.

    Attributes:
        keys, bytes: looked at.
        todo, todo_bytes: to be done.
        done: completed, and not modified since.
        failed: failed before, and left out. open: a job on it is queued or at work.
        unrested: modified so lately that it may still be written.
        refused: what is no document by name or size.
        gone: documents that were completed and are not in the bucket any more.
        behind: the last key that was looked at. parts: lists of what is to be done that were written.
    """

    keys: int = 0
    bytes: int = 0
    todo: int = 0
    todo_bytes: int = 0
    done: int = 0
    failed: int = 0
    open: int = 0
    unrested: int = 0
    refused: int = 0
    gone: int = 0
    behind: str | None = None
    parts: int = 0
    finished: bool = False


class Todo(Frozen):
    """An object that is to be done."""

    key: str
    bytes: int


class Known(Frozen):
    """What is known of a key.

    Attributes:
        status, created_at, error_class: of the job on it that is open, else of the last one.
        completed_as_of: when the last one that completed was requested.
        own_bytes: size of the completed document that intake put there, so that its id is in the key.
    """

    status: Status
    created_at: datetime
    error_class: str | None = None
    completed_as_of: datetime | None = None
    own_bytes: int | None = None


class QuoteLine(Frozen):
    """One line of a quote, as a range; ``how`` is a sentence on how it was reckoned."""

    what: str
    low: float
    high: float
    unit: str
    how: str


class Quote(Frozen):
    """What a run will probably come to, as ranges; ``document_usd``: what one document may cost."""

    documents: int
    pages: tuple[int, int]
    usd: tuple[float, float]
    hours: tuple[float, float]
    document_usd: float
    lines: tuple[QuoteLine, ...] = ()


class BulkRun(Frozen):
    """One row of ``bulk_runs``. Times are UTC, money USD.

    Attributes:
        failed: also what failed before. unattended: confirms itself if it may.
        reason: why it is where it is, in words.
        deadline: begins nothing after it.
        cap_usd: what it may spend; None until it is confirmed, unless it was named before.
        part, row: where in the lists of what is to be done the next job comes from. fed: how many were registered.
        certificate: its key.
        jobs: by status, and rent_usd: what machines were rented for in its time, when it was last looked after.
        spent_usd: in the ledger for its jobs.
        tended_at: when it was last looked after. trouble: what went wrong then.
    """

    run_id: str
    kind: RunKind = "bulk"
    prefix: str
    failed: bool = False
    unattended: bool = False
    status: RunStatus = "scanning"
    reason: str | None = None
    requested_by: str
    confirmed_by: str | None = None
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    deadline: datetime | None = None
    cap_usd: float | None = None
    scan: Scan = Scan()
    quote: Quote | None = None
    part: int = 1
    row: int = 0
    fed: int = 0
    certificate: str | None = None
    jobs: Mapping[str, int] = {}
    spent_usd: float = 0.0
    rent_usd: float = 0.0
    tended_at: datetime | None = None
    trouble: str | None = None

    @property
    def requested_as(self) -> str:
        """By whom its jobs are requested."""
        return f"bulk:{self.run_id}"

    @property
    def left(self) -> int:
        """What is to be done and has not ended, as it was last looked after."""
        return self.scan.todo - self.jobs.get("completed", 0) - self.jobs.get("error", 0)


class Stands(Frozen):
    """How a run's jobs stand now.

    Attributes:
        jobs: by status, every status present. begun: open, and begun by a worker.
        refused: open, and refused money for the run's cap. least_refused_usd: the least that one of them asked for.
        waits: open jobs by what they wait for on purpose.
        ended: completed or failed since the moment that was asked for.
        spent_usd: in the ledger for them. rent_usd: in the ledger for no job, in the run's time.
        reserved_usd: set aside for them.
    """

    jobs: Mapping[Status, int]
    begun: int = 0
    refused: int = 0
    least_refused_usd: float | None = None
    waits: Mapping[str, int] = {}
    ended: int = 0
    spent_usd: float = 0.0
    rent_usd: float = 0.0
    reserved_usd: float = 0.0

    @property
    def open(self) -> int:
        """Queued or at work."""
        return self.jobs.get("queued", 0) + self.jobs.get("processing", 0)

    @property
    def committed_usd(self) -> float:
        """Spent, rent and what is set aside: what the cap is held against."""
        return self.spent_usd + self.rent_usd + self.reserved_usd


class BulkRecords(Protocol):
    """Runs and their jobs. Errors: RecordsUnavailable, NotFound."""

    def add_run(self, run: BulkRun) -> BulkRun:
        """Add a run; the same id again returns the row there is."""

    def run(self, run_id: str) -> BulkRun:
        """One run; an unambiguous beginning of its id will do. Raises NotFound."""

    def runs(self, *, statuses: Collection[RunStatus] | None = None, limit: int = 50) -> list[BulkRun]:
        """Runs, newest first."""

    def move_run(
        self, run_id: str, seen: Collection[RunStatus], to: RunStatus | None = None, **changes: Any
    ) -> BulkRun | None:
        """Move a run that is in one of the statuses ``seen``, and change fields of it; None if it was in another.

        Args:
            to: None: it stays.
            changes: fields of ``BulkRun``. ``spent_usd`` is the ledger's and cannot be set.
        """

    def hold_run(self, run_id: str, holder: str, seconds: float) -> BulkRun | None:
        """Look after a run alone for so long; None while another does."""

    def let_run(self, run_id: str, holder: str) -> None:
        """Look after it no more."""

    def register_bulk(self, run_id: str, jobs: Mapping[str, str]) -> int:
        """Add ``queued`` jobs of low priority to a run, keys by job id; how many were new.

        None are added unless the run is ``running``.
        """

    def cancel_jobs(self, run_id: str, which: Which, error_class: str | None, message: str | None) -> list[str]:
        """Cancel open jobs of a run, ``CANCELLED`` at most, and keep why; their ids."""

    def jobs_of(self, run_id: str, *, behind: str | None = None, limit: int = 500) -> list[Job]:
        """A run's jobs by id, those behind one."""

    def refused_jobs(self, run_id: str, limit: int = 100) -> list[Job]:
        """Open jobs of a run that were refused money for its cap, those that asked for the least first."""

    def stands(self, run_id: str, since: datetime) -> Stands:
        """How a run's jobs stand; ``ended`` since then."""

    def costs_of(self, run_id: str) -> dict[str, float]:
        """USD by kind: its jobs', and what was booked for no job in its time."""

    def known_keys(self, keys: Sequence[str]) -> dict[str, Known]:
        """What is known of these keys, by jobs that were requested by key or whose document is there.

        A key that nothing is known of is missing.
        """

    def original_keys(
        self, prefix: str, *, after: str, until: str | None, before: datetime, limit: int = 1000
    ) -> list[str]:
        """Where originals of completed documents were put, in the order of the keys' bytes; 1,000 at most.

        Args:
            prefix: only keys that begin so.
            after, until: only keys behind the one, and up to the other if there is one.
            before: only of documents that were taken in before then.
        """
