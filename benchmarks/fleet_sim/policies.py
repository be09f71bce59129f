"""The policies that are compared: ours, the old rule, and what others do.

The others say how many machines, not which: they get the cheapest by page as measured (the old rule: by hour), the same
limits on launches, the same care for what is broken or late, and are told of failed machines, as we are. Each drains
idle machines first.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

from aseagi_tasks.fleet.autoscale import decide
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

from .market import KINDS

ours = decide


class Counting:
    """A policy that says how many machines there should be."""

    def __init__(self) -> None:
        self.by_hour = False

    def wanted(self, now: float, queue: QueueState, has: int, fleet: list[Instance], rates: Rates) -> int:
        """How many."""
        raise NotImplementedError

    def __call__(
        self,
        now: float,
        queue: QueueState,
        fleet: list[Instance],
        offers: Sequence[Offer],
        rates: Rates,
        limits: Limits,
        history: History,
    ) -> list[Decision]:
        decisions: list[Decision] = []
        having: list[Instance] = []
        for one in fleet:
            age = now - one.created_at
            late = (one.state == "loading" and age > limits.boot_s) or (
                one.state == "running" and now - one.state_since > limits.join_s
            )
            old = age >= limits.lifetime_s - (600 if getattr(self, "seldom", False) else limits.stop_s)
            if one.state in BROKEN or late or old or (one.state == "draining" and not one.busy):
                failed = late or one.state == "lost"
                decisions.append(Destroy(instance_id=one.instance_id, failed=failed, reason="end"))
            elif one.state in BOOTING or one.state == "joined":
                having.append(one)
        wanted = self.wanted(now, queue, len(having), having, rates)
        for one in sorted(having, key=lambda one: (one.busy, one.state == "joined"))[: max(0, len(having) - wanted)]:
            ending = Drain if one.state == "joined" else Destroy
            decisions.append(ending(instance_id=one.instance_id, reason="fewer"))
        held = {one.machine_id for one in fleet}
        room = min(wanted - len(having), limits.launches_per_tick, limits.instances - len(fleet))
        burn = sum(one.price_usd_per_hour for one in fleet)
        for offer in sorted(offers, key=lambda offer: self._price(offer, rates)):
            if room <= 0 or burn + offer.price_usd_per_hour > limits.usd_per_hour:
                break
            if (
                offer.machine_id in held
                or history.barred.get(offer.machine_id, 0) > now
                or offer.reliability < limits.reliability
                or offer.price_usd_per_hour > limits.price_cap_usd_per_hour.get(offer.gpu, 0)
            ):
                continue
            decisions.append(Launch(offer=offer, reason="more"))
            room, burn = room - 1, burn + offer.price_usd_per_hour
        return decisions or [Wait(reason="enough")]

    def _price(self, offer: Offer, rates: Rates) -> float:
        if self.by_hour:
            return offer.price_usd_per_hour
        return offer.price_usd_per_hour * KINDS[offer.gpu][2]


class OldRule(Counting):
    """One machine, the cheapest by the hour, when anything waits; destroyed after five idle minutes."""

    def __init__(self) -> None:
        self.by_hour = True

    def wanted(self, now, queue, has, fleet, rates):  # type: ignore[no-untyped-def]
        idle = [one for one in fleet if one.idle_since is not None and now - one.idle_since >= 300]
        return 1 if queue.documents else len(fleet) - len(idle)


class Fixed(Counting):
    """Always so many. Asked every five minutes only: between its machines' losses it has nothing to say."""

    seldom = True

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def wanted(self, now, queue, has, fleet, rates):  # type: ignore[no-untyped-def]
        return self.count


class Keda(Counting):
    """ceil(queue / target), asked every 30 s; the most of five minutes' answers; to zero after a cooldown of 300 s.

    Source: keda.sh, ScaledObject specification (pollingInterval 30, cooldownPeriod 300) and redis-lists scaler
    (listLength 5); kubernetes.io, Horizontal Pod Autoscaling (desired = ceil(metric / target), tolerance 10 %,
    scale-down stabilization 300 s, scale-up by at most 4 or twice as many in 15 s).
    """

    def __init__(self, target: int = 5) -> None:
        super().__init__()
        self.target, self.asked, self.active = target, -math.inf, -math.inf
        self.recent: deque[tuple[float, int]] = deque()
        self.count = 0

    def wanted(self, now, queue, has, fleet, rates):  # type: ignore[no-untyped-def]
        if now - self.asked < 30:
            return self.count
        self.asked = now
        if queue.documents:
            self.active = now
        if not has and not queue.documents:
            self.count = 0
            return 0
        desired = math.ceil(queue.documents / self.target)
        if has and abs(queue.documents / self.target / has - 1) <= 0.1:
            desired = has
        desired = max(1, min(desired, max(2 * has, has + 8)))  # two steps of 15 s
        self.recent.append((now, desired))
        while self.recent[0][0] < now - 300:
            self.recent.popleft()
        self.count = max(count for _, count in self.recent)
        if now - self.active > 300:
            self.count = 0
        return self.count


class SkyServe(Counting):
    """One more if more than one job has been pending for 300 s, one fewer after 1,200 s; idle ones only.

    Source: skypilot-org/skypilot, sky/serve/autoscalers.py (QueueLengthAutoscaler, hysteresis; from zero at once),
    constants.py (AUTOSCALER_DEFAULT_UPSCALE_DELAY_SECONDS 300, DOWNSCALE 1200, QUEUE_LENGTH_THRESHOLD 1).
    """

    def __init__(self) -> None:
        super().__init__()
        self.target, self.up_since, self.down_since = 0, math.inf, math.inf

    def wanted(self, now, queue, has, fleet, rates):  # type: ignore[no-untyped-def]
        pending = queue.documents
        target = 0 if not pending else max(1, self.target + (pending > 1) - (pending < 1))
        self.up_since = min(self.up_since, now) if target > self.target else math.inf
        self.down_since = min(self.down_since, now) if target < self.target else math.inf
        if (target and not self.target) or now - self.up_since >= 300 or now - self.down_since >= 1200:
            self.target, self.up_since, self.down_since = min(target, 10), math.inf, math.inf
        busy = sum(bool(one.busy) for one in fleet)
        return max(self.target, busy) if has > self.target else self.target


class Dstack(Counting):
    """ceil(requests a second / target), of the last minute; at once from zero, up after 300 s, down after 600 s.

    Source: dstackai/dstack, server/services/services/autoscalers.py (RPSAutoscaler) and its configuration's defaults.
    It scales services, which hold no queue: a minimum of one replica while anything waits was added.
    """

    def __init__(self, per_machine_rps: float = 0.3) -> None:
        super().__init__()
        self.target, self.scaled = per_machine_rps, -math.inf
        self.seen: deque[tuple[float, int]] = deque()
        self.known = 0

    def wanted(self, now, queue, has, fleet, rates):  # type: ignore[no-untyped-def]
        arrived = max(0, queue.documents + queue.running_documents - self.known)
        self.known = queue.documents + queue.running_documents
        self.seen.append((now, arrived))
        while self.seen[0][0] < now - 60:
            self.seen.popleft()
        target = math.ceil(sum(count for _, count in self.seen) / 60 / self.target)
        target = min(10, max(target, bool(queue.documents or queue.running_documents)))
        if target == has:
            return has
        if has and now - self.scaled < (300 if target > has else 600):
            return has
        self.scaled = now
        return target


class Aws(Counting):
    """Backlog per instance: acceptable latency over seconds per document; out after a minute, in after fifteen.

    Source: docs.aws.amazon.com, Amazon EC2 Auto Scaling user guide, "Scaling policy based on Amazon SQS" and "Target
    tracking scaling policies" (metrics by the minute, warm-up 300 s, scale-in when 15 minutes are below 90 %).
    An acceptable latency of ten minutes; from zero as soon as a message waits.
    """

    def __init__(self, latency_s: float = 600.0) -> None:
        super().__init__()
        self.latency_s, self.asked, self.low_since, self.count, self.scaled = (
            latency_s,
            -math.inf,
            math.inf,
            0,
            -math.inf,
        )

    def wanted(self, now, queue, has, fleet, rates):  # type: ignore[no-untyped-def]
        if now - self.asked < 60:
            return self.count
        self.asked = now
        target = self.latency_s / (8 * KINDS["RTX 3080"][2])
        desired = min(10, math.ceil(queue.documents / target))
        if desired > self.count and (not self.count or now - self.scaled >= 300):
            self.count, self.scaled = desired, now
        low = queue.documents < 0.9 * target * self.count
        self.low_since = min(self.low_since, now) if low else math.inf
        if now - self.low_since >= 900:
            self.count = desired if desired or not queue.running_documents else 1
            self.low_since = math.inf
        return self.count


#: Name: makes a policy; those with a state are made anew for each run.
POLICIES = {
    "ours": lambda: ours,
    "old rule": OldRule,
    "KEDA, 5 each": Keda,
    "KEDA, 50 each": lambda: Keda(50),
    "SkyServe": SkyServe,
    "dstack": Dstack,
    "AWS backlog": Aws,
    "fixed 1": lambda: Fixed(1),
    "fixed 3": lambda: Fixed(3),
}
