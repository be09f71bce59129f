"""How a stage is delivered: under a lease, retried, its dead workers counted, and what ends a job.

Every task of the chain is a ``StageTask``; ``stage`` makes one of a function that does the work.
"""

from __future__ import annotations

import logging
import random
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from inspect import signature
from typing import Any, NoReturn, get_args

from celery import Task
from celery.exceptions import (
    BackendError,
    Ignore,
    MaxRetriesExceededError,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.utils.time import get_exponential_backoff_interval
from celery.worker import state
from celery.worker.request import Request
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from aseagi_tasks import leases, services
from aseagi_tasks.admission import check_queue, feed, feed_if_possible, is_disk_full, message_priority
from aseagi_tasks.celery import app
from aseagi_tasks.documents import FINAL, STAGES, Priority, Source, Stage
from aseagi_tasks.errors import (
    AnalystUnavailable,
    AseagiError,
    BudgetExceeded,
    Cancelled,
    CapReached,
    ConfigError,
    NotOurs,
    NotSetUp,
    Quarantined,
    RateLimited,
    RecordsUnavailable,
    StorageUnavailable,
    TransientError,
)
from aseagi_tasks.notices import notice
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.records import Job
from aseagi_tasks.waiting import forget_waiting, note_waiting

log = logging.getLogger(__name__)

#: A stage at which so many workers died, one after the other, is not begun again.
MAX_DEATHS = 3
#: What is raised where Redis does not answer. The job's row stays, and the reaper sends what was not sent.
QUEUE_AWAY = (RedisError, OperationalError, BackendError)
#: A job that waits for room on the disk looks again so often.
DISK_PAUSE_S = 15

#: Errors that are nobody's but a service's: how often a stage is tried again.
_PATIENCE: dict[type[TransientError], int] = {
    **dict.fromkeys((RecordsUnavailable, StorageUnavailable, RateLimited), sys.maxsize),
    AnalystUnavailable: 60,  # an hour
}
#: What only an operator or the next day ends: such a job leaves its place among the live ones to others.
_WAITS_FOR: dict[type[TransientError], str] = {BudgetExceeded: "money", NotSetUp: "a setting"}
#: Tries, of a minute or two together, after which the operators hear of it.
_TELL_AFTER = 6


def explain(exc: BaseException, stage: str) -> tuple[str, str]:
    """Class name and sentence for the records: what went wrong, in words that a user understands."""
    if isinstance(exc, AseagiError):
        return type(exc).__name__, str(exc)
    if isinstance(exc, SoftTimeLimitExceeded):
        limits = "ASEAGI_STAGE_LIMIT_S, ASEAGI_PAGE_LIMIT_S"
        return "TooSlow", f"Stage {stage} took longer than it may ({limits}) and was stopped."
    if isinstance(exc, MemoryError):
        return "OutOfMemory", f"Stage {stage} ran out of memory."
    return "Unexpected", f"Stage {stage} failed in a way nobody foresaw: {type(exc).__name__}: {exc}"


def set_aside(job: Job, exc: Quarantined) -> None:
    """End a job that no worker survives, from outside; who waits for its result gets the error."""
    if services.records().fail(job.job_id, job.stage, *explain(exc, job.stage or "intake")):
        tell_waiting(job.job_id, exc)
        tell_set_aside(job.job_id, exc)


def tell_set_aside(job_id: str, exc: Quarantined) -> None:
    """The operators hear of it once, whoever sets the job aside."""
    services.tell_once(f"quarantine:{job_id}", notice("quarantine", job_id=job_id, why=exc))


def tell_waiting(job_id: str, exc: AseagiError) -> None:
    """Who waits for a job's result gets this error; where Redis is away nobody waits."""
    with suppress(*QUEUE_AWAY):
        services.redis().ping()  # Celery would try for long
        app.backend.mark_as_failure(job_id, exc)


class _StageRequest(Request):
    """Sees, in the worker's main process, what happens to a stage whose process is lost or killed at the time limit.

    Both are delivered again and counted; a process that a leaving worker ends is not (``celery.py``).
    """

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Celery's hook. At the hard limit it would write a failure; the message comes back by ``on_failure``."""
        if soft:
            super().on_timeout(soft, timeout)
        else:
            log.error("job %s was stopped at the time limit of %s s", self.args and self.args[0], timeout)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Celery's hook."""
        exc = getattr(exc_info.exception, "exc", exc_info.exception)  # billiard wraps it
        if isinstance(exc, (WorkerLostError, TimeLimitExceeded)) and not state.should_terminate:
            leases.process_died(self.hostname, self.worker_pid)
        if isinstance(exc, TimeLimitExceeded) and not state.should_terminate:
            state.task_ready(self)
            self.reject(requeue=True)
            return None
        return super().on_failure(exc_info, send_failed_event, return_ok)


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
        """End the job as ``error`` with stage, class and sentence, free its scratch space, and let another in."""
        job_id = self.job_id(task_id, args)
        services.records().fail(job_id, self.stage, *explain(exc, self.stage or "intake"))
        if isinstance(exc, Quarantined):
            tell_set_aside(job_id, exc)
        shutil.rmtree(settings().scratch_root / job_id, ignore_errors=True)
        feed_if_possible()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run; a final error is in the records before the caller sees it (``on_failure`` would come after)."""
        job_id = self.job_id(self.request.id, args)
        try:
            return self._answer(job_id, args, kwargs)
        except NotOurs as exc:
            log.warning("job %s is another's: %s", job_id, exc)
            raise Ignore from exc

    def _answer(self, job_id: str, args: Any, kwargs: Any) -> Any:
        try:
            answer = self.run(*args, **kwargs)
        except (Retry, NotOurs):
            raise
        except (Ignore, Reject):
            self._has_heard(job_id)
            raise
        except Exception as exc:
            if is_disk_full(exc) or isinstance(exc, QUEUE_AWAY):  # what was written stays, the rest waits
                raise self.retry(exc=exc, countdown=self._pause()) from exc
            try:
                self.give_up(self.request.id, args, exc)
            except RecordsUnavailable as down:  # run again and come to the same end: it must not go unseen
                raise self.retry(exc=down, countdown=self._pause()) from exc
            self._has_heard(job_id)
            raise
        self._has_heard(job_id)
        return answer

    @contextmanager
    def leased(self, job_id: str, begin: Callable[[str], Job | None]) -> Iterator[Job]:
        """Work on a job under its lease, which ``begin`` takes for the holder's name that it is given.

        Raises:
            Ignore: another has it, or had taken it by the time an error was to be told.
            Quarantined: too many workers died of it.
        """
        name = leases.holder(self.request.hostname or "?")
        job = None if leases.is_kept(job_id) else begin(name)
        if job is None:
            log.info("job %s: another works on it, or is further", job_id)
            raise Ignore
        if job.status in FINAL:
            yield job
            return
        if job.deaths >= MAX_DEATHS:
            raise Quarantined(self.stage or "intake", job.deaths)
        with leases.kept(job_id, name) as lease:
            # until a stage knows its pages, it may take what the longest document may
            lease.limit(settings().stage_limit_s + settings().page_limit_s * settings().max_pages)
            try:
                yield job
            except (Ignore, Retry, Cancelled, TransientError, NotOurs, *QUEUE_AWAY):
                raise
            except Exception as exc:
                if not services.records().renew_lease(job_id, name, settings().lease_s):
                    log.warning("job %s: the lease was lost, so its end is not ours to tell: %s", job_id, exc)
                    self.stand_back(job_id)
                raise

    def _pause(self) -> int:
        """Seconds until the next try, as for errors that Celery retries by itself."""
        return get_exponential_backoff_interval(
            self.retry_backoff, self.request.retries, self.retry_backoff_max, full_jitter=self.retry_jitter
        )

    def _has_heard(self, job_id: str, what: type[TransientError] | None = None) -> None:
        """From what a task that is tried again may have been waiting for."""
        if self.request.retries:
            forget_waiting(job_id, what)

    def retry(self, *args: Any, exc: BaseException | None = None, countdown: float | None = None, **kwargs: Any) -> Any:
        """Celery's, but never sooner than a service that limits us said, and for as long as ``_PATIENCE`` has it.

        While the records are away, or the disk is full: what a stage made is in the bucket, so to try again costs
        little, and to give up could not be recorded either.
        """
        job_id = self.job_id(self.request.id, self.request.args)
        if isinstance(exc, (BudgetExceeded, NotSetUp)):
            note_waiting(job_id, self.stage, exc)
            if not isinstance(exc, CapReached):  # its run says so when it ends
                services.tell_what_waits(exc)
            try:
                what = f"the cap of run {exc.args[2]}" if isinstance(exc, CapReached) else _WAITS_FOR[type(exc)]
                self.wait(job_id, what, settings().claude_look_again_s * random.uniform(0.5, 1.5))
            except RecordsUnavailable as away:  # then that is what it waits for
                exc = away
        if isinstance(exc, QUEUE_AWAY) or is_disk_full(exc):
            kwargs["max_retries"] = sys.maxsize
        for kind, tries in _PATIENCE.items():
            if isinstance(exc, kind):
                kwargs["max_retries"] = tries
                note_waiting(job_id, self.stage, exc)
        if is_disk_full(exc):
            countdown = max(countdown or 0, DISK_PAUSE_S)
        if isinstance(exc, (RecordsUnavailable, StorageUnavailable)) and self.request.retries >= _TELL_AFTER:
            services.tell_once(type(exc).__name__, notice("waits", why=exc))
        if isinstance(exc, RateLimited):
            # never sooner, and not all at once; a longer pause than a message may be held for is asked for again
            countdown = min(max(countdown or 0, exc.retry_after_s * random.uniform(1.0, 1.2)), 1_800)
        wait_s = (self.default_retry_delay if countdown is None else countdown) + settings().lease_s
        if not leases.give_back(job_id, leases.holder(self.request.hostname or "?"), wait_s):
            self.stand_back(job_id)
        try:
            return super().retry(*args, exc=exc, countdown=countdown, **kwargs)
        except Retry:
            raise
        except Exception as away:
            if away is exc or isinstance(away, MaxRetriesExceededError):
                raise
            log.warning("job %s: the reaper will try again: %s", job_id, away)
            raise Ignore from away

    def become(self, following: Any) -> NoReturn:
        """Put other messages in the place of this one, whose lease was given up; what cannot be sent, the reaper sends.

        Any error will do: kombu's are not only its own when a connection goes (an AttributeError, as chaos showed).

        Raises:
            Ignore: always.
        """
        try:
            self.replace(following)
        except Ignore:
            raise
        except Exception as away:
            log.warning("job %s: the reaper will go on with it: %s", self.request.id, away)
            raise Ignore from away
        raise Ignore

    def end(self, job_id: str, seconds: float, detail: Mapping[str, Any], then: Stage) -> None:
        """Write that the stage ended, and give the lease up for the message of the next one.

        Raises:
            Ignore: the lease was lost; who has it goes on. Cancelled.
        """
        assert self.stage is not None
        records, worker = services.records(), self.request.hostname or "?"
        name, lease_s = leases.of(job_id).holder, settings().lease_s
        ours = records.end_stage(job_id, self.stage, seconds, worker, detail, then=then, holder=name, lease_s=lease_s)
        if not ours:
            self.stand_back(job_id)

    def stand_back(self, job_id: str) -> NoReturn:
        """The lease was lost: leave the job to who has it.

        Raises:
            Cancelled: it was; who waits for it is told so. Ignore.
        """
        if services.records().job(job_id).status == "cancelled":
            raise Cancelled(job_id)
        raise Ignore

    def wait(self, job_id: str, what: str, seconds: float) -> NoReturn:
        """Leave the job to wait for something: a batch, a budget. ``admission.go_on`` ends that, or the reaper in time.

        Args:
            what: in words, for ``aseagi status``.
            seconds: after which the stage is begun again whatever became of it.
        Raises:
            Ignore: always; the message is done.
        """
        name = leases.holder(self.request.hostname or "?")
        services.records().put_off(job_id, seconds, holder=name, waits_for=what)
        raise Ignore

    def report(self, job_id: str, done: int, total: int) -> None:
        """What ``AsyncResult(job_id).info`` shows while pages are read; a write to Redis, so not for every stage."""
        meta = {"stage": self.stage or "intake", "done": done, "total": total}
        with suppress(*QUEUE_AWAY):
            self.update_state(task_id=job_id, state="PROGRESS", meta=meta)


class ProcessTask(StageTask):
    """``process.delay(…)``: the job is registered first, so that a queue that is lost can be made again."""

    abstract = True

    def apply_async(self, args: Any = None, kwargs: Any = None, task_id: str | None = None, **options: Any) -> Any:
        """Register the job and let it in, or leave it to wait as a row; returns the result that will be.

        Raises:
            TypeError, ConfigError: the arguments are wrong.
            OperationalError: Redis does not answer. The job is registered and runs when it does.
        """
        if options.get("retries"):  # Celery, from ``retry``
            return super().apply_async(args, kwargs, task_id=task_id, **options)
        asked = signature(self.run).bind(*(args or ()), **(kwargs or {}))
        asked.apply_defaults()
        source, priority, requested_by, again, ocr_engine = asked.args
        if priority not in get_args(Priority):
            raise ConfigError("priority", f"is {priority!r}.", f"One of {', '.join(get_args(Priority))}.")
        job_id = task_id or str(uuid.uuid4())
        options.setdefault("priority", message_priority(priority, "process"))
        check_queue()
        try:
            if _shares_records():
                services.records().register_job(
                    job_id, source, priority, requested_by, again=again, ocr_engine=ocr_engine
                )
                if set(options) == {"priority"}:
                    feed()
                    return self.AsyncResult(job_id)
                services.records().put_off(job_id, settings().lease_s)
        except RecordsUnavailable as exc:
            log.warning("the worker will register the job: %s", exc)
        return super().apply_async(args, kwargs, task_id=job_id, **options)


def _shares_records() -> bool:
    """Whether this process has the workers' records: a caller with SQLite settings may be on another machine."""
    return settings().records != "sqlite" or settings().broker_url is None or settings().records_file.exists()


def stage(name: Stage, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a task of a function that does one stage's work in a ``Workplace``, given the job and the task's options.

    The task begins the stage in the records (which counts deliveries and notices a cancelled job), runs the function,
    and writes seconds and worker. The function returns a detail for the event, or None.
    """

    def decorate(work: Callable[..., Mapping[str, Any] | None]) -> Any:
        def run(self: StageTask, job_id: str, *options: str) -> Any:
            from aseagi_tasks.stages.workplace import Workplace

            records, worker, lease_s = services.records(), self.request.hostname or "?", settings().lease_s

            def begin(holder: str) -> Job | None:
                return records.begin_stage(job_id, name, worker, holder=holder, lease_s=lease_s)

            with leases.place(job_id), self.leased(job_id, begin) as job:
                self._has_heard(job_id, RecordsUnavailable)
                if job.status in FINAL and not (name == "record" and job.status == "completed"):
                    raise Ignore
                document = records.document(job.document_id or "")
                source = Source(**document.model_dump(include=set(Source.model_fields)))
                started = time.monotonic()
                answer = self.work(self, Workplace(job_id, source, services.storage(), settings()), job, *options)
                if name == "record":
                    feed_if_possible()
                    return answer  # its end is that of the job
                self.end(job_id, time.monotonic() - started, answer or {}, STAGES[STAGES.index(name) + 1])
            return job_id

        run.__doc__ = work.__doc__
        return app.task(
            run, bind=True, base=StageTask, name=f"aseagi.{name}", stage=name, work=staticmethod(work), **options
        )

    return decorate
