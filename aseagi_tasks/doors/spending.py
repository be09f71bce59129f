"""What was spent, for every door that shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from aseagi_tasks import services

_EVER = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Spending:
    """USD by kind (``claude``, ``gpu``, ``storage``); a kind that cost nothing is missing. Days and months are UTC.

    Attributes:
        completed: jobs that ever completed; known results, which cost nothing, count too.
        per_thousand_usd: all that was ever spent, for each 1,000 of them; None before the first.
    """

    today: dict[str, float]
    month: dict[str, float]
    completed: int
    per_thousand_usd: float | None


def spending(now: datetime) -> Spending:
    """What the ledger says.

    Raises:
        RecordsUnavailable.
    """
    records = services.records()
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    completed = records.counts()["completed"]
    ever = sum(records.costs(_EVER).values())
    return Spending(
        today=records.costs(midnight),
        month=records.costs(midnight.replace(day=1)),
        completed=completed,
        per_thousand_usd=1000 * ever / completed if completed else None,
    )
