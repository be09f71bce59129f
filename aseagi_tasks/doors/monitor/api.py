"""The HTTP API under ``/api/v1``: what the pages do, for programs. What it takes and answers is in ``description.py``.

A program sends ``Authorization: Bearer TOKEN`` (``aseagi api-token add``) with scopes: ``read`` looks, ``write`` hands
documents in, ``operate`` retries and cancels. Answers are JSON; an error is ``{"error": class, "message": sentence}``.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from tornado.web import HTTPError, RequestHandler, url

from aseagi_tasks import services
from aseagi_tasks.documents import Status
from aseagi_tasks.doors.lookup import look_up
from aseagi_tasks.doors.monitor.access import Guard, Scope, audited, in_background
from aseagi_tasks.doors.monitor.costs import costs
from aseagi_tasks.doors.monitor.description import (
    BASE,
    CostReport,
    Created,
    DocumentWithAll,
    Fleet,
    HitList,
    JobList,
    JobWithEvents,
    NewJob,
    Problem,
    RunCost,
    Signed,
    openapi,
)
from aseagi_tasks.doors.monitor.documents import file_key, take_in
from aseagi_tasks.doors.monitor.jobs import change_jobs
from aseagi_tasks.doors.monitor.sending import SIGNED_FOR_S
from aseagi_tasks.doors.monitor.taking import Taking
from aseagi_tasks.errors import AseagiError, BulkRefused, ConfigError, DocumentError, NotFound, TransientError
from aseagi_tasks.stores.records import Hit, Wanted

B = TypeVar("B", bound=BaseModel)


class Api(Guard, RequestHandler):
    """What every address of the API shares."""

    wants_form_token = False

    def check_etag_header(self) -> bool:
        """Answers change; nobody asks whether they did."""
        return False

    async def answer(self, work: Callable[..., Any], *arguments: Any) -> None:
        """JSON of what ``work`` gives, which waits in a thread."""
        self._send(await in_background(work, *arguments))

    async def change(self, what: str, detail: dict[str, Any], work: Callable[..., Any], *arguments: Any) -> None:
        """The same for a change: who made it is kept."""

        async def doing() -> Any:
            return await in_background(work, *arguments)

        self._send(
            await audited(self.who, what, detail, doing), 201 if what in ("create job", "upload", "bulk start") else 200
        )

    def _send(self, value: BaseModel, status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(value.model_dump_json())

    def asked(self, name: str) -> str | None:
        """A query argument; None where it is empty."""
        return self.get_query_argument(name, "").strip() or None

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A query argument as a number within bounds."""
        given = self.asked(name)
        if given is None:
            return default
        if not (given.isascii() and given.isdecimal()) or not low <= int(given) <= high:
            raise HTTPError(400, f"{name} is a whole number from {low} to {high}.")
        return int(given)

    def body(self, model: type[B]) -> B:
        """The body as one of the description's models."""
        try:
            return model.model_validate_json(self.request.body)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the body"
            raise HTTPError(400, f"{where}: {first['msg']}.".replace("%", "%%")) from None

    def refuse(self, status: int, message: str) -> None:
        """As every other error."""
        self._problem(status, "Refused", message)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """``{"error", "message"}``; no traceback leaves this machine."""
        exc = (kwargs.get("exc_info") or (None, None, None))[1]
        message = (exc.log_message if isinstance(exc, HTTPError) else None) or "Nobody foresaw this; the log says more."
        self._problem(status_code, "Unexpected" if status_code == 500 else "Refused", message)

    def _problem(self, status: int, name: str, message: str) -> None:
        self._send(Problem(error=name, message=message), status)

    def _handle_request_exception(self, exc: BaseException) -> None:
        if isinstance(exc, AseagiError) and not self._finished:
            status = next((status for kind, status in _STATUSES if isinstance(exc, kind)), 500)
            self._problem(status, type(exc).__name__, str(exc))
            return
        super()._handle_request_exception(exc)


_STATUSES = ((NotFound, 404), (BulkRefused, 409), (DocumentError, 422), (TransientError, 503), (ConfigError, 400))


class Jobs(Api):
    """Hand in; list."""

    changes: Scope = "write"

    async def get(self) -> None:
        """Jobs, newest first."""
        status = self.asked("status")
        if status is not None and status not in get_args(Status):
            raise HTTPError(400, f"status is one of {', '.join(get_args(Status))}.")
        limit, offset = self.number("limit", 100, 1, 500), self.number("offset", 0, 0, 1_000_000)
        await self.answer(lambda: JobList(jobs=services.records().jobs(status=status, limit=limit, offset=offset)))  # type: ignore[arg-type]

    async def post(self) -> None:
        """Queue a source that is in the bucket."""
        new = self.body(NewJob)
        await self.change("create job", {"source": new.source}, partial(_create, new, self.who.name))


def _create(new: NewJob, who: str) -> Created:
    from aseagi_tasks.stages.intake import key_of
    from aseagi_tasks.tasks import enqueue

    if services.storage().stat(key_of(new.source, services.settings().bucket)) is None:
        raise NotFound(new.source, "the bucket")
    job_id = str(uuid.uuid4())
    enqueue(job_id, new.source, new.priority, requested_by=who, again=new.again, ocr_engine=new.ocr_engine)
    return Created(job_id=job_id)


class OneJob(Api):
    """One job."""

    async def get(self, ident: str) -> None:
        """The job and its events."""
        await self.answer(_job, ident)


def _job(ident: str) -> JobWithEvents:
    job = services.records().job(ident)
    return JobWithEvents(job=job, events=services.records().events(job.job_id))


class ChangeJob(Api):
    """Retry or cancel one."""

    async def post(self, ident: str, action: Literal["retry", "cancel"]) -> None:
        """The id of the job that is to be looked at now: a new one after ``retry``."""
        await self.change(action, {"jobs": [ident]}, lambda: Created(job_id=change_jobs(action, [ident])[0]))


class Documents(Taking, Api):
    """Search, or list; the way in for a file."""

    changes: Scope = "write"
    takes_whole = True

    async def post(self) -> None:
        """Take the body in as a document; ``name`` is its name."""
        if self.asked("name") is None:
            raise HTTPError(400, "name is missing: the file's name.")
        (path,) = await self.sent()
        await self.change("upload", {"name": path.name}, lambda: Created(job_id=take_in(path, self.who.name)))

    async def get(self) -> None:
        """``q`` searches, the other arguments filter."""
        limit, words, after = self.number("limit", 50, 1, 200), self.asked("q"), self.asked("after")
        names = ("document_type", "case_number", "requested_by", "dated_since", "dated_until")
        relevancy = self.number("relevancy", 0, 0, 100) or None
        wanted = Wanted(**{name: self.asked(name) for name in names}, relevancy=relevancy)  # type: ignore[arg-type]
        await self.answer(_found, words, wanted, after, limit)


def _found(words: str | None, wanted: Wanted, after: str | None, limit: int) -> HitList:
    records = services.records()
    if words:
        return HitList(hits=records.search(words, limit=limit, wanted=wanted), after=None)
    found = records.find(wanted, limit=limit + 1, behind=records.document(after) if after else None)
    hits = [Hit(document=document, snippet="", rank=0) for document in found[:limit]]
    return HitList(hits=hits, after=found[limit - 1].document_id if len(found) > limit else None)


class OneDocument(Api):
    """One document with everything."""

    async def get(self, ident: str) -> None:
        """Facts with their evidence, jobs, events, keys."""
        await self.answer(_document, ident)


def _document(ident: str) -> DocumentWithAll:
    found = look_up(ident)
    if found.document is None:
        raise NotFound(ident, "the documents")
    return DocumentWithAll.model_validate(found.as_json())


class FileAddress(Api):
    """An address of a file in the bucket."""

    async def get(self, ident: str, name: str) -> None:
        """Signed, for a few minutes; where the bucket is a folder, the monitor's own."""
        await self.answer(_address, ident, name, f"{self.request.protocol}://{self.request.host}")


def _address(ident: str, name: str, here: str) -> Signed:
    key, _ = file_key(ident, name)
    address = services.storage().url_get(key, SIGNED_FOR_S)
    if address.startswith("file:"):
        prefix = (services.settings().monitor_url_prefix or "").strip("/")
        address = "/".join(filter(None, (here, prefix, "documents", ident, "files", name)))
    return Signed(url=address, expires_s=SIGNED_FOR_S)


class Costs(Api):
    """What it cost."""

    async def get(self) -> None:
        """Today, this month, and the last thirty days."""
        await self.answer(_costs)


def _costs() -> CostReport:
    found = costs(datetime.now(UTC).date())
    today, month = found["today"], found["month"]
    return CostReport(
        today_usd=today.usd,
        month_usd=month.usd,
        month_completed=month.completed,
        month_usd_per_thousand=month.per_thousand,
        days=found["days"],
        runs=[RunCost.model_validate(run) for run in found["runs"]],
    )


class Instances(Api):
    """Rented machines."""

    async def get(self) -> None:
        """All that are not gone; NotFound where nothing is rented by setting."""
        await self.answer(_fleet)


def _fleet() -> Fleet:
    if services.settings().fleet == "none":
        raise NotFound("A rented machine", "this installation: ASEAGI_FLEET is none")
    from aseagi_tasks.tending.overview import overview
    from aseagi_tasks.tending.tick import means

    return Fleet.model_validate(overview(means()))


class OpenApi(Api):
    """The description."""

    async def get(self) -> None:
        """As OpenAPI 3.1."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(openapi()))


class Unknown(Api):
    """Whatever else is asked for under the API's address."""

    async def get(self, *_parts: str) -> None:
        """There is nothing."""
        raise HTTPError(404, "The API has no such call; see openapi.json.")

    post = put = patch = delete = get  # type: ignore[assignment]


ROUTES = [
    url(rf"{BASE}/openapi\.json", OpenApi, name="openapi"),
    url(rf"{BASE}/jobs", Jobs),
    url(rf"{BASE}/jobs/([0-9A-Za-z-]{{4,64}})", OneJob),
    url(rf"{BASE}/jobs/([0-9A-Za-z-]{{4,64}})/(retry|cancel)", ChangeJob),
    url(rf"{BASE}/documents", Documents),
    url(rf"{BASE}/documents/([0-9a-f]{{16}})", OneDocument),
    url(rf"{BASE}/documents/([0-9a-f]{{16}})/url/([a-z.]+)", FileAddress),
    url(rf"{BASE}/costs", Costs),
    url(rf"{BASE}/instances", Instances),
    url(rf"{BASE}/.*", Unknown),
]
