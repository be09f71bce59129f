"""The costs: today, this month, per 1,000 documents, by kind, by bulk run, day by day as a picture drawn here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from tornado.web import url

from aseagi_tasks import services
from aseagi_tasks.bulk import orders
from aseagi_tasks.doors.monitor.page import Page
from aseagi_tasks.stores.records import Day

KINDS = ("gpu", "claude", "storage")
DAYS = 30
#: Bulk runs that are listed, of so many.
RUNS, LOOKED_AT = 10, 100


class Total(NamedTuple):
    """A span of days added up; ``per_thousand`` is USD per 1,000 completed documents, None without any."""

    usd: dict[str, float]
    completed: int
    failed: int
    pages: int

    @property
    def all_usd(self) -> float:
        """USD of all kinds."""
        return sum(self.usd.values())

    @property
    def per_thousand(self) -> float | None:
        """USD per 1,000 completed documents."""
        return 1000 * self.all_usd / self.completed if self.completed else None


def added_up(days: Sequence[Day]) -> Total:
    """Days as one."""
    usd = {kind: sum(day.usd.get(kind, 0.0) for day in days) for kind in KINDS}
    return Total(
        usd, sum(day.completed for day in days), sum(day.failed for day in days), sum(day.pages for day in days)
    )


def costs(today: date) -> dict[str, Any]:
    """Today, the month so far, and every one of the last ``DAYS`` days, also those on which nothing happened."""
    since = min(today - timedelta(days=DAYS - 1), today.replace(day=1))
    known = {day.day: day for day in services.records().days(datetime(since.year, since.month, since.day, tzinfo=UTC))}
    every = [known.get(day, Day(day=day)) for day in _dates(today - timedelta(days=DAYS - 1), today)]
    month = [day for day in known.values() if day.day >= today.replace(day=1)]
    return {
        "limits": services.limits(),
        "today": added_up([known.get(today, Day(day=today))]),
        "month": added_up(month),
        "window": added_up(every),
        "days": every,
        "runs": of_runs(),
    }


def of_runs() -> list[dict[str, Any]]:
    """What the newest bulk runs have cost: the list's figures, ``usd`` by kind, ``usd_per_thousand`` documents.

    A run of which nothing was begun is left out.
    """
    found = []
    for run in [run for run in orders.listed(LOOKED_AT) if run["done"] or run["spent_usd"]][:RUNS]:
        usd = services.bulk_records().costs_of(run["run_id"])
        per_thousand = 1000 * run["spent_usd"] / run["done"] if run["done"] else None
        found.append({**run, "usd": usd, "usd_per_thousand": per_thousand})
    return found


def _dates(first: date, last: date) -> list[date]:
    return [first + timedelta(days=at) for at in range((last - first).days + 1)]


class Bar(NamedTuple):
    """A piece of a day's bar, in the picture's units; ``kind`` is its class."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str


class Plot(NamedTuple):
    """Bars and the lines behind them, in a picture of ``width`` by ``height`` units."""

    width: int
    height: int
    bars: list[Bar]
    grid: list[tuple[float, str]]
    labels: list[tuple[float, str]]


def plot(days: Sequence[Day], parts: Sequence[tuple[str, Sequence[float]]], unit: str) -> Plot:
    """Days as stacked bars.

    Args:
        parts: name and a value for each day, lowest first.
        unit: ``usd`` or a noun.
    """
    width, height, left, bottom, top = 900, 240, 64, 28, 14
    sums = [sum(values[at] for _, values in parts) for at in range(len(days))]
    highest = _round_up(max(sums, default=0) or 1)
    step, usable = (width - left) / max(1, len(days)), height - bottom - top
    bars = []
    for at, day in enumerate(days):
        y = float(height - bottom)
        for name, values in parts:
            tall = usable * values[at] / highest
            if tall > 0:
                y -= tall
                said = f"${values[at]:,.4f}" if unit == "usd" else f"{values[at]:,.0f}"
                x = left + (at + 0.12) * step
                bars.append(Bar(x, y, 0.76 * step, tall, name, f"{day.day}: {name} {said}"))
    grid = [(height - bottom - usable * part, _amount(highest * part, unit)) for part in (0, 0.5, 1)]
    labels = [(left + (at + 0.5) * step, f"{day.day:%d %b}") for at, day in enumerate(days) if at % 7 == len(days) % 7]
    return Plot(width, height, bars, grid, labels)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** (len(f"{int(value)}") - 1) if value >= 1 else 1e-4
    while True:
        for one in (1, 2, 5):
            if one * power >= value:
                return one * power
        power *= 10


def _amount(value: float, unit: str) -> str:
    if unit != "usd":
        return f"{value:,.0f}"
    return f"${value:,.2f}" if value >= 0.1 or value == 0 else f"${value:.4f}"


class Costs(Page):
    """The page."""

    tab = "costs"

    async def get(self) -> None:
        """Everything at once: it changes slowly."""
        found = await self.read(costs, datetime.now(UTC).date())
        days = found["days"]
        money = plot(days, [(kind, [day.usd.get(kind, 0.0) for day in days]) for kind in KINDS], "usd")
        ended = [
            ("completed", [float(day.completed) for day in days]),
            ("failed", [float(day.failed) for day in days]),
        ]
        self.show("aseagi-costs.html", **found, kinds=KINDS, money=money, ended=plot(days, ended, "documents"))


ROUTES = [url(r"/costs", Costs, name="costs")]
