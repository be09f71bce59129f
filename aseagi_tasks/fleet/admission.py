"""The limits: which offers they admit, and which of them a launch would break. Pure; comparisons fail closed."""

from __future__ import annotations

from math import inf

from aseagi_tasks.fleet.forecast import HOUR, Forecast, span
from aseagi_tasks.fleet.model import BOOTING, History, Instance, LimitName, Limits, Offer

MONEY: frozenset[LimitName] = frozenset({"usd_per_hour", "daily_budget", "monthly_budget"})
BUDGET = {"daily_budget": "the daily budget", "monthly_budget": "the monthly budget"}


def rentable(offer: Offer, held: list[Instance], forecast: Forecast, history: History) -> bool:
    """Whether the limits admit this offer. What is no number fails every comparison."""
    limits = forecast.limits
    return (
        0 < offer.price_usd_per_hour <= limits.price_cap_usd_per_hour.get(offer.gpu, -inf)
        and offer.reliability >= limits.reliability
        and (offer.verified or not limits.verified_only)
        and (offer.datacenter or not limits.datacenter_only)
        and (not limits.regions or offer.region in limits.regions)
        and offer.available_s >= HOUR
        and history.barred.get(offer.machine_id, -inf) <= forecast.now
        and all(one.machine_id != offer.machine_id for one in held)
    )


def broken_limit(
    offer: Offer, launched: list[Offer], held: list[Instance], forecast: Forecast, history: History
) -> tuple[LimitName, str] | None:
    """The limit that this launch would break, in words."""
    limits, count = forecast.limits, len(held) + len(launched)
    with_it: list[Instance | Offer] = [*held, *launched, offer]
    burn = sum(one.price_usd_per_hour for one in with_it)
    committed = sum(_committed(one, forecast) for one in with_it)
    failures = sum(forecast.now - at <= limits.failure_window_s for at in history.failures)
    if limits.paused:
        return "paused", "launches are paused"
    if any(one.state == "ambiguous" for one in held):
        return "ambiguous", "whether the last launch came about is not known yet"
    if failures >= limits.failures:
        return "breaker", f"{failures} launches failed within {span(limits.failure_window_s)}"
    if count >= limits.instances:
        return "instances", f"there are {count} instances of at most {limits.instances}"
    if not burn <= limits.usd_per_hour:
        return "usd_per_hour", f"one more would come to ${burn:.2f}/h of at most ${limits.usd_per_hour:.2f}/h"
    for limit, spent, budget in budgets(limits, history):
        if spent is None:
            return "spending_unknown", "what was spent is not known"
        if not spent + committed <= budget:
            sums = f"${spent:.2f} spent and ${committed:.2f} committed"
            return limit, f"{sums} would pass {BUDGET[limit]} of ${budget:.2f}"
    return None


def budgets(limits: Limits, history: History) -> tuple[tuple[LimitName, float | None, float], ...]:
    """Name, what is spent (None: not known), and the budget."""
    return (
        ("daily_budget", history.spent_today_usd, limits.daily_budget_usd),
        ("monthly_budget", history.spent_month_usd, limits.monthly_budget_usd),
    )


def _committed(one: Instance | Offer, forecast: Forecast) -> float:
    """Dollars that an instance may cost until it is gone, if it is let go as soon as that can be."""
    limits, rest_s, pull_usd = forecast.limits, forecast.limits.stop_s, 0.0
    if isinstance(one, Offer):
        rest_s += limits.drain_s + limits.boot_s + limits.join_s
        pull_usd = forecast.pull_usd(one)
    elif one.state != "destroying":
        rest_s += limits.drain_s
        if one.state in BOOTING or one.state == "ambiguous":
            rest_s += max(0.0, limits.boot_s + limits.join_s - (forecast.now - one.created_at))
    return one.price_usd_per_hour * rest_s / HOUR + pull_usd
