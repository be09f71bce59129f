"""What a week came to: volume, spending, failures, findings. From records and bucket, in bounded memory.

Days are UTC days, as in the ledger and the budgets. A job belongs to the day on which it ended.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import Any, NamedTuple

from aseagi_tasks import keys
from aseagi_tasks.analysis.bates import Placed, Series, series
from aseagi_tasks.analysis.exhibits import Exhibits, Missing
from aseagi_tasks.errors import by_name
from aseagi_tasks.reports.papers import Paper, of_case, read
from aseagi_tasks.stores.paging import batches
from aseagi_tasks.stores.records import Day, Document, Job, Records
from aseagi_tasks.stores.storage import Storage

DAYS = 7
_BATCH = 500
#: Documents that are read for findings; what is beyond is counted. 2,000 take 3 s from a folder.
MOST_READ = 20_000
#: Files that are named of one kind of failure.
_EXAMPLES = 4
#: Warnings that are kept; the others are counted.
_WARNINGS = 500
#: USD by kind that may be spent on a day and in a month; None: no such limit.
Limits = Mapping[str, tuple[float | None, float | None]]
Tell = Callable[[str, int], None]


class Failure(NamedTuple):
    """Jobs that ended in one kind of error.

    Attributes:
        stages: where, with how often.
        good: of them, whose document is completed meanwhile.
        examples: files, each with its message.
    """

    error_class: str
    times: int
    good: int
    stages: Mapping[str, int]
    examples: tuple[tuple[str, str], ...]

    @property
    def cure(self) -> str:
        """What is to be done."""
        return by_name(self.error_class).cure


class Warned(NamedTuple):
    """Text of a document that is not to be seen."""

    name: str
    document_id: str
    case_number: str | None
    page: int | None
    kind: str
    message: str


class CaseFindings(NamedTuple):
    """What is missing in a case that got documents."""

    number: str
    documents: int
    missing: tuple[Missing, ...]
    bates: tuple[Series, ...]


class Week(NamedTuple):
    """A week.

    Attributes:
        days: seven, also those on which nothing happened. before: the week before.
        month_usd: from the first of the month of the last day to that day, by kind.
        types: kind of document → (documents, pages) of jobs that completed.
        warned: the first of them. warnings: how many there are, by kind.
        read: documents that were looked at for findings. unread: those that were not, since there were too many.
        without_case: of the week's, with no case number.
        open_jobs: not ended when the report was made.
        is_over: the last day had ended.
    """

    last: date
    days: tuple[Day, ...]
    before: tuple[Day, ...]
    month_usd: Mapping[str, float]
    limits: Limits
    types: tuple[tuple[str, int, int], ...]
    failures: tuple[Failure, ...]
    warned: tuple[Warned, ...]
    warnings: Mapping[str, int]
    cases: tuple[CaseFindings, ...]
    read: int
    unread: int
    without_case: int
    open_jobs: int
    is_over: bool

    @property
    def first(self) -> date:
        """The first day."""
        return self.last - timedelta(days=DAYS - 1)

    @property
    def is_empty(self) -> bool:
        """Whether nothing ended and nothing was spent."""
        return not any(day.completed or day.failed or day.cancelled or day.usd for day in self.days)


def usd(days: Iterable[Day], kind: str | None = None) -> float:
    """What days cost, of a kind or in all."""
    return sum(value for day in days for name, value in day.usd.items() if kind in (None, name))


def gather(
    last: date,
    *,
    records: Records,
    storage: Storage,
    limits: Limits,
    now: datetime,
    tell: Tell = lambda _what, _done: None,
) -> Week:
    """The seven days that end with ``last``.

    Raises:
        RecordsUnavailable, StorageUnavailable.
    """
    first = last - timedelta(days=DAYS - 1)
    known = {day.day: day for day in records.days(_start(min(first - timedelta(days=DAYS), last.replace(day=1))))}
    days = tuple(known.get(first + timedelta(days=at), Day(day=first + timedelta(days=at))) for at in range(DAYS))
    before = tuple(known[day] for day in sorted(known) if first - timedelta(days=DAYS) <= day < first)
    month = [known[day] for day in known if last.replace(day=1) <= day <= last]
    ended = _Ended()
    for batch in batches(records.jobs_ended, _start(first), _start(last) + timedelta(days=1), _end_of, _BATCH):
        ended.add(batch, records)
        tell("jobs", ended.jobs)
    findings = _Findings(ended.documents, records, storage, tell)
    counts = records.counts()
    return Week(
        last=last,
        days=days,
        before=before,
        month_usd={kind: usd(month, kind) for kind in ("gpu", "claude", "storage")},
        limits=limits,
        types=tuple((name, count, ended.pages[name]) for name, count in ended.types.most_common()),
        failures=ended.failures(),
        warned=tuple(findings.warned),
        warnings=dict(findings.warnings),
        cases=tuple(findings.cases),
        read=findings.read,
        unread=findings.unread + ended.beyond,
        without_case=findings.without_case,
        open_jobs=counts["queued"] + counts["processing"],
        is_over=now >= _start(last) + timedelta(days=1),
    )


def newest_day(records: Records) -> date | None:
    """The last day on which a job was handed in."""
    jobs = records.jobs(limit=1)
    return jobs[0].created_at.astimezone(UTC).date() if jobs else None


def _start(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _end_of(job: Job) -> datetime | None:
    return job.finished_at


class _Ended:
    """The week's jobs, added up batch by batch; ``documents``: those that completed, each once, and their cases."""

    def __init__(self) -> None:
        self.jobs = self.beyond = 0
        self.types, self.pages = Counter[str](), Counter[str]()
        self.documents: dict[str, str | None] = {}
        self._failed: dict[str, dict[str, Any]] = {}

    def add(self, jobs: Sequence[Job], records: Records) -> None:
        self.jobs += len(jobs)
        ids = sorted({job.document_id for job in jobs if job.document_id})
        rows = records.rows_of("documents", "document_id", ids, tuple(Document.model_fields)) if ids else []
        documents = {row["document_id"]: Document(**row) for row in rows}
        for job in jobs:
            document = documents.get(job.document_id or "")
            if job.status == "completed" and document is not None:
                kind = (document.document_type or "not recognized").replace("_", " ")
                self.types[kind] += 1
                self.pages[kind] += document.pages or 0
                if len(self.documents) < MOST_READ:
                    self.documents[document.document_id] = document.case_number
                else:
                    self.beyond += document.document_id not in self.documents
            elif job.status == "error":
                self._fail(job, document)

    def _fail(self, job: Job, document: Document | None) -> None:
        name = job.error_class or "unknown"
        kept = self._failed.setdefault(name, {"count": 0, "good": 0, "stages": Counter(), "examples": {}})
        kept["count"] += 1
        kept["good"] += bool(document and document.processed)
        kept["stages"][job.stage or "intake"] += 1
        file = document.name if document else keys.name_of(job.source)
        if len(kept["examples"]) < _EXAMPLES:
            kept["examples"].setdefault(file, job.error_message or "")

    def failures(self) -> tuple[Failure, ...]:
        ordered = sorted(self._failed.items(), key=lambda pair: (-pair[1]["count"], pair[0]))
        return tuple(
            Failure(name, kept["count"], kept["good"], dict(kept["stages"]), tuple(kept["examples"].items()))
            for name, kept in ordered
        )


class _Findings:
    """What the week's documents and their cases lack: each case is looked at whole, its pieces come over weeks."""

    def __init__(self, documents: Mapping[str, str | None], records: Records, storage: Storage, tell: Tell) -> None:
        self.warned: list[Warned] = []
        self.warnings = Counter[str]()
        self.cases: list[CaseFindings] = []
        self.read = self.unread = 0
        self._records, self._storage, self._tell = records, storage, tell
        by_case: dict[str | None, set[str]] = {}
        for document_id, number in documents.items():
            by_case.setdefault(number, set()).add(document_id)
        loose = sorted(by_case.pop(None, ()))
        self.without_case = len(loose)
        for begin in range(0, len(loose), _BATCH):
            ids = loose[begin : begin + _BATCH]
            rows = records.rows_of("documents", "document_id", ids, tuple(Document.model_fields))
            for paper in self._papers(Document(**row) for row in rows):
                self._warn(paper)
        # cases with most of the week's documents first: what is left out, if anything, is small
        for number, those in sorted(by_case.items(), key=lambda pair: (-len(pair[1]), pair[0] or "")):
            if self.read >= MOST_READ:
                self.unread += len(those)
            else:
                self._case(number or "", those)

    def _papers(self, documents: Iterable[Document]) -> Iterable[Paper]:
        for paper in read(documents, self._records, self._storage, pictures=False):
            self.read += 1
            if self.read % 20 == 0:
                self._tell("documents", self.read)
            yield paper

    def _case(self, number: str, ids: set[str]) -> None:
        cited, placed, count = Exhibits(), [], 0
        for paper in self._papers(islice(of_case(self._records, number), MOST_READ)):
            count += 1
            cited.add(paper.document.name, paper.citations, paper.marks)
            placed += [Placed(paper.document.name, run) for run in paper.runs]
            if paper.document.document_id in ids:
                self._warn(paper)
        missing = tuple(cited.missing())
        bates = tuple(one for one in series(placed) if one.gaps or one.doubles)
        if missing or bates:
            self.cases.append(CaseFindings(number, count, missing, bates))

    def _warn(self, paper: Paper) -> None:
        document = paper.document
        for warning in paper.analysis.warnings if paper.analysis else ():
            self.warnings[warning.kind] += 1
            if len(self.warned) < _WARNINGS:
                place = (document.name, document.document_id, document.case_number, warning.page)
                self.warned.append(Warned(*place, warning.kind, warning.message))
