"""What instances cost, into the ledger second by second, and how that compares with what the provider charged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from aseagi_tasks.errors import FleetUnavailable
from aseagi_tasks.fleet.vast_answers import Seen
from aseagi_tasks.stores.fleet_records import InstanceRow
from aseagi_tasks.tending.watching import Means

#: An instance's running cost enters the ledger this often, and whenever what is billed changes.
BOOK_S = 300.0
#: In these the GPU is not billed; the disk always is.
GPU_FREE = ("", "created", "stopped")
#: The provider rounds to a tenth of a cent; what differs by less is the same.
SAME_USD = 0.0006
#: How far back the provider's charges are compared: it may book late.
COMPARED = timedelta(days=3)


class Compared(NamedTuple):
    """An instance's cost as booked and as charged, USD."""

    instance_id: str
    booked_usd: float
    charged_usd: float


def book(means: Means, row: InstanceRow, it: Seen | None, now: datetime) -> None:
    """Bring an instance's cost in the ledger up to now, or to its end. Twice at once books once."""
    detail: dict[str, Any] = dict(row.detail)
    rate = detail.get("rate")
    if it is not None:
        rate = {
            **{
                "gpu": it.price_usd_per_hour - it.disk_usd_per_hour,
                "disk": it.disk_usd_per_hour,
                "status": it.status or "",
            },
            **{"down": it.down_usd_per_gb, "up": it.up_usd_per_gb, "down_gb": it.down_gb, "up_gb": it.up_gb},
            "started_at": it.started_at.timestamp() if it.started_at else row.created_at.timestamp(),
        }
    if rate is None and row.provider_id is not None:  # never listed, and there: by the offer, from the beginning
        rate = {"gpu": row.price_usd_per_hour, "disk": 0.0, "status": "loading", "down": 0.0, "up": 0.0}
        rate |= {"down_gb": 0.0, "up_gb": 0.0, "started_at": row.created_at.timestamp()}
    if rate is None:
        return  # nothing is known to be billed
    begun = datetime.fromtimestamp(rate["started_at"], UTC)
    since = row.billed_until or begun
    ended = datetime.fromtimestamp(detail["ended_at"], UTC) if "ended_at" in detail else None
    until = min(now, ended or now)
    billed: dict[str, Any] = detail.get("billed") or {"down_gb": 0.0, "up_gb": 0.0, "status": rate["status"]}
    is_billed = rate["status"] not in GPU_FREE or billed["status"] not in GPU_FREE
    changed = (rate["status"] not in GPU_FREE) != (billed["status"] not in GPU_FREE)
    down_gb = max(0.0, rate["down_gb"] - billed["down_gb"])
    up_gb = max(0.0, rate["up_gb"] - billed["up_gb"])
    due = (until - since).total_seconds()
    if due <= 0:
        return
    if due < BOOK_S and not changed and ended is None:
        means.records.note_instance(row.instance_id, {"rate": rate, "billed": billed})
        return
    hours = due / 3600
    parts = {
        "gpu": hours * rate["gpu"] * is_billed,
        "disk": hours * rate["disk"],
        "down": down_gb * rate["down"],
        "up": up_gb * rate["up"],
    }
    note = {"rate": rate, "billed": {"down_gb": rate["down_gb"], "up_gb": rate["up_gb"], "status": rate["status"]}}
    told = {"seconds": due, "parts": parts, "note": note}
    means.records.bill_instance(row.instance_id, row.billed_until, until, sum(parts.values()), told)


def reconcile(means: Means, now: datetime) -> list[Compared]:
    """Compare what was booked with what the provider charged, and book the difference of what is gone.

    Returns:
        Every instance that was compared; those that still run differ by what is not booked yet.
    """
    rows = [row for row in means.records.instances(since=now - COMPARED) if row.provider_id is not None]
    if not rows:
        return []
    first = min(row.created_at for row in rows) - timedelta(hours=1)
    charged: dict[int, float] = {}
    for charge in means.vast.charges(first, now):
        charged[charge.provider_id] = charged.get(charge.provider_id, 0.0) + charge.usd
    if not charged:
        raise FleetUnavailable("comparing charges", f"no charges for any of {len(rows)} instances")
    found = []
    for row in rows:
        booked, usd = means.records.billed(row.instance_id), charged.get(row.provider_id or 0, 0.0)
        found.append(Compared(row.instance_id, booked, usd))
        if row.state == "gone" and abs(usd - booked) > SAME_USD:
            told = {"parts": {"reconciled": usd - booked}, "booked": booked, "charged": usd}
            means.records.bill_instance(row.instance_id, row.billed_until, now, usd - booked, told)
    return found


def difference(compared: Sequence[Compared]) -> Mapping[str, float]:
    """Totals, USD: booked, charged, and by how much they differ."""
    booked, charged = sum(one.booked_usd for one in compared), sum(one.charged_usd for one in compared)
    return {"booked_usd": booked, "charged_usd": charged, "difference_usd": charged - booked}
