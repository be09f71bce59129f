"""One day of ours as a picture: what waits, which machines there are and what they do, what it costs."""

from __future__ import annotations

import random
from pathlib import Path

from aseagi_tasks.fleet.model import Limits

from .market import Market
from .policies import ours
from .simulator import Simulation
from .traces import DAY, Document, bursts, diurnal, pages

#: State as shown, colour; from the bottom up.
STATES = (
    ("busy", "reading", "#2a6f97"),
    ("joined", "idle", "#a9d6e5"),
    ("draining", "draining", "#c9ada7"),
    ("running", "joining", "#ffd166"),
    ("loading", "loading", "#f4a261"),
    ("lost", "lost", "#d62828"),
    ("destroying", "being destroyed", "#6c757d"),
)


def a_day(seed: int) -> list[Document]:
    """A bulk run of 12,000 at one in the morning, an office by day, stacks on the scanner."""
    rng = random.Random(f"day-{seed}")
    night = [Document(3600.0, pages(rng), False) for _ in range(12_000)]
    return sorted(one for one in night + diurnal(rng, 0, 500) + bursts(rng, 0) if one.at < DAY - 1800)


def draw(path: Path, seed: int = 3) -> None:
    """Simulate the day and draw it."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    documents = a_day(seed)
    run = Simulation(documents, DAY, Market(seed), ours, Limits())
    run.timeline = []
    run.run()
    hours = [at / 3600 for at, *_ in run.timeline]
    waiting = [max(pages_, 0.5) for _, pages_, _, _ in run.timeline]
    burn = [usd for *_, usd in run.timeline]
    spent, sums = 0.0, []
    for number in range(len(burn)):
        spent += burn[number - 1] * (hours[number] - hours[number - 1]) if number else 0.0
        sums.append(spent)

    plt.rcParams.update({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, (top, middle, bottom) = plt.subplots(
        3, 1, figsize=(11, 7), sharex=True, height_ratios=(2, 3, 2), layout="constrained"
    )
    done = len(run.finished)
    figure.suptitle(
        f"A day: {done:,} documents, {sum(one.pages for one in documents):,} pages, {run.launches} launches, "
        rf"\${run.usd:.2f} with traffic (\${run.usd / done * 1000:.2f} per 1,000 documents)",
        fontsize=11,
        x=0.01,
        ha="left",
    )
    top.fill_between(hours, 0.5, waiting, step="post", color="#7b2cbf", alpha=0.35, linewidth=0)
    top.step(hours, waiting, where="post", color="#7b2cbf", linewidth=0.8)
    top.set(yscale="log", ylim=(0.8, max(waiting) * 2), ylabel="pages that wait")
    heights = [[states.get(key, 0) for _, _, states, _ in run.timeline] for key, _, _ in STATES]
    shown = [number for number, row in enumerate(heights) if any(row)]
    middle.stackplot(
        hours,
        [heights[number] for number in shown],
        step="post",
        labels=[STATES[number][1] for number in shown],
        colors=[STATES[number][2] for number in shown],
        linewidth=0,
    )
    middle.set(ylabel="instances")
    middle.yaxis.get_major_locator().set_params(integer=True)
    middle.legend(loc="upper right", frameon=False, ncols=3)
    bottom.fill_between(hours, 0, burn, step="post", color="#588157", alpha=0.5, linewidth=0)
    bottom.set(ylabel=r"\$ an hour", xlabel="hour of the day (UTC)", xlim=(0, 24), ylim=(0, None))
    bottom.set_xticks(range(0, 25, 2))
    total = bottom.twinx()
    total.plot([0, *hours, 24], [0, *sums, spent], color="#bc4749", linewidth=1.5)
    total.set(ylim=(0, None))
    total.set_ylabel(r"\$ so far", color="#bc4749")
    total.spines["right"].set_visible(True)
    for axis in (top, middle, bottom):
        axis.grid(axis="x", color="#dddddd", linewidth=0.6)
        axis.set_axisbelow(True)
    figure.savefig(path, dpi=110)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
