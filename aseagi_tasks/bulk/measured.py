"""What documents that were done have taken: pages, seconds, what Claude cost, and what is kept of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from aseagi_tasks.analysis.prices import BATCH
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage

#: So many jobs are looked at, the newest that completed, and the results of so many documents.
JOBS, RESULTS = 200, 12
#: So many are asked about at once: an answer has a thousand rows at most, and a job that waited has dozens of events.
_AT_ONCE = 20
_DOCUMENT = ("document_id", "bytes", "pages", "processed")


class Done(NamedTuple):
    """A document that was done.

    Attributes:
        seconds: of all stages, by one worker; None: not known.
        usd: what Claude cost, as if asked live; None: it was not asked, or another model was.
    """

    bytes: int
    pages: int
    seconds: float | None
    usd: float | None


class Kept(NamedTuple):
    """A document's original, and what is kept of it in all besides."""

    bytes: int
    results_bytes: int


class Measured(NamedTuple):
    """What is known of documents that were done."""

    done: tuple[Done, ...] = ()
    kept: tuple[Kept, ...] = ()


def measured(records: Records, storage: Storage, model: str | None) -> Measured:
    """Look at the newest documents that were done.

    Args:
        model: whose costs count; None: nobody's.
    """
    jobs = [job for job in records.jobs(status="completed", limit=JOBS) if job.document_id and not job.begins]
    ids = [job.job_id for job in jobs]
    documents = {row["document_id"]: row for row in _rows(records, "documents", "document_id", jobs, _DOCUMENT)}
    seconds: dict[str, float] = {}
    for row in _by(records, "processing_events", ids, ("job_id", "kind", "stage", "seconds")):
        if row["kind"] == "finished" and row["seconds"] is not None:
            seconds[row["job_id"]] = seconds.get(row["job_id"], 0.0) + row["seconds"]
    usd: dict[str, float] = {}
    for row in _by(records, "costs", ids, ("job_id", "kind", "usd", "detail")) if model else ():
        if row["kind"] == "claude" and row["detail"].get("model") == model:
            share = BATCH if row["detail"].get("batch") else 1.0
            usd[row["job_id"]] = usd.get(row["job_id"], 0.0) + float(row["usd"]) / share
    done = []
    for job in jobs:
        document = documents.get(job.document_id or "")
        if document and document["pages"] and (job.job_id in seconds or job.job_id in usd):
            of = document["bytes"], document["pages"]
            done.append(Done(*of, seconds.get(job.job_id), usd.get(job.job_id)))
    return Measured(tuple(done), tuple(_kept(storage, list(documents.values())[:RESULTS])))


def _kept(storage: Storage, documents: Sequence[Mapping[str, Any]]) -> Iterator[Kept]:
    for row in documents:
        if row["processed"]:
            yield Kept(row["bytes"], sum(there.bytes for there in storage.list(f"{row['processed']}/")))


def _rows(
    records: Records, table: str, key: str, jobs: Sequence[Any], columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    yield from records.rows_of(table, key, sorted({job.document_id for job in jobs}), columns) if jobs else ()


def _by(records: Records, table: str, ids: Sequence[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    for begin in range(0, len(ids), _AT_ONCE):
        yield from records.rows_of(table, "job_id", ids[begin : begin + _AT_ONCE], columns)
