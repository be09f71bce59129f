"""THE CHAIN: ``process`` and the six stages it becomes. Ids in, one plain function, ids out.

    process(source) ─► fetch ─► rasterize ─► ocr ─► analyze ─► upload ─► record ─► result

Stages import what they run with when they run: whoever only calls ``process.delay`` loads no image library.
What a task does around its work (retries, counted deliveries, ends of jobs) is in ``delivery.py``.
"""

from __future__ import annotations

import random
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore

from aseagi_tasks import keys, leases, services
from aseagi_tasks.admission import check_disk, check_scratch, feed_if_possible, message_priority, the_chain
from aseagi_tasks.celery import app
from aseagi_tasks.delivery import ProcessTask, StageTask, stage, tell_waiting
from aseagi_tasks.documents import FINAL, Priority, Reading, Source
from aseagi_tasks.errors import Cancelled, NotFound, OriginalGone
from aseagi_tasks.notify import ConsoleNotifier
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.records import FOLLOWS, Document, Job
from aseagi_tasks.waiting import forget_waiting

if TYPE_CHECKING:
    from aseagi_tasks.stages.reprocess import Order
    from aseagi_tasks.stages.workplace import Workplace

#: A long document is read in slices of this length, so that no message outlives the visibility time-out.
SLICE_S = 120.0
#: A job that waits for a message batch sees so often for itself whether its answer came.
BATCH_LOOK_S = 3_600.0
#: A second request for a document follows the first until nothing was heard of that for so long.
FOLLOW_FOR = timedelta(minutes=10)


@app.task(bind=True, base=ProcessTask, name="aseagi.process", ignore_result=False)
def process(
    self: ProcessTask,
    source: str,
    priority: Priority = "normal",
    requested_by: str | None = None,
    again: bool = False,
    ocr_engine: str | None = None,
) -> dict[str, Any]:
    """Process one document; ``process.delay(source).get()`` gives the result, ``AsyncResult.info`` the progress.

    Args:
        source: a key (``raw/…``), an ``s3://`` address in the bucket, or on one machine an absolute path.
        priority: ``high`` goes before ``normal`` before ``low``.
        requested_by: kept with the job. A job that a door has registered keeps what it was registered with.
        again: do the work even if the result is known.
        ocr_engine: instead of the settings', see ``services.ocr_engine``.
    Returns:
        ``job_id, document_id, status, name, source, pages, text_sources, keys, facts, analyst, cost_usd, seconds``.
    Raises:
        DocumentError, ConfigError, Cancelled: from ``get()``, as the class that it was.
    """
    records, job_id = services.records(), self.request.id
    row = records.register_job(job_id, source, priority, requested_by, again=again, ocr_engine=ocr_engine)

    def begin(holder: str) -> Job | None:
        if row.stage is not None and row.status not in FINAL:
            return None  # an old message: its chain is under way
        return records.start_lease(job_id, holder, settings().lease_s) or _ended(job_id)

    with self.leased(job_id, begin) as job:
        if job.status in FINAL:
            return _result(job)
        services.ocr_engine(job.ocr_engine)  # an unknown one is an error before any work is done
        document = records.document(job.document_id) if job.document_id else _register(job_id, source)
        if not job.again and _is_known(document, job):
            records.complete(job_id, None, None)
            feed_if_possible()
            return _result(records.job(job_id))
        has_it = records.claim(job_id, document.document_id, datetime.now(UTC) - FOLLOW_FOR)
        if has_it.job_id != job_id and has_it.is_held_up:  # for hours perhaps: others may have the place
            self.wait(job_id, FOLLOWS, settings().claude_look_again_s * random.uniform(0.5, 1.5))
        if has_it.job_id != job_id:
            raise self.retry(countdown=min(1 + self.request.retries // 10, 30), max_retries=sys.maxsize)
        begins = job.begins if job.begins and _begins_with_what_is_published(job_id, document) else "fetch"
    records.put_off(job_id, settings().lease_s, holder=leases.holder(self.request.hostname or "?"))
    self.become(the_chain(job_id, job.priority, job.ocr_engine, begins))


def _ended(job_id: str) -> Job | None:
    """The job, if it has ended: nobody can have a lease on it then."""
    job = services.records().job(job_id)
    return job if job.status in FINAL else None


def _result(job: Job) -> dict[str, Any]:
    """What an ended job's caller gets.

    Raises:
        Ignore: an error was told already.
    """
    from aseagi_tasks.stages.record import result

    if job.status != "completed":
        raise Ignore
    return result(job.job_id, services.records().document(job.document_id or ""), services.storage())


def submit(
    path: Path,
    *,
    priority: Priority,
    requested_by: str | None,
    job_id: str,
    again: bool = False,
    ocr_engine: str | None = None,
) -> Document:
    """Take a file of this machine in and register document and job, which is let in when there is room for it.

    For doors that have the file.

    Raises:
        NotFound, TooLarge, NotADocument, ConfigError, DiskFull: nothing was queued.
    """
    from aseagi_tasks.stages.intake import register, take_in

    services.ocr_engine(ocr_engine)
    check_disk()
    records, now = services.records(), datetime.now(UTC)
    source = take_in(path, services.storage(), records, today=now.date(), max_bytes=settings().max_bytes)
    records.register_job(job_id, source.key, priority, requested_by, again=again, ocr_engine=ocr_engine)
    document = register(job_id, source, services.storage(), records, now)
    feed_if_possible(limit=10)
    return document


def resubmit(job: Job, priority: Priority, ocr_engine: str | None = None) -> str:
    """Queue an ended job's document as a new job, whose id is returned; statuses move only forwards.

    Raises:
        OriginalGone: nothing was queued.
    """
    job_id, source = str(uuid.uuid4()), job.source
    if job.document_id is not None:  # it may have been moved since
        document = services.records().document(job.document_id)
        source = document.key
        if services.storage().stat(source) is None:
            raise OriginalGone(document.name, source)
    enqueue(job_id, source, priority, requested_by=job.requested_by, again=True, ocr_engine=ocr_engine)
    return job_id


def enqueue(
    job_id: str, source: str, priority: Priority, *, requested_by: str | None, again: bool, ocr_engine: str | None
) -> None:
    """Register a job for what is in the bucket; it is let in when there is room for it."""
    services.ocr_engine(ocr_engine)
    services.records().register_job(job_id, source, priority, requested_by, again=again, ocr_engine=ocr_engine)
    feed_if_possible(limit=10)


def reprocess(order: Order) -> None:
    """Begin an order to process documents again; ``control.reprocess`` goes on with it."""
    from aseagi_tasks.stages.reprocess import feed, save

    save(services.storage(), order)
    feed(order, services.records(), services.storage())
    feed_if_possible(limit=100)


def cancel(job_id: str) -> bool:
    """Cancel a job; who waits for its result is told so. False if it had already ended."""
    if not services.records().cancel(job_id):
        return False
    forget_waiting(job_id)
    tell_waiting(job_id, Cancelled(job_id))
    feed_if_possible()
    return True


def _register(job_id: str, source: str) -> Document:
    """Find out what a source's bytes are and tie them to the job."""
    from aseagi_tasks.stages.intake import from_bucket, key_of, register, take_in

    check_disk()
    conf, records, storage, now = settings(), services.records(), services.storage(), datetime.now(UTC)
    if source.startswith("/"):
        if conf.broker_url is not None:
            raise NotFound(source, "the bucket: workers may be on other machines; `aseagi process` takes files in")
        taken = take_in(Path(source), storage, records, today=now.date(), max_bytes=conf.max_bytes)
        return register(job_id, taken, storage, records, now)
    key = key_of(source, conf.bucket)
    there = storage.stat(key)
    if there is None:
        raise NotFound(source, "the bucket" + (": give an absolute path for a file" if Path(source).exists() else ""))
    if conf.behind_gateway:  # which looks at the bytes for itself and believes nothing else
        unseen = Source(key=key, name=key, sha256="0" * 64, bytes=there.bytes, media_type="application/pdf")
        return records.register_document(job_id, unseen, now)
    scratch, today = conf.scratch_root, now.date()
    found = from_bucket(key, storage, records, scratch=scratch, today=today, max_bytes=conf.max_bytes)
    return register(job_id, found, storage, records, now)


def _begins_with_what_is_published(job_id: str, document: Document) -> bool:
    """Take the reading that is published, so that the job begins behind it; False where there is none."""
    from aseagi_tasks.stages.upload import begin_with
    from aseagi_tasks.stages.workplace import Workplace

    source = Source(**document.model_dump(include=set(Source.model_fields)))
    place = Workplace(job_id, source, services.storage(), settings())
    return document.processed is not None and begin_with(place, document.processed)


def _is_known(document: Document, job: Job) -> bool:
    """Whether the document has a complete published set made by what would make it now."""
    made = dict(document.versions)
    if job.begins:  # what read it is not asked for
        made["ocr"] = services.recognizer(job.ocr_engine).engine
    if document.processed is None or made != services.versions(job.ocr_engine, job.analyst):
        return False
    return services.storage().stat(f"{document.processed}/metadata.json") is not None


@stage("fetch")
def fetch(self: StageTask, place: Workplace, job: Job) -> None:
    """Bucket → scratch, verified."""
    check_scratch()
    place.original()


@stage("rasterize")
def rasterize(self: StageTask, place: Workplace, job: Job) -> Mapping[str, Any]:
    """Original → text layers, blank pages, images of the pages that want recognition, thumbnail."""
    from aseagi_tasks.stages.doubt import doubt

    reading = place.load("pages.json", Reading)
    if reading is None:
        reading = doubt(place, place.rasterize(), services.read_line)
        place.storage.upload(place.scratch / "thumbnail.jpg", keys.cache(place.job_id, "thumbnail.jpg"))
        place.save("pages.json", reading)
    return {"pages": len(reading.pages), "unread": sum(page.source is None for page in reading.pages)}


@stage("ocr")
def ocr(self: StageTask, place: Workplace, job: Job, engine: str | None = None) -> Mapping[str, Any]:
    """Page images → lines. Reads for a while, keeps what it has, and takes its own place for the rest."""
    from aseagi_tasks.stages.doubt import believe, doubt
    from aseagi_tasks.stages.ocr import ocr as read_pages

    kept = place.load("ocr.json", Reading) or place.load("pages.json", Reading)
    reading = kept or doubt(place, place.rasterize(), services.read_line)
    unread = sum(page.source is None for page in reading.pages)
    if unread:
        leases.of(place.job_id).limit(settings().stage_limit_s + settings().page_limit_s * len(reading.pages))
        self.report(place.job_id, len(reading.pages) - unread, len(reading.pages))
        place.ensure_images(reading)
        until, last_look = time.monotonic() + SLICE_S, time.monotonic()

        def go_on(done: int) -> bool:
            nonlocal last_look
            self.report(place.job_id, len(reading.pages) - unread + done, len(reading.pages))
            if time.monotonic() - last_look > 2:
                last_look = time.monotonic()
                if leases.of(place.job_id).lost:
                    self.stand_back(place.job_id)
                if services.records().job(place.job_id).status == "cancelled":
                    raise Cancelled(place.job_id)
            return time.monotonic() < until

        reading = read_pages(reading, place.scratch, services.recognizer(engine), go_on)
    left = sum(page.source is None for page in reading.pages)
    place.save("ocr.json", reading if left else believe(place, reading))
    if left:
        self.end(place.job_id, SLICE_S, {"pages_left": left}, "ocr")
        self.become(self.si(*self.request.args).set(priority=message_priority(job.priority, "ocr")))
    return {"pages": unread}


@stage("analyze")
def analyze(self: StageTask, place: Workplace, job: Job) -> Mapping[str, Any]:
    """Lines → facts with their evidence. A bulk document's request is left for a batch, and no worker waits for it."""
    from aseagi_tasks.analysis.schema import Analysis
    from aseagi_tasks.stages.analyze import find_facts

    analysis = place.load("analysis.json", Analysis)
    if analysis is None:
        reading = place.load("ocr.json", Reading)
        if reading is None:
            raise NotFound(keys.cache(place.job_id, "ocr.json"), "the bucket")
        analysis = find_facts(
            place, reading, services.analyst(job.analyst), services.records(), by_batch=services.by_batch(job.priority)
        )
        if analysis is None:
            self.wait(place.job_id, "a message batch", BATCH_LOOK_S)  # ``control.batches`` lets it go on
        place.save("analysis.json", analysis)
    return {"analyst": analysis.analyst}


@stage("upload")
def upload(self: StageTask, place: Workplace, job: Job) -> Mapping[str, Any]:
    """Everything → ``processed/…``, ``metadata.json`` last."""
    from aseagi_tasks.stages.upload import publish

    metadata = publish(place, services.records())
    return {"bytes": sum(published.bytes for published in metadata.files.values())}


def _made_by(document: Document, job: Job, *, was_read: bool) -> dict[str, str]:
    made = services.versions(job.ocr_engine, job.analyst)
    return made if was_read else {**made, "ocr": document.versions.get("ocr", made["ocr"])}


@stage("record", ignore_result=False)
def record(self: StageTask, place: Workplace, job: Job) -> dict[str, Any]:
    """The job is completed once; the final result."""
    from aseagi_tasks.analysis.schema import Analysis
    from aseagi_tasks.stages.record import record as complete
    from aseagi_tasks.stages.record import result
    from aseagi_tasks.stages.upload import Metadata

    records, document = services.records(), services.records().document(place.source.document_id)
    if job.status != "completed":
        reading, analysis = place.load("ocr.json", Reading), place.load("analysis.json", Analysis)
        if reading is None or analysis is None:
            raise NotFound(keys.cache(place.job_id), "the bucket")
        complete(
            place.job_id,
            document,
            keys.processed(document.document_id, document.created_at.date()),
            reading,
            analysis,
            _made_by(document, job, was_read=place.load("kept.json", Metadata) is None),
            records=records,
            notifier=ConsoleNotifier(),  # who asked is answered; operators want to know of trouble only
        )
        document = records.document(document.document_id)
    place.clear()
    return result(place.job_id, document, services.storage())
