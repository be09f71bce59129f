"""The gateway's addresses: ``/enroll`` and ``/instances/report`` for machines outside the tunnel, the rest through it.

    POST /enroll               {"token", "csr"} -> credentials
    POST /instances/report     {"state", …}, with a gateway token, or the invitation before there is one
    POST /records/METHOD, /storage/METHOD      a call of the protocol, narrowed to the machine's jobs
    POST /v1/messages          Claude, metered
    GET /health

Every call but the first is a machine's by its token. Bodies, tokens and addresses are in no log.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from redis import Redis
from tornado.web import Application, RequestHandler

from aseagi_tasks.doors.gateway.claude import ClaudeProxy, Said, refusal
from aseagi_tasks.doors.gateway.narrowing import Side
from aseagi_tasks.errors import AseagiError, BadRequest, ConfigError, Malformed, NotInvited, RateLimited, TransientError
from aseagi_tasks.fleet.invitations import Invitations
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.calls import calls_of, error_body
from aseagi_tasks.stores.pace import Pace
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage

log = logging.getLogger("aseagi.gateway")
#: A call with a text of 2,000 pages fits.
MAX_BODY = 32 * 1024 * 1024
MAX_ENROLL_BODY = 20_000
#: How long a machine that calls too often is made to wait before it is told so.
WAIT_S = 2.0
#: Enrolments a second, of all together.
ENROLL_PER_S = 5.0
_CALLS = {"records": calls_of(Records), "storage": calls_of(Storage)}
_ANSWERS = 2_000
#: What done twice would be something else than done once.
_ONCE = {"begin_stage", "end_stage", "add_event", "complete", "fail", "cancel"}


@dataclass
class Parts:
    """What the gateway works with.

    Attributes:
        side: a machine's own, by its id.
        given: settings for the workers of a machine that enrolls.
        told: called with an instance's id and report.
    """

    conf: Settings
    redis: Redis
    invitations: Invitations
    side: Callable[[str], Side]
    claude: ClaudeProxy
    analyzed_job: Callable[[str], str | None]
    given: dict[str, str]
    told: Callable[[str, dict[str, Any]], None] = lambda _instance, _report: None
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(24, "gateway"))
    #: Claude takes its time, and must not keep others waiting.
    claude_pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(32, "claude"))
    answers: Answers = field(default_factory=lambda: Answers())


class Answers:
    """Answers that were given, by the machine's name for the call: asked again, it gets the same one, made once."""

    def __init__(self) -> None:
        self._futures: OrderedDict[tuple[str, str], asyncio.Future[tuple[int, Any]]] = OrderedDict()

    async def once(self, name: tuple[str, str], make: Callable[[], Awaitable[tuple[int, Any]]]) -> tuple[int, Any]:
        """What ``make`` makes, or made."""
        if not name[1]:
            return await make()
        if name not in self._futures:
            self._futures[name] = asyncio.ensure_future(make())
            while len(self._futures) > _ANSWERS:
                self._futures.popitem(last=False)
        status = 500
        try:
            status, body = await asyncio.shield(self._futures[name])
            return status, body
        finally:
            if status >= 500:  # is tried anew
                self._futures.pop(name, None)


class Handler(RequestHandler):
    """What all addresses share."""

    def initialize(self, parts: Parts) -> None:
        """Tornado's hook."""
        self.parts = parts

    def set_default_headers(self) -> None:
        """Tornado's hook."""
        self.set_header("Server", "aseagi")
        self.set_header("Cache-Control", "no-store")

    async def blocking(self, call: Callable[..., Any], *args: Any) -> Any:
        """Run what waits for others in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.parts.pool, call, *args)

    def body(self) -> Any:
        """The request's JSON; None if it is none."""
        try:
            return json.loads(self.request.body)
        except ValueError:
            return None

    def token(self) -> str:
        """As ours send it, or as Anthropic's client does."""
        return self.request.headers.get("Authorization", "").removeprefix("Bearer ") or self.request.headers.get(
            "x-api-key", ""
        )

    async def instance(self) -> str | None:
        """Whose call this is; None after it was refused."""
        found: str | None = await self.blocking(self.parts.invitations.instance_of, self.token())
        if found is None:
            self.set_header("Connection", "close")
            self.say(401, {"error": "This token is not known."})
        return found

    async def may_go_on(self, name: str, per_s: float) -> bool:
        """Take a turn; False after the machine was told to wait."""
        wait_s = await self.blocking(lambda: Pace(self.parts.redis, name).take(1 / per_s, within_s=WAIT_S))
        if wait_s > WAIT_S:
            self.set_header("Retry-After", f"{wait_s:.1f}")
            self.say(429, {"error": "Too many calls."})
            return False
        await asyncio.sleep(wait_s)
        return True

    def say(self, status: int, body: object) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(body))

    def log_exception(self, typ: Any, value: Any, tb: Any) -> None:
        """Without the request's line and body."""
        if typ is not None and not issubclass(typ, AseagiError):
            log.error("unexpected", exc_info=(typ, value, tb))

    def write_error(self, status_code: int, **_kwargs: Any) -> None:
        """JSON, too."""
        self.finish(json.dumps({"error": f"HTTP {status_code}"}))


class Enroll(Handler):
    """Credentials for an invitation."""

    async def post(self) -> None:
        """Answer."""
        body = self.body()
        if len(self.request.body) > MAX_ENROLL_BODY or not isinstance(body, dict):
            return self.say(400, {"error": "This is no request to enroll."})
        token, csr = body.get("token"), body.get("csr")
        if not isinstance(token, str) or not isinstance(csr, str):
            return self.say(400, {"error": "token and csr are needed."})
        if not await self.may_go_on("gateway:enroll", ENROLL_PER_S):
            return None
        conf = self.parts.conf
        try:
            admitted = await self.blocking(self.parts.invitations.enroll, token, csr, datetime.now(UTC))
        except (BadRequest, NotInvited) as exc:
            log.warning("an enrolment was refused: %s", exc)
            return self.say(403, {"error": str(exc)})
        log.info("%s has enrolled", admitted.instance)
        tunnel = {"tunnel_host": conf.public_name, "tunnel_port": conf.tunnel_public_port}
        return self.say(200, {**admitted._asdict(), **tunnel, "settings": self.parts.given})


class Report(Handler):
    """What a machine says of itself."""

    async def post(self) -> None:
        """Answer."""
        instance = await self.blocking(self.parts.invitations.reporter, self.token())
        body = self.body()
        if instance is None:
            return self.say(401, {"error": "This token is not known."})
        if not isinstance(body, dict) or len(self.request.body) > MAX_ENROLL_BODY:
            return self.say(400, {"error": "This is no report."})
        await self.blocking(self.parts.invitations.keep_report, instance, body)
        await self.blocking(self.parts.told, instance, body)
        self.set_status(204)
        return await self.finish()


class Protocol(Handler):
    """A call of ``Records`` or ``Storage``."""

    async def post(self, area: str, method: str) -> None:
        """Answer."""
        instance = await self.instance()
        if instance is None or not await self.may_go_on(f"gateway:{instance}", self.parts.conf.gateway_calls_per_s):
            return
        call = _CALLS[area].get(method)
        if call is None:
            return self.say(404, error_body(Malformed(method, "there is no such method")))
        name = instance, self.request.headers.get("Idempotency-Key", "") if method in _ONCE else ""
        self.say(*await self.parts.answers.once(name, lambda: self._answer(instance, area, method)))

    async def _answer(self, instance: str, area: str, method: str) -> tuple[int, Any]:
        call = _CALLS[area][method]
        try:
            arguments = call.parsed(self.body())
            answer = await self.blocking(getattr(self.parts.side(instance), area), method, arguments)
        except RateLimited as exc:
            self.set_header("Retry-After", f"{exc.retry_after_s:g}")
            return 429, error_body(exc)
        except TransientError as exc:
            log.warning("%s of %s: %s", method, instance, exc)
            return 503, error_body(exc)
        except ConfigError as exc:  # of this side: the machine cannot mend it, and its document is not to blame
            log.error("%s of %s: %s", method, instance, exc)
            return 503, {"error": "The control plane is not set up for this."}
        except AseagiError as exc:
            return 409, error_body(exc)
        return 200, {"answer": call.answer(answer)}


class Messages(Handler):
    """Claude."""

    async def post(self) -> None:
        """Answer."""
        instance = await self.instance()
        if instance is None or not await self.may_go_on(f"gateway:{instance}", self.parts.conf.gateway_calls_per_s):
            return
        version = self.request.headers.get("anthropic-version", "2023-06-01")
        try:
            job_id = await self.blocking(self.parts.analyzed_job, instance)
            arguments = instance, job_id, self.body(), version
            loop = asyncio.get_running_loop()
            said: Said = await loop.run_in_executor(self.parts.claude_pool, self.parts.claude.ask, *arguments)
        except TransientError as exc:
            log.warning("Claude for %s: %s", instance, exc)
            said = refusal(502, "The records do not answer.")
        self.set_status(said.status)
        for name, value in said.headers.items():
            self.set_header(name, value)
        self.set_header("Content-Type", "application/json")
        self.finish(said.body if isinstance(said.body, bytes) else json.dumps(said.body))


class Health(Handler):
    """Whether it answers."""

    async def get(self) -> None:
        """Answer."""
        await self.blocking(self.parts.redis.ping)
        self.say(200, {"ok": True})


def application(parts: Parts) -> Application:
    """The gateway."""
    given = {"parts": parts}
    return Application(
        [
            ("/enroll", Enroll, given),
            ("/instances/report", Report, given),
            ("/(records|storage)/([a-z_]+)", Protocol, given),
            ("/v1/messages", Messages, given),
            ("/health", Health, given),
        ],
        log_function=_log,
    )


def _log(handler: RequestHandler) -> None:
    """Method, path and status; a query is no part of ours, and is not shown."""
    if handler.get_status() >= 400:
        log.info("%s %s %s", handler.get_status(), handler.request.method, handler.request.path)
