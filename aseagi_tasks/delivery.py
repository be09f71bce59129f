"""How a stage is delivered: priorities, retries, counted deliveries, and what ends a job.

Every task of the chain is a ``StageTask``; ``stage`` makes one of a function that does the work.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from celery import Task
from celery.exceptions import Ignore, Reject, Retry, SoftTimeLimitExceeded
from celery.utils.time import get_exponential_backoff_interval
from celery.worker.request import Request
from redis.exceptions import RedisError

from aseagi_tasks import services
from aseagi_tasks.celery import app
from aseagi_tasks.documents import FINAL, Priority, Source, Stage
from aseagi_tasks.errors import AseagiError, Quarantined, RateLimited, RecordsUnavailable, TransientError
from aseagi_tasks.settings import settings

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

#: A stage that was started this often and never ended has killed its worker each time.
MAX_DELIVERIES = 3

_CLASS = {"high": 0, "normal": 3, "low": 6}
_PART = {"record": 0, "upload": 0, "analyze": 1, "ocr": 1, "rasterize": 2, "fetch": 2, "process": 2}


#: Redis hash: jobs that cannot go on since the records do not answer → stage, since when, why.
_WAITING = "aseagi:waiting-for-records"


def note_waiting(job_id: str, stage: str | None, exc: BaseException) -> None:
    """Keep it where `status` finds it: in Redis, since the records are away."""
    value = {"stage": stage or "intake", "since": datetime.now(UTC).isoformat(timespec="seconds"), "error": str(exc)}
    with suppress(RedisError):
        app.backend.client.hset(_WAITING, job_id, json.dumps(value))
        app.backend.client.expire(_WAITING, 7 * 86_400)


def forget_waiting(job_id: str) -> None:
    """The records have answered."""
    with suppress(RedisError):
        app.backend.client.hdel(_WAITING, job_id)


def waiting_for_records() -> dict[str, dict[str, str]]:
    """Jobs that wait for the records: ``{job_id: {stage, since, error}}``. In stage ``record`` the results are done."""
    try:
        found = app.backend.client.hgetall(_WAITING)
    except RedisError:
        return {}
    return {key.decode(): json.loads(value) for key, value in found.items()}


def message_priority(priority: Priority, stage: Stage | str) -> int:
    """0 goes first: interactive before bulk, then later stages before earlier ones (0-8)."""
    return _CLASS[priority] + _PART[stage]


def explain(exc: BaseException, stage: str) -> tuple[str, str]:
    """Class name and sentence for the records: what went wrong, in words that a user understands."""
    if isinstance(exc, AseagiError):
        return type(exc).__name__, str(exc)
    if isinstance(exc, SoftTimeLimitExceeded):
        return "TooSlow", f"Stage {stage} took longer than {app.conf.task_soft_time_limit} s and was stopped."
    if isinstance(exc, MemoryError):
        return "OutOfMemory", f"Stage {stage} ran out of memory."
    return "Unexpected", f"Stage {stage} failed in a way nobody foresaw: {type(exc).__name__}: {exc}"


class _StageRequest(Request):
    """Sees what happens to a stage whose process was killed at the hard time limit."""

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Celery's hook, in the worker's main process."""
        super().on_timeout(soft, timeout)
        if not soft:
            try:
                self.task.give_up(self.id, self.args, SoftTimeLimitExceeded())
            except RecordsUnavailable:  # not worth the worker's main process
                log.exception("job %s was stopped at the time limit, and that could not be recorded", self.id)


class StageTask(Task):
    """A task of the chain: transient errors are tried again with back-off, every other one ends the job as seen."""

    abstract = True
    Request = _StageRequest
    autoretry_for = (TransientError,)
    max_retries = 6
    retry_backoff = 2
    retry_backoff_max = 120
    retry_jitter = True
    stage: Stage | None = None
    work: Callable[..., Mapping[str, Any] | None]

    def job_id(self, task_id: str, args: Any) -> str:
        """Stages carry it as their argument; ``process`` is the job: its task id is the job's id."""
        return args[0] if self.stage else task_id

    def give_up(self, task_id: str, args: Any, exc: BaseException) -> None:
        """End the job as ``error`` with stage, class and sentence, and free its scratch space."""
        job_id = self.job_id(task_id, args)
        services.records().fail(job_id, self.stage, *explain(exc, self.stage or "intake"))
        shutil.rmtree(settings().scratch_root / job_id, ignore_errors=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run; a final error is in the records before the caller sees it (``on_failure`` would come after)."""
        job_id = self.job_id(self.request.id, args)
        try:
            answer = self.run(*args, **kwargs)
        except Retry:
            raise
        except (Ignore, Reject):
            self._has_heard(job_id)
            raise
        except Exception as exc:
            try:
                self.give_up(self.request.id, args, exc)
            except RecordsUnavailable as down:  # run again and come to the same end: it must not go unseen
                raise self.retry(exc=down, countdown=self._pause()) from exc
            self._has_heard(job_id)
            raise
        self._has_heard(job_id)
        return answer

    def _pause(self) -> int:
        """Seconds until the next try, as for errors that Celery retries by itself."""
        return get_exponential_backoff_interval(
            self.retry_backoff, self.request.retries, self.retry_backoff_max, full_jitter=self.retry_jitter
        )

    def _has_heard(self, job_id: str) -> None:
        """From the records, which a task that is tried again may have been waiting for."""
        if self.request.retries:
            forget_waiting(job_id)

    def retry(self, *args: Any, exc: BaseException | None = None, countdown: float | None = None, **kwargs: Any) -> Any:
        """Celery's, but never sooner than a service that limits us said, and for as long as the records are away.

        What a stage made is in the bucket: to try again costs little, and to give up could not be recorded either.
        """
        if isinstance(exc, RecordsUnavailable):
            kwargs["max_retries"] = sys.maxsize
            note_waiting(self.job_id(self.request.id, self.request.args), self.stage, exc)
        if isinstance(exc, RateLimited):
            countdown = max(countdown or 0, exc.retry_after_s)
        return super().retry(*args, exc=exc, countdown=countdown, **kwargs)

    def report(self, job_id: str, done: int, total: int) -> None:
        """What ``AsyncResult(job_id).info`` shows while pages are read; a write to Redis, so not for every stage."""
        meta = {"stage": self.stage or "intake", "done": done, "total": total}
        self.update_state(task_id=job_id, state="PROGRESS", meta=meta)


class ProcessTask(StageTask):
    """Registers the job that it asks for, and puts the message's priority where the argument says."""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        """Celery's, with the message's priority set.

        A door's own call has an id, and its job is registered. Another program's is registered here: a rented machine
        that meets the message must not be able to say which jobs there are.
        """
        asked = {**dict(zip(("source", "priority", "requested_by"), args or (), strict=False)), **(kwargs or {})}
        given = asked.get("priority", "normal")
        if options.get("task_id") is None and given in _CLASS and isinstance(asked.get("source"), str):
            options["task_id"] = str(uuid.uuid4())
            services.records().register_job(options["task_id"], asked["source"], given, asked.get("requested_by"))
        options.setdefault("priority", message_priority(given, "process") if given in _CLASS else None)
        return super().apply_async(args, kwargs, **options)


def stage(name: Stage, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a task of a function that does one stage's work in a ``Workplace``, given the job and the task's options.

    The task begins the stage in the records (which counts deliveries and notices a cancelled job), runs the function,
    and writes seconds and worker. The function returns a detail for the event, or None.
    """

    def decorate(work: Callable[..., Mapping[str, Any] | None]) -> Any:
        def run(self: StageTask, job_id: str, *options: str) -> Any:
            from aseagi_tasks.stages.workplace import Workplace

            records, worker = services.records(), self.request.hostname or "?"
            job = records.begin_stage(job_id, name, worker)
            self._has_heard(job_id)
            if job.status in FINAL and not (name == "record" and job.status == "completed"):
                raise Ignore
            if job.deliveries - self.request.retries > MAX_DELIVERIES:
                raise Quarantined(name, job.deliveries - 1)
            document = records.document(job.document_id or "")
            source = Source(**document.model_dump(include=set(Source.model_fields)))
            started = time.monotonic()
            answer = self.work(self, Workplace(job_id, source, services.storage(), settings()), job, *options)
            if name == "record":
                return answer  # its end is that of the job
            records.end_stage(job_id, name, time.monotonic() - started, worker, answer or {})
            return job_id

        run.__doc__ = work.__doc__
        return app.task(
            run, bind=True, base=StageTask, name=f"aseagi.{name}", stage=name, work=staticmethod(work), **options
        )

    return decorate
