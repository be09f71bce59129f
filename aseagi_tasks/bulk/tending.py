"""What is to be done in a bulk run now: a step of its scan, its quote, the next jobs, its end.

Every step begins with what the records say and may be broken off at any line: the next one, by whoever does it, comes
to the same end. One at a time looks after a run, by a lease in the records.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from aseagi_tasks import keys, services
from aseagi_tasks.admission import feed_if_possible, go_on
from aseagi_tasks.bulk import ending, orders
from aseagi_tasks.bulk.scanning import scan_on, todo
from aseagi_tasks.errors import AseagiError, BulkRefused, RecordsUnavailable
from aseagi_tasks.notices import notice
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.bulk_records import CANCELLED, OPEN_RUNS, BulkRun, Stands, Which
from aseagi_tasks.stores.records import FOLLOWS
from aseagi_tasks.waiting import forget_ended

log = logging.getLogger(__name__)
#: Seconds after which a round begins no more work; and for which nobody else looks after a run, while it is certified.
STEP_S, HOLD_S, KEPT_S = 8.0, 120.0, 600.0
#: Open jobs of one run, and how many are registered together; the rest waits as nothing but lines in the bucket.
AHEAD, TOGETHER = 10_000, 500
DAY_S = 86_400.0
#: Sums of fractions of a cent.
_NOTHING = 1e-9


class _Round(NamedTuple):
    """How long a step may take (of the monotonic clock), when it is, and what says that it is still at work."""

    until: float
    now: datetime
    keep: Callable[[], None]


def tend(now: datetime | None = None) -> dict[str, str]:
    """Look after open runs, the oldest first and last those that wait, for ``STEP_S`` together; how each stands."""
    until = time.monotonic() + STEP_S
    at_work, runs = [status for status in OPEN_RUNS if status != "waiting"], services.bulk_records().runs
    # however many wait to be confirmed, they keep none from those that are at work
    found = [*runs(statuses=["waiting"], limit=100), *runs(statuses=at_work, limit=100)]
    return {run.run_id: step(run.run_id, until=until, now=now).status for run in reversed(found)}


def step(run_id: str, *, until: float | None = None, now: datetime | None = None) -> BulkRun:
    """Do what is to be done in a run now; the run as it is then. Nothing if another looks after it.

    Args:
        until: of the monotonic clock; None: in ``STEP_S``. At least a little is done.
    Raises:
        RecordsUnavailable, NotFound: there is no such run. Other errors are kept as the run's ``trouble``.
    """
    records, holder = services.bulk_records(), uuid.uuid4().hex
    run = records.hold_run(records.run(run_id).run_id, holder, HOLD_S)
    if run is None:
        return records.run(run_id)
    trouble: str | None = None
    try:
        until = time.monotonic() + STEP_S if until is None else until
        _do(run, _Round(until, now or datetime.now(UTC), partial(_keep, run.run_id, holder)))
    except RecordsUnavailable:
        raise
    except AseagiError as exc:
        trouble = str(exc)
    except Exception as exc:  # the next run must not wait for this one
        log.exception("bulk run %s", run.run_id)
        trouble = f"A step failed in a way nobody foresaw: {type(exc).__name__}: {exc}"
    finally:
        with suppress(RecordsUnavailable):  # then the lease ends by itself
            records.let_run(run.run_id, holder)
    run = records.run(run.run_id)
    if run.trouble != trouble:
        run = records.move_run(run.run_id, OPEN_RUNS, trouble=trouble) or run
    return run


def _keep(run_id: str, holder: str) -> None:
    services.bulk_records().hold_run(run_id, holder, KEPT_S)


def _do(run: BulkRun, at: _Round) -> None:
    match run.status:
        case "scanning":
            _scan(run, at)
        case "waiting":
            _confirm(run)
        case "confirmed":
            _begin(run, at)
        case "running":
            _run(run, at)
        case "paused":
            _stands(run, at.now)
            if run.deadline is not None and at.now >= run.deadline:
                _finish_early(run, _deadline(run))
        case "finishing":
            _finish(run, at)
        case "cancelling":
            _cancel(run, at)


# -- before it begins


def _scan(run: BulkRun, at: _Round) -> None:
    records, conf = services.bulk_records(), settings()
    if not run.scan.finished:
        scan = scan_on(
            run.run_id,
            run.prefix,
            run.scan,
            records=records,
            storage=services.storage(),
            failed=run.failed,
            rest_s=_rest_s(run.prefix),
            now=at.now,
            enough=lambda: time.monotonic() >= at.until,
        )
        moved = records.move_run(run.run_id, ["scanning"], scan=scan)
        if moved is None or not scan.finished or time.monotonic() > at.until - STEP_S / 2:
            return  # to open files for the quote takes as long
        run = moved
    if run.scan.todo == 0:
        ending.end(run, "completed", at.now, keep=at.keep, reason="There is nothing to do.")
        return
    from aseagi_tasks.bulk.quote import quote_of

    quote = quote_of(
        run.run_id,
        run.scan,
        records=services.records(),
        storage=services.storage(),
        conf=conf,
        fleet=None if conf.fleet == "none" else services.fleet_records(),
        deadline=run.deadline,
        now=at.now,
    )
    quoted = records.move_run(run.run_id, ["scanning"], "waiting", quote=quote)
    if quoted is not None:
        _confirm(quoted)


def _rest_s(prefix: str) -> float:
    """What is dropped on the monitor's page is in the bucket when it is whole, whatever the bucket's clock says."""
    return -DAY_S if prefix.startswith(keys.dropped()) else settings().bulk_rest_s


def _confirm(run: BulkRun) -> None:
    """A run that nobody watches confirms itself if what it may spend is within the limit for that."""
    if not run.unattended or run.quote is None:
        return
    most, limit = run.quote.usd[1] if run.cap_usd is None else run.cap_usd, orders.limit_usd(run.kind)
    if most <= limit + _NOTHING:
        with suppress(BulkRefused):  # somebody was faster
            orders.confirm(run.run_id, by="itself", cap_usd=most)
        return
    name = "ASEAGI_NIGHTLY_USD" if run.kind == "night" else "ASEAGI_BULK_UNATTENDED_USD"
    reason = f"It may cost ${most:,.2f}, and confirms itself up to ${limit:,.2f} ({name})."
    if run.reason != reason:
        services.tell_once(f"bulk:{run.run_id}", notice("run_waits", run_id=run.run_id, why=reason))
        services.bulk_records().move_run(run.run_id, ["waiting"], reason=reason)


# -- while it runs


def _begin(run: BulkRun, at: _Round) -> None:
    records = services.bulk_records()
    begun = records.move_run(run.run_id, ["confirmed"], "running", started_at=run.started_at or at.now, reason=None)
    if begun is not None:
        _run(begun, at)


def _run(run: BulkRun, at: _Round) -> None:
    stands = _stands(run, at.now)
    if run.deadline is not None and at.now >= run.deadline:
        _finish_early(run, _deadline(run))
    elif _is_at_cap(run, stands):
        _finish_early(run, _capped(run))
    elif not _feed(run, stands, at):
        feed_if_possible(limit=100)


def _feed(run: BulkRun, stands: Stands, at: _Round) -> bool:
    """Register the next jobs, as many as there is room and money for; whether the run has come to its end."""
    records, still_open = services.bulk_records(), stands.open
    while (room := _room(run, stands, still_open)) > 0 and run.part <= run.scan.parts:
        listed = todo(services.storage(), run.run_id, run.part)
        some = listed[run.row :][: min(room, TOGETHER)]
        still_open += records.register_bulk(run.run_id, {ending.job_id(run, one.key): one.key for one in some})
        row = run.row + len(some)
        part, row = (run.part + 1, 0) if row >= len(listed) else (run.part, row)
        fed = records.move_run(run.run_id, ["running"], part=part, row=row, fed=run.fed + len(some))
        if fed is None:  # paused or cancelled meanwhile; what is registered is found again
            return True
        run = fed
        feed_if_possible(limit=100)
        if time.monotonic() >= at.until:
            return False
    is_all = run.part > run.scan.parts
    if still_open == 0:
        if is_all:
            ending.end(run, "completed", at.now, keep=at.keep, reason=None)
        else:
            _finish_early(run, _capped(run))
        return True
    # what follows another request for its document waits with that
    if stands.refused and stands.refused + stands.waits.get(FOLLOWS, 0) == still_open and not _let_go(run, stands):
        _finish_early(run, _capped(run))
        return True
    return False


def _room(run: BulkRun, stands: Stands, still_open: int) -> int:
    """How many more jobs there may be now."""
    room, each = AHEAD - still_open, run.quote.document_usd if run.quote else 0.0
    if run.cap_usd is not None and each > 0:
        room = min(room, int((run.cap_usd - stands.committed_usd) / each + _NOTHING) - still_open)
    return room


def _is_at_cap(run: BulkRun, stands: Stands) -> bool:
    """Whether nothing more may be begun, whatever was set aside comes back."""
    if run.cap_usd is None:
        return False
    left = run.cap_usd - stands.spent_usd - stands.rent_usd
    return left < -_NOTHING or (left <= _NOTHING and bool(run.quote and run.quote.document_usd))


def _let_go(run: BulkRun, stands: Stands) -> int:
    """Let jobs go on whose money was refused and would fit by now; how many would.

    One that does not wait is at work, or looks again by itself: on a rented machine.
    """
    left, fit = (run.cap_usd or 0.0) - stands.committed_usd, 0
    for job in services.bulk_records().refused_jobs(run.run_id):
        left -= job.refused_usd or 0.0
        if left < _NOTHING:  # what fits exactly here the database may refuse again, and again
            break
        fit += 1
        if job.waits_for:
            go_on(job)
    return fit


# -- on its way to the end


def _finish_early(run: BulkRun, reason: str) -> None:
    services.bulk_records().move_run(run.run_id, ["running", "paused"], "finishing", reason=reason)


def _finish(run: BulkRun, at: _Round) -> None:
    """Begin nothing; what is at work ends, and what waits for money or a setting is left to the next run."""
    if not (_cancel_jobs(run, "not begun", at) and _cancel_jobs(run, "put off", at)):
        return
    stands = _stands(run, at.now)
    if stands.open and stands.refused == stands.open and not _let_go(run, stands):
        if not _cancel_jobs(run, "refused", at):
            return
        stands = _stands(run, at.now)
    if not stands.open:
        ending.end(run, "completed", at.now, keep=at.keep, reason=run.reason)


def _cancel(run: BulkRun, at: _Round) -> None:
    if _cancel_jobs(run, "all", at):
        ending.end(run, "cancelled", at.now, keep=at.keep, reason=run.reason)


def _cancel_jobs(run: BulkRun, which: Which, at: _Round) -> bool:
    """Cancel open jobs; whether that were all of them."""
    kind = "CapReached" if run.reason == _capped(run) else "Cancelled"
    while cancelled := services.bulk_records().cancel_jobs(run.run_id, which, kind, run.reason):
        forget_ended(cancelled)
        if len(cancelled) < CANCELLED:
            break
        if time.monotonic() >= at.until:
            return False
    return True


def _stands(run: BulkRun, now: datetime) -> Stands:
    """How it stands, kept for the list of runs."""
    records = services.bulk_records()
    stands = records.stands(run.run_id, now)
    records.move_run(run.run_id, [run.status], jobs=dict(stands.jobs), rent_usd=stands.rent_usd)
    return stands


def _capped(run: BulkRun) -> str:
    return f"The cap of ${run.cap_usd or 0:,.2f} is reached."


def _deadline(run: BulkRun) -> str:
    assert run.deadline is not None
    return f"The deadline of {orders.on_the_wall(run.deadline)} is reached."
