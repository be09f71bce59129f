"""Who is asking the monitor, and what they may do: one guard in front of every address, Flower's own included.

Operators and viewers come with name and password (basic authentication), programs with a token of the API. Without
operators the monitor listens on this machine alone, and whoever is on it is one. A change is taken from the monitor's
own pages or from a program, never from another site's page in somebody's browser.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
import secrets
from base64 import b64decode
from binascii import Error as NoBase64
from collections.abc import Awaitable, Callable
from typing import Any, Literal, NamedTuple, TypeVar, get_args
from urllib.parse import urlsplit

from tornado.web import HTTPError, RequestHandler

from aseagi_tasks import services
from aseagi_tasks.errors import AseagiError
from aseagi_tasks.settings import Settings, settings

Scope = Literal["read", "write", "operate"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
SAFE = ("GET", "HEAD", "OPTIONS")
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
#: Everything comes from here; of scripts in a page only those that it wrote itself, which know the answer's own word.
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; script-src 'self' 'nonce-{nonce}';"
    " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

T = TypeVar("T")


class Who(NamedTuple):
    """Somebody who was let in. ``by_token``: a program, whose requests no browser makes for it."""

    name: str
    scopes: frozenset[str]
    by_token: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether they may do what needs the scope."""
        return scope in self.scopes


def credentials(conf: Settings) -> dict[str, frozenset[str]]:
    """``name:password`` → scopes, as the settings say."""
    found: dict[str, frozenset[str]] = {}
    for people, scopes in ((conf.monitor_viewers, {"read"}), (conf.monitor_operators, set(SCOPES))):
        for one in people.get_secret_value().split(",") if people else ():
            found[one] = frozenset(scopes)
    return found


async def in_background(work: Callable[..., T], *arguments: Any) -> T:
    """Run what waits for records or bucket in a thread: a slow answer holds nobody else up."""
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


async def identify(handler: RequestHandler) -> Who | None:
    """Who sent the request; None: nobody that we know."""
    conf = settings()
    kind, _, given = handler.request.headers.get("Authorization", "").partition(" ")
    if kind.lower() == "bearer":
        digest = hashlib.sha256(given.strip().encode()).hexdigest()
        token = await in_background(services.records().api_token, digest)
        return Who(token.name, frozenset(token.scopes), by_token=True) if token else None
    known = credentials(conf)
    if not known:
        host = urlsplit(f"//{handler.request.host}").netloc.rsplit(":", 1)[0] if handler.request.host else ""
        # another name for this machine is a page elsewhere that makes a browser ask here
        return Who("this machine", frozenset(SCOPES)) if host in LOOPBACK else None
    if kind.lower() != "basic":
        return None
    try:
        name_and_password = b64decode(given, validate=True).decode()
    except (NoBase64, UnicodeDecodeError):
        return None
    for one, scopes in known.items():
        if hmac.compare_digest(one.encode(), name_and_password.encode()):
            return Who(one.partition(":")[0], scopes)
    return None


class Guard(RequestHandler):
    """Put in front of a handler's class by ``guarded``: lets in, or refuses before anything of the handler runs."""

    #: what a change here needs; looking needs ``read``
    changes: Scope = "operate"
    who: Who

    def set_default_headers(self) -> None:
        """Ours go over what the handler sets."""
        super().set_default_headers()
        self.nonce = secrets.token_urlsafe(12)
        self.set_header("Content-Security-Policy", POLICY.format(nonce=self.nonce))
        for name, value in _HEADERS.items():
            self.set_header(name, value)

    def check_xsrf_cookie(self) -> None:
        """Called by Tornado before ``prepare``; it is asked there, when we know who."""

    async def prepare(self) -> None:
        """Let in, or refuse before anything of the handler runs."""
        who = await identify(self)
        if who is None:
            self.set_header("WWW-Authenticate", 'Basic realm="aseagi", charset="UTF-8"')
            self.refuse(401, "Sign in, or send a token of the API.")
            return
        self.who = who
        scope: Scope = "read" if self.request.method in SAFE else self.changes
        if not who.may(scope):
            self.refuse(403, f"{who.name} may not do this: it takes the scope {scope}.")
            return
        if self.request.method not in SAFE and not who.by_token and self._is_asked_by_another_site():
            self.refuse(403, "A page of another site asked for this, or one that was open for too long: load it again.")
            return
        before = super().prepare()
        if inspect.isawaitable(before):
            await before

    def refuse(self, status: int, message: str) -> None:
        """End with a sentence."""
        self.set_status(status)
        self.set_header("Content-Type", "text/plain; charset=UTF-8")
        self.finish(message)

    def _is_asked_by_another_site(self) -> bool:
        """A browser says where a request comes from; a program that is no browser says nothing."""
        site, origin = self.request.headers.get("Sec-Fetch-Site"), self.request.headers.get("Origin")
        if site not in (None, "same-origin") or (origin and urlsplit(origin).netloc != self.request.host):
            return True
        return getattr(self, "wants_form_token", False) and self.lacks_form_token()

    def lacks_form_token(self) -> bool:
        """Whether a browser sent a form without the token that our pages put into theirs."""
        if not (self.request.headers.get("Sec-Fetch-Site") or self.request.headers.get("Origin")):
            return False
        try:
            RequestHandler.check_xsrf_cookie(self)
        except HTTPError:
            return True
        return False


def guarded(handler: type[RequestHandler]) -> type[RequestHandler]:
    """The same handler behind the guard."""
    return handler if issubclass(handler, Guard) else type(f"Guarded{handler.__name__}", (Guard, handler), {})


async def audited(who: Who, what: str, detail: dict[str, Any], work: Callable[[], Awaitable[T]]) -> T:
    """Do a change and keep who made it; one that failed is kept with what went wrong."""
    try:
        done = await work()
    except AseagiError as exc:
        await in_background(services.records().note_change, who.name, what, {**detail, "error": str(exc)})
        raise
    await in_background(services.records().note_change, who.name, what, detail)
    return done
