"""Launching, draining, destroying. The intent is in the records before each call, what came of it after."""

from __future__ import annotations

import logging
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, get_args

from redis.exceptions import RedisError

from aseagi_tasks import services
from aseagi_tasks.celery import app
from aseagi_tasks.errors import AseagiError, CreateUnresolved, OfferGone
from aseagi_tasks.fleet import broker_access
from aseagi_tasks.fleet.model import InstanceState, Offer
from aseagi_tasks.fleet.worker import Heard
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.fleet_records import InstanceRow
from aseagi_tasks.tending.billing import book
from aseagi_tasks.tending.shift import Shift
from aseagi_tasks.tending.watching import Means, forget_offers

log = logging.getLogger(__name__)

ALIVE: frozenset[InstanceState] = frozenset(get_args(InstanceState)) - {"gone", "destroying"}
COMMAND = ("python", "-m", "aseagi_tasks.doors.rented")
#: What a machine measures itself with before it joins.
CANARY = "python -m aseagi_tasks.doors.rented canary"
#: A machine's own watchdog ends it so long after the autoscaler should have, and a certificate's day before anything.
LATER_S, LONGEST_S = 600.0, 82_800.0
#: How long a drained worker that has nothing in hand may take to say that it takes no more.
CALM_S, LOOK_S = 5.0, 0.25
#: A destroy call is made again if the instance is listed so long after it.
AGAIN_S = 30.0


def launch(means: Means, shift: Shift, offer: Offer, reason: str, by: str = "autoscale") -> str:
    """Rent an offer; what came of it, in words.

    Raises:
        ConfigError, RateLimited: the provider refused before anything was made.
    """
    shift.check()
    label = f"{means.prefix}{uuid.uuid4().hex[:12]}"
    means.records.add_instance(label, offer, {"reason": reason, "by": by})
    try:
        provider_id = means.vast.create(
            offer.ask_id,
            label=label,
            image=means.conf.fleet_image or "",
            disk_gb=means.conf.fleet_disk_gb,
            **_start_of(means.conf, label),
        )
    except OfferGone as exc:
        forget_offers(means)
        means.records.move_instance(label, {"intent"}, "gone", detail={"outcome": f"the offer was gone: {exc}"})
        return "the offer was gone"
    except CreateUnresolved as exc:
        forget_offers(means)
        means.records.move_instance(label, {"intent"}, "ambiguous", detail={"why": str(exc)})
        return str(exc)
    except AseagiError as exc:
        means.records.move_instance(label, {"intent"}, "gone", detail={"outcome": f"refused: {exc}"})
        raise
    means.records.move_instance(label, {"intent", "ambiguous"}, "requested", provider_id=provider_id)
    return f"rented as {label}"


def _start_of(conf: Settings, label: str) -> dict[str, Any]:
    """Environment and command of a new instance.

    Where machines are let in by enrolment the image starts by itself: it gets a token for one use, and where to go.
    """
    env = {"ASEAGI_INSTANCE": label}
    if not services.lets_machines_in():
        return {"env": env, "args": COMMAND}
    port = "" if conf.https_port == 443 else f":{conf.https_port}"
    return {
        "env": {
            **env,
            "ASEAGI_CONTROL_URL": f"https://{conf.public_name}{port}",
            "ASEAGI_BOOTSTRAP_TOKEN": services.invitations().invite(label),
            "ASEAGI_CANARY_COMMAND": CANARY,
            "ASEAGI_FLEET_QUEUES": ",".join(sorted(conf.fleet_queues)) or "none",
            "ASEAGI_INSTANCE_LIFETIME_S": f"{min(conf.fleet_lifetime_s + LATER_S, LONGEST_S):g}",
        },
        "args": (),
    }


def drain(means: Means, shift: Shift, row: InstanceRow, heard: Heard | None, reason: str) -> str:
    """Let an instance take no more work; what came of it. One that has nothing in hand is destroyed at once."""
    shift.check()
    moved = means.records.move_instance(row.instance_id, {"joined"}, "draining", detail={"reason": reason})
    if moved is None:
        return "it had left already"
    stop_taking(means, row.instance_id, heard)
    if heard is None or heard.busy:
        return "draining"
    deadline = time.monotonic() + CALM_S
    while time.monotonic() < deadline:
        now = means.presence.hear([row.instance_id]).get(row.instance_id)
        if now is None or now.busy:
            return "draining"
        if not now.consuming:
            return destroy(means, shift, moved, now, reason)
        time.sleep(LOOK_S)
    return "draining"


def stop_taking(means: Means, instance_id: str, heard: Heard | None) -> None:
    """Tell its nodes, and whatever starts there later. Harmless when repeated."""
    means.presence.say(instance_id, leave=True)
    nodes = sorted(heard.nodes) if heard else []
    if nodes:
        with app.connection_for_write() as connection:
            for queue in sorted(means.conf.fleet_queues):
                app.control.cancel_consumer(queue, destination=nodes, connection=connection, reply=False)


def destroy(
    means: Means, shift: Shift, row: InstanceRow, heard: Heard | None, reason: str, *, failed: bool = False
) -> str:
    """End an instance, whatever it has in hand, which goes back to the queue; what came of it.

    Raises:
        FleetError, RateLimited, ConfigError: the call is made again by the next tick.
    """
    shift.check()
    detail = {"reason": reason, **({"failed_at": datetime.now(UTC).timestamp()} if failed else {})}
    moved = means.records.move_instance(row.instance_id, ALIVE, "destroying", detail=detail)
    if moved is None:
        return "it was destroyed already"
    if failed:
        means.records.fail_machine(row.machine_id, row.gpu, row.instance_id, reason)
    with suppress(RedisError):
        stop_taking(means, row.instance_id, heard)
        if heard and heard.nodes:
            with app.connection_for_write() as connection:
                app.control.shutdown(destination=sorted(heard.nodes), connection=connection)
    return finish(means, shift, moved)


def finish(means: Means, shift: Shift, row: InstanceRow) -> str:
    """Make the call of an instance that is ``destroying``, bill it to its end, and hand back what it had in hand."""
    if row.provider_id is None:
        return "nothing is known at the provider"
    asked_at = row.detail.get("ended_at")
    if asked_at is not None and datetime.now(UTC).timestamp() - float(asked_at) < AGAIN_S:
        return "destroyed"
    shift.check()
    means.vast.destroy(row.provider_id)
    if asked_at is None:
        means.records.note_instance(row.instance_id, {"ended_at": datetime.now(UTC).timestamp()})
    ended = means.records.instance(row.instance_id)
    book(means, ended, None, datetime.now(UTC))
    returned = hand_back(means, row.instance_id)
    return "destroyed" + (f", {returned} tasks handed back" if returned else "")


def hand_back(means: Means, instance_id: str) -> int:
    """Put what an instance had in hand back into the queue, and let it in no more; how much that was."""
    heard = means.presence.hear([instance_id]).get(instance_id)
    for node in heard.nodes if heard else ():
        # nobody waits for its leases to run out; and a machine that was taken away says nothing against a document
        means.ledger.drop_leases(f"{node}/", died=False)
    if "#" in instance_id:  # who carries another's label has nothing of its own
        return 0
    returned = broker_access.give_back(means.redis, instance_id)
    if services.lets_machines_in():
        services.dismiss(instance_id)  # and what it takes meanwhile goes back with that
    if returned:
        log.info("%s is gone: %d tasks handed back", instance_id, returned)
    return returned


def bury(means: Means, row: InstanceRow, outcome: str) -> None:
    """It is absent from two lists: gone."""
    if "ended_at" not in row.detail and "seen_at" in row.detail:
        means.records.note_instance(row.instance_id, {"ended_at": row.detail["seen_at"]})
    book(means, means.records.instance(row.instance_id), None, datetime.now(UTC))
    hand_back(means, row.instance_id)
    detail = {"outcome": row.detail.get("reason") if row.state == "destroying" else outcome, "missing": None}
    means.records.move_instance(row.instance_id, {row.state}, "gone", detail=detail)
    means.presence.forget(row.instance_id)


def tell(key: str, message: str) -> None:
    """Tell the operators, once a day."""
    services.tell_once(f"fleet:{key}", message)
