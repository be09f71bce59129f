"""What to rent, drain and destroy: each rule, each limit failing closed, and what no decision may ever do."""

from __future__ import annotations

import ast
import inspect
import math
import random
from typing import Any

import pytest

from aseagi_tasks.fleet import admission, autoscale, forecast, model
from aseagi_tasks.fleet.autoscale import decide
from aseagi_tasks.fleet.forecast import Runner, done_in, span
from aseagi_tasks.fleet.model import (
    BOOTING,
    BROKEN,
    Decision,
    Destroy,
    Drain,
    History,
    Instance,
    Launch,
    Limits,
    Offer,
    QueueState,
    Rates,
    Wait,
)

NOW = 1_800_000_000.0
RATES = Rates(
    seconds_per_page={"RTX 3080": 0.5, "RTX 3090": 0.4, "RTX 4090": 0.2},
    boots_s=(120.0, 150.0, 180.0),
    never_joined=0.02,
)
FREE = History(spent_today_usd=0.0, spent_month_usd=0.0)
ONE = QueueState(interactive_documents=1, interactive_pages=2, requests=(NOW - 5,))
MANY = QueueState(bulk_documents=1_000, bulk_pages=8_000)


def offer(machine_id: int = 1, **given: Any) -> Offer:
    fields: dict[str, Any] = {
        "ask_id": machine_id,
        "gpu": "RTX 3090",
        "price_usd_per_hour": 0.19,
        "reliability": 0.99,
        "verified": True,
        "region": "US",
        "available_s": 86_400.0,
    }
    return Offer(machine_id=machine_id, **{**fields, **given})


def instance(state: str = "joined", machine_id: int = 50, age_s: float = 600.0, **given: Any) -> Instance:
    fields: dict[str, Any] = {
        "instance_id": f"i-{machine_id}",
        "gpu": "RTX 3090",
        "price_usd_per_hour": 0.19,
        "created_at": NOW - age_s,
        "state_since": NOW - 10,
    }
    return Instance(machine_id=machine_id, state=state, **{**fields, **given})


def ask(
    queue: QueueState = MANY,
    fleet: tuple[Instance, ...] = (),
    offers: tuple[Offer, ...] | None = None,
    limits: Limits | None = None,
    history: History = FREE,
    rates: Rates = RATES,
) -> list[Decision]:
    found = offers if offers is not None else tuple(offer(number) for number in range(1, 9))
    return decide(NOW, queue, fleet, found, rates, limits or Limits(), history)


def launches(decisions: list[Decision]) -> list[Offer]:
    return [decision.offer for decision in decisions if isinstance(decision, Launch)]


def limit_of(decisions: list[Decision]) -> str | None:
    return next((decision.limit for decision in decisions if isinstance(decision, Wait)), None)


# --- launching -------------------------------------------------------------------------------------------------------


def test_one_page_that_waits_is_enough_to_launch_from_zero_at_once() -> None:
    assert len(launches(ask(ONE))) == 1


def test_nothing_is_launched_while_nothing_waits() -> None:
    (only,) = ask(QueueState(running_documents=2), (instance(busy=2),))
    assert only == Wait(reason="wait: nothing waits, 2 in work, instances: 1")


def test_a_machine_that_would_join_after_the_drain_is_not_launched() -> None:
    few = QueueState(bulk_documents=50, bulk_pages=250)  # 100 s of work, and 150 s to boot
    assert not launches(ask(few, (instance(busy=1),)))
    assert launches(ask(QueueState(bulk_documents=5_000, bulk_pages=25_000), (instance(busy=1),)))


def test_a_machine_that_costs_more_than_the_time_it_saves_is_not_launched() -> None:
    some = QueueState(bulk_documents=100, bulk_pages=700)  # 280 s of work: half of it saved is two minutes
    patient, hurried = Limits(backlog_usd_per_hour=0.01), Limits(backlog_usd_per_hour=10.0)
    assert not launches(ask(some, (instance(busy=1),), limits=patient))
    assert launches(ask(some, (instance(busy=1),), limits=hurried))


def test_the_longer_the_backlog_the_more_machines() -> None:
    counts = []
    for documents in (1, 100, 1_000, 20_000):
        fleet: tuple[Instance, ...] = ()
        for _ in range(10):
            queue = QueueState(bulk_documents=documents, bulk_pages=documents * 8)
            offers = tuple(offer(number) for number in range(1, 30))
            wanted = launches(ask(queue, fleet, offers, Limits(usd_per_hour=100, daily_budget_usd=100)))
            fleet += tuple(instance("loading", one.machine_id, age_s=5) for one in wanted)
        counts.append(len(fleet))
    assert counts == sorted(counts) and counts[0] == 1 and counts[-1] > counts[1]


def test_each_machine_finds_a_document_of_its_own() -> None:
    huge = QueueState(bulk_documents=2, bulk_pages=100_000)
    assert len(launches(ask(huge))) == 2


def test_short_work_goes_to_the_cheap_hour_and_long_work_to_the_cheap_page() -> None:
    slow, fast = offer(1, gpu="RTX 3080", price_usd_per_hour=0.12), offer(2, gpu="RTX 4090", price_usd_per_hour=0.24)
    assert launches(ask(ONE, offers=(slow, fast)))[0] == slow
    assert launches(ask(QueueState(bulk_documents=5_000, bulk_pages=40_000), offers=(slow, fast)))[0] == fast


def test_a_machine_that_has_the_image_is_preferred_while_somebody_waits() -> None:
    rates = RATES.model_copy(update={"machine_boots_s": {7: 30.0}})
    offers = (offer(1, price_usd_per_hour=0.18), offer(7, price_usd_per_hour=0.20))
    assert launches(ask(ONE, offers=offers, rates=rates))[0].machine_id == 7


def test_what_pulling_the_image_costs_counts() -> None:
    dear, free = offer(1, price_usd_per_hour=0.18, download_usd_per_gb=0.02), offer(2, price_usd_per_hour=0.19)
    assert launches(ask(ONE, offers=(dear, free)))[0] == free


def test_a_measured_machine_counts_as_it_was_measured() -> None:
    rates = RATES.model_copy(update={"machine_seconds_per_page": {1: 4.0}})
    assert launches(ask(offers=(offer(1), offer(2, price_usd_per_hour=0.20)), rates=rates))[0].machine_id == 2


def test_a_kind_that_was_never_measured_is_tried_once_and_then_taken_as_it_is() -> None:
    offers = (offer(1, gpu="RTX 3080", price_usd_per_hour=0.12), offer(2, gpu="RTX 4090", price_usd_per_hour=0.24))
    known = RATES.model_copy(update={"seconds_per_page": {"RTX 3080": 0.5}})
    assert launches(ask(offers=offers, rates=known))[0].gpu == "RTX 4090"
    slow = RATES.model_copy(update={"seconds_per_page": {"RTX 3080": 0.5, "RTX 4090": 0.6}})
    assert launches(ask(offers=offers, rates=slow))[0].gpu == "RTX 3080"


def test_a_boot_that_takes_longer_than_any_before_is_not_relied_on() -> None:
    late = instance("loading", age_s=400)
    (first, *rest) = ask(ONE, (late,))
    assert isinstance(first, Launch)
    fleet = (late, instance("loading", 60, age_s=15))
    assert any(isinstance(one, Destroy) and one.instance_id == "i-50" and one.failed for one in ask(ONE, fleet)), rest


# --- ending ----------------------------------------------------------------------------------------------------------


def test_an_idle_machine_is_drained_and_a_drained_one_destroyed() -> None:
    idle = instance(idle_since=NOW - 301)
    (drain, _) = [*ask(QueueState(), (idle,)), None]
    assert isinstance(drain, Drain)
    (destroy, _) = [*ask(QueueState(), (instance("draining"),)), None]
    assert isinstance(destroy, Destroy) and not destroy.failed


def test_a_draining_machine_is_not_destroyed_before_its_work_is_done() -> None:
    assert all(isinstance(one, Wait) for one in ask(QueueState(), (instance("draining", busy=1),)))


def test_a_machine_is_kept_while_requests_are_likely_to_go_on_but_not_beyond_the_idle_time() -> None:
    every_minute = tuple(NOW - 60 * number for number in range(30, 0, -1))
    for idle_s, kept in ((60, True), (200, True), (301, False)):
        requests = tuple(at + 60 - idle_s for at in every_minute)
        (only,) = ask(QueueState(requests=requests), (instance(idle_since=NOW - idle_s),))
        assert isinstance(only, Wait) is kept, idle_s


def test_a_machine_is_let_go_when_a_stack_is_through() -> None:
    stack = tuple(NOW - 120 - 6 * number for number in range(30, 0, -1))
    (only,) = ask(QueueState(requests=stack), (instance(idle_since=NOW - 100),))
    assert isinstance(only, Drain) and "nothing is expected soon" in only.reason


def test_of_several_idle_machines_the_cheapest_stays() -> None:
    requests = tuple(NOW - 60 * number for number in range(30, 0, -1))
    fleet = tuple(
        instance(machine_id=number, price_usd_per_hour=price, idle_since=NOW - 1)
        for number, price in ((1, 0.3), (2, 0.1), (3, 0.2))
    )
    assert {one.instance_id for one in ask(QueueState(requests=requests), fleet) if isinstance(one, Drain)} == {
        "i-1",
        "i-3",
    }


def test_busy_machines_are_let_be() -> None:
    fleet = tuple(instance(machine_id=number, busy=1) for number in range(1, 5))
    assert all(isinstance(one, Wait) for one in ask(QueueState(running_documents=4), fleet))


@pytest.mark.parametrize("state", sorted(BROKEN))
def test_what_is_broken_is_destroyed_and_failures_are_remembered(state: str) -> None:
    destroy = ask(QueueState(), (instance(state, busy=1),))[0]
    assert isinstance(destroy, Destroy) and destroy.failed is (state in ("failed", "lost"))


def test_a_boot_or_join_beyond_its_limit_is_a_failure() -> None:
    for one in (
        instance("loading", age_s=901),
        instance("intent", age_s=901),
        instance("running", state_since=NOW - 181),
    ):
        destroy = ask(ONE, (one,))[0]
        assert isinstance(destroy, Destroy) and destroy.failed


def test_at_the_end_of_its_life_a_machine_drains_and_then_goes_whatever_it_does() -> None:
    limits = Limits(lifetime_s=3_600, drain_s=180, stop_s=60)
    for age_s, expected in ((3_300, None), (3_361, Drain), (3_541, Destroy)):
        first = ask(QueueState(running_documents=1), (instance(age_s=age_s, busy=1),), limits=limits)[0]
        assert isinstance(first, expected or Wait), age_s


def test_when_the_budget_ends_all_drain_and_then_go() -> None:
    fleet = tuple(instance(machine_id=number, price_usd_per_hour=0.6, busy=1) for number in range(1, 4))
    limits = Limits(daily_budget_usd=5.0, price_cap_usd_per_hour={"RTX 3090": 1.0})  # 3 of them: $0.03 a minute
    for spent, expected in ((4.8, Wait), (4.9, Drain), (4.98, Destroy)):
        decisions = ask(QueueState(running_documents=3), fleet, limits=limits, history=_spent(spent))
        assert all(isinstance(one, expected) for one in decisions[: 1 if expected is Wait else 3]), spent


def test_machines_on_their_way_to_nothing_are_called_off() -> None:
    decisions = ask(QueueState(), (instance("loading", age_s=30), instance("intent", 51, age_s=5)))
    assert sum(isinstance(one, Destroy) and not one.failed for one in decisions) == 2


# --- limits, each failing closed -------------------------------------------------------------------------------------


def _spent(today: float | None, month: float | None = 0.0) -> History:
    return History(spent_today_usd=today, spent_month_usd=month)


@pytest.mark.parametrize(
    ("limits", "history", "limit"),
    [
        ({"paused": True}, FREE, "paused"),
        ({"instances": 0}, FREE, "instances"),
        ({"usd_per_hour": 0.18}, FREE, "usd_per_hour"),
        ({"usd_per_hour": math.nan}, FREE, "usd_per_hour"),
        ({"daily_budget_usd": 0.05}, FREE, "daily_budget"),
        ({"daily_budget_usd": math.nan}, FREE, "daily_budget"),
        ({}, _spent(9.95), "daily_budget"),
        ({}, _spent(math.nan), "daily_budget"),
        ({}, _spent(1.0, 99.95), "monthly_budget"),
        ({}, _spent(None), "spending_unknown"),
        ({}, _spent(1.0, None), "spending_unknown"),
        ({}, History(), "spending_unknown"),
        ({}, _spent(0.0).model_copy(update={"failures": (NOW - 60,) * 6}), "breaker"),
        ({"price_cap_usd_per_hour": {}}, FREE, "offers"),
        ({"price_cap_usd_per_hour": {"RTX 3090": math.nan}}, FREE, "offers"),
        ({"reliability": 0.995}, FREE, "offers"),
        ({"datacenter_only": True}, FREE, "offers"),
        ({"regions": frozenset({"SE", "NO"})}, FREE, "offers"),
    ],
)
def test_a_limit_stops_launches_and_is_named(limits: dict[str, Any], history: History, limit: str) -> None:
    decisions = ask(limits=Limits.model_construct(**{**Limits().model_dump(), **limits}), history=history)
    assert not launches(decisions) and limit_of(decisions) == limit
    assert "8,000 pages wait" in decisions[-1].reason


@pytest.mark.parametrize(
    "given",
    [
        {"price_usd_per_hour": 0.31},
        {"price_usd_per_hour": 0.0},
        {"price_usd_per_hour": -1.0},
        {"price_usd_per_hour": math.nan},
        {"gpu": "RTX 9090"},
        {"reliability": 0.9},
        {"reliability": math.nan},
        {"verified": False},
        {"available_s": 600.0},
    ],
)
def test_an_offer_outside_the_limits_is_not_taken(given: dict[str, Any]) -> None:
    assert limit_of(ask(offers=(offer(**given),))) == "offers"


def test_a_cheaper_machine_is_taken_where_the_best_is_beyond_a_limit() -> None:
    offers = (offer(1, gpu="RTX 3080", price_usd_per_hour=0.12), offer(2, gpu="RTX 4090", price_usd_per_hour=0.22))
    assert launches(ask(offers=offers))[0].machine_id == 2
    assert [one.machine_id for one in launches(ask(offers=offers, limits=Limits(usd_per_hour=0.15)))] == [1]
    assert [one.machine_id for one in launches(ask(offers=offers, limits=Limits(daily_budget_usd=0.06)))] == [1]


def test_old_failures_close_the_breaker_again() -> None:
    assert launches(ask(history=FREE.model_copy(update={"failures": (NOW - 1_801,) * 6})))


def test_a_machine_that_failed_is_left_out_until_its_time_is_over() -> None:
    barred = FREE.model_copy(update={"barred": {1: NOW + 1, 2: NOW - 1}})
    assert [one.machine_id for one in launches(ask(ONE, offers=(offer(1), offer(2)), history=barred))] == [2]


def test_never_two_on_one_machine_even_while_the_first_is_being_destroyed() -> None:
    twice = (offer(1), offer(1, ask_id=9), offer(2))
    assert sorted(one.machine_id for one in launches(ask(offers=twice))) == [1, 2]
    assert [one.machine_id for one in launches(ask(fleet=(instance("destroying", 1),), offers=twice))] == [2]


def test_what_is_not_known_to_have_come_about_is_resolved_first() -> None:
    assert limit_of(ask(fleet=(instance("ambiguous", age_s=20),))) == "ambiguous"


def test_the_budget_counts_what_is_committed() -> None:
    limits = Limits(daily_budget_usd=1.0)
    assert len(launches(ask(limits=limits, history=_spent(0.80)))) == 2  # each may cost 0.07 before it is gone again
    fleet = (instance("loading", 51, age_s=10), instance("loading", 52, age_s=10))
    assert limit_of(ask(fleet=fleet, limits=limits, history=_spent(0.80))) == "daily_budget"


def test_destroying_machines_count_until_they_are_gone() -> None:
    limits = Limits(instances=1)
    assert limit_of(ask(fleet=(instance("destroying"),), limits=limits)) == "instances"
    assert launches(ask(fleet=(instance("gone"),), limits=limits))


def test_no_more_are_launched_in_a_tick_than_the_provider_lets_us() -> None:
    assert len(launches(ask(QueueState(bulk_documents=20_000, bulk_pages=160_000)))) == 3


# --- words -----------------------------------------------------------------------------------------------------------


def test_reasons_say_what_waits_and_what_it_will_come_to() -> None:
    queue = QueueState(bulk_documents=400, bulk_pages=4_120)
    fleet = (instance(busy=1), instance(machine_id=51, busy=1), instance("loading", 52, age_s=60))
    limits = Limits(backlog_usd_per_hour=5.0)
    reason = ask(queue, fleet, limits=limits)[0].reason
    assert reason.startswith("launch 1 × RTX 3090 at $0.19/h: 4,120 pages wait, 2 of 3 ready, would join ")
    assert reason.endswith(" before the drain") and "-" not in reason
    assert ask(ONE)[0].reason.startswith(
        "launch 1 × RTX 3090 at $0.19/h: 2 pages wait, nothing runs, would be done in "
    )
    waits = ask(QueueState(bulk_documents=9, bulk_pages=90), (instance(busy=1),))[0].reason
    assert (
        waits == "wait: 90 pages wait, 1 machine will be done in 36 s; one more would cost more than the time it saves"
    )


def test_spans_read_well() -> None:
    assert [span(seconds) for seconds in (4.4, 89, 300, 7_300)] == ["4 s", "89 s", "5 min", "2.0 h"]


# --- the forecast ----------------------------------------------------------------------------------------------------


def test_pages_are_done_by_machines_as_they_become_ready() -> None:
    now, later = Runner(0.0, 2.0, 0.0), Runner(100.0, 3.0, 0.0)
    assert done_in(0, []) == math.inf
    assert done_in(100, [now]) == 50
    assert done_in(200, [later, now]) == 100
    assert done_in(700, [later, now]) == 200
    assert done_in(3, [later]) == 101


# --- what holds whatever comes ---------------------------------------------------------------------------------------

STATES = ("intent", "requested", "loading", "running", "joined", "draining", "destroying", "gone", *sorted(BROKEN))


def _anything(rng: random.Random) -> tuple[QueueState, list[Instance], list[Offer], Rates, Limits, History]:
    interactive, bulk = rng.choice((0, 0, 1, 5)), rng.choice((0, 0, 3, 100, 20_000))
    requests = sorted(NOW - rng.expovariate(1 / rng.choice((30, 3_000))) for _ in range(rng.randint(0, 40)))
    queue = QueueState(
        interactive_documents=interactive,
        interactive_pages=interactive * rng.randint(1, 30),
        bulk_documents=bulk,
        bulk_pages=bulk * rng.randint(1, 30),
        running_documents=rng.randint(0, 5),
        requests=tuple(requests),
    )
    gpus = ("RTX 3080", "RTX 3090", "RTX 4090", "H100 SXM")
    fleet = []
    for number in range(rng.randint(0, 8)):
        state = rng.choice((*STATES, "joined", "joined", "ambiguous" if rng.random() < 0.1 else "loading"))
        busy = rng.randint(0, 2) if state in ("joined", "draining") else 0
        age = rng.uniform(0, 90_000) if rng.random() < 0.1 else rng.uniform(0, 1_500)
        idle = NOW - rng.uniform(0, 400) if state == "joined" and not busy else None
        fleet.append(
            instance(state, 100 + number, age, busy=busy, idle_since=idle, price_usd_per_hour=rng.uniform(0.1, 0.9))
        )
    offers = [
        offer(
            rng.choice((100 + number, 200 + number)),
            ask_id=number,
            gpu=rng.choice(gpus),
            price_usd_per_hour=rng.choice((rng.uniform(0.08, 0.9), math.nan)),
            reliability=rng.uniform(0.9, 1),
            verified=rng.random() < 0.8,
            download_usd_per_gb=rng.choice((0.0, 0.02)),
        )
        for number in range(rng.randint(0, 12))
    ]
    rates = RATES.model_copy(update={"machine_boots_s": {203: 30.0}, "never_joined": rng.choice((0.0, 0.1, 1.0))})
    limits = Limits(
        paused=rng.random() < 0.05,
        instances=rng.randint(0, 8),
        usd_per_hour=rng.uniform(0, 3),
        daily_budget_usd=rng.uniform(0, 3),
        monthly_budget_usd=rng.uniform(0, 30),
        backlog_usd_per_hour=rng.choice((0.0, 0.1, 10.0)),
        person_usd_per_hour=rng.choice((0.0, 1.0, 30.0)),
        verified_only=rng.random() < 0.8,
    )
    history = History(
        barred={201: NOW + 5},
        failures=tuple(NOW - rng.uniform(0, 4_000) for _ in range(rng.randint(0, 8))),
        spent_today_usd=rng.choice((0.0, rng.uniform(0, 3), None)),
        spent_month_usd=rng.uniform(0, 30),
    )
    return queue, fleet, offers, rates, limits, history


@pytest.mark.parametrize("seed", range(20))
def test_no_decision_ever_exceeds_a_limit(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(150):
        queue, fleet, offers, rates, limits, history = _anything(rng)
        decisions = decide(NOW, queue, fleet, offers, rates, limits, history)
        assert decisions and all(one.reason.startswith(one.kind) for one in decisions)
        held = [one for one in fleet if one.state != "gone"]
        wanted = launches(decisions)
        if wanted:
            machines = [one.machine_id for one in held] + [one.machine_id for one in wanted]
            assert len(machines) == len(set(machines)) <= limits.instances
            burn = sum(one.price_usd_per_hour for one in held) + sum(one.price_usd_per_hour for one in wanted)
            assert burn <= limits.usd_per_hour and len(wanted) <= limits.launches_per_tick
            assert history.spent_today_usd is not None and not limits.paused and queue.documents
            through_s = limits.boot_s + limits.join_s
            least = sum(one.price_usd_per_hour for one in wanted) * through_s / 3600
            assert history.spent_today_usd + least <= limits.daily_budget_usd
            assert history.spent_month_usd is not None
            assert history.spent_month_usd + least <= limits.monthly_budget_usd
            assert sum(NOW - at <= limits.failure_window_s for at in history.failures) < limits.failures
        for one in wanted:
            assert one.price_usd_per_hour <= limits.price_cap_usd_per_hour[one.gpu]
            assert one.reliability >= limits.reliability and one.machine_id != 201
            assert one.verified or not limits.verified_only
        by_id = {one.instance_id: one for one in held}
        ended = [one.instance_id for one in decisions if isinstance(one, Drain | Destroy)]
        assert len(ended) == len(set(ended)) and set(ended) <= set(by_id)
        for decision in decisions:
            if isinstance(decision, Drain):
                assert by_id[decision.instance_id].state == "joined"
            elif isinstance(decision, Destroy):
                one = by_id[decision.instance_id]
                words = ("used up", "lived for")
                assert not one.busy or one.state in BROKEN or any(word in decision.reason for word in words)
                assert not decision.failed or one.state in BROKEN or one.state in BOOTING
        left = {one.state for one in held if one.instance_id not in ended}
        assert not left & BROKEN


def test_the_same_arguments_give_the_same_decisions_in_whatever_order_they_come() -> None:
    rng = random.Random(7)
    for _ in range(200):
        queue, fleet, offers, rates, limits, history = _anything(rng)
        first = decide(NOW, queue, fleet, offers, rates, limits, history)
        assert first == decide(NOW, queue, fleet, offers, rates, limits, history)
        again = decide(NOW, queue, fleet[::-1], offers[::-1], rates, limits, history)
        assert [one.reason for one in again] == [one.reason for one in first]


@pytest.mark.parametrize("module", [admission, autoscale, forecast, model])
def test_the_decision_is_pure(module: Any) -> None:
    """It reads no clock, no environment, no file, and imports nothing that could."""
    allowed = {"__future__", "collections.abc", "itertools", "math", "typing", "pydantic", "aseagi_tasks.documents"}
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        assert all(name in allowed or name.startswith("aseagi_tasks.fleet.") for name in names)
        assert not (isinstance(node, ast.Name) and node.id in ("open", "print", "input"))
