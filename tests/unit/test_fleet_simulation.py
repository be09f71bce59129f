"""The decision over simulated days: nothing exceeds a limit, nothing is left running, nobody is forgotten."""

from __future__ import annotations

import random

import pytest

from aseagi_tasks.fleet.model import Limits
from benchmarks.fleet_sim.market import Market
from benchmarks.fleet_sim.optimum import clairvoyant, work_alone
from benchmarks.fleet_sim.policies import POLICIES, OldRule, ours
from benchmarks.fleet_sim.simulator import Simulation
from benchmarks.fleet_sim.traces import make

ROOMY = Limits(daily_budget_usd=1_000, monthly_budget_usd=30_000)


@pytest.mark.parametrize("trace", ["lone", "bursts", "nightly 1,000"])
def test_all_documents_are_done_within_the_limits_and_nothing_is_left_running(trace: str) -> None:
    documents, lasts_s = make(trace, 1)
    run = Simulation(documents, lasts_s, Market(1), ours, ROOMY).run()
    assert len(run.finished) == len(documents) and not run.alive
    assert run.violations == run.over_budget() == run.zombie_s == 0


def test_tight_limits_are_never_exceeded() -> None:
    for seed in range(2):
        rng = random.Random(seed)
        limits = Limits(
            instances=rng.randint(1, 3),
            usd_per_hour=rng.uniform(0.15, 0.6),
            daily_budget_usd=rng.uniform(0.05, 0.2),
            monthly_budget_usd=rng.uniform(0.2, 0.8),
            lifetime_s=3_600,
        )
        documents, lasts_s = make("nightly 1,000", seed)
        run = Simulation(documents, lasts_s, Market(seed), ours, limits).run()
        assert run.violations == run.over_budget() == run.zombie_s == 0
        assert 0 < len(run.finished) < len(documents), "the budget did not bind"


def test_a_lone_telephone_costs_less_and_waits_less_than_by_the_old_rule() -> None:
    usd, late_s = [0.0, 0.0], [0.0, 0.0]
    for seed in range(4):
        documents, lasts_s = make("lone", seed)
        market = Market(seed)
        for side, policy in enumerate((ours, OldRule())):
            run = Simulation(documents, lasts_s, market, policy, ROOMY).run()
            usd[side] += run.usd
            late_s[side] += sorted(at - one.at for one, at in run.finished)[int(len(documents) * 0.95)]
    assert usd[0] < 0.7 * usd[1] and late_s[0] < late_s[1]


def test_nobody_beats_the_clairvoyant_and_the_clairvoyant_not_the_work_alone() -> None:
    documents, lasts_s = make("lone", 2)
    for name in ("ours", "SkyServe"):
        market = Market(2)
        run = Simulation(documents, lasts_s, market, POLICIES[name](), ROOMY).run()
        by_arrival = sorted(run.finished)
        promised = [at for _, at in by_arrival]
        least = clairvoyant(documents, promised, market, ROOMY)
        assert work_alone(documents, market, ROOMY) < least < run.usd, name


def test_the_same_seed_gives_the_same_bill() -> None:
    bills = []
    for _ in range(2):
        documents, lasts_s = make("bursts", 3)
        bills.append(Simulation(documents, lasts_s, Market(3), ours, ROOMY).run().usd)
    assert bills[0] == bills[1]
