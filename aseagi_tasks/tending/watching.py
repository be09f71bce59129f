"""What is there: the queue, what instances say, what the provider lists, and the limits that hold."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from redis import Redis

from aseagi_tasks.celery import app
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.fleet.broker_access import unacknowledged_keys
from aseagi_tasks.fleet.model import History, Instance, Limits, Offer, QueueState, Rates
from aseagi_tasks.fleet.vast import Vast
from aseagi_tasks.fleet.vast_answers import Seen
from aseagi_tasks.fleet.worker import Heard, Presence
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.fleet_records import Demand, FleetRecords, InstanceRow, MachineRow
from aseagi_tasks.stores.records import Records

#: How far back launches are looked at for boots and failures.
REMEMBERED = timedelta(days=3)
#: Offers are searched for anew after so long, while something waits.
OFFERS_S = 45
#: Documents that come within so long of each other were asked for at once.
SAME_REQUEST_S = 5.0
_OFFERS = "aseagi:fleet:offers"
#: Messages of priority 0 to 2 are somebody's who waits (``delivery.message_priority``).
_INTERACTIVE = 3


@dataclass
class Means:
    """What tending works with; opened in ``tick.means``."""

    conf: Settings
    vast: Vast
    records: FleetRecords
    ledger: Records
    redis: Redis
    presence: Presence

    @property
    def prefix(self) -> str:
        """How the labels of our instances begin."""
        return f"{self.conf.fleet_name}-"


def queue_state(means: Means, now: datetime) -> QueueState:
    """What waits: an open job is a row that was not let in yet, or one message in a queue or in some worker's hands."""
    steps = app.conf.broker_transport_options["priority_steps"]
    with app.connection_for_read() as connection:
        channel = connection.default_channel
        names = [(step, channel._q_for_pri(queue, step)) for queue in means.conf.fleet_queues for step in steps]
        with means.redis.pipeline(transaction=False) as pipe:
            for _, name in names:
                pipe.llen(name)
            pipe.hlen(channel.unacked_key)
            for row in means.records.instances():
                if "#" not in row.instance_id:
                    pipe.hlen(unacknowledged_keys(row.instance_id)["unacked_key"])
            found: list[int] = pipe.execute()
    lengths, unacked = found[: len(names)], sum(found[len(names) :])
    demand = means.records.demand()
    queued = sum(length for (step, _), length in zip(names, lengths, strict=True) if step < _INTERACTIVE)
    interactive = queued + demand.outside_interactive
    waiting = sum(lengths) + demand.outside_interactive + demand.outside_bulk
    return QueueState(
        interactive_documents=interactive,
        interactive_pages=round(interactive * demand.pages_per_document),
        bulk_documents=waiting - interactive,
        bulk_pages=round((waiting - interactive) * demand.pages_per_document),
        running_documents=min(unacked, demand.open_jobs),
        oldest_s=max(0.0, (now - demand.oldest).total_seconds()) if waiting and demand.oldest else 0.0,
        requests=_requests(demand),
    )


def _requests(demand: Demand) -> tuple[float, ...]:
    """Moments of requests, oldest first; what came within seconds of the one before is one with it.

    Seconds, not minutes: the gaps of a busy hour must stay to be seen, and the latest must be late.
    """
    found: list[float] = []
    for moment in sorted(demand.requested):
        at = moment.timestamp()
        if not found or at - found[-1] > SAME_REQUEST_S:
            found.append(at)
    return tuple(found)


def limits_of(conf: Settings, controls: Mapping[str, Any]) -> Limits:
    """The settings' limits, and over them what operators have set.

    Raises:
        ConfigError: what was set is no limit: then nothing is launched.
    """
    set_by_hand = dict(controls.get("limits") or {})
    known = {
        "paused": bool(controls.get("paused")),
        "instances": conf.fleet_instances,
        "usd_per_hour": conf.fleet_usd_per_hour,
        "daily_budget_usd": conf.fleet_daily_budget_usd,
        "monthly_budget_usd": conf.fleet_monthly_budget_usd,
        "price_cap_usd_per_hour": conf.fleet_price_caps,
        "reliability": conf.fleet_reliability,
        "verified_only": conf.fleet_hosts != "any",
        "datacenter_only": conf.fleet_hosts == "datacenter",
        "regions": frozenset(region.upper() for region in conf.fleet_regions),
        "boot_s": conf.fleet_boot_s,
        "join_s": conf.fleet_join_s,
        "lifetime_s": conf.fleet_lifetime_s,
        "idle_s": conf.fleet_idle_s,
        "failures": conf.fleet_failures,
    }
    try:
        return Limits(**{**known, **set_by_hand})
    except ValueError as exc:
        cure = "`aseagi fleet limits --reset` takes it back."
        raise ConfigError("The fleet's limits", f"as set are none: {exc}.", cure) from exc


def rates_of(conf: Settings, recent: Sequence[InstanceRow], machines: Iterable[MachineRow]) -> Rates:
    """What was measured: by machine, and the middle of each kind of GPU."""
    by_kind: dict[str, list[float]] = {}
    pages: dict[int, float] = {}
    boots: dict[int, float] = {}
    for machine in machines:
        if machine.seconds_per_page is not None:
            pages[machine.machine_id] = machine.seconds_per_page
            by_kind.setdefault(machine.gpu, []).append(machine.seconds_per_page)
        if machine.boot_s is not None:
            boots[machine.machine_id] = machine.boot_s
    joined = [row for row in recent if row.detail.get("boot_s") is not None]
    failed = sum("failed_at" in row.detail and "boot_s" not in row.detail for row in recent)
    return Rates(
        seconds_per_page={gpu: statistics.median(found) for gpu, found in by_kind.items()},
        machine_seconds_per_page=pages,
        boots_s=tuple(row.detail["boot_s"] for row in joined[-20:]),
        machine_boots_s=boots,
        never_joined=(failed + 1) / (failed + len(joined) + 20),  # one in twenty until there is more to go by
        image_gb=conf.fleet_image_gb,
    )


def history_of(means: Means, recent: Sequence[InstanceRow], machines: Iterable[MachineRow], now: datetime) -> History:
    """Machines that are left out, failed launches, and what was spent, what runs and is not billed yet included."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    unbilled = sum(
        row.price_usd_per_hour * max(0.0, (now - (row.billed_until or row.created_at)).total_seconds()) / 3600
        for row in recent
        if row.state != "gone" and row.provider_id is not None
    )
    return History(
        barred={m.machine_id: m.barred_until.timestamp() for m in machines if m.barred_until and m.barred_until > now},
        failures=tuple(sorted(float(row.detail["failed_at"]) for row in recent if "failed_at" in row.detail)),
        spent_today_usd=means.ledger.costs(day).get("gpu", 0.0) + unbilled,
        spent_month_usd=means.ledger.costs(day.replace(day=1)).get("gpu", 0.0) + unbilled,
    )


def instance_of(row: InstanceRow, heard: Heard | None, now: datetime) -> Instance:
    """A row and what it says of itself, as a decision needs it."""
    busy, idle_since = 0, None
    if heard is not None and row.state in ("joined", "draining"):
        busy = heard.busy + (heard.consuming and row.state == "draining")
        if not busy and row.state == "joined":
            idle_since = max(now.timestamp() - heard.idle_s, row.state_since.timestamp())
    return Instance(
        instance_id=row.instance_id,
        provider_id=row.provider_id,
        machine_id=row.machine_id,
        gpu=row.gpu,
        price_usd_per_hour=row.price_usd_per_hour,
        state=row.state,
        created_at=row.created_at.timestamp(),
        state_since=row.state_since.timestamp(),
        busy=busy,
        idle_since=idle_since,
        asked_for=row.detail.get("by", "autoscale") != "autoscale",
    )


def offers_of(means: Means, limits: Limits) -> list[Offer]:
    """What can be rented within the limits; searched for anew after ``OFFERS_S``."""
    kept: Any = means.redis.get(_OFFERS)
    if kept is not None:
        return [Offer(**row) for row in json.loads(kept)]
    found = means.vast.search(
        limits.price_cap_usd_per_hour,
        disk_gb=means.conf.fleet_disk_gb,
        min_reliability=limits.reliability,
        verified=limits.verified_only,
        datacenter=limits.datacenter_only,
        regions=sorted(limits.regions),
    )
    means.redis.set(_OFFERS, json.dumps([offer.model_dump(mode="json") for offer in found]), ex=OFFERS_S)
    return found


def forget_offers(means: Means) -> None:
    """One of them was gone."""
    means.redis.delete(_OFFERS)


def listed(means: Means) -> dict[str, list[Seen]]:
    """What the provider lists with our labels, by label; two under one label are one too many."""
    found: dict[str, list[Seen]] = {}
    for seen in means.vast.instances(means.prefix):
        found.setdefault(seen.label, []).append(seen)
    return found


def utc_now() -> datetime:
    """The moment a tick is of."""
    return datetime.now(UTC)
