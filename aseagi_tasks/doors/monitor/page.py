"""What every page of ours is made of: a handler that renders, reports our errors in words, and notes changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

from flower.views import BaseHandler
from tornado.web import HTTPError, RequestHandler

from aseagi_tasks import services
from aseagi_tasks.doors.monitor.access import Guard, audited, in_background
from aseagi_tasks.doors.showing import words
from aseagi_tasks.errors import (
    AseagiError,
    BulkRefused,
    ConfigError,
    DocumentError,
    FleetError,
    NotFound,
    TransientError,
)

T = TypeVar("T")


class Page(Guard, BaseHandler):
    """A page. ``tab`` is the one that is shown as active."""

    tab = ""
    wants_form_token = True

    async def read(self, work: Callable[..., T], *arguments: Any) -> T:
        """Ask records or bucket in a thread; our errors become the browser's."""
        try:
            return await in_background(work, *arguments)
        except AseagiError as exc:
            raise _as_http(exc) from exc

    async def change(self, what: str, detail: dict[str, Any], work: Callable[..., T], *arguments: Any) -> T:
        """The same for what changes something; who did it is kept."""

        async def doing() -> T:
            return await in_background(work, *arguments)

        try:
            return await audited(self.who, what, detail, doing)
        except AseagiError as exc:
            raise _as_http(exc) from exc

    def show(self, template: str, **values: Any) -> None:
        """Render one of our templates."""
        helpers = {"words": words, "ago": ago, "when": when, "usd": usd, "plural": plural, "amount": amount}
        self.render(template, **helpers, **values, tab=self.tab, who=self.who, now=datetime.now(UTC))

    @property
    def wants_fragment(self) -> bool:
        """Whether the page's own script asks for what changes on it only."""
        return self.request.headers.get("X-Fragment") == "1"

    def text(self, name: str) -> str | None:
        """A query argument as it was typed; None if it is empty."""
        return RequestHandler.get_argument(self, name, "").strip() or None  # Flower's would escape it

    def whole_number(self, name: str, default: int, low: int = 0, high: int = 1_000_000) -> int:
        """A query argument as a number within bounds."""
        given = self.text(name)
        if given is None:
            return default
        if not given.isdecimal() or not low <= int(given) <= high:
            raise HTTPError(400, f"{name} is a whole number from {low} to {high}.")
        return int(given)

    def _handle_request_exception(self, exc: BaseException) -> None:
        super()._handle_request_exception(_as_http(exc) if isinstance(exc, AseagiError) else exc)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """A sentence, on a page of ours; no traceback leaves this machine."""
        exc = (kwargs.get("exc_info") or (None, None, None))[1]
        said = exc.log_message if isinstance(exc, HTTPError) and exc.log_message else None
        message = said or "Something went wrong that nobody foresaw; the monitor's log says more."
        self.show("aseagi-error.html", status=status_code, message=message)


def _as_http(exc: AseagiError) -> HTTPError:
    if isinstance(exc, NotFound):
        return HTTPError(404, _plain(exc))
    if isinstance(exc, BulkRefused):
        return HTTPError(409, _plain(exc))
    if isinstance(exc, DocumentError):
        return HTTPError(422, _plain(exc))
    if isinstance(exc, (TransientError, ConfigError, FleetError)):
        return HTTPError(503, _plain(exc))
    return HTTPError(500, _plain(exc))


def _plain(exc: AseagiError) -> str:
    return str(exc).replace("%", "%%")  # HTTPError formats its message


def names_of(document_ids: Iterable[str | None]) -> Mapping[str, str]:
    """File names by document id, for lists of jobs."""
    wanted = sorted({ident for ident in document_ids if ident})
    rows = services.records().rows_of("documents", "document_id", wanted, ["document_id", "name"]) if wanted else []
    return {row["document_id"]: row["name"] for row in rows}


def when(moment: datetime | None) -> str:
    """A time, UTC."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago, in the largest unit that is more than one."""
    if moment is None:
        return ""
    seconds = max(0.0, (now - moment).total_seconds())
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}s ago"
    return f"{int(seconds)} s ago"


def usd(amount: float) -> str:
    """Dollars with as many digits as say something."""
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def amount(low: float, high: float, unit: str = "") -> str:
    """A range with its unit; one figure where both ends read the same. Hours are said in what suits them."""
    if unit == "hours":
        size, unit = next(((size, name) for size, name in _TIMES if high * size < 90), (1.0, unit))
        low, high = low * size, high * size
    ends = [_figure(value, unit) for value in (low, high)]
    said = ends[0] if ends[0] == ends[1] else " – ".join(ends)
    return said if unit.upper() == "USD" or not unit else f"{said} {unit}"


def _figure(value: float, unit: str) -> str:
    if unit.upper() == "USD":
        if value >= 1_000:
            return f"${value:,.0f}"
        return f"${value:,.2f}" if value >= 0.01 or value == 0 else f"${value:.4f}"
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:,.1f}"


#: How many of them an hour has; 90 and more are said in the next one.
_TIMES = ((3600.0, "seconds"), (60.0, "minutes"))


def plural(count: int, noun: str) -> str:
    """`1 page`, `2 pages`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
