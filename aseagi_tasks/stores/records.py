"""The records: what documents and jobs there are and what happened to them. One protocol, two implementations.

Writes that race (register, move, complete, lease, reserve) are one transaction in the database, never read-then-write
from here: in SQLite a conditional statement under the write lock, in Postgres an SQL function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from aseagi_tasks.documents import Frozen, MediaType, Priority, Source, Stage, Status


class Document(Frozen):
    """One row of ``documents``. Facts are None until a job on it completed. Times are UTC."""

    document_id: str
    sha256: str
    key: str
    name: str
    bytes: int
    media_type: MediaType
    created_at: datetime
    #: folder of the published set; None until a job on it completed
    processed: str | None = None
    pages: int | None = None
    document_type: str | None = None
    document_date: str | None = None
    case_number: str | None = None
    title: str | None = None
    parties: tuple[str, ...] = ()
    relevancy_score: int | None = None
    #: what made the published set: OCR engine, analyst, schema version; another one means that it can be redone
    versions: Mapping[str, str] = {}


class Job(Frozen):
    """One row of ``processing_jobs``: one request to process one document. Times are UTC."""

    job_id: str
    source: str
    priority: Priority
    requested_by: str | None
    status: Status
    document_id: str | None
    #: the stage that runs or, after an error, that failed
    stage: Stage | None
    #: how often the stage was started; one that is started again and again kills its worker
    deliveries: int
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    error_class: str | None
    error_message: str | None
    cost_usd: float


class Event(Frozen):
    """One row of ``processing_events``: a stage ended, or something else worth keeping happened."""

    job_id: str
    at: datetime
    stage: Stage | None
    #: started | finished | retried | failed | completed | cancelled | known
    kind: str
    seconds: float | None
    worker: str | None
    detail: Mapping[str, Any] = {}


class Hit(Frozen):
    """One search result; ``snippet`` marks hits with ``[`` and ``]``; ``rank`` is lower for better.

    ``exact`` is False where nothing has the words and this has a title, party or case number that looks like them.
    """

    document: Document
    snippet: str
    rank: float
    exact: bool = True


class Records(Protocol):
    """Documents, jobs, events, costs, search. Errors: RecordsUnavailable, NotFound."""

    def register_job(self, job_id: str, source: str, priority: Priority, requested_by: str | None) -> Job:
        """Add a job as ``queued``; the same id again returns the row there is."""

    def register_document(self, job_id: str, source: Source, now: datetime) -> Document:
        """Add the document (the same bytes: the row there is, its first key kept) and tie the job to it."""

    def claim(self, job_id: str, document_id: str, quiet_since: datetime) -> Job:
        """Say that this job works on the document, unless another does; returns the job that has it.

        The claim of a job that has ended, or of which nothing was heard since ``quiet_since``, is taken over.
        """

    def begin_stage(self, job_id: str, stage: Stage, worker: str) -> Job:
        """Move to ``processing`` at ``stage``, counting deliveries of the same stage (a later one starts at 1).

        Raises:
            Cancelled: the job was cancelled.
            NotFound: there is no such job.
        A job that is completed or in error is returned as it is; the caller sees that by its status.
        """

    def end_stage(self, job_id: str, stage: Stage, seconds: float, worker: str, detail: Mapping[str, Any]) -> None:
        """Write the ``finished`` event."""

    def add_event(self, job_id: str, stage: Stage | None, kind: str, worker: str, detail: Mapping[str, Any]) -> None:
        """Write any other event."""

    def complete(self, job_id: str, document: Document | None, text: str | None) -> bool:
        """Complete the job once; in the same transaction the document's facts and its text for search.

        Args:
            document: the row as it shall be; None where the results were known before.
            text: what search finds; None leaves it as it is.
        Returns:
            False if the job had already ended: then nothing was written.
        """

    def fail(self, job_id: str, stage: Stage | None, error_class: str, message: str) -> bool:
        """End the job as ``error``; False if it had already ended."""

    def cancel(self, job_id: str) -> bool:
        """End the job as ``cancelled``; False if it had already ended."""

    def charge(self, job_id: str | None, kind: str, usd: float, *, once: str, detail: Mapping[str, Any]) -> bool:
        """Append to the cost ledger; the same ``once`` key is written once. False if it was there."""

    def reserve(self, job_id: str | None, kind: str, usd: float, *, once: str, daily_budget_usd: float) -> bool:
        """Set money aside before it is spent.

        Returns:
            False if the UTC day's ledger and reservations leave less than ``usd`` of the budget. The same ``once``
            again is True while it is reserved and after it was settled.
        """

    def settle(self, usd: float, *, once: str, detail: Mapping[str, Any]) -> bool:
        """Put what it cost into the ledger and free what was reserved; 0 frees it only. False if there is none."""

    def start_lease(self, job_id: str, holder: str, seconds: float) -> bool:
        """Take an open job's lease for so long; False while another holds it."""

    def renew_lease(self, job_id: str, holder: str, seconds: float) -> bool:
        """Keep a lease; False if another has it, or the job has ended."""

    def take_over_leases(self, holder: str, seconds: float, limit: int = 100) -> list[Job]:
        """Take leases that are over, each job by one caller, who holds them for so long."""

    def give_job(self, job_id: str, instance_id: str, at_most: int) -> Job | None:
        """Give an open job to a rented instance, which may take it from one whose lease on it is over or never was.

        Args:
            at_most: open jobs that an instance has at a time.
        Returns:
            None if it has ended, is held by another, or the instance has so many already.
        """

    def given_jobs(self, instance_id: str, ended_since: datetime) -> list[Job]:
        """An instance's jobs: those that are open, and those that ended since."""

    def take_jobs_back(self, instance_id: str) -> int:
        """An instance's jobs are nobody's; how many."""

    def job(self, job_id: str) -> Job:
        """One job; an unambiguous beginning of its id will do. Raises NotFound."""

    def document(self, document_id: str) -> Document:
        """One document; an unambiguous beginning of its id will do. Raises NotFound."""

    def jobs(
        self, *, status: Status | None = None, document_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Job]:
        """Jobs, newest first."""

    def documents(self, *, limit: int = 100, offset: int = 0) -> list[Document]:
        """Documents, newest first."""

    def events(self, job_id: str) -> list[Event]:
        """A job's events, oldest first."""

    def costs(self, since: datetime) -> dict[str, float]:
        """USD by kind since then."""

    def counts(self) -> dict[Status, int]:
        """Jobs by status, every status present."""

    def search(self, query: str, *, limit: int = 20, offset: int = 0) -> list[Hit]:
        """Documents whose text or facts contain every word and phrase, best first; if none does, names that look alike.

        Any input is safe; no words: no hits.
        """

    def page(self, table: str, columns: Sequence[str], key: str, after: Any, limit: int) -> list[dict[str, Any]]:
        """Rows of a table behind ``after`` in the order of ``key``, as JSON values, for ``transfer.py``."""

    def rows_of(self, table: str, key: str, values: Sequence[Any], columns: Sequence[str]) -> list[dict[str, Any]]:
        """The rows with these values of ``key``."""

    def add_rows(self, table: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; one whose ``key`` is there stays as it is."""

    def add_texts(self, texts: Mapping[str, str]) -> None:
        """Make documents' texts findable, by document id, in place of what was there."""

    def texts(self, document_ids: Sequence[str]) -> dict[str, str]:
        """The texts of these documents; one without text is missing."""
