"""For notebooks: follow what was queued, with live progress, and see results, searches and costs inline.

    from aseagi_tasks.tasks import process
    from aseagi_tasks.doors.notebook import follow, search, costs, show

    results = follow([process.delay(path) for path in paths])
    results                                # a table; results[0]: thumbnail and facts
    pandas.DataFrame(results)              # one row a document

``process.delay(…).get()`` stays a plain JSON dict; ``Result.of`` makes a ``Result`` of one.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aseagi_tasks import keys, services
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import FINAL, Status
from aseagi_tasks.doors import inline
from aseagi_tasks.doors.lookup import look_up
from aseagi_tasks.doors.spending import Spending, spending
from aseagi_tasks.errors import ConfigError, NotFound, TransientError
from aseagi_tasks.stages.record import result
from aseagi_tasks.stores.records import Job

if TYPE_CHECKING:
    from celery.result import AsyncResult, GroupResult
    from PIL.Image import Image


@dataclass(frozen=True)
class Result:
    """What became of one document. Shown in a notebook as its thumbnail beside its facts, each with its page.

    Plain values only, so ``pandas.DataFrame(results)`` has a column for each. What was not found is None.

    Attributes:
        status: ``completed``, ``error`` or ``cancelled``; ``queued`` or ``processing`` if nobody waited longer.
        text_sources: pages by where their text came from, e.g. ``{"tesseract": 2, "blank": 1}``.
        warnings: what to know before trusting the document, e.g. text under a bar.
        error_class, error: of a job that failed; a sentence that says what to do.
    """

    file: str
    status: Status
    job_id: str
    document_id: str | None = None
    pages: int | None = None
    document_type: str | None = None
    document_date: str | None = None
    filed_date: str | None = None
    case_number: str | None = None
    court: str | None = None
    title: str | None = None
    parties: tuple[str, ...] = ()
    relevancy_score: int | None = None
    language: str | None = None
    summary: str | None = None
    warnings: tuple[str, ...] = ()
    text_sources: Mapping[str, int] | None = None
    analyst: str | None = None
    cost_usd: float = 0.0
    seconds: float | None = None
    error_class: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Result:
        """From the dict that ``process.delay(…).get()`` gives."""
        facts = answer["facts"]
        said = {name: facts[name] for name in facts if name not in ("parties", "people", "key_dates")}
        same = ("status", "job_id", "document_id", "pages", "text_sources", "analyst", "cost_usd", "seconds")
        cautions = _analysis(answer["keys"]["analysis.json"]).warnings
        return cls(
            file=answer["name"],
            parties=tuple(party["name"] for party in facts["parties"]),
            warnings=tuple(str(caution) for caution in cautions),
            **said,
            **{name: answer[name] for name in same},
        )

    @property
    def analysis(self) -> Analysis:
        """Every fact with its evidence: page, quote, box, and how sure it is.

        Raises:
            NotFound: the document was not completed.
        """
        return _analysis(f"{self._folder()}/analysis.json")

    @property
    def text(self) -> str:
        """The text that was read; form feeds part the pages."""
        return services.storage().get(f"{self._folder()}/ocr.txt").decode()

    @property
    def thumbnail(self) -> bytes:
        """The first page as a small JPEG."""
        return services.storage().get(f"{self._folder()}/thumbnail.jpg")

    def page(self, number: int = 1, *, facts: bool = True) -> Image:
        """A page (1-based) as a picture, with a box around each fact's words and each warning."""
        from aseagi_tasks.doors.page_picture import draw

        return draw(look_up(self.document_id or self.job_id), number, facts=facts)

    def _folder(self) -> str:
        folder = services.records().document(self.document_id).processed if self.document_id else None
        if folder is None:
            raise NotFound(self.file, f"the published documents: its job is {self.status}")
        return folder

    def _repr_html_(self) -> str:
        if self.status != "completed":
            return inline.unfinished(self.file, self.status, self.error_class, self.error)
        document = services.records().document(self.document_id or "")
        return inline.document(document, self.analysis, self.thumbnail, self.text_sources or {}, self.seconds)


class Results(list[Result]):
    """Results in the order in which they were asked for. Shown as a table, failures with their reason."""

    @property
    def failed(self) -> Results:
        """Those that are not completed."""
        return Results(one for one in self if one.status != "completed")

    def _repr_html_(self) -> str:
        return inline.results(self)


@dataclass(frozen=True)
class Found:
    """One document that has the words; ``where`` marks them with ``[`` and ``]``."""

    document_id: str
    file: str
    document_type: str | None
    document_date: str | None
    case_number: str | None
    title: str | None
    where: str
    exact: bool


class Hits(list[Found]):
    """What a search found, best first."""

    def _repr_html_(self) -> str:
        return inline.hits(self)


class Costs(Spending):
    """``Spending``, shown as a table."""

    def _repr_html_(self) -> str:
        return inline.costs(self)


def ready() -> str:
    """Say which workers answer, so that a notebook does not wait for nobody.

    Raises:
        ConfigError: none does; says the cure.
    """
    from kombu.exceptions import OperationalError
    from redis.exceptions import RedisError

    from aseagi_tasks.celery import app

    try:
        services.redis().ping()
        answers = app.control.ping(timeout=2, limit=3)
    except (RedisError, OperationalError, OSError) as exc:
        raise ConfigError("The queue", f"does not answer ({exc}).", "`aseagi up` in a terminal starts it.") from exc
    if not answers:
        raise ConfigError("The queue", "has no workers.", "`aseagi up` in a terminal starts them.")
    return ", ".join(sorted(name.partition("@")[0] for answer in answers for name in answer))


def follow(
    queued: AsyncResult | GroupResult | Iterable[AsyncResult], *, timeout_s: float | None = None, progress: bool = True
) -> Results:
    """Wait for documents, showing how far they are, and give their results in order.

    A document that fails is a result with its reason and no exception: the others are not lost for it.

    Args:
        queued: what ``process.delay(…)`` gave, several of them, or what a ``celery.group`` gave.
        timeout_s: give up waiting after so long; what has not ended then keeps its status, and goes on.
        progress: show a bar (``tqdm``, with ``ipywidgets`` where they are installed), or lines without it.
    """
    several = getattr(queued, "results", None) or ([queued] if hasattr(queued, "id") else list(queued))  # type: ignore[arg-type]
    job_ids = [one.id for one in several]
    bar, jobs = _bar(len(job_ids)) if progress else None, {}  # type: ignore[var-annotated]
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    pause = 0.02
    while True:
        ended = _look(jobs, job_ids)
        if bar is not None:
            bar.set_postfix_str(_at_work(jobs), refresh=False)
            bar.update(ended - bar.n)
        if ended == len(job_ids) or (deadline is not None and time.monotonic() > deadline):
            break
        time.sleep(pause)
        pause = min(0.25, pause * 1.5)
    if bar is not None:
        bar.close()
    return Results(_result(job_id, jobs.get(job_id)) for job_id in job_ids)


def show(ident: str) -> Result:
    """One document that was processed before, by the beginning of its id or of its job's.

    Raises:
        NotFound: neither, or several.
    """
    job = look_up(ident).jobs[0]
    return _result(job.job_id, job)


def search(words: str, *, limit: int = 20) -> Hits:
    """Find documents by words, ``"phrases in quotes"`` and ``beginnings*`` in text, title, parties or case number."""
    hits = Hits()
    for hit in services.records().search(words, limit=limit):
        doc = hit.document
        facts = (doc.document_type, doc.document_date, doc.case_number, doc.title)
        hits.append(Found(doc.document_id, doc.name, *facts, where=" ".join(hit.snippet.split()), exact=hit.exact))
    return hits


def costs() -> Costs:
    """What was spent today, this month, and for each 1,000 documents."""
    return Costs(**vars(spending(datetime.now(UTC))))


def _look(jobs: dict[str, Job], job_ids: list[str]) -> int:
    """Ask for every job that has not ended; how many have."""
    records = services.records()
    for job_id in job_ids:
        if job_id not in jobs or jobs[job_id].status not in FINAL:
            try:
                jobs[job_id] = records.job(job_id)
            except NotFound:  # no worker has taken the message yet
                pass
            except TransientError:  # the work goes on without us
                break
    return sum(job_id in jobs and jobs[job_id].status in FINAL for job_id in job_ids)


def _at_work(jobs: Mapping[str, Job]) -> str:
    """`2 ocr, 1 analyze`: how many documents are at which stage."""
    stages = [job.stage for job in jobs.values() if job.status == "processing" and job.stage]
    return ", ".join(f"{stages.count(stage)} {stage}" for stage in dict.fromkeys(stages))


def _result(job_id: str, job: Job | None) -> Result:
    if job is None:
        return Result(file=job_id, status="queued", job_id=job_id)
    document = services.records().document(job.document_id) if job.document_id else None
    if job.status == "completed" and document is not None:
        return Result.of(result(job_id, document, services.storage()))
    name = document.name if document else keys.name_of(job.source)
    return Result(
        file=name,
        status=job.status,
        job_id=job_id,
        document_id=job.document_id,
        error_class=job.error_class,
        error=job.error_message,
    )


def _analysis(key: str) -> Analysis:
    return Analysis.model_validate_json(services.storage().get(key))


class _Lines:
    """Progress as text, where there is no ``tqdm``: a line when something ended."""

    def __init__(self, total: int) -> None:
        self.n, self._total, self._at_work = 0, total, ""

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        self._at_work = text

    def update(self, more: int) -> None:
        self.n += more
        if more:
            at_work = f" ({self._at_work})" if self._at_work else ""
            sys.stdout.write(f"{self.n} of {self._total} done{at_work}\n")

    def close(self) -> None:
        sys.stdout.flush()


def _bar(total: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm misses ipywidgets aloud; its bar of text will do
        try:
            from tqdm.auto import tqdm
        except ImportError:
            return _Lines(total)
        return tqdm(total=total, unit=" documents", mininterval=0)
