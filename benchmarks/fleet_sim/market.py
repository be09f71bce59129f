"""What can be rented, minute by minute, and how it behaves: the same for every policy that meets the same seed.

Assumed, not measured: prices as seen in 2026, seconds per page after the kinds' FLOPs, boots as the vendor's users tell
(30 s where the image is cached, one to five minutes typically, hours at worst, some never).
"""

from __future__ import annotations

import math
import random
from functools import lru_cache

from aseagi_tasks.fleet.model import Offer

#: GPU kind: median $/h, spread of its logarithm, seconds per page.
KINDS = {
    "RTX 3080": (0.12, 0.12, 0.50),
    "RTX 3090": (0.20, 0.12, 0.42),
    "RTX 4090": (0.40, 0.30, 0.22),
    "RTX 5090": (0.70, 0.25, 0.17),
    "A100 SXM4": (1.00, 0.12, 0.20),
}
MACHINES = {"RTX 3080": 14, "RTX 3090": 14, "RTX 4090": 12, "RTX 5090": 6, "A100 SXM4": 4}
SLOT_S = 900.0  # prices and availability change at these steps


class Machine:
    """One machine of the market, with a character of its own."""

    def __init__(self, seed: int, machine_id: int, gpu: str) -> None:
        self.rng = random.Random(f"{seed}-{machine_id}")
        median, spread, page_s = KINDS[gpu]
        self.seed, self.machine_id, self.gpu = seed, machine_id, gpu
        self.price = median * math.exp(self.rng.gauss(0, spread))
        self.page_s = page_s * math.exp(self.rng.gauss(0, 0.06))
        self.download_usd_per_gb = self.rng.choice((0.0, 0.001, 0.003, 0.005, 0.01))
        self.reliability = 1 - self.rng.betavariate(1, 60)
        self.never = 0.4 if self.rng.random() < 0.08 else 0.015
        self.boot_median = 60 * math.exp(self.rng.gauss(math.log(2.4), 0.35))
        self.downs: list[float] = []  # moments at which whatever runs there is lost
        self._walk: list[tuple[float, bool]] = []

    def offer(self, slot: int) -> tuple[float, bool]:
        """Price, and whether it can be had, in that slot."""
        while len(self._walk) <= slot:
            drift, there = self._walk[-1] if self._walk else (self.rng.gauss(0, 0.1), self.rng.random() < 0.5)
            drift = drift * 0.99 + self.rng.gauss(0, 0.015)
            there = there if self.rng.random() > 0.04 else not there
            self._walk.append((drift, there))
        drift, there = self._walk[slot]
        return round(self.price * math.exp(drift), 4), there

    def boot_s(self, launch: int, cached: bool) -> float:
        """From create to join of its n-th launch; infinite: never."""
        rng = random.Random(f"{self.seed}-{self.machine_id}-{launch}")
        if rng.random() < self.never:
            return math.inf
        if cached:
            return rng.uniform(25, 45)
        if rng.random() < 0.05:
            return rng.uniform(400, 3_600)
        return max(40.0, self.boot_median * math.exp(rng.gauss(0, 0.2)))

    def next_down(self, after: float) -> float:
        """When the machine next fails or is taken back: once in three weeks, sooner where it is less reliable."""
        while not self.downs or self.downs[-1] <= after:
            rng = random.Random(f"{self.seed}-{self.machine_id}-down-{len(self.downs)}")
            mean_s = 21 * 86_400 * max(0.1, 1 - 20 * (1 - self.reliability))
            self.downs.append((self.downs[-1] if self.downs else 0.0) + rng.expovariate(1 / mean_s))
        return next(at for at in self.downs if at > after)


class Market:
    """All machines of one seed."""

    def __init__(self, seed: int) -> None:
        self.machines: dict[int, Machine] = {}
        for gpu, count in MACHINES.items():
            for _ in range(count):
                number = 1_000 + len(self.machines)
                self.machines[number] = Machine(seed, number, gpu)
        self.offers = lru_cache(maxsize=None)(self._offers)

    def _offers(self, slot: int) -> tuple[Offer, ...]:
        found = []
        for machine in self.machines.values():
            price, there = machine.offer(slot)
            if there:
                found.append(
                    Offer(
                        ask_id=machine.machine_id * 100_000 + slot,
                        machine_id=machine.machine_id,
                        gpu=machine.gpu,
                        price_usd_per_hour=price,
                        download_usd_per_gb=machine.download_usd_per_gb,
                        reliability=round(machine.reliability, 4),
                        verified=True,
                        region="US",
                        available_s=30 * 86_400.0,
                    )
                )
        return tuple(found)

    def at(self, now: float) -> tuple[Offer, ...]:
        """What is on offer at that moment."""
        return self.offers(int(now // SLOT_S))
