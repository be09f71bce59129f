"""What the HTTP API takes and answers, and its description as OpenAPI, which is made of that."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from aseagi_tasks import __version__
from aseagi_tasks.documents import Priority, Status
from aseagi_tasks.doors.monitor.access import Scope
from aseagi_tasks.stores.records import Day, Document, Event, Hit, Job

BASE = "/api/v1"
#: Stands at the head of the description.
ABOUT = (
    "What the monitor's pages do, for programs. Send `Authorization: Bearer TOKEN` (`aseagi api-token add`); scopes:"
    " `read` looks, `write` hands documents in, `operate` retries and cancels jobs and runs bulk. Answers are"
    ' JSON; an error is `{"error": class, "message": sentence}`.'
)


class NewJob(BaseModel):
    """What is to be processed: a key in the bucket or its ``s3://`` address."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(min_length=1, max_length=1_024)
    priority: Priority = "normal"
    again: bool = False
    ocr_engine: str | None = Field(None, max_length=200)


class Created(BaseModel):
    """The id of a job."""

    job_id: str


class JobWithEvents(BaseModel):
    """A job and what happened to it."""

    job: Job
    events: list[Event]


class JobList(BaseModel):
    """Jobs, newest first."""

    jobs: list[Job]


class HitList(BaseModel):
    """Documents: best first where words were asked for, else newest first. ``after`` goes into the next call."""

    hits: list[Hit]
    after: str | None


class DocumentWithAll(BaseModel):
    """A document with its jobs, analysis and keys, as `aseagi show --json` prints it."""

    document: Document
    jobs: list[Job]
    events: list[Event]
    keys: list[str]
    analysis: dict[str, Any] | None = None
    result: dict[str, Any] | None = None


class Signed(BaseModel):
    """An address that opens for a while without credentials."""

    url: str
    expires_s: int


class RunCost(BaseModel):
    """What a bulk run has cost: USD by kind, machines' rent in its time included; null cap: none was set yet."""

    run_id: str
    prefix: str
    status: str
    done: int
    usd: dict[str, float]
    spent_usd: float
    cap_usd: float | None
    usd_per_thousand: float | None


class CostReport(BaseModel):
    """USD by kind; per 1,000 completed documents, null without any; the newest bulk runs."""

    today_usd: dict[str, float]
    month_usd: dict[str, float]
    month_completed: int
    month_usd_per_thousand: float | None
    days: list[Day]
    runs: list[RunCost]


class Cap(BaseModel):
    """What a run may spend at most, in USD; null: as named before, else the quote's upper bound."""

    model_config = ConfigDict(extra="forbid")

    cap_usd: float | None = Field(None, ge=0, lt=1e9)


class NewRun(Cap):
    """What is to be looked through. ``failed``: also what failed before; ``unattended``: it confirms itself up to the
    limit that is set (ASEAGI_BULK_UNATTENDED_USD)."""

    prefix: str = Field("raw/", min_length=4, max_length=1_024, pattern="^raw/")
    failed: bool = False
    unattended: bool = False


class ListedRun(BaseModel):
    """A run in the list, as it stood when it was last looked after; ``quote_usd`` is a range."""

    run_id: str
    kind: str
    prefix: str
    status: str
    reason: str | None
    requested_by: str
    created_at: str
    finished_at: str | None
    todo: int
    done: int
    left: int
    cap_usd: float | None
    spent_usd: float
    quote_usd: tuple[float, float] | None
    certificate: str | None


class RunList(BaseModel):
    """Bulk runs, newest first."""

    runs: list[ListedRun]


class Run(BaseModel):
    """How a bulk run stands, as `aseagi bulk show --json` prints it. ``trouble``: why nothing moves, if it does not."""

    run_id: str
    kind: str
    prefix: str
    status: str
    reason: str | None
    requested_by: str
    confirmed_by: str | None
    created_at: str
    started_at: str | None
    finished_at: str | None
    deadline: str | None
    certificate: str | None
    failed: bool
    cap_usd: float | None
    spent_usd: float
    rent_usd: float
    cost_usd: float
    reserved_usd: float
    left_usd: float | None
    scan: dict[str, Any]
    quote: dict[str, Any] | None
    jobs: dict[str, int]
    fed: int
    left: int
    begun: int
    progress: dict[str, Any]
    trouble: str | None


class Problem(BaseModel):
    """Why not, and what to do."""

    error: str
    message: str


class Fleet(BaseModel):
    """What is rented, what it costs and which limits hold, as `aseagi fleet status --json` prints it."""

    instances: list[dict[str, Any]]
    paused: bool
    limits: dict[str, Any]
    usd_per_hour: float
    spent_today_usd: float
    spent_month_usd: float
    reconciled: dict[str, Any] | None = None
    left_out: list[dict[str, Any]] = []


class Call(NamedTuple):
    """One call as the description has it. ``arguments``: query arguments and their schemas."""

    path: str
    method: Literal["get", "post"]
    scope: Scope
    what: str
    answer: type[BaseModel]
    arguments: dict[str, dict[str, Any]] = {}
    body: type[BaseModel] | None = None
    takes_file: bool = False
    required: tuple[str, ...] = ()
    may_lack_body: bool = False
    makes: bool = False


_TEXT = {"type": "string"}
_IDENT = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
_JOB_IDENT = {"type": "string", "pattern": "^[0-9A-Za-z-]{4,64}$"}
_RUN_IDENT = {"type": "string", "pattern": "^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$"}


def _within(low: int, high: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": high}


CALLS = (
    Call("/jobs", "post", "write", "Process a document that is in the bucket", Created, body=NewJob, makes=True),
    Call(
        "/jobs",
        "get",
        "read",
        "Jobs, newest first",
        JobList,
        {
            "status": {"type": "string", "enum": list(get_args(Status))},
            "limit": _within(1, 500),
            "offset": _within(0, 1_000_000),
        },
    ),
    Call("/jobs/{job_id}", "get", "read", "One job and what happened to it", JobWithEvents),
    Call("/jobs/{job_id}/retry", "post", "operate", "Process an ended job's document again", Created),
    Call("/jobs/{job_id}/cancel", "post", "operate", "Stop a job", Created),
    Call(
        "/documents",
        "post",
        "write",
        "Take a file in, which is the body, and process it",
        Created,
        {"name": {"type": "string", "minLength": 1, "maxLength": 200}},
        takes_file=True,
        makes=True,
        required=("name",),
    ),
    Call(
        "/documents",
        "get",
        "read",
        "Search and list documents",
        HitList,
        {
            **{"q": _TEXT, "document_type": _TEXT, "case_number": _TEXT, "requested_by": _TEXT},
            **{"dated_since": _TEXT, "dated_until": _TEXT, "after": _TEXT},
            **{"relevancy": _within(0, 100), "limit": _within(1, 200)},
        },
    ),
    Call("/documents/{document_id}", "get", "read", "One document with facts, jobs and keys", DocumentWithAll),
    Call("/documents/{document_id}/url/{file}", "get", "read", "An address that reads a file for a while", Signed),
    Call("/bulk", "post", "operate", "Have a prefix looked through and quoted", Run, body=NewRun, makes=True),
    Call("/bulk", "get", "read", "Bulk runs, newest first", RunList, {"limit": _within(1, 500)}),
    Call("/bulk/{run_id}", "get", "read", "How a bulk run stands", Run),
    Call("/bulk/{run_id}/confirm", "post", "operate", "Let a quoted run begin", Run, body=Cap, may_lack_body=True),
    Call("/bulk/{run_id}/pause", "post", "operate", "Begin nothing more of a run", Run),
    Call("/bulk/{run_id}/resume", "post", "operate", "Go on with a paused run", Run, body=Cap, may_lack_body=True),
    Call("/bulk/{run_id}/cancel", "post", "operate", "End a run; what is done stays", Run),
    Call("/costs", "get", "read", "What it cost", CostReport),
    Call("/instances", "get", "read", "Rented machines, what they cost and which limits hold", Fleet),
)


def openapi() -> dict[str, Any]:
    """The API's description, made of ``CALLS`` and the models."""
    models = {model for call in CALLS for model in (call.answer, call.body) if model} | {Problem}
    _, schemas = models_json_schema(
        [(model, "serialization") for model in sorted(models, key=lambda model: model.__name__)],
        ref_template="#/components/schemas/{model}",
    )
    paths: dict[str, dict[str, Any]] = {}
    problem = {"description": "Why not", "content": {"application/json": {"schema": _reference(Problem)}}}
    for call in CALLS:
        content = _content(call)
        paths.setdefault(call.path, {})[call.method] = {
            "summary": call.what,
            "description": f"Needs the scope `{call.scope}`.",
            "security": [{"token": []}, {"basic": []}],
            "parameters": [*_path_arguments(call.path), *_query_arguments(call)],
            **({"requestBody": {"required": not call.may_lack_body, "content": content}} if content else {}),
            "responses": {
                "201" if call.makes else "200": {"description": call.answer.__doc__, "content": _json(call.answer)},
                **{str(status): problem for status in (400, 401, 403, 404, 409, 413, 422, 503)},
            },
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "ASEAGI", "version": __version__, "description": ABOUT},
        "servers": [{"url": BASE}],
        "paths": paths,
        "components": {
            "schemas": schemas.get("$defs", {}),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _path_arguments(path: str) -> list[dict[str, Any]]:
    known = {
        "job_id": _JOB_IDENT,
        "document_id": _IDENT,
        "run_id": _RUN_IDENT,
        "file": {"type": "string", "pattern": "^[a-z.]+$"},
    }
    return [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in known.items()
        if f"{{{name}}}" in path
    ]


def _query_arguments(call: Call) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "query", "required": name in call.required, "schema": schema}
        for name, schema in call.arguments.items()
    ]


def _content(call: Call) -> dict[str, Any]:
    if call.takes_file:
        return {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    return _json(call.body) if call.body else {}


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _json(model: type[BaseModel] | None) -> dict[str, Any]:
    assert model is not None
    return {"application/json": {"schema": _reference(model)}}
