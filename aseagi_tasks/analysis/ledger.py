"""What a call costs, in the ledger: once for each call, under a name that a restart finds again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aseagi_tasks.stores.records import Records


def once(job_id: str, key: str) -> str:
    """Names a call's cost."""
    return f"{job_id}:claude:{key}"


def reserve(records: Records, job_id: str, key: str, usd: float, daily_usd: float) -> bool:
    """Set money aside for a call; False if the day's is used up."""
    return records.reserve(job_id, "claude", usd, once=once(job_id, key), daily_budget_usd=daily_usd)


def settle(records: Records, job_id: str, key: str, usd: float, detail: Mapping[str, Any]) -> None:
    """Put a call's cost into the ledger, once, and free what was set aside for it."""
    if not records.settle(usd, once=once(job_id, key), detail=detail) and usd:
        records.charge(job_id, "claude", usd, once=once(job_id, key), detail=detail)
