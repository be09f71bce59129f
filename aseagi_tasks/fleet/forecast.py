"""What a fleet would do with what waits, and what that costs. Pure, as ``autoscale`` is, which weighs it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp, inf
from typing import NamedTuple

from aseagi_tasks.fleet.model import BOOTING, Instance, Limits, Offer, QueueState, Rates

HOUR = 3600.0
#: Until launches were measured: an image that is cached, the usual one to five minutes, a slow one.
TYPICAL_BOOTS_S = (30.0, 75.0, 120.0, 150.0, 180.0, 210.0, 270.0, 420.0)
#: Dense fp16 with fp32 accumulate, as NVIDIA's data sheets say: what a kind can do at best, beside another.
TFLOPS = {
    "RTX 3080": 60.0,
    "RTX 3090": 71.0,
    "RTX 4090": 165.0,
    "RTX 5090": 210.0,
    "A100 PCIE": 312.0,
    "A100 SXM4": 312.0,
    "H100 PCIE": 756.0,
    "H100 SXM": 989.0,
}
#: How long a machine took when it was launched again, in terms of the last time.
AGAIN = (0.8, 1.0, 1.25, 1.5, 2.0)


class Runner(NamedTuple):
    """A machine as the forecast sees it."""

    ready_s: float
    pages_per_s: float
    usd_per_s: float


class Forecast:
    """What is known at one moment, asked again and again with another fleet."""

    def __init__(self, now: float, queue: QueueState, rates: Rates, limits: Limits) -> None:
        self.now, self.queue, self.rates, self.limits = now, queue, rates, limits
        self.boots_s = rates.boots_s or TYPICAL_BOOTS_S
        self.new_boot_s = self._rest_s(self.boots_s, 0.0)
        gaps_s = [later - at for at, later in pairwise(queue.requests)]
        self.short_s = [gap for gap in gaps_s if gap <= limits.idle_s]
        self.pauses = len(gaps_s) - len(self.short_s)
        #: How long requests go on, as a rule, before a pause lets a machine go.
        self.session_s = sum(self.short_s) / max(1, self.pauses)

    def runner(self, one: Instance | Offer) -> Runner:
        """That machine, wherever it is on its way, or as it would be if it were rented now."""
        page_s = self.rates.machine_seconds_per_page.get(one.machine_id) or self.page_s(one.gpu)
        ready_s = 0.0
        if isinstance(one, Offer):
            ready_s = self.boot_s(one.machine_id)
        elif one.state in BOOTING:
            ready_s = self.boot_s(one.machine_id, self.now - one.created_at)
        return Runner(ready_s, 1 / page_s, one.price_usd_per_hour / HOUR)

    def page_s(self, gpu: str) -> float:
        """Seconds per page of a kind; one that was never measured is taken at its best, so that it is tried once."""
        measured = self.rates.seconds_per_page
        if gpu in measured:
            return measured[gpu]
        work = [page_s * TFLOPS[kind] for kind, page_s in measured.items() if kind in TFLOPS]
        least = min(work, default=self.rates.unmeasured_seconds_per_page * TFLOPS["RTX 3080"])
        return least / TFLOPS[gpu] if gpu in TFLOPS else self.rates.unmeasured_seconds_per_page

    def boot_s(self, machine_id: int, age_s: float = 0.0) -> float:
        """Seconds until it joins, as launches that took longer than this one so far went; some never join."""
        known = self.rates.machine_boots_s.get(machine_id)
        if known is None and not age_s:
            return self.new_boot_s
        return self._rest_s([known * times for times in AGAIN] if known is not None else self.boots_s, age_s)

    def _rest_s(self, boots_s: Sequence[float], age_s: float) -> float:
        never = len(boots_s) * self.rates.never_joined / max(1 - self.rates.never_joined, 0.01)
        later = [boot_s for boot_s in boots_s if boot_s > age_s]
        if not later and not never:
            return max(0.0, self.limits.boot_s - age_s)
        return max(0.0, (sum(later) + never * self.limits.boot_s) / (len(later) + never) - age_s)

    def pull_usd(self, offer: Offer) -> float:
        """For the image, where it is not on the machine's disk."""
        there = offer.machine_id in self.rates.machine_boots_s
        return 0.0 if there else self.rates.image_gb * offer.download_usd_per_gb

    def usd(self, runners: Sequence[Runner]) -> float:
        """Rent until all that waits is done, and of the cheapest until requests pause; and what waiting is worth."""
        if not runners:
            return inf
        per_s = sum(it.usd_per_s for it in runners) + self.limits.backlog_usd_per_hour / HOUR
        persons = self.queue.interactive_documents * self.limits.person_usd_per_hour / HOUR
        after = self.session_s * min(it.usd_per_s for it in runners)
        waits_s = done_in(self.queue.interactive_pages, runners)
        return per_s * done_in(self.queue.pages, runners) + persons * waits_s + after

    def worth_keeping(self, one: Instance) -> bool:
        """Whether idling until the next request costs less than the launch, and a person's wait for it, that it spares.

        Of the recent gaps between requests some were short, the others pauses; a machine sees a pause out for nothing.
        The longer the silence, the fewer of the short ones could still be going on.
        """
        if not self.short_s:
            return False
        mean_s = sum(self.short_s) / len(self.short_s)
        likely = len(self.short_s) * exp((self.queue.requests[-1] - self.now) / mean_s)
        costs = one.price_usd_per_hour * mean_s
        spares = self.boot_s(one.machine_id) * (one.price_usd_per_hour + self.limits.person_usd_per_hour)
        return likely * (spares - costs) > costs * (self.pauses + 1)


def done_in(pages: int, runners: Sequence[Runner]) -> float:
    """Seconds until so many pages are read, by machines that begin when they are ready."""
    at = speed = done = 0.0
    for it in sorted(runners):
        if speed and done + speed * (it.ready_s - at) >= pages:
            break
        done += speed * (it.ready_s - at)
        at, speed = it.ready_s, speed + it.pages_per_s
    return at + (pages - done) / speed if speed else inf


def span(seconds: float) -> str:
    """In words: ``40 s``, ``12 min``, ``3.4 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 2 * HOUR else f"{seconds / HOUR:.1f} h"
