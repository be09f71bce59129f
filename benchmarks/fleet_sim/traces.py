"""When documents come, how long they are, and whether somebody waits for them. One seed, one trace."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import NamedTuple

DAY = 86_400.0


class Document(NamedTuple):
    """One document that comes in."""

    at: float
    pages: int
    interactive: bool


def pages(rng: random.Random, median: float = 4.0) -> int:
    """Heavy-tailed: half have four pages or fewer, the mean is eight, one in a thousand has 160."""
    return max(1, min(600, round(median * math.exp(rng.gauss(0, 1.2)))))


def lone(rng: random.Random, day: int) -> list[Document]:
    """A telephone: three times a day, one to four photographs or short papers in a row."""
    found = []
    for _ in range(3):
        at = day * DAY + rng.uniform(8, 22) * 3600
        for _ in range(rng.choice((1, 1, 2, 4))):
            found.append(Document(at, pages(rng, 2.0), True))
            at += rng.expovariate(1 / 90)
    return found


def bursts(rng: random.Random, day: int) -> list[Document]:
    """A scanner: six stacks a day, and a telephone now and then."""
    found = [Document(day * DAY + rng.uniform(8, 20) * 3600, pages(rng, 2.0), True) for _ in range(6)]
    for _ in range(6):
        at = day * DAY + rng.uniform(8, 18) * 3600
        for _ in range(rng.randint(10, 80)):
            found.append(Document(at, pages(rng), False))
            at += rng.expovariate(1 / 5)
    return found


def diurnal(rng: random.Random, day: int, documents: int = 1_200) -> list[Document]:
    """An office: most at two in the afternoon, nearly none at night, every third awaited."""
    found = []
    for _ in range(documents):
        hour = rng.gauss(14, 2.5) if rng.random() < 0.95 else rng.uniform(0, 24)
        found.append(Document(day * DAY + (hour % 24) * 3600, pages(rng), rng.random() < 0.33))
    return found


def nightly(count: int) -> Callable[[random.Random, int], list[Document]]:
    """A bulk run at one in the morning, a telephone by day."""

    def trace(rng: random.Random, day: int) -> list[Document]:
        return [Document(day * DAY + 3600, pages(rng), False) for _ in range(count)] + lone(rng, day)

    return trace


def growing(rng: random.Random, day: int) -> list[Document]:
    """A month from twenty documents a day to six hundred, fewer at weekends."""
    return diurnal(rng, day, round(20 * 30 ** (day / 29) * (0.3 if day % 7 in (5, 6) else 1)))


#: Name: the trace, days.
TRACES: dict[str, tuple[Callable[[random.Random, int], list[Document]], int]] = {
    "lone": (lone, 14),
    "bursts": (bursts, 7),
    "diurnal": (diurnal, 4),
    "nightly 1,000": (nightly(1_000), 5),
    "nightly 20,000": (nightly(20_000), 1),
    "growing month": (growing, 30),
}


def make(name: str, seed: int) -> tuple[list[Document], float]:
    """The documents of a trace in the order in which they come, and how long it lasts, seconds."""
    trace, days = TRACES[name]
    rng = random.Random(f"{name}-{seed}")
    return sorted(one for day in range(days) for one in trace(rng, day)), days * DAY
