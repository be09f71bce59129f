"""The jobs: what runs, what waits and why, what failed with its cure; one job's history; retry and cancel."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple, get_args

from tornado.web import HTTPError, url

from aseagi_tasks import services
from aseagi_tasks.documents import FINAL, STAGES, Status
from aseagi_tasks.doors.monitor.page import Page, names_of
from aseagi_tasks.errors import AseagiError, NotFound
from aseagi_tasks.services import ENGINES
from aseagi_tasks.stores.records import Event, Job
from aseagi_tasks.stores.rolling_up import stages_of
from aseagi_tasks.waiting import waiting

ON_A_PAGE = 100
MOST_AT_ONCE = 500


class Running(NamedTuple):
    """A job that runs: on which worker its stage was started last."""

    job: Job
    worker: str


def overview() -> dict[str, Any]:
    """What the page shows when nothing in particular is asked for."""
    records = services.records()
    begun, queued = records.jobs(status="processing", limit=60), records.jobs(status="queued", limit=30)
    failed = records.jobs(status="error", limit=30)
    held_up = {job_id: why["error"] for job_id, why in waiting().items()}
    reasons = {**{job.job_id: f"Waits for {job.waits_for}." for job in (*begun, *queued) if job.waits_for}, **held_up}
    running = [Running(job, _worker(records.events(job.job_id))) for job in begun if job.job_id not in reasons]
    at_rest = [*(job for job in begun if job.job_id in reasons), *queued]
    ended = records.jobs(status="completed", limit=15)
    counts = records.counts()
    return {
        "counts": counts,
        "running": sorted(running, key=lambda one: STAGES.index(one.job.stage or "fetch"), reverse=True),
        "waiting": at_rest,
        "reasons": reasons,
        "failed": failed,
        "ended": ended,
        "names": names_of(job.document_id for job in (*at_rest, *failed, *ended, *(one.job for one in running))),
    }


def _worker(events: list[Event]) -> str:
    return next((event.worker or "" for event in reversed(events) if event.kind == "started"), "")


class Jobs(Page):
    """The overview, or a list: ``?status=…``, ``?ids=…``."""

    tab = "jobs"

    async def get(self) -> None:
        """To the page's own script only what changes."""
        status, ids = self.text("status"), self.text("ids")
        if status is None and ids is None:
            name = "aseagi-jobs-now.html" if self.wants_fragment else "aseagi-jobs.html"
            self.show(name, **await self.read(overview))
            return
        if status is not None and status not in get_args(Status):
            raise HTTPError(400, "status is queued, processing, completed, error or cancelled.")
        offset = self.whole_number("offset", 0)
        found = await self.read(_listed, status, ids, offset)
        name = "aseagi-jobs-rows.html" if self.wants_fragment else "aseagi-jobs-list.html"
        self.show(name, status=status, ids=ids, offset=offset, on_a_page=ON_A_PAGE, **found)

    async def post(self) -> None:
        """Retry or cancel those that are named."""
        action, ids = self.get_body_argument("action", ""), self.get_body_arguments("job")
        if action not in ("retry", "cancel") or not ids or len(ids) > MOST_AT_ONCE:
            raise HTTPError(400, f"Choose one to {MOST_AT_ONCE} jobs, and retry or cancel.")
        done = await self.change(action, {"jobs": ids}, partial(change_jobs, action, ids))
        self.redirect(f"{self.reverse_url('jobs')}?ids={','.join(done)}")


def change_jobs(action: str, ids: list[str]) -> list[str]:
    """Retry or cancel jobs; the ids of those that are to be looked at now: new ones where they were retried.

    Raises:
        NotFound: there is no such job; those before it were changed.
    """
    from aseagi_tasks.tasks import cancel, resubmit

    records, done = services.records(), []
    for ident in ids:
        job = records.job(ident)
        if action == "cancel":
            cancel(job.job_id)
            done.append(job.job_id)
        elif job.status in FINAL:
            done.append(resubmit(job, job.priority))
        else:
            done.append(job.job_id)  # it is still at work
    return done


def _listed(status: Status | None, ids: str | None, offset: int) -> dict[str, Any]:
    records = services.records()
    if ids is None:
        jobs = records.jobs(status=status, limit=ON_A_PAGE + 1, offset=offset)
    else:
        jobs = []
        for ident in ids.split(",")[:MOST_AT_ONCE]:
            try:
                jobs.append(records.job(ident.strip()))
            except NotFound:
                continue
    shown = jobs if ids is not None else jobs[:ON_A_PAGE]
    return {
        "jobs": shown,
        "more": ids is None and len(jobs) > ON_A_PAGE,
        "names": names_of(job.document_id for job in shown),
        "open": any(job.status not in FINAL for job in shown),
    }


class OneJob(Page):
    """One job and what happened to it."""

    tab = "jobs"

    async def get(self, ident: str) -> None:
        """To the page's own script only what changes."""
        name = "aseagi-job-now.html" if self.wants_fragment else "aseagi-job.html"
        self.show(name, engines=ENGINES, **await self.read(_one, ident))


def _one(ident: str) -> dict[str, Any]:
    records = services.records()
    job = records.job(ident)
    try:
        document = records.document(job.document_id) if job.document_id else None
    except AseagiError:
        document = None
    events = records.events(job.job_id)
    ended = {stage for event in events for stage in stages_of(event)} | (
        {"record"} if job.status == "completed" else set()
    )
    steps = [
        (stage, "ended" if stage in ended and stage != job.stage else _step(job) if stage == job.stage else "")
        for stage in STAGES
    ]
    if job.status == "completed":
        steps = [(stage, "ended") for stage in STAGES]
    return {"job": job, "document": document, "events": events, "steps": steps}


def _step(job: Job) -> str:
    return {"error": "failed", "processing": "running", "cancelled": "cancelled"}.get(job.status, "")


ROUTES = [url(r"/jobs", Jobs, name="jobs"), url(r"/jobs/([0-9A-Za-z-]{4,64})", OneJob, name="job")]
