"""What is rented, what it costs and which limits hold: for the terminal, the monitor and its API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aseagi_tasks.stores.fleet_records import InstanceRow
from aseagi_tasks.tending.watching import Means, limits_of


def overview(tools: Means) -> dict[str, Any]:
    """Everything as JSON values: instances with age, s/page, $/1,000 pages and what is booked; limits, spending."""
    now = datetime.now(UTC)
    rows, controls = tools.records.instances(), tools.records.controls()
    heard = tools.presence.hear(row.instance_id for row in rows)
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)

    def shown(row: InstanceRow) -> dict[str, Any]:
        said = heard.get(row.instance_id)
        page_s = (row.detail.get("canary") or {}).get("seconds_per_page")
        return {
            **row.model_dump(mode="json", exclude={"detail"}),
            "age_s": (now - row.created_at).total_seconds(),
            "seconds_per_page": page_s,
            "usd_per_thousand_pages": None if page_s is None else row.price_usd_per_hour * page_s / 3.6,
            "busy": said.busy if said else 0,
            "booked_usd": tools.records.billed(row.instance_id),
            "reason": row.detail.get("reason"),
            "message": row.detail.get("message"),
        }

    machines = [machine for machine in tools.records.machines() if machine.barred_until and machine.barred_until > now]
    return {
        "instances": [shown(row) for row in rows],
        "paused": bool(controls.get("paused")),
        "limits": limits_of(tools.conf, controls).model_dump(mode="json"),
        "usd_per_hour": sum(row.price_usd_per_hour for row in rows if row.provider_id is not None),
        "spent_today_usd": tools.ledger.costs(day).get("gpu", 0.0),
        "spent_month_usd": tools.ledger.costs(day.replace(day=1)).get("gpu", 0.0),
        "reconciled": controls.get("reconciled"),
        "left_out": [machine.model_dump(mode="json") for machine in machines],
    }
