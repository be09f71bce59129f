"""What operators ask for: launch, drain, destroy, pause, limits, and the end of everything."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from aseagi_tasks.errors import AseagiError, ConfigError, FleetError, NotFound
from aseagi_tasks.fleet.autoscale import decide
from aseagi_tasks.fleet.model import Launch, Limits, Offer, QueueState
from aseagi_tasks.stores.fleet_records import InstanceRow
from aseagi_tasks.tending import acting
from aseagi_tasks.tending.observing import observe
from aseagi_tasks.tending.shift import Shift, shift
from aseagi_tasks.tending.watching import (
    REMEMBERED,
    Means,
    forget_offers,
    history_of,
    instance_of,
    limits_of,
    listed,
    offers_of,
    rates_of,
    utc_now,
)

#: An operator waits so long for a tick that is at work.
WAIT_S = 60.0
#: Rounds of panic: each destroys what is listed and then looks again.
ROUNDS, PAUSE_S = 40, 3.0
LOG_LOOKS = 3


class Ended(NamedTuple):
    """How a panic ended: what was destroyed, and whether two lists in a row had nothing of ours."""

    destroyed: list[int]
    proven: bool
    errors: list[str]


def launch(tools: Means, by: str, gpu: str | None = None) -> str:
    """Rent the best machine now, whether documents wait or not, within the limits; its name and price in words.

    Raises:
        ConfigError: no offer is within the limits, or a limit is reached: the sentence says which.
    """
    with _at_work(tools) as mine:
        forget_offers(tools)
        now, living = utc_now(), tools.records.instances()
        limits = limits_of(tools.conf, tools.records.controls())
        recent, machines = tools.records.instances(since=now - REMEMBERED), tools.records.machines()
        offers = [offer for offer in offers_of(tools, limits) if gpu in (None, offer.gpu)]
        wanted = _as_if_needed(tools, living, offers, recent, machines, limits)
        return acting.launch(tools, mine, wanted.offer, f"launched by {by}", by)


def _as_if_needed(
    tools: Means, living: list[InstanceRow], offers: list[Offer], recent: Any, machines: Any, limits: Limits
) -> Launch:
    """What the autoscaler would rent if there were no end of work: its limits hold for people too."""
    now = utc_now()
    plenty = QueueState(interactive_documents=10_000, interactive_pages=1_000_000)
    fleet = [instance_of(row, None, now) for row in living]
    rates, history = rates_of(tools.conf, recent, machines), history_of(tools, recent, machines, now)
    decisions = decide(now.timestamp(), plenty, fleet, offers, rates, limits, history)
    for decision in decisions:
        if isinstance(decision, Launch):
            return decision
    said = decisions[-1].reason.rpartition(", but ")[2]
    raise ConfigError("Nothing is launched:", f"{said}.", "`aseagi fleet limits` shows and sets the limits.")


def drain(tools: Means, part: str, by: str) -> str:
    """Let an instance finish what it has in hand and go."""
    with _at_work(tools) as mine:
        row = tools.records.instance(part)
        heard = tools.presence.hear([row.instance_id]).get(row.instance_id)
        if row.state != "joined":
            raise ConfigError(
                row.instance_id, f"is {row.state}.", "Only what works is drained; `aseagi fleet destroy`."
            )
        return acting.drain(tools, mine, row, heard, f"drained by {by}")


def destroy(tools: Means, part: str, by: str) -> str:
    """End an instance now; what it has in hand goes back to the queue."""
    with _at_work(tools) as mine:
        row = tools.records.instance(part)
        if row.state == "gone":
            raise NotFound(row.instance_id, "the instances that live")
        heard = tools.presence.hear([row.instance_id]).get(row.instance_id)
        if row.state == "destroying":
            return acting.finish(tools, mine, row)
        return acting.destroy(tools, mine, row, heard, f"destroyed by {by}")


def logs(tools: Means, part: str, lines: int) -> str:
    """The end of an instance's output; the provider uploads it first, which takes a few seconds."""
    row = tools.records.instance(part)
    if row.provider_id is None:
        raise NotFound(row.instance_id, "the provider's instances")
    for look in range(LOG_LOOKS):
        if look:
            time.sleep(PAUSE_S)
        if text := tools.vast.logs(row.provider_id, lines):
            return text
    return "It has said nothing yet."


def pause(tools: Means, by: str, *, paused: bool) -> None:
    """Stop launching, or go on. What runs goes on."""
    tools.records.set_control("paused", True if paused else None, by)


def set_limits(tools: Means, by: str, changes: dict[str, Any], *, reset: bool = False) -> Limits:
    """Set limits over those of the settings; None takes one back.

    Raises:
        ConfigError: there is no such limit, or it takes no such value; then nothing was set.
    """
    before = {} if reset else dict(tools.records.controls().get("limits") or {})
    unknown = sorted(set(changes) - set(Limits.model_fields) | ({"paused"} & set(changes)))
    if unknown:
        known = ", ".join(name for name in Limits.model_fields if name != "paused")
        raise ConfigError(unknown[0], "is no limit.", f"Limits are {known}.")
    wanted = {name: value for name, value in {**before, **changes}.items() if value is not None}
    limits = limits_of(tools.conf, {"limits": wanted})
    tools.records.set_control("limits", wanted or None, by)
    return limits


def panic(tools: Means, by: str, say: Any = lambda _text: None) -> Ended:
    """Destroy everything that carries our label, and look twice whether it is gone. Launching is paused first."""
    pause(tools, by, paused=True)
    destroyed: list[int] = []
    errors: list[str] = []
    empty = 0
    with shift(tools.redis, WAIT_S) as mine:  # nobody launches meanwhile; if a tick hangs, go on all the same
        acting_shift = mine or Shift(tools.redis)
        for _ in range(ROUNDS):
            try:
                there = [it for several in listed(tools).values() for it in several]
                empty = 0 if there else empty + 1
                for it in there:
                    say(f"destroying {it.provider_id} ({it.label}, {it.gpu})")
                    tools.vast.destroy(it.provider_id)
                    destroyed.append(it.provider_id)
            except AseagiError as exc:
                empty = 0
                errors.append(f"{type(exc).__name__}: {exc}")
            if empty == 2:
                break
            time.sleep(PAUSE_S if not empty else 1.0)
        if mine is not None:
            _settle(tools, acting_shift, by)
    return Ended(sorted(set(destroyed)), empty >= 2, errors)


def _settle(tools: Means, mine: Shift, by: str) -> None:
    """The rows follow: what is not listed is gone, and what it had in hand goes back."""
    now = utc_now()
    for row in tools.records.instances():
        ended = {"reason": f"panic by {by}", "ended_at": row.detail.get("ended_at") or now.timestamp(), "missing": 1}
        moved = tools.records.move_instance(row.instance_id, {row.state}, "destroying", detail=ended)
        if moved is not None:
            mine.check()
            tools.presence.say(row.instance_id, leave=True)
    observe(tools, tools.records.instances(), listed(tools), {}, tools.records.machines(), now)


@contextmanager
def _at_work(tools: Means) -> Iterator[Shift]:
    with shift(tools.redis, WAIT_S) as mine:
        if mine is None:
            raise FleetError("waiting for the tick that is at work", f"it has not ended within {WAIT_S:.0f} s", None)
        yield mine
