"""What people ask of bulk runs: begin one, confirm it, pause it, cancel it, see how it stands.

A run lives in the records; ``tending.py`` does what is to be done in it. Each order is one conditional move in the
database: of two people at once the second is told where the run was by then.
"""

from __future__ import annotations

import hashlib
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from aseagi_tasks import keys, services
from aseagi_tasks.admission import check_disk
from aseagi_tasks.errors import BulkRefused, DiskFull, NotFound
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.bulk_records import BulkRun, RunKind, RunStatus, Stands

#: What people hand in lies below it.
RAW = "raw/"
#: How fast a run goes is told from what ended in so long at most, and from so many documents at least.
WINDOW, ENOUGH = timedelta(minutes=30), 3
#: A run that is to be looked after every 15 s, and was not for so long.
SILENT = timedelta(minutes=2)
_ENDED: tuple[RunStatus, ...] = ("completed", "cancelled")


def start(
    prefix: str,
    *,
    requested_by: str,
    cap_usd: float | None = None,
    failed: bool = False,
    unattended: bool = False,
    kind: RunKind = "bulk",
    deadline: datetime | None = None,
    now: datetime | None = None,
) -> str:
    """Begin a run: what is below a prefix is looked through, quoted, and waits to be confirmed.

    Args:
        prefix: of keys, ``raw/`` or below.
        cap_usd: what it may spend at most, rent included; None: named when it is confirmed.
        failed: also what failed before.
        unattended: confirms itself if what it may spend is within the settings' limit.
        kind: ``night``: one for each date of the wall's clock; the same date again is that run.
        deadline: begins nothing after it.
    Returns:
        The run's id.
    Raises:
        BulkRefused: the prefix is not in ``raw/``, or the cap is below nothing. RecordsUnavailable.
    """
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    _check_prefix(prefix)
    _check_cap(prefix, "a prefix", cap_usd)
    run = BulkRun(
        run_id=_night_id(moment) if kind == "night" else f"{moment:%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
        kind=kind,
        prefix=prefix,
        failed=failed,
        unattended=unattended,
        requested_by=requested_by,
        created_at=moment,
        cap_usd=cap_usd,
        deadline=deadline,
    )
    return services.bulk_records().add_run(run).run_id


def confirm(run_id: str, *, by: str, cap_usd: float | None = None) -> None:
    """Let a run that waits begin.

    Args:
        cap_usd: what it may spend at most; None: what was named when it was begun, else the quote's upper bound.
    Raises:
        NotFound, BulkRefused, RecordsUnavailable.
    """
    run = services.bulk_records().run(run_id)
    _check_cap(run.run_id, run.status, cap_usd)
    cap = cap_usd if cap_usd is not None else run.cap_usd
    if cap is None:
        cap = run.quote.usd[1] if run.quote else 0.0
    _move(run, ("waiting",), "confirmed", "only a run that waits can be confirmed.", confirmed_by=by, cap_usd=cap)


def pause(run_id: str, *, by: str) -> None:
    """Begin nothing of a run until it is resumed; what is at work or in the queue ends.

    Raises:
        NotFound, BulkRefused, RecordsUnavailable.
    """
    run = services.bulk_records().run(run_id)
    _move(run, ("confirmed", "running"), "paused", "only a run that runs can be paused.", reason=f"paused by {by}")


def resume(run_id: str, *, by: str, cap_usd: float | None = None) -> None:
    """Go on with a run that was paused.

    Args:
        cap_usd: from now on, instead of the cap that it had.
    Raises:
        NotFound, BulkRefused, RecordsUnavailable.
    """
    run = services.bulk_records().run(run_id)
    _check_cap(run.run_id, run.status, cap_usd)
    cap = {} if cap_usd is None else {"cap_usd": cap_usd}
    _move(
        run,
        ("paused",),
        "running" if run.started_at else "confirmed",
        "only a run that is paused can be resumed.",
        reason=f"resumed by {by}",
        **cap,
    )


def cancel(run_id: str, *, by: str) -> None:
    """End a run: nothing of it is begun, what waits is cancelled, and what is at work is given up. Published stays.

    Raises:
        NotFound, BulkRefused, RecordsUnavailable.
    """
    run = services.bulk_records().run(run_id)
    seen: tuple[RunStatus, ...] = ("scanning", "waiting", "confirmed", "running", "paused", "finishing")
    _move(run, seen, "cancelling", "it has ended, or ends already.", reason=f"cancelled by {by}")


def show(run_id: str, now: datetime | None = None) -> dict[str, Any]:
    """How a run stands, as JSON values; all that doors show of it.

    Raises:
        NotFound, RecordsUnavailable.
    """
    records, moment = services.bulk_records(), now or datetime.now(UTC)
    run = records.run(run_id)
    since = max(moment - WINDOW, run.started_at or moment - WINDOW)
    stands = records.stands(run.run_id, since)
    progress = _progress(run, stands, (moment - since).total_seconds())
    spent = stands.spent_usd + stands.rent_usd
    return {
        **_row(run),
        **{"confirmed_by": run.confirmed_by, "started_at": _iso(run.started_at), "deadline": _iso(run.deadline)},
        "failed": run.failed,
        "cap_usd": run.cap_usd,
        "spent_usd": spent,
        "rent_usd": stands.rent_usd,
        "cost_usd": stands.spent_usd,
        "reserved_usd": stands.reserved_usd,
        "left_usd": None if run.cap_usd is None else max(0.0, run.cap_usd - stands.committed_usd),
        "scan": run.scan.model_dump(mode="json", exclude={"parts"}),
        "quote": run.quote.model_dump(mode="json") if run.quote else None,
        "jobs": dict(stands.jobs),
        "fed": run.fed,
        "left": progress["of"] - progress["done"],
        "begun": stands.begun,
        "progress": progress,
        "trouble": _trouble(run, stands, moment),
    }


def listed(limit: int = 50) -> list[dict[str, Any]]:
    """Runs, newest first, as JSON values; their figures are those of when they were last looked after."""
    found = []
    for run in services.bulk_records().runs(limit=limit):
        ended = run.jobs.get("completed", 0) + run.jobs.get("error", 0)
        figures = {"todo": run.scan.todo, "done": ended, "left": run.left, "cap_usd": run.cap_usd}
        money = {"spent_usd": run.spent_usd + run.rent_usd, "quote_usd": list(run.quote.usd) if run.quote else None}
        found.append({**_row(run), **figures, **money})
    return found


def limit_usd(kind: RunKind) -> float:
    """Up to what a run that nobody watches confirms itself."""
    return settings().nightly_usd if kind == "night" else settings().bulk_unattended_usd


def night_of(now: datetime) -> tuple[datetime, datetime]:
    """When the latest night began, and when it is over, by the clock on the wall."""
    conf = settings()
    here = now.astimezone(ZoneInfo(conf.time_zone))
    begins = _at(here, conf.nightly_at)
    if begins > here:
        begins = _at(here - timedelta(days=1), conf.nightly_at)
    ends = _at(begins, conf.nightly_until)
    return begins, ends if ends > begins else _at(begins + timedelta(days=1), conf.nightly_until)


def on_the_wall(moment: datetime) -> str:
    """A moment as the clock on the wall has it."""
    return f"{moment.astimezone(ZoneInfo(settings().time_zone)):%H:%M}"


def _at(day: datetime, time: str) -> datetime:
    """That time of a day, there. Both are of the wall's clock, whatever was changed on it in between."""
    hour, minute = map(int, time.split(":"))
    return day.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)


def _move(run: BulkRun, seen: tuple[RunStatus, ...], to: RunStatus, why: str, **changes: Any) -> None:
    """Move a run, or say that it is not where it would have to be.

    Raises:
        BulkRefused.
    """
    records = services.bulk_records()
    if records.move_run(run.run_id, seen, to, **changes) is None:
        raise BulkRefused(run.run_id, records.run(run.run_id).status, why)


def _check_prefix(prefix: str) -> None:
    """Raises BulkRefused."""
    try:
        keys.check_path(prefix.rstrip("/"))
    except NotFound:
        raise BulkRefused(repr(prefix), "no prefix", "Keys are like raw/2026/11/23/name.pdf.") from None
    if not prefix.startswith(RAW) or prefix.endswith("//"):
        raise BulkRefused(repr(prefix), "no prefix of documents", f"What is handed in lies below {RAW}.")


def _check_cap(what: str, status: str, cap_usd: float | None) -> None:
    """Raises BulkRefused."""
    if cap_usd is not None and not 0 <= cap_usd < 1e9:
        raise BulkRefused(what, status, f"a cap of {cap_usd} USD is none. Give dollars, 0 or more.")


def _night_id(moment: datetime) -> str:
    """One for each night, by the date on which it begins."""
    night = f"{night_of(moment)[0]:%Y%m%d-%H%M}00"
    return f"{night}-{hashlib.sha256(night.encode()).hexdigest()[:6]}"


def _row(run: BulkRun) -> dict[str, Any]:
    said = ("run_id", "kind", "prefix", "status", "reason", "requested_by", "certificate")
    times = {"created_at": _iso(run.created_at), "finished_at": _iso(run.finished_at)}
    return {**{name: getattr(run, name) for name in said}, **times}


def _progress(run: BulkRun, stands: Stands, seconds: float) -> dict[str, Any]:
    done, of = stands.jobs["completed"] + stands.jobs["error"], run.scan.todo
    is_moving = run.status in ("running", "finishing") and stands.ended >= ENOUGH and seconds > 0
    per_hour = stands.ended / seconds * 3600 if is_moving else None
    left = stands.open if run.status == "finishing" else of - done
    seconds_left = left / per_hour * 3600 if per_hour and left else None
    share = done / of if of else (1.0 if run.scan.finished else 0.0)
    return {
        **{"done": done, "of": of, "share": share, "per_hour": per_hour, "seconds_left": seconds_left},
        "said": _said(run, stands, done, per_hour, seconds_left),
    }


def _said(run: BulkRun, stands: Stands, done: int, per_hour: float | None, seconds_left: float | None) -> str:
    """How far it is, in a sentence."""
    of = run.scan.todo
    match run.status:
        case "scanning":
            return f"{run.scan.keys:,} files were looked at, {of:,} of them are to be done."
        case "waiting":
            return f"{of:,} documents are to be done; the run waits to be confirmed."
        case "paused":
            return f"{done:,} of {of:,} documents are done; the run is paused."
        case "cancelling":
            return f"{done:,} of {of:,} documents are done; the rest is being cancelled."
        case "finishing":
            return f"{done:,} of {of:,} documents are done; nothing more is begun, {stands.open:,} are still open."
        case "completed" | "cancelled":
            failed = f", {stands.jobs['error']:,} of them failed" if stands.jobs["error"] else ""
            left = f"; {of - done:,} are left" if of > done else ""
            return f"{done:,} of {of:,} documents ended{failed}{left}."
    pace = f"; {per_hour:,.0f} an hour" if per_hour else ""
    rest = f", done in about {span(seconds_left)} at this pace" if seconds_left else ""
    unknown = "" if per_hour or done == of else "; too few have ended lately to say how long the rest takes"
    return f"{done:,} of {of:,} documents are done{pace}{rest}{unknown}."


def _trouble(run: BulkRun, stands: Stands, now: datetime) -> str | None:
    """Why nothing moves, or None."""
    if run.status in ("waiting", "paused", *_ENDED):
        return _low_cap(run)
    if now - (run.tended_at or run.created_at) > SILENT:
        return "No control worker looks after it. `aseagi up` starts one."
    if run.trouble:
        return run.trouble
    try:
        check_disk()
    except DiskFull as exc:
        return str(exc)
    if stands.waits and not stands.ended:
        what, count = max(stands.waits.items(), key=lambda item: item[1])
        return f"{count:,} of its documents wait for {what}."
    return _low_cap(run)


def _low_cap(run: BulkRun) -> str | None:
    if run.cap_usd is None or run.quote is None or run.cap_usd >= run.quote.usd[0] or run.status in _ENDED:
        return None
    low = run.quote.usd[0]
    return f"The cap of ${run.cap_usd:,.2f} is below what was quoted (${low:,.2f} at least): not all will be done."


def span(seconds: float) -> str:
    """So long, in words."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    return f"{round(seconds / 60)} minutes" if seconds < 5400 else f"{seconds / 3600:,.1f} hours"


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
