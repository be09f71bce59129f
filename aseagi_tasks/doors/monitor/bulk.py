"""The bulk runs: files dropped or a prefix chosen, scanned, quoted, confirmed, watched, certified."""

from __future__ import annotations

import logging
import math
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tornado.web import HTTPError, url

from aseagi_tasks import keys, services
from aseagi_tasks.admission import check_disk
from aseagi_tasks.bulk import orders
from aseagi_tasks.doors.monitor.page import Page
from aseagi_tasks.doors.monitor.sending import Named, Sending
from aseagi_tasks.doors.monitor.taking import Taking
from aseagi_tasks.errors import NotFound
from aseagi_tasks.settings import settings
from aseagi_tasks.stages.fetch import digest

log = logging.getLogger(__name__)

#: A run's id, as the addresses have it.
IDENT = r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}"
ACTIONS = ("confirm", "pause", "resume", "cancel")
LISTED = 50
#: The way of a run, as it is shown: its name, and the statuses in which it is there.
WAY = (
    ("look through", ("scanning",)),
    ("confirm", ("waiting",)),
    ("process", ("confirmed", "running", "paused", "finishing", "cancelling")),
    ("certify", ("completed", "cancelled")),
)
_FOLDER = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


def tend_soon() -> None:
    """Have a control worker look after the runs now, for somebody who waits; without one the clock does, in a while."""
    from aseagi_tasks.control import bulk

    try:
        services.redis().ping()  # Celery would try for long
        bulk.apply_async(expires=15)
    except Exception as exc:  # of a connection that goes, kombu raises an AttributeError too
        log.info("runs are looked after later: %s", exc)


def shown(run_id: str) -> dict[str, Any]:
    """How a run stands. Who looks on while something is to be done at once sees it done.

    Raises:
        NotFound
    """
    run = orders.show(run_id)
    is_idle = run["status"] in ("running", "finishing") and not run["jobs"]["queued"] + run["jobs"]["processing"]
    if is_idle or run["status"] in ("scanning", "confirmed", "cancelling"):
        tend_soon()
    return run


def begin(prefix: str, who: str, cap_usd: float | None, failed: bool) -> str:
    """Begin a run, which waits to be confirmed when it is quoted; its id.

    Raises:
        BulkRefused: the prefix or the cap is none.
    """
    run_id = orders.start(prefix, requested_by=who, cap_usd=cap_usd, failed=failed)
    tend_soon()
    return run_id


def order(action: str, run_id: str, who: str, cap_usd: float | None) -> str:
    """Do what an operator asks of a run; its id.

    Raises:
        NotFound, BulkRefused: nothing was done.
    """
    if action == "confirm":
        orders.confirm(run_id, by=who, cap_usd=cap_usd)
    elif action == "resume":
        orders.resume(run_id, by=who, cap_usd=cap_usd)
    else:
        (orders.pause if action == "pause" else orders.cancel)(run_id, by=who)
    tend_soon()
    return run_id


def certificate(run_id: str, extension: str) -> Named:
    """Where a run's certificate is.

    Raises:
        NotFound: there is no such run, or it has none yet.
    """
    run = services.bulk_records().run(run_id)
    if run.certificate is None:
        raise NotFound(f"A certificate of run {run_id}", "the bucket: a run gets one when it ends")
    key = f"{run.certificate.rpartition('.')[0]}.{extension}"
    return Named(key, key.rsplit("/", 1)[-1])


def money(given: str) -> float | None:
    """Dollars as they were typed; None where nothing was.

    Raises:
        HTTPError: it is no amount.
    """
    text = given.strip().lstrip("$").replace(",", "")
    try:
        usd = float(text) if given.strip() else None
    except ValueError:
        usd = math.nan
    if usd is not None and not math.isfinite(usd):
        raise HTTPError(400, "The most it may spend is an amount in dollars, like 25 or 0.50.")
    return usd


def typed(usd: float) -> str:
    """Dollars as they stand in a field: what is sent back is not less than what was meant."""
    text = f"{math.ceil(usd * 10_000 - 1e-6) / 10_000:.4f}"
    return text.removesuffix("00")


def put_down(path: Path, folder: str) -> str:
    """Put a file that was sent where the runs of its folder find it, if it is one that the chain reads; its key.

    Raises:
        NotADocument, TooLarge, DiskFull, StorageUnavailable: nothing was put there.
    """
    from aseagi_tasks.stages.heic import is_heic
    from aseagi_tasks.stages.intake import examine

    check_disk()
    storage = services.storage()
    if not is_heic(path):
        examine(path, path.name, "", max_bytes=settings().max_bytes)
    for name in _names(path):
        key = keys.dropped(folder, name)
        if storage.stat(key) is None:
            break
        if _is_same(path, key):
            return key
    storage.upload(path, key)
    return key


def _names(path: Path) -> Iterator[str]:
    """What a file may be called among others of its name: each of a thousand folders may have one."""
    yield path.name
    yield from (f"{path.stem} ({number}){path.suffix}" for number in range(2, 10))
    yield f"{path.stem} ({digest(path)[0][:16]}){path.suffix}"


def _is_same(path: Path, key: str) -> bool:
    """Whether these bytes are there already: a browser sends again what it heard no answer to."""
    there = services.storage().stat(key)
    if there is None or there.bytes != path.stat().st_size:
        return False
    with TemporaryDirectory(dir=settings().scratch_root) as scratch:
        other = Path(scratch) / "other"
        services.storage().download(key, other)
        return digest(other) == digest(path)


def new_folder(now: datetime) -> str:
    """A name for what is dropped together."""
    return f"{now:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}"


class Runs(Page):
    """All runs, and the way to begin one."""

    tab = "bulk"

    async def get(self) -> None:
        """To the page's own script only what changes."""
        runs = await self.read(orders.listed, LISTED)
        template = "aseagi-bulk-rows.html" if self.wants_fragment else "aseagi-bulk.html"
        self.show(template, runs=runs, most=settings().max_bytes)

    async def post(self) -> None:
        """Begin one; leads to it."""
        prefix, cap = self.get_body_argument("prefix", "").strip(), money(self.get_body_argument("cap_usd", ""))
        failed = self.get_body_argument("failed", "") == "on"
        run_id = await self.change(
            "bulk start",
            {"prefix": prefix, "cap_usd": cap, "failed": failed},
            *(begin, prefix, self.who.name, cap, failed),
        )
        self.redirect(self.reverse_url("bulk run", run_id))


class Dropped(Taking, Page):
    """Files for a run: each is put down by itself, or all of them and the run is begun."""

    tab = "bulk"

    async def post(self) -> None:
        """To the page's own script where the files are and which were refused; else leads to the run."""
        sent, refused = await self.sent(), []
        folder = self.get_body_argument("folder", "") or new_folder(datetime.now(UTC))
        if not _FOLDER.fullmatch(folder):
            raise HTTPError(400, "This folder was not made here.")
        prefix = keys.dropped(folder)
        for path in sent:
            detail = {"prefix": prefix, "name": path.name}
            try:
                await self.change("bulk file", detail, put_down, path, folder)
            except HTTPError as exc:
                if not (self.wants_fragment and exc.status_code == 422):
                    raise
                refused.append((exc.log_message or "").replace("%%", "%"))
        if self.wants_fragment:
            self.write({"folder": folder, "prefix": prefix, "refused": refused})
            return
        run_id = await self.change("bulk start", {"prefix": prefix}, begin, prefix, self.who.name, None, False)
        self.redirect(self.reverse_url("bulk run", run_id))


class OneRun(Page):
    """A run: where it is on its way, its quote, what came of it."""

    tab = "bulk"

    async def get(self, run_id: str) -> None:
        """To the page's own script only what changes."""
        run = await self.read(shown, run_id)
        name = "aseagi-bulk-run-now.html" if self.wants_fragment else "aseagi-bulk-run.html"
        found, way = _found(run["scan"], run["prefix"]), _way(run["status"])
        self.show(name, run=run, way=way, found=found, span=orders.span, took=_took(run), typed=typed)

    async def post(self, run_id: str) -> None:
        """Confirm, pause, resume or cancel it."""
        action, cap = self.get_body_argument("action", ""), money(self.get_body_argument("cap_usd", ""))
        if action not in ACTIONS:
            raise HTTPError(400, "There is no such order.")
        detail = {"run": run_id, **({} if cap is None else {"cap_usd": cap})}
        await self.change(f"bulk {action}", detail, order, action, run_id, self.who.name, cap)
        self.redirect(self.reverse_url("bulk run", run_id))


class Certificate(Sending):
    """A run's certificate."""

    async def get(self, run_id: str, extension: str) -> None:
        """An address of the bucket, or the bytes where there is none."""
        await self.send(lambda: certificate(run_id, extension))


def _way(status: str) -> list[tuple[str, str]]:
    at = next(number for number, (_, statuses) in enumerate(WAY) if status in statuses)
    is_over = status in ("completed", "cancelled")
    here = "cancelled" if status == "cancelled" else "ended" if is_over else "running"
    return [(name, "ended" if number < at else here if number == at else "") for number, (name, _) in enumerate(WAY)]


def _took(run: dict[str, Any]) -> float | None:
    """Seconds from a run's beginning to its end."""
    if run["started_at"] is None or run["finished_at"] is None:
        return None
    return (datetime.fromisoformat(run["finished_at"]) - datetime.fromisoformat(run["started_at"])).total_seconds()


def _found(scan: dict[str, Any], prefix: str) -> list[tuple[str, int, str]]:
    """What a scan found, in words; what there is none of is left out."""
    rows = (
        ("Looked at", scan["keys"], f"files in the bucket below {prefix}"),
        ("To be done", scan["todo"], ""),
        ("Done already", scan["done"], "and not modified since"),
        ("Failed before", scan["failed"], "left out; begin a run with what failed before to try them again"),
        ("In other jobs", scan["open"], "queued or at work"),
        ("May still be written", scan["unrested"], "modified a moment ago; the next run takes them"),
        ("No documents", scan["refused"], "by name or size"),
        ("Gone", scan["gone"], "completed, and the original is not in the bucket any more; nothing is done about it"),
    )
    return [row for number, row in enumerate(rows) if row[1] or number < 2]


ROUTES = [
    url(r"/bulk", Runs, name="bulk"),
    url(r"/bulk/files", Dropped, name="bulk files"),
    url(rf"/bulk/({IDENT})", OneRun, name="bulk run"),
    url(rf"/bulk/({IDENT})/certificate\.(json|pdf)", Certificate, name="bulk certificate"),
]
