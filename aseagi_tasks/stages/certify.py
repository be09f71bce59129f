"""After the chain: what the completeness certificate says of each job, taken from records and bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import BaseModel, ValidationError

from aseagi_tasks import __version__, keys
from aseagi_tasks.errors import NotACertificate, NotFound
from aseagi_tasks.reports import certificate_page
from aseagi_tasks.reports.certificate import UNREAD, Certificate, Entry, Outcome, issue, read
from aseagi_tasks.stores.paging import batches
from aseagi_tasks.stores.records import Document, Job, Records
from aseagi_tasks.stores.rolling_up import SUMMARY
from aseagi_tasks.stores.storage import Storage

#: Jobs that are looked at together.
BATCH = 500
#: Reads from the bucket at a time: over S3 each waits some 20-50 ms.
READERS = 8
#: Days that are certified again each night while they do not balance.
DAYS_BACK = 7
Tell = Callable[[int], None]


class _Page(BaseModel):
    source: str | None


class _File(BaseModel):
    sha256: str


class _Version(BaseModel):
    files: dict[str, _File]


class Made(BaseModel):
    """What is certified of a ``metadata.json``, whichever version wrote it (``stages.upload.Metadata``)."""

    job_id: str
    pages: tuple[_Page, ...]
    engine: str
    analyst: str
    model: str | None
    prompt_version: str | None
    files: dict[str, _File]
    versions: dict[str, _Version] = {}


class PublishedSet(NamedTuple):
    """A published set: its metadata, and key → SHA-256 of its files."""

    made: Made
    files: dict[str, str]


def certify(
    jobs: Iterable[Job],
    scope: str,
    *,
    records: Records,
    storage: Storage,
    bucket: str,
    key: Ed25519PrivateKey | None,
    now: datetime,
    tell: Tell = lambda _jobs: None,
) -> tuple[Certificate, str]:
    """Certify jobs, and put the certificate into the bucket as JSON and as a page.

    Args:
        scope: the day, ``run``, or ``run-`` and the id of a bulk run.
        bucket: its name.
        key: signs, if there is one.
        tell: called with the number of jobs looked at, after each batch.
    Returns:
        The certificate, and the key of its JSON; the PDF lies beside it.
    """
    made_at = now.astimezone(UTC).isoformat(timespec="seconds")
    entries = collect(jobs, records, storage, tell)
    certificate = issue(entries, program=f"aseagi {__version__}", bucket=bucket, scope=scope, made_at=made_at, key=key)
    to = keys.certificate(scope, now, certificate.hash, "json")
    storage.put(keys.certificate(scope, now, certificate.hash, "pdf"), certificate_page.draw(certificate, to))
    storage.put(to, certificate.as_bytes())
    return certificate, to


def jobs_of_day(records: Records, day: date) -> Iterator[Job]:
    """Jobs created on a UTC day, oldest first, a batch in memory at a time."""
    since = datetime.combine(day, time(), UTC)
    for batch in batches(records.jobs_between, since, since + timedelta(days=1), lambda job: job.created_at, BATCH):
        yield from batch


def days_to_certify(records: Records, storage: Storage, today: date) -> list[date]:
    """Past days with jobs and without a certificate, made after the day's end, that balances; oldest first."""
    days = [today - timedelta(days=back) for back in range(DAYS_BACK, 0, -1)]
    return [day for day in days if next(jobs_of_day(records, day), None) is not None and not _is_balanced(storage, day)]


def collect(jobs: Iterable[Job], records: Records, storage: Storage, tell: Tell = lambda _jobs: None) -> list[Entry]:
    """An entry for each job, each job once."""
    rest, seen = iter(jobs), set[str]()
    entries: list[Entry] = []
    with ThreadPoolExecutor(READERS) as readers:
        while batch := list(islice(rest, BATCH)):
            new = list({job.job_id: job for job in batch if job.job_id not in seen}.values())
            seen.update(job.job_id for job in new)
            documents = _documents(records, new)
            folders = {documents[job.document_id].processed for job in new if _has_set(job, documents)}
            wanted = sorted(folder for folder in folders if folder)
            sets = dict(zip(wanted, readers.map(lambda folder: published(storage, folder), wanted), strict=True))
            for job in new:
                document = documents.get(job.document_id or "")
                made = sets.get(document.processed or "") if document and job.status == "completed" else None
                entries.append(_entry(job, document, made, records))
            tell(len(entries))
    return entries


def published(storage: Storage, folder: str) -> PublishedSet | None:
    """The complete set in a folder; None if there is none."""
    key = f"{folder}/metadata.json"
    try:
        body = storage.get(key)
        made = Made.model_validate_json(body)
    except (NotFound, ValidationError):
        return None
    files = {f"{folder}/{name}": file.sha256 for name, file in made.files.items()}
    for job_id, version in made.versions.items():
        files |= {keys.version(folder, job_id, name): file.sha256 for name, file in version.files.items()}
    return PublishedSet(made, {**files, key: hashlib.sha256(body).hexdigest()})


def _documents(records: Records, jobs: Sequence[Job]) -> dict[str | None, Document]:
    ids = sorted({job.document_id for job in jobs if job.document_id})
    rows = records.rows_of("documents", "document_id", ids, tuple(Document.model_fields)) if ids else []
    return {row["document_id"]: Document(**row) for row in rows}


def _has_set(job: Job, documents: dict[str | None, Document]) -> bool:
    return job.status == "completed" and job.document_id in documents


def _entry(job: Job, document: Document | None, found: PublishedSet | None, records: Records) -> Entry:
    outcome = _outcome(job)
    made, files = found if found else (None, {})
    text_from: dict[str, int] = {}
    if outcome == "completed":
        pages = document.pages if document else None
        for page in made.pages if made else ():
            text_from[page.source or UNREAD] = text_from.get(page.source or UNREAD, 0) + 1
    else:
        pages = _counted(job, records) if document else None
        text_from = {UNREAD: pages} if pages else {}
    return Entry(
        job_id=job.job_id,
        name=document.name if document else keys.name_of(job.source),
        source=document.key if document else job.source,
        created_at=_moment(job.created_at),
        ended_at=_moment(job.finished_at) if job.finished_at else None,
        outcome=outcome,
        reason=_reason(job, outcome),
        document_id=document.document_id if document else None,
        sha256=document.sha256 if document else None,
        made_by=made.job_id if made else None,
        pages=pages,
        text_from=dict(sorted(text_from.items())),
        engine=made.engine if made else None,
        analyst=made.analyst if made else None,
        model=made.model if made else None,
        prompt_version=made.prompt_version if made else None,
        files=files,
    )


def _outcome(job: Job) -> Outcome:
    match job.status:
        case "completed" | "cancelled":
            return job.status
        case "error":
            return "quarantined" if job.error_class == "Quarantined" else "failed"
        case _:
            return "open"


def _reason(job: Job, outcome: Outcome) -> str | None:
    if outcome == "open":
        return "queued, not begun" if job.status == "queued" else f"still at {job.stage or 'intake'}"
    if outcome == "cancelled":
        return f"cancelled at {job.stage}" if job.stage else "cancelled before it was begun"
    return f"{job.error_class}: {job.error_message}" if outcome != "completed" else None


def _counted(job: Job, records: Records) -> int | None:
    """Pages of a job that did not complete, as `rasterize` counted them."""
    if job.stage in (None, "fetch", "rasterize"):
        return None
    for event in reversed(records.events(job.job_id)):
        if (event.stage == "rasterize" or event.kind == SUMMARY) and isinstance(event.detail.get("pages"), int):
            return int(event.detail["pages"])
    return None


def _is_balanced(storage: Storage, day: date) -> bool:
    """Whether a certificate that was made after a day's end says that all of it is accounted for."""
    there = [stored.key for stored in storage.list(keys.certificates(f"{day}")) if stored.key.endswith(".json")]
    for key in reversed(there):
        with suppress(NotFound, NotACertificate):
            certificate = read(storage.get(key), key)
            if certificate.totals.balanced and certificate.made_at[:10] > f"{day}":
                return True
    return False


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
