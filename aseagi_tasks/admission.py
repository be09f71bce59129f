"""Who gets into the queue, and what is in it.

Jobs wait as rows of the records; a bounded number of them has a message in Redis or a stage that runs. Any of them can
be sent again from its row, at the stage that it had reached: what is in Redis can be lost.
"""

from __future__ import annotations

import base64
import errno
import json
import logging
import shutil
from contextlib import suppress
from typing import Any

from celery import Task, chain
from redis.exceptions import RedisError

from aseagi_tasks import keys, services
from aseagi_tasks.celery import app
from aseagi_tasks.documents import STAGES, Priority, Stage
from aseagi_tasks.errors import DiskFull, QueueFull, StorageUnavailable
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.records import Job
from aseagi_tasks.waiting import forget_waiting

log = logging.getLogger(__name__)

_CLASS = {"high": 0, "normal": 3, "low": 6}
_PART = {"record": 0, "upload": 0, "analyze": 1, "ocr": 1, "rasterize": 2, "fetch": 2, "process": 2}


def message_priority(priority: Priority, stage: Stage | str) -> int:
    """0 goes first: interactive before bulk, then later stages before earlier ones (0-8)."""
    return _CLASS[priority] + _PART[stage]


def the_chain(job_id: str, priority: Priority, ocr_engine: str | None = None, start: Stage = "fetch") -> chain:
    """The stages of one job from ``start`` on. Sent with the job's id as task id, its result is kept under that."""
    options = {"ocr": (ocr_engine,)} if ocr_engine else {}
    stages = STAGES[STAGES.index(start) :]
    signatures = [app.tasks[f"aseagi.{stage}"].si(job_id, *options.get(stage, ())) for stage in stages]
    return chain(s.set(priority=message_priority(priority, stage)) for s, stage in zip(signatures, stages, strict=True))


def send(job: Job) -> None:
    """Put a job's message into the queue, from what its row says: at the stage that it has reached, or the first time.

    Raises:
        OperationalError: Redis does not answer. The row stays; whoever looks for its message sends it again.
    """
    if job.waits_for:
        forget_waiting(job.job_id)
    if job.stage is None:
        number = message_priority(job.priority, "process")
        process = app.tasks["aseagi.process"]
        Task.apply_async(process, (job.source,), task_id=job.job_id, priority=number)
    else:
        the_chain(job.job_id, job.priority, job.ocr_engine, job.stage).apply_async(task_id=job.job_id)


def go_on(job: Job) -> bool:
    """Send a job whose waiting is over, at its stage. False if somebody works on it already, or it has ended."""
    if not services.records().put_off(job.job_id, settings().lease_s):
        return False
    send(job)
    return True


def feed(limit: int = 10) -> int:
    """Let waiting jobs in while there is room (``ASEAGI_MAX_LIVE``), and on this host's disk too; how many."""
    try:
        check_disk()
    except DiskFull as exc:
        log.warning("nothing is let in: %s", exc)
        return 0
    admitted = services.records().admit(settings().max_live, settings().lease_s, limit)
    for job in admitted:
        send(job)
    return len(admitted)


def feed_if_possible(limit: int = 2) -> None:
    """For who has other work to do: what it cannot send, the reaper does. A rented machine may not."""
    if settings().behind_gateway:
        return
    try:
        services.redis().ping()  # Celery would try for long
        feed(limit)
    except Exception as exc:  # of a connection that goes, kombu raises an AttributeError too
        log.info("waiting jobs are let in later: %s", exc)


def check_disk() -> None:
    """See that there is room for new documents; running ones are not asked.

    Raises:
        DiskFull: less than ``ASEAGI_MIN_FREE_MB`` is free where documents are worked on or kept.
    """
    conf = settings()
    for place, setting in ((conf.scratch_root, "ASEAGI_SCRATCH"), (conf.home, "ASEAGI_HOME")):
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        free = shutil.disk_usage(there).free // 1_000_000
        if free < conf.min_free_mb:
            raise DiskFull(str(place), free, conf.min_free_mb, setting)


def is_disk_full(exc: BaseException | None) -> bool:
    """Whether an error comes from a disk that is full, or is going to be."""
    while exc is not None:
        if isinstance(exc, DiskFull) or (isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT)):
            return True
        exc = exc.__cause__
    return False


def check_scratch() -> None:
    """As ``check_disk``, and that this host's scratch space holds less than it may.

    Raises:
        DiskFull.
    """
    check_disk()
    conf = settings()
    used = 0
    with suppress(FileNotFoundError):  # a job that ends takes its files away
        used = sum(file.stat().st_size for file in conf.scratch_root.rglob("*") if file.is_file()) // 1_000_000
    if used > conf.scratch_max_mb:
        raise DiskFull(str(conf.scratch_root), conf.scratch_max_mb - used, 0, "ASEAGI_SCRATCH_MAX_MB")


def check_queue() -> None:
    """See that Redis has room for another message; a fifth is kept for the documents that are at work.

    Raises:
        QueueFull: of Redis's ``maxmemory`` too little is left.
    """
    with suppress(RedisError):  # who sends will see that it is away
        memory = services.redis().info("memory")
        used, most = int(memory["used_memory"]), int(memory["maxmemory"])
        if most and used > 0.8 * most:
            raise QueueFull(used // 1_000_000, most // 1_000_000)


def reached(job: Job) -> Stage | None:
    """The stage at which a job goes on: the one that it had come to, or an earlier one if what it needs is gone."""
    if job.stage in (None, "fetch", "rasterize"):
        return job.stage
    needed = {"ocr": ("pages.json",), "analyze": ("ocr.json",)}.get(job.stage, ("ocr.json", "analysis.json"))
    try:
        if all(services.storage().stat(keys.cache(job.job_id, name)) for name in (*needed, "thumbnail.jpg")):
            return job.stage
    except StorageUnavailable:  # the stage itself will wait for it
        return job.stage
    return "rasterize"


def in_queue() -> set[str]:
    """Ids of the jobs that have a message waiting in a queue. What a worker has taken is not among them.

    Raises:
        RedisError.
    """
    client = services.redis()
    pipe = client.pipeline(transaction=False)
    for queue in app.conf.task_queues:
        for step in app.conf.broker_transport_options["priority_steps"]:
            pipe.lrange(f"{queue.name}\x06\x16{step}" if step else queue.name, 0, -1)
    found: set[str] = set()
    for messages in pipe.execute():
        for message in messages:
            with suppress(ValueError, KeyError, TypeError, IndexError):  # garbage has no job
                found.add(_job_id(json.loads(message)))
    return found


def _job_id(message: dict[str, Any]) -> str:
    headers = message["headers"]
    if headers["task"] == "aseagi.process":
        return str(headers["id"])
    args, _kwargs, _embed = json.loads(base64.b64decode(message["body"]))
    return str(args[0])
