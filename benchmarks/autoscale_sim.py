"""What renting as we do costs, and how long people wait, beside other rules and beside what nobody can beat.

    python benchmarks/autoscale_sim.py [--seeds 4] [--trace lone] [--days 300] [--plot day.png]

Each policy meets the same documents, offers, prices, boots and losses (a seed). Means over seeds with 95 % confidence.
Waits in seconds; launches and wasted GPU-seconds (boot, failed, idle, lost) are per 1,000 documents; x-opt is the bill
over the optimum's. Then simulated days under tight, random limits: nothing may exceed them. The market is assumed
(``fleet_sim/market.py``): trust the ratios.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from pathlib import Path

from fleet_sim.market import Market
from fleet_sim.optimum import least_usd
from fleet_sim.policies import POLICIES, ours
from fleet_sim.simulator import Simulation
from fleet_sim.traces import TRACES, make

from aseagi_tasks.fleet.model import Limits

#: No budget stands in the way of anybody in the comparison.
ROOMY = Limits(daily_budget_usd=1_000, monthly_budget_usd=30_000)
#: Ours with another worth of waiting, on the trace where it matters: name, trace, limits.
HURRIED = {
    "ours, a backlog hour at $0.60": {"backlog_usd_per_hour": 0.6},
    "ours, at $3.00": {"backlog_usd_per_hour": 3.0},
    "ours, a person's hour at $0.10": {"person_usd_per_hour": 0.1},
    "ours, at $2.00": {"person_usd_per_hour": 2.0},
}
COLUMNS = [
    "$/1000",
    "mean",
    "p50",
    "p95",
    "max",
    "launches",
    "boot",
    "failed",
    "idle",
    "lost",
    "zombie",
    "over",
    "x-opt",
]
WITH_INTERVAL = (0, 3, 12)


def measure(name: str, policy: str, seed: int) -> list[float]:
    """One policy, one trace, one seed: the columns."""
    limits = ROOMY.model_copy(update=HURRIED.get(policy, {}))
    documents, lasts_s = make(name, seed)
    market = Market(seed)
    run = Simulation(documents, lasts_s, market, POLICIES.get(policy, lambda: ours)(), limits).run()
    waits = sorted(at - one.at for one, at in run.finished)
    assert len(waits) == len(documents), f"{policy} left {len(documents) - len(waits)} documents of {name} undone"
    each = 1_000 / len(documents)
    failed = run.wasted["boot failed"] + run.wasted["boot given up"]
    return [
        run.usd * each,
        statistics.fmean(waits),
        waits[len(waits) // 2],
        waits[int(len(waits) * 0.95)],
        waits[-1],
        run.launches * each,
        run.wasted["boot"] * each,
        failed * each,
        run.wasted["idle"] * each,
        run.wasted["work lost"] * each,
        run.zombie_s,
        run.violations + run.over_budget(),
        run.usd / least_usd(name, run.finished, market, limits),
    ]


def interval(values: list[float]) -> float:
    """Half of the 95 % confidence interval of the mean."""
    return 1.96 * statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0


def compare(name: str, seeds: int) -> None:
    """The table of one trace."""
    bulk = name.startswith("nightly")
    policies = [*POLICIES, *(key for key, update in HURRIED.items() if ("backlog_usd_per_hour" in update) == bulk)]
    print(f"\n{name}: {TRACES[name][1]} days, {seeds} seeds")
    head = (f"{column:>{16 if number in WITH_INTERVAL else 11}}" for number, column in enumerate(COLUMNS))
    print(f"  {'':30}" + "".join(head))
    for policy in policies:
        rows = [measure(name, policy, seed) for seed in range(seeds)]
        line = f"  {policy:30}"
        for number, values in enumerate(zip(*rows, strict=True)):
            mean = statistics.fmean(values)
            if number in WITH_INTERVAL:
                digits = 0 if number == 3 else 2 if mean < 100 else 0
                line += f"{mean:10,.{digits}f} ±{interval(list(values)):4.{digits}f}"
            else:
                line += f"{mean:11,.0f}"
        print(line, flush=True)


def tight(days: int, first: int) -> None:
    """Simulated days of ours under random limits that bind; what breaks one is counted, and said as it goes on."""
    began, done, told, seed, totals = time.perf_counter(), 0, 0, first, [0.0] * 5
    while done < days:
        rng = random.Random(f"tight-{seed}")
        name = rng.choices(("lone", "bursts", "diurnal", "nightly 1,000"), (10, 4, 0.3, 4))[0]
        documents, lasts_s = make(name, 10_000 + seed)
        limits = Limits(
            instances=rng.randint(1, 6),
            usd_per_hour=rng.uniform(0.15, 1.5),
            daily_budget_usd=rng.uniform(0.05, 0.6),
            monthly_budget_usd=rng.uniform(0.2, 4.0),
            lifetime_s=rng.choice((3_600.0, 6 * 3_600.0, 86_400.0)),
            idle_s=rng.choice((60.0, 300.0)),
            backlog_usd_per_hour=rng.choice((0.05, 0.1, 1.0)),
        )
        run = Simulation(documents, lasts_s, Market(10_000 + seed), ours, limits).run()
        found = (run.violations, run.over_budget(), run.zombie_s, len(documents) - len(run.finished), run.decisions)
        totals = [total + one for total, one in zip(totals, found, strict=True)]
        done, seed = done + int(lasts_s // 86_400), seed + 1
        if done - told >= 2_500 or done >= days:
            told = done
            at_once, budgets, zombie_s, undone, decisions = totals
            print(
                f"\n{done:,} days under tight limits, {decisions:,.0f} decisions, {time.perf_counter() - began:.0f} s"
            )
            print(f"  limits exceeded at any tick {at_once:.0f}, budgets exceeded {budgets:.0f} (goals 0)")
            print(f"  zombie-seconds beyond a tick {zombie_s:.0f} (goal 0)")
            print(f"  documents left when a budget was used up {undone:,.0f}; runs {first} to {seed - 1}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--trace", choices=list(TRACES), action="append", help="only this one; may be given again")
    parser.add_argument("--days", type=int, default=300, help="days under tight limits")
    parser.add_argument("--first", type=int, default=0, help="the first run of these days, to go on elsewhere")
    parser.add_argument("--plot", type=Path, help="draw a day of ours here (PNG) and do nothing else")
    arguments = parser.parse_args()
    if arguments.plot:
        from fleet_sim.plot import draw

        return draw(arguments.plot)
    for name in (arguments.trace or TRACES) if arguments.seeds else ():
        compare(name, arguments.seeds)
    if arguments.days:
        tight(arguments.days, arguments.first)


if __name__ == "__main__":
    main()
