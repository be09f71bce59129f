"""One tick of the autoscaler: watch, bill, decide, act, keep the decision, tell."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from redis.exceptions import RedisError

from aseagi_tasks import services
from aseagi_tasks.errors import AseagiError, ConfigError
from aseagi_tasks.fleet.autoscale import decide
from aseagi_tasks.fleet.model import Decision, Destroy, Drain, Launch, QueueState, Wait
from aseagi_tasks.fleet.worker import Heard, Presence
from aseagi_tasks.notices import notice
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.fleet_records import InstanceRow
from aseagi_tasks.tending import acting
from aseagi_tasks.tending.observing import observe
from aseagi_tasks.tending.shift import Shift, shift
from aseagi_tasks.tending.watching import (
    REMEMBERED,
    Means,
    history_of,
    instance_of,
    limits_of,
    listed,
    offers_of,
    queue_state,
    rates_of,
    utc_now,
)

log = logging.getLogger(__name__)


def means() -> Means:
    """What tending works with, from the settings.

    Raises:
        ConfigError: no provider is set.
    """
    return Means(
        conf=settings(),
        vast=services.vast(),
        records=services.fleet_records(),
        ledger=services.records(),
        redis=services.redis(),
        presence=Presence(services.redis()),
    )


def tick(tools: Means, now: datetime | None = None) -> dict[str, Any]:
    """Do what is to be done now; what was seen, decided and done. Another process at it: nothing is done."""
    now = now or utc_now()
    with shift(tools.redis) as mine:
        if mine is None:
            return {"skipped": "another process tends the fleet"}
        began = time.monotonic()
        errors: list[str] = []
        said: dict[str, Any] = {"decisions": [], "errors": errors}
        try:
            _tend(tools, mine, now, said)
        except (AseagiError, RedisError) as exc:
            errors.append(f"{type(exc).__name__}: {exc}")
            log.warning("tending the fleet: %s", exc)
            if isinstance(exc, ConfigError):
                acting.tell(f"config:{exc.args[0]}", notice("fleet_config", why=exc))
        _tell_trouble(tools, errors)
        said["seconds"] = round(time.monotonic() - began, 3)
        tools.records.add_tick(now, said)
        return said


def _tend(tools: Means, mine: Shift, now: datetime, said: dict[str, Any]) -> None:
    rows, machines = tools.records.instances(), tools.records.machines()
    seen = listed(tools)
    heard = tools.presence.hear(row.instance_id for row in rows)
    living = observe(tools, rows, seen, heard, machines, now)
    for row in living:  # a destroy call that was not heard of, or a worker that was started again since
        if row.state == "destroying" and row.provider_id is not None:
            _try(said, lambda row=row: acting.finish(tools, mine, row))  # type: ignore[misc]
        elif row.state == "draining":
            acting.stop_taking(tools, row.instance_id, heard.get(row.instance_id))
    controls, recent = tools.records.controls(), tools.records.instances(since=now - REMEMBERED)
    queue, limits = queue_state(tools, now), limits_of(tools.conf, controls)
    offers = []
    if queue.documents:  # also where a limit stands in the way: what it keeps from being rented is told
        try:
            offers = offers_of(tools, limits)
        except AseagiError as exc:  # what runs is decided on all the same
            said["errors"].append(f"{type(exc).__name__}: {exc}")
    rates, history = rates_of(tools.conf, recent, machines), history_of(tools, recent, machines, now)
    fleet = [instance_of(row, heard.get(row.instance_id), now) for row in living]
    said["queue"] = queue.model_dump(mode="json", exclude={"requests"})
    said["instances"] = dict(Counter(one.state for one in fleet))
    said["usd_per_hour"] = round(sum(row.price_usd_per_hour for row in living if row.provider_id is not None), 4)
    said["spent_today_usd"] = round(history.spent_today_usd or 0.0, 4)
    for decision in decide(now.timestamp(), queue, fleet, offers, rates, limits, history):
        done = _act(tools, mine, decision, living, heard, said)
        said["decisions"].append({**_shown(decision), **({"outcome": done} if done else {})})
    if not said["errors"]:
        _tell(tools, queue, said["decisions"])


def _act(
    tools: Means,
    mine: Shift,
    decision: Decision,
    living: Sequence[InstanceRow],
    heard: Mapping[str, Heard],
    said: dict[str, Any],
) -> str:
    rows = {row.instance_id: row for row in living}
    match decision:
        case Launch():
            return _try(said, lambda: acting.launch(tools, mine, decision.offer, decision.reason))
        case Drain(instance_id=name):
            return _try(said, lambda: acting.drain(tools, mine, rows[name], heard.get(name), decision.reason))
        case Destroy(instance_id=name):
            return _try(
                said,
                lambda: acting.destroy(
                    tools, mine, rows[name], heard.get(name), decision.reason, failed=decision.failed
                ),
            )
        case Wait():
            return ""


def _try(said: dict[str, Any], act: Any) -> str:
    """One action that fails leaves the others to be done; the next tick tries again."""
    try:
        return str(act())
    except AseagiError as exc:
        said["errors"].append(f"{type(exc).__name__}: {exc}")
        if isinstance(exc, ConfigError):
            acting.tell(f"config:{exc.args[0]}", str(exc))
        return f"{type(exc).__name__}: {exc}"


def _shown(decision: Decision) -> dict[str, Any]:
    return decision.model_dump(mode="json", exclude_none=True)


_LIMIT = "aseagi:fleet:limit"


def _tell(tools: Means, queue: QueueState, decisions: Sequence[Mapping[str, Any]]) -> None:
    """A limit that stands in the way is told when it begins to, with what waits because of it."""
    reached = next((d for d in decisions if d.get("limit")), None)
    name = str(reached["limit"]) if reached else ""
    before = (tools.redis.get(_LIMIT) or b"").decode()  # type: ignore[union-attr]
    if name == before:
        return
    tools.redis.set(_LIMIT, name)
    if reached and name not in ("paused", "ambiguous"):
        why = str(reached["reason"]).removeprefix("wait: ")
        said = notice("no_machine", documents=queue.documents, pages=queue.pages, why=why)
        acting.tell(f"limit:{name}:{utc_now():%Y-%m-%d}", said)


_TROUBLE = "aseagi:fleet:trouble"
#: Ticks with an error, one after the other, after which the operators hear of it: two minutes. One passes often.
TELL_AFTER = 8


def _tell_trouble(tools: Means, errors: Sequence[str]) -> None:
    """Launches that fail again and again, or a provider that does not answer, are told once a day."""
    passing = [error for error in errors if not error.startswith("ConfigError")]  # which is told at once
    with suppress(RedisError):
        if not passing:
            tools.redis.delete(_TROUBLE)
            return
        times = int(tools.redis.incr(_TROUBLE))  # type: ignore[arg-type]
        tools.redis.expire(_TROUBLE, 600)
        if times >= TELL_AFTER:
            said = notice("fleet_trouble", times=times, why=passing[0])
            acting.tell("trouble", said)
