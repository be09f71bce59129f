"""What to rent, to drain and to destroy: one pure function. No I/O, no clock, no environment.

Everything is weighed in one coin: the rent until all that waits is done, plus what that waiting is worth
(``Limits.backlog_usd_per_hour``, ``person_usd_per_hour``). A machine is rented if the sum is smaller with it than
without, and given up on its way if the sum is smaller without. DESIGN.md, "The autoscaler, step by step".
"""

from __future__ import annotations

from collections.abc import Sequence

from aseagi_tasks.fleet.admission import BUDGET, MONEY, broken_limit, budgets, rentable
from aseagi_tasks.fleet.forecast import HOUR, Forecast, Runner, done_in, span
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

#: Machines that are ready within so long of each other are as good as each other to a single document.
SOON_S = 30.0


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
        What ends, then what is launched, and a ``Wait`` if there is neither or a limit stands in the way of more.
    """
    forecast = Forecast(now, queue, rates, limits)
    held = [one for one in fleet if one.state != "gone"]  # paid for, and on their machines, until they are gone
    useful = [one for one in held if one.state == "joined" or one.state in BOOTING]
    ending: list[Decision] = []
    for one in sorted(held, key=lambda one: (-one.price_usd_per_hour, one.instance_id)):
        decision = _must_end(one, held, forecast, history) or _may_end(one, useful, forecast)
        if decision is not None:
            ending.append(decision)
            useful = [other for other in useful if other is not one]
    launching = _launching(held, useful, offers, forecast, history)
    return [*ending, *launching] or [_content(held, useful, offers, forecast)]


# --- what ends -------------------------------------------------------------------------------------------------------


def _must_end(one: Instance, held: list[Instance], forecast: Forecast, history: History) -> Decision | None:
    """What is broken, late, too old, or too dear for what is left of a budget."""
    limits, age_s = forecast.limits, forecast.now - one.created_at
    if one.state in ("destroying", "ambiguous"):
        return None
    if one.state in BROKEN:
        return _destroy(one, f"it is {one.state}", failed=one.state in ("failed", "lost"))
    if one.state == "running" and forecast.now - one.state_since > limits.join_s:
        return _destroy(one, f"started, but no worker joined within {span(limits.join_s)}", failed=True)
    if one.state in BOOTING and one.state != "running" and age_s > limits.boot_s:
        return _destroy(one, f"not started in {span(limits.boot_s)}", failed=True)
    burn = sum(other.price_usd_per_hour for other in held) / HOUR
    ends = [(limits.lifetime_s - age_s, f"it has lived for {span(age_s)}")]
    for limit, spent, budget in budgets(limits, history):
        if spent is not None and burn:  # spending that is unknown ends nothing; it stops launches
            ends.append(((budget - spent) / burn, f"{BUDGET[limit]} of ${budget:.2f} is used up"))
    left_s, why = min(ends)
    if not left_s > limits.stop_s:
        return _destroy(one, why)
    if one.state == "draining":
        return None if one.busy else _destroy(one, "drained")
    if not left_s > limits.stop_s + limits.drain_s:
        return (_drain if one.state == "joined" else _destroy)(one, f"in {span(max(0.0, left_s))} {why}")
    return None


def _may_end(one: Instance, useful: list[Instance], forecast: Forecast) -> Decision | None:
    """What costs more than it brings: idle machines, and those on their way that are not waited for."""
    queue, limits = forecast.queue, forecast.limits
    if one not in useful or one.busy:
        return None
    if one.asked_for and (one.idle_since is None or forecast.now - one.idle_since < limits.idle_s):
        return None
    others = [other for other in useful if other is not one]
    if one.state == "joined":
        if queue.documents or one.idle_since is None:
            return None
        idle_s = forecast.now - one.idle_since
        if others:
            return _drain(one, f"nothing waits, and {len(others)} more are there")
        if idle_s >= limits.idle_s:
            return _drain(one, f"idle for {span(idle_s)}")
        return None if forecast.worth_keeping(one) else _drain(one, "nothing waits, and nothing is expected soon")
    late = forecast.now - one.created_at > max(forecast.boots_s)
    if not queue.documents:
        kept = not others and forecast.worth_keeping(one)
        return None if kept else _destroy(one, "nothing waits for it any more", failed=late)
    it, rest = forecast.runner(one), [forecast.runner(other) for other in others]
    if forecast.usd([*rest, it]) < forecast.usd(rest):  # infinite, if there is no other
        return None
    done = f"all is done in {span(done_in(queue.pages, rest))} without it"
    return _destroy(one, f"would join in {span(it.ready_s)}, {done}", failed=late)


def _destroy(one: Instance, why: str, failed: bool = False) -> Decision:
    return Destroy(instance_id=one.instance_id, failed=failed, reason=f"destroy {one.instance_id}: {why}")


def _drain(one: Instance, why: str) -> Decision:
    return Drain(instance_id=one.instance_id, reason=f"drain {one.instance_id}: {why}")


# --- what is launched ------------------------------------------------------------------------------------------------


def _launching(
    held: list[Instance], useful: list[Instance], offers: Sequence[Offer], forecast: Forecast, history: History
) -> list[Decision]:
    limits = forecast.limits
    if not forecast.queue.documents:
        return []
    runners = [forecast.runner(one) for one in useful]
    free = [it.ready_s for it, one in zip(runners, useful, strict=True) if not one.busy]
    allowed = [offer for offer in offers if rentable(offer, held, forecast, history)]
    allowed.sort(key=lambda offer: (offer.price_usd_per_hour, offer.ask_id))
    left = [(offer, forecast.runner(offer)) for offer in allowed]
    launched: list[Offer] = []
    decisions: list[Decision] = []
    blocked: tuple[LimitName, str] | None = None
    while len(launched) < limits.launches_per_tick and (best := _best(left, runners, free, forecast)):
        offer, it = best
        blocked = broken_limit(offer, launched, held, forecast, history)
        if blocked and blocked[0] in MONEY:  # a cheaper one may be within it
            left = [one for one in left if broken_limit(one[0], launched, held, forecast, history) is None]
            continue
        if blocked:
            break
        decisions.append(Launch(offer=offer, reason=_why(offer, it, runners, forecast)))
        launched.append(offer)
        runners.append(it)
        free.append(it.ready_s)
        left = [one for one in left if one[0].machine_id != offer.machine_id]
    if blocked:
        decisions.append(Wait(limit=blocked[0], reason=f"wait: {_waiting(forecast)}, but {blocked[1]}"))
    return decisions


def _best(
    left: list[tuple[Offer, Runner]], runners: list[Runner], free: list[float], forecast: Forecast
) -> tuple[Offer, Runner] | None:
    """The offer with which all costs least, if that is less than without any. ``left`` is sorted by price."""
    least, drained_s, best = forecast.usd(runners), done_in(forecast.queue.pages, runners), None
    seen: set[tuple[float, float, float]] = set()
    for offer, it in left:
        pull_usd = forecast.pull_usd(offer)
        alike = it.ready_s, it.pages_per_s, pull_usd
        if (
            alike in seen
            or it.ready_s >= drained_s
            or sum(ready_s <= it.ready_s + SOON_S for ready_s in free) >= forecast.queue.documents
        ):
            continue  # a cheaper one does the same, it comes too late, or each document has one that is there as soon
        seen.add(alike)
        usd = forecast.usd([*runners, it]) + pull_usd
        if usd < least:
            least, best = usd, (offer, it)
    return best


# --- words -----------------------------------------------------------------------------------------------------------


def _why(offer: Offer, it: Runner, runners: list[Runner], forecast: Forecast) -> str:
    what = f"launch 1 × {offer.gpu} at ${offer.price_usd_per_hour:.2f}/h: {_waiting(forecast)}"
    if not runners:
        return f"{what}, nothing runs, would be done in {span(done_in(forecast.queue.pages, [it]))}"
    ready = sum(not one.ready_s for one in runners)
    sooner_s = done_in(forecast.queue.pages, runners) - it.ready_s
    return f"{what}, {ready} of {len(runners)} ready, would join {span(sooner_s)} before the drain"


def _content(held: list[Instance], useful: list[Instance], offers: Sequence[Offer], forecast: Forecast) -> Wait:
    queue = forecast.queue
    if not queue.documents:
        what = f"{queue.running_documents} in work" if queue.running_documents else "nothing to do"
        return Wait(reason=f"wait: nothing waits, {what}, instances: {len(held)}")
    if not useful:
        return Wait(limit="offers", reason=f"wait: {_waiting(forecast)}, but none of {len(offers)} offers is allowed")
    done = span(done_in(queue.pages, [forecast.runner(one) for one in useful]))
    more = "one more would cost more than the time it saves"
    machines = "1 machine" if len(useful) == 1 else f"{len(useful)} machines"
    return Wait(reason=f"wait: {_waiting(forecast)}, {machines} will be done in {done}; {more}")


def _waiting(forecast: Forecast) -> str:
    pages = forecast.queue.pages
    return f"{pages:,} {'page waits' if pages == 1 else 'pages wait'}"
