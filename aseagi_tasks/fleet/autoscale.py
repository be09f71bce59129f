"""What to rent, to drain and to destroy: one pure function. No I/O, no clock, no environment.

Everything is weighed in one coin: the rent until all that waits is done, plus what that waiting is worth
(``Limits.backlog_usd_per_hour``, ``person_usd_per_hour``). A machine is rented if the sum is smaller with it than
without, and given up on its way if the sum is smaller without. DESIGN.md, "The autoscaler, step by step".
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

from aseagi_tasks.fleet.model import (
    BOOTING,
    BROKEN,
    Decision,
    Destroy,
    Drain,
    History,
    Instance,
    Launch,
    LimitName,
    Limits,
    Offer,
    QueueState,
    Rates,
    Wait,
)

HOUR = 3600.0
#: Until launches were measured: an image that is cached, the usual one to five minutes, a slow one.
TYPICAL_BOOTS_S = (30.0, 75.0, 120.0, 150.0, 180.0, 210.0, 270.0, 420.0)
#: How far back requests tell how soon the next will come.
RECENT_S = 1_800.0
_BUDGET = {"daily_budget": "the daily budget", "monthly_budget": "the monthly budget"}


class Runner(NamedTuple):
    """A machine as the forecast sees it."""

    ready_s: float
    pages_per_s: float
    usd_per_s: float


def barred_until(failures: Sequence[float]) -> float:
    """Until when a machine that failed at these times is left out: a day from the latest, doubled for each before."""
    return max(failures) + 24 * HOUR * 2 ** (len(failures) - 1) if failures else -inf


def decide(
    now: float,
    queue: QueueState,
    fleet: Sequence[Instance],
    offers: Sequence[Offer],
    rates: Rates,
    limits: Limits,
    history: History,
) -> list[Decision]:
    """What to do now, each with its reason; never empty, and the same for the same arguments.

    Args:
        now: seconds since the epoch, as are all times in the other arguments.
        fleet: every instance that is not known to be gone. offers: what the provider has now.
    Returns:
        First what ends, then what is launched, dearest need first, or a ``Wait`` that says why nothing is.
    """
    alive = [instance for instance in fleet if instance.state not in ("gone", "destroying")]
    ending = _ending(now, queue, alive, rates, limits, history)
    gone = {decision.instance_id for decision in ending}
    staying = [instance for instance in alive if instance.instance_id not in gone and instance.state != "draining"]
    return [*ending, *_launching(now, queue, fleet, staying, offers, rates, limits, history)]


# --- what ends -------------------------------------------------------------------------------------------------------


def _ending(
    now: float, queue: QueueState, alive: list[Instance], rates: Rates, limits: Limits, history: History
) -> list[Drain | Destroy]:
    stop, over = _over_budget(alive, limits, history)
    useful = [instance for instance in alive if instance.state == "joined" or instance.state in BOOTING]
    decisions: list[Drain | Destroy] = []
    for one in sorted(alive, key=lambda one: (-one.price_usd_per_hour, one.instance_id)):
        age, name = now - one.created_at, one.instance_id
        if one.state in BROKEN:
            failed = one.state in ("failed", "lost")
            decisions.append(Destroy(instance_id=name, failed=failed, reason=f"destroy {name}: it is {one.state}"))
        elif stop:
            decisions.append(Destroy(instance_id=name, reason=f"destroy {name}: {over} is used up"))
        elif age >= limits.lifetime_s - limits.stop_s:
            decisions.append(Destroy(instance_id=name, reason=f"destroy {name}: it has lived for {_span(age)}"))
        elif one.state == "draining":
            if not one.busy:
                decisions.append(Destroy(instance_id=name, reason=f"destroy {name}: drained"))
        elif one.state == "running" and now - one.state_since > limits.join_s:
            reason = f"destroy {name}: started, but no worker joined within {_span(limits.join_s)}"
            decisions.append(Destroy(instance_id=name, failed=True, reason=reason))
        elif one.state in BOOTING and one.state != "running" and age > limits.boot_s:
            reason = f"destroy {name}: not started after {_span(limits.boot_s)}"
            decisions.append(Destroy(instance_id=name, failed=True, reason=reason))
        elif over and one.state in BOOTING:
            decisions.append(Destroy(instance_id=name, reason=f"destroy {name}: {over} is nearly used up"))
        elif over and one.state == "joined":
            decisions.append(Drain(instance_id=name, reason=f"drain {name}: {over} is nearly used up"))
        elif age >= limits.lifetime_s - limits.stop_s - limits.drain_s and one.state == "joined":
            decisions.append(Drain(instance_id=name, reason=f"drain {name}: it has lived for {_span(age)}"))
        elif one.state in BOOTING and (why := _too_late(now, one, useful, queue, rates, limits)):
            failed = age > max(rates.boots_s or TYPICAL_BOOTS_S)
            decisions.append(Destroy(instance_id=name, failed=failed, reason=f"destroy {name}: {why}"))
            useful.remove(one)
        elif one.state == "joined" and (why := _idle(now, one, useful, queue, rates, limits)):
            decisions.append(Drain(instance_id=name, reason=f"drain {name}: {why}"))
            useful.remove(one)
    return decisions


def _over_budget(alive: list[Instance], limits: Limits, history: History) -> tuple[bool, str]:
    """Whether to destroy all at once, and the budget that is (nearly) used up, or nothing.

    What runs is paid until it can be gone. Spending that is unknown ends nothing; it stops launches.
    """
    burn = sum(one.price_usd_per_hour for one in alive) / HOUR
    nearly = ""
    for name, spent, budget in _budgets(limits, history):
        if spent is not None and not spent + burn * limits.stop_s <= budget:
            return True, f"{_BUDGET[name]} of ${budget:.2f}"
        if spent is not None and not spent + burn * (limits.stop_s + limits.drain_s) <= budget:
            nearly = f"{_BUDGET[name]} of ${budget:.2f}"
    return False, nearly


def _too_late(
    now: float, one: Instance, useful: list[Instance], queue: QueueState, rates: Rates, limits: Limits
) -> str:
    """Why a machine on its way is not worth waiting for, or nothing."""
    others = [_runner(now, other, rates, limits) for other in useful if other is not one]
    if not queue.documents:
        kept = not others and _worth_keeping(now, one, queue, rates, limits)
        return "" if kept else "nothing waits any more"
    if not others:
        return ""
    it = _runner(now, one, rates, limits)
    without, with_it = _cost(queue, others, limits), _cost(queue, [*others, it], limits)
    if without <= with_it:
        return f"would join in {_span(it.ready_s)}, all is done in {_span(_done_in(queue.pages, others))} without it"
    return ""


def _idle(now: float, one: Instance, useful: list[Instance], queue: QueueState, rates: Rates, limits: Limits) -> str:
    """Why an idle machine is not worth keeping, or nothing."""
    if one.busy or one.idle_since is None or queue.documents:
        return ""
    idle_s = now - one.idle_since
    if idle_s >= limits.idle_s:
        return f"idle for {_span(idle_s)}"
    if len(useful) > 1 and idle_s >= min(60.0, limits.idle_s):
        return f"idle for {_span(idle_s)}, nothing waits, and {len(useful) - 1} more stay"
    if len(useful) == 1 and not _worth_keeping(now, one, queue, rates, limits):
        return "nothing waits, and the next request is not expected soon"
    return ""


def _worth_keeping(now: float, one: Instance, queue: QueueState, rates: Rates, limits: Limits) -> bool:
    """Whether idling costs less than the launch, and the person's wait for it, that it may spare."""
    recent = [at for at in queue.requests if now - at <= RECENT_S]
    per_s = (len(recent) - 1) / RECENT_S
    boot_s = _boot_s(one.machine_id, 0.0, rates, limits)
    return per_s * boot_s * (one.price_usd_per_hour + limits.person_usd_per_hour) > one.price_usd_per_hour


# --- what is launched ------------------------------------------------------------------------------------------------


def _launching(
    now: float,
    queue: QueueState,
    fleet: Sequence[Instance],
    staying: list[Instance],
    offers: Sequence[Offer],
    rates: Rates,
    limits: Limits,
    history: History,
) -> list[Decision]:
    held = [one for one in fleet if one.state != "gone"]  # paid for, and on their machines, until they are gone
    working = [one for one in staying if one.state == "joined" or one.state in BOOTING]
    runners = [_runner(now, one, rates, limits) for one in working]
    free = [it.ready_s for it, one in zip(runners, working, strict=True) if not one.busy]
    if not queue.documents:
        what = f"{queue.running_documents} in work" if queue.running_documents else "nothing to do"
        return [Wait(reason=f"wait: nothing waits, {what}, instances: {len(held)}")]
    left = [
        (offer, _runner_of(offer, rates, limits))
        for offer in sorted(offers, key=lambda offer: (offer.price_usd_per_hour, offer.ask_id))
        if _rentable(now, offer, held, limits, history)
    ]
    burn = sum(one.price_usd_per_hour for one in held)
    committed = sum(_committed(now, one, limits) for one in held)
    decisions: list[Decision] = []
    while len(decisions) < limits.launches_per_tick:
        best = _best(queue, runners, free, left, rates, limits)
        if best is None:
            break
        offer, it = best
        price = offer.price_usd_per_hour
        commits = price * (limits.boot_s + limits.join_s + limits.drain_s + limits.stop_s) / HOUR + _pull(offer, rates)
        blocked = _limit(now, held, len(decisions), burn + price, committed + commits, limits, history)
        if blocked:
            decisions.append(Wait(limit=blocked[0], reason=f"wait: {_what_waits(queue)}, but {blocked[1]}"))
            break
        decisions.append(Launch(offer=offer, reason=_why(queue, offer, it, runners)))
        burn, committed = burn + price, committed + commits
        runners.append(it)
        free.append(it.ready_s)
        left = [(other, its) for other, its in left if other.machine_id != offer.machine_id]
    if decisions:
        return decisions
    if not left and not runners:
        return [Wait(limit="offers", reason=f"wait: {_what_waits(queue)}, but none of {len(offers)} offers is allowed")]
    done = f"{len(runners)} machines will be done in {_span(_done_in(queue.pages, runners))}"
    return [Wait(reason=f"wait: {_what_waits(queue)}, {done}; one more would cost more than the time it saves")]


def _best(
    queue: QueueState,
    runners: list[Runner],
    free: list[float],
    left: list[tuple[Offer, Runner]],
    rates: Rates,
    limits: Limits,
) -> tuple[Offer, Runner] | None:
    """The offer with which all costs least, if that is less than without any. ``left`` is sorted by price."""
    least, best = _cost(queue, runners, limits), None
    seen: set[tuple[float, float]] = set()
    for offer, it in left:
        alike = it.ready_s, it.pages_per_s
        if alike in seen or sum(ready <= it.ready_s for ready in free) >= queue.documents:
            continue  # a cheaper one does the same, or each document finds a machine that is there sooner
        seen.add(alike)
        cost = _cost(queue, [*runners, it], limits) + _pull(offer, rates)
        if cost < least:
            least, best = cost, (offer, it)
    return best


def _rentable(now: float, offer: Offer, held: list[Instance], limits: Limits, history: History) -> bool:
    """Whether the limits admit this offer. What is no number fails every comparison."""
    return (
        0 < offer.price_usd_per_hour <= limits.price_cap_usd_per_hour.get(offer.gpu, -inf)
        and offer.reliability >= limits.reliability
        and (offer.verified or not limits.verified_only)
        and (offer.datacenter or not limits.datacenter_only)
        and (not limits.regions or offer.region in limits.regions)
        and offer.available_s >= HOUR
        and history.barred.get(offer.machine_id, -inf) <= now
        and all(one.machine_id != offer.machine_id for one in held)
    )


def _limit(
    now: float, held: list[Instance], launched: int, burn: float, committed: float, limits: Limits, history: History
) -> tuple[LimitName, str] | None:
    """The limit that one more launch breaks, in words. ``burn`` ($/h) and ``committed`` ($) are with it."""
    failures = sum(now - at <= limits.failure_window_s for at in history.failures)
    if limits.paused:
        return "paused", "launches are paused"
    if any(one.state == "ambiguous" for one in held):
        return "ambiguous", "whether the last launch came about is not known yet"
    if failures >= limits.failures:
        return "breaker", f"{failures} launches failed within {_span(limits.failure_window_s)}"
    if len(held) + launched >= limits.instances:
        return "instances", f"there are {len(held) + launched} instances of at most {limits.instances}"
    if not burn <= limits.usd_per_hour:
        return "usd_per_hour", f"one more would come to ${burn:.2f}/h of at most ${limits.usd_per_hour:.2f}/h"
    for name, spent, budget in _budgets(limits, history):
        if spent is None:
            return "spending_unknown", "what was spent is not known"
        if not spent + committed <= budget:
            return (
                name,
                f"${spent:.2f} spent and ${committed:.2f} committed would pass {_BUDGET[name]} of ${budget:.2f}",
            )
    return None


def _budgets(limits: Limits, history: History) -> tuple[tuple[LimitName, float | None, float], ...]:
    return (
        ("daily_budget", history.spent_today_usd, limits.daily_budget_usd),
        ("monthly_budget", history.spent_month_usd, limits.monthly_budget_usd),
    )


def _committed(now: float, one: Instance, limits: Limits) -> float:
    """Dollars that an instance costs at most until it can be gone."""
    rest_s = limits.stop_s if one.state == "destroying" else limits.stop_s + limits.drain_s
    if one.state in BOOTING or one.state == "ambiguous":
        rest_s += max(0.0, limits.boot_s + limits.join_s - (now - one.created_at))
    return one.price_usd_per_hour * rest_s / HOUR


# --- the forecast ----------------------------------------------------------------------------------------------------


def _cost(queue: QueueState, runners: Sequence[Runner], limits: Limits) -> float:
    """Dollars until all that waits is done: the rent, and what the waiting is worth."""
    if not runners:
        return inf
    usd_per_s = sum(it.usd_per_s for it in runners) + limits.backlog_usd_per_hour / HOUR
    persons = queue.interactive_documents * limits.person_usd_per_hour / HOUR
    return usd_per_s * _done_in(queue.pages, runners) + persons * _done_in(queue.interactive_pages, runners)


def _done_in(pages: int, runners: Sequence[Runner]) -> float:
    """Seconds until so many pages are read, by machines that begin when they are ready."""
    at = speed = done = 0.0
    for it in sorted(runners):
        if speed and done + speed * (it.ready_s - at) >= pages:
            break
        done += speed * (it.ready_s - at)
        at, speed = it.ready_s, speed + it.pages_per_s
    return at + (pages - done) / speed if speed else inf


def _runner(now: float, one: Instance, rates: Rates, limits: Limits) -> Runner:
    ready_s = _boot_s(one.machine_id, now - one.created_at, rates, limits) if one.state in BOOTING else 0.0
    return Runner(ready_s, 1 / _page_s(one.gpu, one.machine_id, rates), one.price_usd_per_hour / HOUR)


def _runner_of(offer: Offer, rates: Rates, limits: Limits) -> Runner:
    ready_s = _boot_s(offer.machine_id, 0.0, rates, limits)
    return Runner(ready_s, 1 / _page_s(offer.gpu, offer.machine_id, rates), offer.price_usd_per_hour / HOUR)


def _page_s(gpu: str, machine_id: int, rates: Rates) -> float:
    of_its_kind = rates.seconds_per_page.get(gpu, rates.unmeasured_seconds_per_page)
    return rates.machine_seconds_per_page.get(machine_id, of_its_kind)


def _boot_s(machine_id: int, age_s: float, rates: Rates, limits: Limits) -> float:
    """Seconds until it joins, as launches that took longer than this one so far went; some never join."""
    known = rates.machine_boots_s.get(machine_id)
    boots = (known,) if known is not None else rates.boots_s or TYPICAL_BOOTS_S
    later = [boot for boot in boots if boot > age_s]
    never = len(boots) * rates.never_joined / max(1 - rates.never_joined, 0.01)
    if not later and not never:
        return max(0.0, limits.boot_s - age_s)
    return max(0.0, (sum(later) + never * limits.boot_s) / (len(later) + never) - age_s)


def _pull(offer: Offer, rates: Rates) -> float:
    """Dollars for the image, where it is not on the machine's disk."""
    return 0.0 if offer.machine_id in rates.machine_boots_s else rates.image_gb * offer.download_usd_per_gb


# --- words -----------------------------------------------------------------------------------------------------------


def _why(queue: QueueState, offer: Offer, it: Runner, runners: list[Runner]) -> str:
    what = f"launch 1 × {offer.gpu} at ${offer.price_usd_per_hour:.2f}/h: {_what_waits(queue)}"
    if not runners:
        return f"{what}, nothing runs, would be done in {_span(_done_in(queue.pages, [it]))}"
    ready = sum(not one.ready_s for one in runners)
    sooner_s = _done_in(queue.pages, runners) - it.ready_s
    return f"{what}, {ready} of {len(runners)} ready, would join {_span(sooner_s)} before the drain"


def _what_waits(queue: QueueState) -> str:
    return f"{queue.pages:,} {'page waits' if queue.pages == 1 else 'pages wait'}"


def _span(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"
