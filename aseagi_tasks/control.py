"""What beat calls. When is in ``beat_schedule.py``."""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from aseagi_tasks import housekeeping, services
from aseagi_tasks.admission import feed, go_on, in_queue, reached, send
from aseagi_tasks.celery import app
from aseagi_tasks.delivery import MAX_DEATHS, set_aside
from aseagi_tasks.errors import AseagiError, NotFound, NotSetUp, Quarantined, RecordsUnavailable, TransientError
from aseagi_tasks.fleet import broker_access
from aseagi_tasks.fleet.allowance import Allowance
from aseagi_tasks.fleet.marks import HEARTBEAT_KEY
from aseagi_tasks.notices import notice
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.records import Job

log = logging.getLogger(__name__)


class _Round:
    """When the reaper last came to its end, by the clock that nobody sets; and until when it waits."""

    ended: float | None = None
    patience_until = 0.0


@app.task(name="aseagi.control.reap", expires=60)
def reap() -> dict[str, int]:
    """Go on with jobs of which nothing is heard any more, and let waiting ones in. Two at once do no harm.

    A job whose lease is over has lost its worker; one without a holder, whose message is in no queue, has lost that.
    Both go on at the stage that they had reached. After silence of the records, or of this process, workers get the
    time to renew their leases first: none of them has died.
    """
    lease_s, now = settings().lease_s, time.monotonic()
    if _Round.ended is not None and now - _Round.ended > max(lease_s, 3 * settings().reap_every_s):
        _Round.patience_until = now + lease_s / 2
    try:
        taken = [] if now < _Round.patience_until else services.records().take_over_leases(lease_s, limit=500)
        resumed = _go_on(taken)
        admitted = feed(limit=100)
    except RecordsUnavailable:
        _Round.patience_until = time.monotonic() + lease_s / 2
        raise
    finally:
        _Round.ended = time.monotonic()
    return {"looked_at": len(taken), "resumed": resumed, "admitted": admitted}


def _go_on(jobs: list[Job]) -> int:
    """Send jobs again whose message is gone, set aside those that have lost too many workers; how many were sent."""
    resumed = 0
    there = in_queue() if jobs else set()
    for job in jobs:
        if job.deaths >= MAX_DEATHS:
            set_aside(job, Quarantined(job.stage or "intake", job.deaths))
        elif job.job_id not in there:
            start = reached(job)
            if start != job.stage and not services.records().put_off(job.job_id, settings().lease_s, stage=start):
                continue
            services.records().add_event(job.job_id, start, "resumed", "reaper", {})
            send(job.model_copy(update={"stage": start}))
            resumed += 1
    return resumed


@app.task(name="aseagi.control.clean")
def clean() -> dict[str, int]:
    """Remove what is over, and make small what is old; how much, by step."""
    return housekeeping.clean()


@app.task(name="aseagi.control.backup")
def backup() -> dict[str, Any]:
    """Back the records up into the bucket, and write down what is in it; what was done."""
    return housekeeping.back_up()


@app.task(name="aseagi.control.restore_drill")
def restore_drill() -> dict[str, Any]:
    """Restore the newest backup into a store of its own; operators are told if it does not hold."""
    from aseagi_tasks.stores.drill import drill

    try:
        held = drill(services.records_source(), services.storage(), settings().scratch_root, datetime.now(UTC))
    except AseagiError as exc:
        services.notifier().tell(notice("drill_failed", why=exc))
        raise
    if held.found:
        services.notifier().tell(notice("drill_found", backup=held.backup, found="; ".join(held.found[:5])))
    return held.model_dump(mode="json")


@app.task(name="aseagi.control.notices", acks_late=False, expires=15)
def notices() -> int:
    """Tell the operators what Telegram did not take when it was to be said; how many messages went out."""
    return services.notifier().deliver()


@app.task(name="aseagi.control.heartbeat")
def heartbeat() -> None:
    """Tell rented machines that clock, control worker and broker live; without it they destroy themselves."""
    services.redis().set(HEARTBEAT_KEY, datetime.now(UTC).isoformat(), ex=3600)


@app.task(name="aseagi.control.give_back_overdue")
def give_back_overdue() -> int:
    """Put back what rented machines took longer ago than the visibility time-out and have not done; how many messages.

    For other workers Celery does this; a rented machine may not.
    """
    if not services.lets_machines_in():
        return 0
    before = time.time() - app.conf.broker_transport_options["visibility_timeout"]
    redis = services.redis()
    return sum(broker_access.give_back(redis, instance, before) for instance in broker_access.users(redis))


@app.task(name="aseagi.control.certificate")
def certificate() -> list[str]:
    """Certify the days of the last week that have no certificate that balances, and tell the operators; the keys.

    So a day whose last file ended after midnight, or a night in which nothing ran, is made good the next time.
    """
    from aseagi_tasks.stages.certify import certify, days_to_certify, jobs_of_day

    records, storage, now, made = services.records(), services.storage(), datetime.now(UTC), []
    for day in days_to_certify(records, storage, now.date()):
        certified, key = certify(
            jobs_of_day(records, day),
            f"{day}",
            records=records,
            storage=storage,
            bucket=settings().bucket,
            key=services.signing_key(),
            now=now,
        )
        verdict = "balances" if certified.totals.balanced else "does_not_balance"
        services.notifier().tell(notice(verdict, day=day, sum=certified.summary(), key=key))
        made.append(key)
    return made


@app.task(name="aseagi.control.weekly_report")
def weekly_report() -> str:
    """Report on the last seven days that are over, and tell the operators; the key. An empty week is reported too."""
    from aseagi_tasks.reports.weekly_report import make

    now = datetime.now(UTC)
    made = make(
        now.date() - timedelta(days=1),
        records=services.records(),
        storage=services.storage(),
        limits=services.limits(),
        scratch=settings().scratch_root,
        now=now,
    )
    services.notifier().tell(made.sentence)
    return made.key


@app.task(name="aseagi.control.batches")
def batches() -> dict[str, int]:
    """Submit what was collected for Message Batches, and let documents go on whose answers are there."""
    from aseagi_tasks.stages.batches import Batches, let_go

    conf = settings()
    if conf.analyst_in_use != "claude":
        return {"let_go": let_go(services.storage(), _answered)}
    tending = Batches(
        services.records(),
        services.storage(),
        services.claude().service,
        _answered,
        wait_s=conf.claude_batch_wait_s,
        freed=Allowance(services.redis(), conf.gateway_claude_usd).give_back,
    )
    try:
        return tending.tend(datetime.now(UTC))
    except NotSetUp as exc:
        services.tell_what_waits(exc)
    except TransientError as exc:
        log.info("message batches: %s", exc)
    return {}


@app.task(name="aseagi.control.reprocess")
def reprocess() -> dict[str, int]:
    """Register the next jobs of every order to process documents again; how many each has by now."""
    from aseagi_tasks.stages.reprocess import feed as feed_order
    from aseagi_tasks.stages.reprocess import orders

    records, storage = services.records(), services.storage()
    running = [order for order in orders(storage) if order.state == "running"]
    fed = {order.run_id: feed_order(order, records, storage).fed for order in running}
    if fed:
        feed(limit=100)
    return fed


@app.task(name="aseagi.control.bulk", expires=15)
def bulk() -> dict[str, str]:
    """Look after the bulk runs for some seconds; how each stands."""
    from aseagi_tasks.bulk.tending import tend

    return tend()


@app.task(name="aseagi.control.nightly", autoretry_for=(TransientError,), max_retries=None, default_retry_delay=60)
def nightly() -> str | None:
    """Begin the night's run, once, if there is one and the night is not over; its id.

    The clock calls it once a night: while the records are away it is tried again.
    """
    from aseagi_tasks.bulk.orders import RAW, night_of, start

    now, conf = datetime.now(UTC), settings()
    deadline = night_of(now)[1]
    if conf.nightly == "off" or now >= deadline:
        return None
    return start(
        RAW,
        requested_by="the clock",
        cap_usd=conf.nightly_usd,
        unattended=True,
        kind="night",
        deadline=deadline.astimezone(UTC),
        now=now,
    )


def _answered(job_id: str) -> None:
    """A job goes on where its document waited for an answer; one that has ended does not."""
    with suppress(NotFound):
        go_on(services.records().job(job_id))


@app.task(name="aseagi.control.autoscale", acks_late=False, expires=15, soft_time_limit=170, time_limit=180)
def autoscale() -> list[str] | None:
    """Rent, drain and destroy machines as the queue wants it, and say why; nothing if none are to be rented.

    Not delivered again if this worker dies: the next tick, a quarter of a minute later, sees what came of it.
    """
    if settings().fleet == "none":
        return None
    from aseagi_tasks.tending.tick import means, tick

    said = tick(means())
    return [decision["reason"] for decision in said.get("decisions", ())] + said.get("errors", [])


@app.task(name="aseagi.control.reconcile")
def reconcile() -> dict[str, Any] | None:
    """Compare what rented machines cost by our ledger with what the provider charged, and book the difference."""
    if settings().fleet == "none":
        return None
    from aseagi_tasks.tending.billing import difference
    from aseagi_tasks.tending.billing import reconcile as compare
    from aseagi_tasks.tending.tick import means

    tools, now = means(), datetime.now(UTC)
    totals = difference(compare(tools, now))
    tools.records.set_control("reconciled", {**totals, "at": now.isoformat(timespec="seconds")}, "beat")
    if abs(totals["difference_usd"]) > 0.01:
        services.tell_once(f"fleet:reconciled:{now:%Y-%m-%d}", notice("reconciled", **totals))
    return dict(totals)
