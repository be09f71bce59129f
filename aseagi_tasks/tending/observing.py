"""What is seen moves the rows: boots, joins, canaries, deaths, what was forgotten and what nobody knows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from redis.exceptions import RedisError

from aseagi_tasks.fleet.model import BROKEN, InstanceState, Offer
from aseagi_tasks.fleet.vast_answers import Seen
from aseagi_tasks.fleet.worker import Heard, judge
from aseagi_tasks.notices import notice
from aseagi_tasks.stores.fleet_records import InstanceRow, MachineRow
from aseagi_tasks.tending.acting import bury, tell
from aseagi_tasks.tending.billing import book
from aseagi_tasks.tending.watching import Means

#: What was just created may be missing from lists for so long.
LAG_S = 60.0
#: A create of which nothing was heard may still come about within this time.
RESOLVED_S = 120.0
#: Workers that are silent, and containers in a state that is none, for so long are given up.
SILENT_S, ODD_S = 90.0, 60.0
#: Launches that came to nothing within an hour of the first, after which the operators hear of it.
TELL_AFTER = 3
_NOTHING = "aseagi:fleet:nothing"
_ODD = frozenset({"exited", "offline", "unknown", "frozen", "rebooting"})


def observe(
    means: Means,
    rows: Sequence[InstanceRow],
    listed: Mapping[str, list[Seen]],
    heard: Mapping[str, Heard],
    machines: Sequence[MachineRow],
    now: datetime,
) -> list[InstanceRow]:
    """Move rows to what is seen, and bill them; the living ones as they are now, those that nobody knew included."""
    for row in rows:
        it = _its(row, listed.get(row.instance_id.partition("#")[0], ()))
        if it is None:
            _absent(means, row, now)
        else:
            _present(means, row, it, heard.get(row.instance_id), machines, now)
            book(means, means.records.instance(row.instance_id), it, now)
    _adopt(means, rows, listed, now)
    return means.records.instances()


def _its(row: InstanceRow, listed: Sequence[Seen]) -> Seen | None:
    return next((it for it in listed if row.provider_id in (None, it.provider_id)), None)


def _absent(means: Means, row: InstanceRow, now: datetime) -> None:
    age = (now - row.created_at).total_seconds()
    if row.state == "intent":  # whoever wrote it was killed during the call, or just before
        means.records.move_instance(row.instance_id, {"intent"}, "ambiguous", detail={"why": "nobody knows the answer"})
        return
    if row.state == "ambiguous" and age < RESOLVED_S:
        return
    if row.state not in ("ambiguous", "destroying") and age < LAG_S:
        return
    if not row.detail.get("missing"):
        means.records.note_instance(row.instance_id, {"missing": 1})
        return
    if row.state == "ambiguous":
        _tell_never_created(means, row)
        return bury(means, row, "it was never created")
    if row.detail.get("left"):  # its watchdog has ended it
        return bury(means, row, f"it left by itself: {row.detail['left']}")
    if row.state not in BROKEN and row.state != "destroying":
        tell(f"vanished:{row.instance_id}", notice("vanished", instance=row.instance_id, gpu=row.gpu))
    return bury(means, row, f"it vanished while it was {row.state}")


def _tell_never_created(means: Means, row: InstanceRow) -> None:
    """One launch that comes to nothing is made again; several in an hour are told."""
    with suppress(RedisError):
        means.redis.set(_NOTHING, 0, nx=True, ex=3_600)
        times = int(means.redis.incr(_NOTHING))  # type: ignore[arg-type]
        if times >= TELL_AFTER:
            said = notice("never_created", times=times, why=row.detail.get("why", ""))
            tell("never_created", said)


def _present(
    means: Means, row: InstanceRow, it: Seen, heard: Heard | None, machines: Sequence[MachineRow], now: datetime
) -> None:
    note: dict[str, Any] = {"seen_at": now.timestamp(), "status": it.status, "message": it.message, "missing": None}

    def move(to: InstanceState, **detail: Any) -> None:
        means.records.move_instance(
            row.instance_id, {row.state}, to, provider_id=it.provider_id, detail={**note, **detail}
        )

    if row.state == "destroying" or row.state in BROKEN:
        return move(row.state)
    if it.intended == "stopped" or it.status == "stopped":
        return move("preempted", why="somebody has bid more, or it was stopped")
    if it.status in _ODD:
        odd_since = float(row.detail.get("odd_since") or now.timestamp())
        if now.timestamp() - odd_since > ODD_S:
            return move("lost", why=f"it has been {it.status} for a minute")
        return move(row.state if row.provider_id else "requested", odd_since=odd_since)
    note["odd_since"] = None
    if it.status != "running":
        first = row.state in ("intent", "ambiguous", "requested")
        return move("loading" if first and it.status else "requested" if first else row.state)
    if heard is not None and heard.canary and "canary" not in row.detail:
        why, note["canary"] = _judged(means, row, heard.canary, machines)
        if why:
            tell(f"canary:{row.machine_id}", notice("given_back", machine=row.machine_id, gpu=row.gpu, why=why))
            return move("failed", why=why)
    if heard is not None and heard.step == "failed":
        return move("failed", why=heard.why)
    if heard is not None and heard.step == "left" and row.state == "joined":
        return move("draining", left=heard.why, reason=f"it leaves by itself: {heard.why}")
    works = heard is not None and heard.is_working
    if row.state in ("joined", "draining"):
        silent_since = None if works else float(row.detail.get("silent_since") or now.timestamp())
        if row.state == "joined" and silent_since and now.timestamp() - silent_since > SILENT_S:
            return move("lost", why="its workers are silent")
        return move(row.state, silent_since=silent_since)
    if works:
        boot_s = (now - row.created_at).total_seconds()
        means.records.measure_machine(row.machine_id, row.gpu, boot_s=boot_s)
        return move("joined", boot_s=boot_s, joined_at=now.timestamp())
    return move("running")


def _judged(
    means: Means, row: InstanceRow, canary: Mapping[str, Any], machines: Sequence[MachineRow]
) -> tuple[str, dict[str, Any]]:
    """What speaks against it, and what is kept. Judged here too: what a rented machine says is its owner's word."""
    others = [m for m in machines if m.gpu == row.gpu and m.machine_id != row.machine_id]
    kind = [m.seconds_per_page for m in others if m.seconds_per_page is not None]
    try:
        text, seconds = str(canary["text"]), float(canary["seconds_per_page"])
    except (KeyError, TypeError, ValueError):
        text, seconds = "", 0.0
    seconds = seconds if math.isfinite(seconds) else 0.0
    why = judge(text, seconds, slowest_s=means.conf.fleet_slowest_s_per_page, of_its_kind=kind)
    if not why:
        means.records.measure_machine(row.machine_id, row.gpu, seconds_per_page=seconds)
    return why, {"seconds_per_page": seconds, "engine": str(canary.get("engine")), **({"why": why} if why else {})}


def _adopt(means: Means, rows: Sequence[InstanceRow], listed: Mapping[str, list[Seen]], now: datetime) -> None:
    """What carries our label and is not known, or was taken for gone, gets a row, so that it is destroyed."""
    known = {row.provider_id for row in rows}
    fresh = {row.instance_id for row in rows if row.provider_id is None}
    for label, several in listed.items():
        if label in fresh:
            several = several[1:]  # the first has just become the row's
        for it in several:
            if it.provider_id in known:
                continue
            name = f"{label}#{it.provider_id}"
            offer = Offer(
                ask_id=0,
                machine_id=it.machine_id,
                gpu=it.gpu,
                price_usd_per_hour=it.price_usd_per_hour,
                reliability=0.0,
            )
            means.records.add_instance(name, offer, {"reason": "it carries our label, and nobody knows it"})
            means.records.move_instance(name, {"intent", "gone"}, "orphan", provider_id=it.provider_id)
            tell(f"orphan:{it.provider_id}", notice("orphan", instance=it.provider_id))
            book(means, means.records.instance(name), it, now)
