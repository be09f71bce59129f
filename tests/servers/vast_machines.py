"""The local provider's machines and what is rented of them: their shapes in answers, and the true bill."""

from __future__ import annotations

import itertools
import random
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: In these the GPU is not billed; the disk always is, until the instance is destroyed.
GPU_FREE = (None, "created", "stopped", "offline")
MONTH_H = 730.0


@dataclass
class Machine:
    """A host with one GPU, offered under the ask of the same number. Prices in USD."""

    number: int
    gpu_name: str = "RTX 3090"
    gpu_usd_per_hour: float = 0.19
    storage_usd_per_gb_month: float = 0.15
    down_usd_per_gb: float = 0.005
    up_usd_per_gb: float = 0.005
    reliability: float = 0.995
    country: str = "US"
    verified: bool = True
    datacenter: bool = False
    gpu_ram_mb: int = 24_576
    disk_gb: float = 500.0
    inet_down_mbps: float = 500.0
    #: seconds from create to running; None: never
    boot_s: float | None = 2.0
    interruptible: bool = False
    #: what the container of an instance here gets beside its own environment, e.g. to read slowly or wrongly
    quirks: dict[str, str] = field(default_factory=dict)
    withdrawn: bool = False

    def offer(self, now: float, storage_gb: float, price_moves: float = 0.0) -> dict[str, Any]:
        """As a search shows it; its price moves every ten minutes."""
        step = int(now // 600)
        moved = 1 + price_moves * random.Random(f"{self.number}-{step}").uniform(-1, 1)
        gpu, disk = self.gpu_usd_per_hour * moved, self.storage_usd_per_gb_month * storage_gb / MONTH_H
        return {
            **{"id": self.number, "ask_contract_id": self.number, "machine_id": self.number, "num_gpus": 1},
            **{"host_id": self.number // 10, "gpu_name": self.gpu_name, "gpu_ram": self.gpu_ram_mb},
            **{"dph_base": gpu, "dph_total": gpu + disk, "storage_cost": self.storage_usd_per_gb_month},
            **{
                "storage_total_cost": disk,
                "min_bid": gpu,
                "is_bid": self.interruptible,
                "disk_space": self.disk_gb,
            },
            **{"inet_down_cost": self.down_usd_per_gb, "inet_up_cost": self.up_usd_per_gb, "rented": False},
            **{"inet_down": self.inet_down_mbps, "inet_up": self.inet_down_mbps / 2, "rentable": True},
            **{"reliability": self.reliability, "reliability2": self.reliability, "verified": self.verified},
            **{"verification": "verified" if self.verified else "unverified", "datacenter": self.datacenter},
            **{
                "hosting_type": int(self.datacenter),
                "geolocation": f"Somewhere, {self.country}",
                "duration": 30 * 86_400.0,
            },
            "search": {"gpuCostPerHour": gpu, "diskHour": disk, "totalHour": gpu + disk},
        }


@dataclass
class Rented:
    """An instance. ``timeline``: when (server's clock) it came into which status."""

    number: int
    machine: Machine
    asked: dict[str, Any]
    gpu_usd_per_hour: float
    disk_usd_per_hour: float
    created_at: float
    timeline: list[tuple[float, str | None]]
    boots_at: float | None
    intended: str = "running"
    message: str = ""
    destroyed_at: float | None = None
    down_gb: float = 0.0
    up_gb: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    log: Path | None = None

    @property
    def label(self) -> str:
        return str(self.asked.get("label") or "")

    @property
    def key(self) -> str:
        """What the container may use to destroy itself."""
        return f"instance-key-{self.number}"

    @property
    def status(self) -> str | None:
        return self.timeline[-1][1]

    def bill(self, since: float, until: float) -> dict[str, float]:
        """USD by kind in a time: every second counts."""
        end = min(until, self.destroyed_at if self.destroyed_at is not None else until)
        hours = {"gpu": 0.0, "disk": max(0.0, end - max(since, self.created_at)) / 3600}
        marks = [*self.timeline, (end, None)]
        for (at, status), (then, _) in itertools.pairwise(marks):
            if status not in GPU_FREE:
                hours["gpu"] += max(0.0, min(then, end) - max(at, since)) / 3600
        whole = since <= self.created_at  # bytes are booked when they are read
        return {
            "gpu": hours["gpu"] * self.gpu_usd_per_hour,
            "disk": hours["disk"] * self.disk_usd_per_hour,
            "bwd": self.down_gb * self.machine.down_usd_per_gb * whole,
            "bwu": self.up_gb * self.machine.up_usd_per_gb * whole,
        }

    def row(self, now: float) -> dict[str, Any]:
        """As a list shows it."""
        offer = self.machine.offer(now, 8)
        gpu, disk = self.gpu_usd_per_hour, self.disk_usd_per_hour
        return {
            **offer,
            **{"id": self.number, "label": self.label or None, "actual_status": self.status},
            **{"intended_status": self.intended, "cur_state": self.intended, "next_state": self.intended},
            **{
                "status_msg": self.message or None,
                "start_date": self.created_at,
                "image_uuid": self.asked["image"],
            },
            **{
                "dph_base": gpu,
                "dph_total": gpu + disk,
                "storage_total_cost": disk,
                "inet_down_billed": self.down_gb * 1e6,
            },
            "inet_up_billed": self.up_gb * 1e6,
            "instance": {"gpuCostPerHour": gpu, "diskHour": disk, "totalHour": gpu + disk},
        }


def asked_as(name: str, value: Any) -> Any:
    """Places are given with their region and asked for by their country."""
    return value.rpartition(", ")[2] if name == "geolocation" else value


def meets(value: Any, condition: Mapping[str, Any]) -> bool:
    """Whether a value meets every part of a search's condition."""
    checks: dict[str, Callable[[Any, Any], bool]] = {
        "eq": lambda a, b: a == b,
        "neq": lambda a, b: a != b,
        "gt": lambda a, b: a > b,
        "gte": lambda a, b: a >= b,
        "lt": lambda a, b: a < b,
        "lte": lambda a, b: a <= b,
        "in": lambda a, b: a in b,
        "notin": lambda a, b: a not in b,
    }
    return all(checks[operator](value, wanted) for operator, wanted in condition.items())
