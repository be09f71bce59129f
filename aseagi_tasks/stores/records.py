"""The records: what documents and jobs there are and what happened to them. One protocol, two implementations.

Writes that race (register, move, complete, lease, reserve) are one transaction in the database, never read-then-write
from here: in SQLite a conditional statement under the write lock, in Postgres an SQL function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any, Literal, Protocol

from aseagi_tasks.documents import Frozen, MediaType, Priority, Source, Stage, Status
from aseagi_tasks.stores.user_records import UserRecords

#: ``ended``: its results were taken. ``dropped``: it was never submitted.
BatchState = Literal["intent", "sent", "ended", "dropped"]


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


#: What a request waits for whose document another has, while that one waits itself.
FOLLOWS = "another request for it"


class Job(Frozen):
    """One row of ``processing_jobs``: one request to process one document. Times are UTC."""

    job_id: str
    source: str
    priority: Priority
    requested_by: str | None
    status: Status
    document_id: str | None
    #: the stage that runs or comes next or, after an error, that failed
    stage: Stage | None
    #: how often the stage was started; one that is started again and again kills its worker
    deliveries: int
    created_at: datetime
    updated_at: datetime
    finished_at: datetime | None
    error_class: str | None
    error_message: str | None
    cost_usd: float
    #: what was asked when it was registered: the work even if the result is known; an engine instead of the settings'
    again: bool = False
    ocr_engine: str | None = None
    #: what it waits for on purpose, in words; nobody goes on with it before that is there or its time is over
    waits_for: str | None = None
    #: workers that died at its stage since one last ended
    deaths: int = 0
    #: who is to find the facts instead of the settings' analyst: ``rules``, or a model
    analyst: str | None = None
    #: ``analyze``: with the reading of the set that is published; None: from the beginning
    begins: Stage | None = None
    #: the bulk run whose it is
    run_id: str | None = None
    #: what it asked for when the cap of its run had no room for that; None: it was not refused, or not since
    refused_usd: float | None = None

    @property
    def is_held_up(self) -> bool:
        """Whether it waits, or asks for money of its run again and again: what follows it may have to wait long."""
        return self.waits_for is not None or self.refused_usd is not None


class Event(Frozen):
    """One row of ``processing_events``: a stage ended, or something else worth keeping happened."""

    job_id: str
    at: datetime
    stage: Stage | None
    #: started | finished | lost (its worker died) | resumed | failed | completed | cancelled | known, or of those
    #: that are old: summary (``rolling_up``)
    kind: str
    seconds: float | None
    worker: str | None
    detail: Mapping[str, Any] = {}


class Batch(Frozen):
    """One row of ``message_batches``: requests to Claude that were, or shall be, submitted together.

    Attributes:
        state: ``intent``: about to be submitted, and perhaps it was. ``sent``: it was, under ``service_id``.
        requests: how many.
    """

    batch_id: str
    state: BatchState
    service_id: str | None
    requests: int
    created_at: datetime


class Hit(Frozen):
    """One search result; ``snippet`` marks hits with ``[`` and ``]``; ``rank`` is lower for better.

    ``exact`` is False where nothing has the words and this has a title, party or case number that looks like them.
    """

    document: Document
    snippet: str
    rank: float
    exact: bool = True


class Wanted(Frozen):
    """What is wanted of documents; None: anything. Dates are ISO dates of the document itself, both inclusive."""

    document_type: str | None = None
    case_number: str | None = None
    requested_by: str | None = None
    dated_since: str | None = None
    dated_until: str | None = None
    #: at least so relevant, 0-100
    relevancy: int | None = None
    #: that were taken in on these days, ISO, the second not included
    taken_since: str | None = None
    taken_until: str | None = None
    #: these
    document_ids: tuple[str, ...] | None = None
    #: published sets made by these versions, or not by these; with ``*`` behind it what begins so
    ocr: str | None = None
    ocr_not: str | None = None
    analyst: str | None = None
    analyst_not: str | None = None
    #: published sets that other versions made than these: an analyst, or an OCR engine and an analyst
    not_of_analyst: str | None = None
    not_of_ocr: str | None = None

    @property
    def conditions(self) -> dict[str, Any]:
        """Those that are something."""
        return self.model_dump(exclude_none=True, mode="json")


class Day(Frozen):
    """What a UTC day cost, USD by kind, and how its jobs ended; ``pages`` of those that completed."""

    day: date
    usd: Mapping[str, float] = {}
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    pages: int = 0


class Change(Frozen):
    """One row of ``audit``: who changed what by page or API."""

    at: datetime
    who: str
    what: str
    detail: Mapping[str, Any] = {}


class ApiToken(Frozen):
    """Who may use the HTTP API, and for what: ``read``, ``write``, ``operate``. Kept is the token's SHA-256."""

    token_sha256: str
    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None = None


class Requested(Frozen):
    """Jobs of one requester: how many by status, and what they have cost so far."""

    jobs: Mapping[Status, int] = {}
    usd: float = 0.0


ANYTHING = Wanted()


class Records(UserRecords, Protocol):
    """Documents, jobs, events, costs, search; people in ``user_records.py``. Errors: RecordsUnavailable, NotFound."""

    def register_job(
        self,
        job_id: str,
        source: str,
        priority: Priority,
        requested_by: str | None,
        *,
        again: bool = False,
        ocr_engine: str | None = None,
    ) -> Job:
        """Add a job as ``queued``; the same id again returns the row there is.

        The row holds all that is to be known: a queue that is lost is made again from it.
        """

    def register_again(
        self,
        jobs: Mapping[str, str],
        requested_by: str,
        *,
        begins: Stage | None,
        analyst: str | None = None,
        ocr_engine: str | None = None,
        again: bool = False,
    ) -> int:
        """Add ``queued`` jobs of low priority on documents that are known; what is there stays as it is.

        Args:
            jobs: document ids by job id; a document that is not known gets none.
            requested_by: of all of them; ``requested`` counts them by it.
        Returns:
            How many were added.
        """

    def requested(self, requested_by: str) -> Requested:
        """How the jobs that were requested so stand."""

    def register_document(self, job_id: str, source: Source, now: datetime) -> Document:
        """Add the document (the same bytes: the row there is, its first key kept) and tie the job to it."""

    def move_original(self, document_id: str, was: str, key: str) -> bool:
        """Say that a document's original is at ``key`` now; False where it is not known to be at ``was``, nor there."""

    def claim(self, job_id: str, document_id: str, quiet_since: datetime) -> Job:
        """Say that this job works on the document, unless another does; returns the job that has it.

        The claim of a job that has ended, or of which nothing was heard since ``quiet_since`` though it waits for
        nothing, is taken over.
        """

    def begin_stage(
        self, job_id: str, stage: Stage, worker: str, *, holder: str | None = None, lease_s: float = 0
    ) -> Job | None:
        """Move to ``processing`` at ``stage``, counting deliveries of the same stage (a later one starts at 1).

        Args:
            holder: takes the job's lease for ``lease_s`` with it, as ``start_lease`` does. ``NODE/…``.
        Returns:
            A job that is completed or in error as it is; the caller sees that by its status. With a holder: None if
            another holds the lease, or the job has come to a later stage, so that this is an old message.
        Raises:
            Cancelled: the job was cancelled.
            NotFound: there is no such job.
        """

    def end_stage(
        self,
        job_id: str,
        stage: Stage,
        seconds: float,
        worker: str,
        detail: Mapping[str, Any],
        *,
        then: Stage | None = None,
        holder: str | None = None,
        lease_s: float = 0,
    ) -> bool:
        """Write the ``finished`` event; the job is at stage ``then``.

        Args:
            holder: gives its lease up; for ``lease_s`` nobody looks for the message of the stage that follows.
        Returns:
            False if the holder has lost the lease, or the job has ended: nothing was written.
        """

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
            False if the UTC day's ledger and reservations of this kind leave less than ``usd`` of the budget, or what
            the job's bulk run has spent, its rent and its reservations leave less of its cap: then ``Job.refused_usd``
            says so. The same ``once`` again is True while no less is reserved and after it was settled.
        """

    def settle(self, usd: float, *, once: str, detail: Mapping[str, Any]) -> bool:
        """Put what it cost into the ledger and free what was reserved; 0 frees it only. False if there is none."""

    def intend_batch(self, batch_id: str, requests: int) -> bool:
        """Say, before it is submitted, that a message batch will be. False while another is about to be."""

    def move_batch(self, batch_id: str, state: BatchState, service_id: str | None = None) -> bool:
        """Move a batch on; a state only moves forwards. False if it did not move."""

    def open_batches(self) -> list[Batch]:
        """Batches that are neither ended nor dropped, oldest first."""

    def start_lease(self, job_id: str, holder: str, seconds: float) -> Job | None:
        """Take an open job's lease for so long; None while another holds it.

        Another whose lease is over has died: that is counted in ``deaths``.
        """

    def renew_lease(self, job_id: str, holder: str, seconds: float) -> bool:
        """Keep a lease; False if another has it, or the job has ended."""

    def put_off(
        self,
        job_id: str,
        seconds: float,
        *,
        holder: str | None = None,
        waits_for: str | None = None,
        stage: Stage | None = None,
    ) -> bool:
        """Nobody needs to look at an open job for so long: its message is in the queue, or it waits for something.

        Args:
            holder: gives its lease up.
            waits_for: in words. Such a job is not counted as live. It goes on when its next stage begins, whoever
                sends that, and when the time is over the reaper does.
            stage: at which it goes on.
        Returns:
            False if another works on it, or it has ended.
        """

    def drop_leases(self, prefix: str, *, died: bool) -> int:
        """The leases of holders whose name begins so are over: their worker died, or it gives them back."""

    def take_over_leases(self, seconds: float, limit: int = 100) -> list[Job]:
        """Take jobs whose time is over, each by one caller; for so long nobody else is given them.

        Whoever held the lease has died: that is counted in ``deaths``.
        """

    def admit(self, live: int, seconds: float, limit: int = 100) -> list[Job]:
        """Let jobs in that have no message yet, the important and the oldest first.

        Of a bulk run that is not running none that has not begun, and none at all while it is paused or cancelled.

        Args:
            live: while fewer are in the queue or at work; those of high priority while fewer than twice as many.
            seconds: for so long nobody looks for their messages.
            limit: at most so many.
        """

    def give_job(self, job_id: str, instance_id: str, at_most: int) -> Job | None:
        """Give an open job on which nobody else works to a rented instance, whichever had it before.

        Args:
            at_most: open jobs that an instance has at a time; those that wait for something are not counted.
        Returns:
            None if it has ended, another holds its lease, or the instance has so many already.
        """

    def given_jobs(self, instance_id: str, ended_since: datetime, about: str | None = None) -> list[Job]:
        """An instance's jobs: those that are open and wait for nothing, and those that ended since.

        Args:
            about: only those with this id, of the document with this id or this key, or asked for by this source.
        """

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

    def jobs_between(self, since: datetime, until: datetime, *, limit: int = 500, offset: int = 0) -> list[Job]:
        """Jobs created from ``since`` on and before ``until``, oldest first; at most 1,000 at a time."""

    def jobs_ended(self, since: datetime, until: datetime, *, limit: int = 500, offset: int = 0) -> list[Job]:
        """Jobs that ended from ``since`` on and before ``until``, the first first; at most 1,000 at a time."""

    def documents(self, *, limit: int = 100, offset: int = 0) -> list[Document]:
        """Documents, newest first."""

    def events(self, job_id: str) -> list[Event]:
        """A job's events, oldest first."""

    def roll_up_events(self, ended_before: datetime, limit: int = 50) -> int:
        """Put one row (``rolling_up.summary``) in the place of the events of jobs that ended before then, oldest first.

        A job's are replaced whole, once, whoever calls at once. Its row, its costs and other kinds of events stay.

        Returns:
            How many jobs were looked at; fewer than ``limit``: there are no more.
        """

    def costs(self, since: datetime) -> dict[str, float]:
        """USD by kind since then."""

    def counts(self) -> dict[Status, int]:
        """Jobs by status, every status present."""

    def find(self, wanted: Wanted, *, limit: int, behind: Document | None = None) -> list[Document]:
        """Documents as wanted, newest first; ``behind``: those after it, wherever that is in a million."""

    def count_documents(self, wanted: Wanted) -> dict[str, int]:
        """How many are as wanted, by type; ``""``: those of which none is known."""

    def search(self, query: str, *, limit: int = 20, offset: int = 0, wanted: Wanted = ANYTHING) -> list[Hit]:
        """Documents whose text or facts contain every word and phrase, best first; if none does, names that look alike.

        Any input is safe; no words: no hits.
        """

    def days(self, since: datetime) -> list[Day]:
        """Each UTC day since then on which something was spent or ended, oldest first."""

    def note_change(self, who: str, what: str, detail: Mapping[str, Any]) -> None:
        """Keep who changed what."""

    def changes(self, limit: int = 100) -> list[Change]:
        """What was changed, newest first."""

    def add_api_token(self, token_sha256: str, name: str, scopes: Sequence[str]) -> bool:
        """Let who has the token in; False if there is one of that name."""

    def revoke_api_token(self, name: str) -> bool:
        """Let it in no more; False if there is none of that name, or no more."""

    def api_tokens(self) -> list[ApiToken]:
        """All, revoked ones too, oldest first."""

    def api_token(self, token_sha256: str) -> ApiToken | None:
        """The one that is not revoked, or None."""

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
