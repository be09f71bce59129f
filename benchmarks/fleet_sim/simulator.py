"""One policy against one trace and one market, event by event.

Time moves from event to event; the policy is asked every 15 s while documents or instances are about, and not at all
while nothing is. A bulk run in full swing is looked at every minute. Billing begins with the create call and ends when
the provider has destroyed: the dearest way to read the vendor's pages.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

from aseagi_tasks.fleet.model import (
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
)

from .market import KINDS, Machine, Market
from .traces import DAY, Document

TICK_S = 15.0
DESTROY_S = 5.0  # from the call until billing ends
LOST_S = 60.0  # a worker that is silent for so long is lost
STARTS_S = 20.0  # of a boot, from the container's start to the join
CACHE_S = 7 * DAY  # an image stays on a machine's disk for so long
IMAGE_GB = 3.0

Policy = Callable[[float, QueueState, list[Instance], Sequence[Offer], Rates, Limits, History], list[Decision]]


class Rented:
    """One rented machine, as it truly is."""

    __slots__ = (
        "began", "created", "down", "drained", "end", "idle_since", "join", "joined", "machine", "name", "price",
        "pull", "running", "should_end", "state", "state_since", "view", "why_ended", "working_s",
    )  # fmt: skip

    def __init__(self, name: str, machine: Machine, price: float, pull: float, now: float, boot_s: float) -> None:
        self.name, self.machine, self.price, self.pull = name, machine, price, pull
        self.created = self.state_since = now
        self.state: Any = "loading"
        self.join = now + boot_s
        self.joined = self.idle_since = self.end = math.inf
        self.down = machine.next_down(now)
        self.running: Document | None = None
        self.began = self.working_s = 0.0
        self.view: Instance | None = None
        self.should_end = math.inf
        self.why_ended = ""

    def seen(self) -> Instance:
        """As the policy sees it; made anew only when something has changed."""
        if self.view is None:
            self.view = Instance(
                instance_id=self.name,
                machine_id=self.machine.machine_id,
                gpu=self.machine.gpu,
                price_usd_per_hour=self.price,
                state=self.state,
                created_at=self.created,
                state_since=self.state_since,
                busy=self.running is not None,
                idle_since=None if self.idle_since == math.inf else self.idle_since,
            )
        return self.view

    def becomes(self, state: str, now: float) -> None:
        """Move to that state."""
        self.state, self.state_since, self.view = state, now, None


class Simulation:
    """Run it with ``run``; what came of it is in the attributes."""

    def __init__(
        self, documents: list[Document], lasts_s: float, market: Market, policy: Policy, limits: Limits
    ) -> None:
        self.documents, self.lasts_s, self.market, self.policy, self.limits = documents, lasts_s, market, policy, limits
        self.events: list[tuple[float, int, str, Any]] = []
        self.count = 0
        self.interactive: deque[Document] = deque()
        self.bulk: deque[Document] = deque()
        self.pages = {True: 0, False: 0}
        self.free: deque[Rented] = deque()
        self.alive: dict[str, Rented] = {}
        self.finished: list[tuple[Document, float]] = []
        self.requests: deque[float] = deque(maxlen=40)
        self.wasted: dict[str, float] = defaultdict(float)
        self.launches = self.violations = self.decisions = 0
        self.zombie_s = self.usd = self.working_s = 0.0
        self.days: dict[int, float] = defaultdict(float)
        self.launches_of: dict[int, int] = defaultdict(int)
        self.used_until: dict[int, float] = {}
        self.kinds: set[str] = set()  # measured by a canary, once one of them has joined
        self.boots: deque[float] = deque(maxlen=40)
        self.machine_boots: dict[int, float] = {}
        self.machine_pages: dict[int, float] = {}
        self.failed_launches = 1.0
        self.failures: list[float] = []
        self.failed_times: dict[int, int] = defaultdict(int)
        self.barred: dict[int, float] = {}
        self.rates: Rates | None = None
        self.calm_s = 20 * TICK_S if getattr(policy, "seldom", False) else 4 * TICK_S
        self.timeline: list[tuple[float, int, dict[str, int], float]] | None = None

    # -- time ---------------------------------------------------------------------------------------------------------

    def at(self, when: float, kind: str, what: Any) -> None:
        """Something will happen."""
        self.count += 1
        heapq.heappush(self.events, (when, self.count, kind, what))

    def run(self) -> Simulation:
        """Until every document is done and every instance gone, or three days after the trace's end."""
        waiting = deque(self.documents)
        now, tick = 0.0, math.inf
        until = self.lasts_s + 3 * DAY
        while True:
            upcoming = waiting[0].at if waiting else math.inf
            event = self.events[0][0] if self.events else math.inf
            now = min(upcoming, event, tick)
            if now == math.inf or now > until:
                break
            if now > self.lasts_s and len(self.finished) == len(self.documents):
                break  # who keeps machines for ever pays for the trace, no longer
            if now == upcoming:
                self.arrives(waiting.popleft())
                tick = min(tick, math.ceil((now + 1e-6) / TICK_S) * TICK_S)
            elif now == event:
                _, _, kind, what = heapq.heappop(self.events)
                if getattr(self, kind)(now, what):
                    tick = min(tick, math.ceil((now + 1e-6) / TICK_S) * TICK_S)
            else:
                calm = self.ask(now)
                tick = (
                    now + (4 * TICK_S if calm else TICK_S) if self.alive or self.interactive or self.bulk else math.inf
                )
        for one in list(self.alive.values()):
            self.ended(min(now, until), one)
        return self

    # -- what happens -------------------------------------------------------------------------------------------------

    def arrives(self, document: Document) -> None:
        """A document comes in."""
        if not self.requests or document.at - self.requests[-1] > 5:
            self.requests.append(document.at)
        (self.interactive if document.interactive else self.bulk).append(document)
        self.pages[document.interactive] += document.pages
        self.hand_out(document.at)

    def hand_out(self, now: float) -> None:
        """Work goes to whoever has been free for longest, as Redis serves those who wait."""
        while self.free and (self.interactive or self.bulk):
            one = self.free.popleft()
            if one.state != "joined" or one.running is not None:
                continue
            document = (self.interactive or self.bulk).popleft()
            self.pages[document.interactive] -= document.pages
            one.running, one.began, one.idle_since, one.view = document, now, math.inf, None
            self.at(now + document.pages * one.machine.page_s, "done", (one, document))

    def done(self, now: float, what: tuple[Rented, Document]) -> bool:
        """A document is read, unless its machine was lost meanwhile."""
        one, document = what
        if one.running is not document or one.state not in ("joined", "draining") or now > one.down:
            return False
        self.finished.append((document, now))
        one.working_s += now - one.began
        one.running, one.idle_since, one.view = None, now, None
        if one.state == "joined":
            self.free.append(one)
            self.hand_out(now)
        return one.running is None

    def starts(self, now: float, one: Rented) -> bool:
        """Its container runs."""
        if one.state == "loading" and now < one.down:
            one.becomes("running", now)
        return False

    def joins(self, now: float, one: Rented) -> bool:
        """Its worker takes work."""
        if one.state != "running" or now >= one.down:
            return False
        one.becomes("joined", now)
        one.joined = one.idle_since = now
        boot_s = now - one.created
        number = one.machine.machine_id
        if number not in self.machine_boots:
            self.boots.append(boot_s)
        self.machine_boots[number] = boot_s
        self.kinds.add(one.machine.gpu)
        self.machine_pages[number] = one.machine.page_s
        self.rates = None
        self.free.append(one)
        self.hand_out(now)
        return True

    def lost(self, now: float, one: Rented) -> bool:
        """Its silence is noticed; what it had in hand goes back."""
        if one.name not in self.alive or one.state == "destroying":
            return False
        one.should_end = now
        self.give_back(now, one, one.down - one.began)
        one.becomes("lost", now)
        return True

    def give_back(self, now: float, one: Rented, worked_s: float) -> None:
        """The document in hand goes back to the head of the queue."""
        if one.running is not None:
            document, one.running = one.running, None
            self.wasted["work lost"] += max(0.0, worked_s)
            (self.interactive if document.interactive else self.bulk).appendleft(document)
            self.pages[document.interactive] += document.pages
            self.hand_out(now)

    def gone(self, now: float, one: Rented) -> bool:
        """Billing ends."""
        self.ended(now, one)
        return False

    def ended(self, now: float, one: Rented) -> None:
        """It costs no more from here on."""
        del self.alive[one.name]
        if self.timeline is not None and not self.alive:
            self.timeline.append((now, self.pages[True] + self.pages[False], {}, 0.0))
        self.usd += one.price * (now - one.created) / 3600 + one.pull
        self.days[int(one.created // DAY)] += one.pull
        for day in range(int(one.created // DAY), int(now // DAY) + 1):
            seconds = min(now, (day + 1) * DAY) - max(one.created, day * DAY)
            self.days[day] += one.price * seconds / 3600
        self.working_s += one.working_s
        up = min(one.joined, now) - one.created
        cause = "boot" if one.joined < math.inf else f"boot {one.why_ended or 'failed'}"
        self.wasted[cause] += up
        if one.joined < math.inf:
            self.wasted["idle"] += now - one.joined - one.working_s
        if one.should_end < math.inf:
            self.zombie_s += max(0.0, now - one.should_end - TICK_S - DESTROY_S)

    # -- the policy ---------------------------------------------------------------------------------------------------

    def ask(self, now: float) -> bool:
        """One tick. Answers whether nothing is likely to change within a minute."""
        fleet = [one.seen() for one in self.alive.values()]
        running = sum(one.busy for one in fleet)
        oldest = min((q[0].at for q in (self.interactive, self.bulk) if q), default=now)
        queue = QueueState(
            interactive_documents=len(self.interactive),
            interactive_pages=self.pages[True],
            bulk_documents=len(self.bulk),
            bulk_pages=self.pages[False],
            running_documents=running,
            oldest_s=now - oldest,
            requests=tuple(self.requests),
        )
        history = self.history(now)
        for one in self.alive.values():  # what must not live any longer, whoever decides
            if one.state == "loading" and now - one.created > self.limits.boot_s:
                one.should_end = min(one.should_end, one.created + self.limits.boot_s + TICK_S)
            if now - one.created > self.limits.lifetime_s:
                one.should_end = min(one.should_end, one.created + self.limits.lifetime_s)
        decisions = self.policy(now, queue, fleet, self.market.at(now), self.known(), self.limits, history)
        self.decisions += 1
        acted = False
        for decision in decisions:
            if isinstance(decision, Launch):
                self.launch(now, decision.offer)
            elif isinstance(decision, Drain):
                one = self.alive[decision.instance_id]
                one.becomes("draining", now)
                if one.running is None:  # it has stopped taking work, and has none
                    self.destroy(now, one, Destroy(instance_id=one.name, reason="drained"))
            elif isinstance(decision, Destroy):
                self.destroy(now, self.alive[decision.instance_id], decision)
            acted = acted or decision.kind != "wait"
        self.check(now)
        if self.timeline is not None:
            states: dict[str, int] = defaultdict(int)
            for one in self.alive.values():
                states["busy" if one.running else one.state] += 1
            self.timeline.append((now, queue.pages, states, sum(one.price for one in self.alive.values())))
        if getattr(self.policy, "seldom", False) or not self.alive:
            return not acted  # nothing runs and nothing may be launched: a limit stands in the way
        calm = bool(fleet) and not acted and queue.documents > 20 * len(fleet) and queue.interactive_documents == 0
        return calm and all(one.state == "joined" and one.busy for one in fleet)

    def launch(self, now: float, offer: Offer) -> None:
        """Create; what it will be like is drawn by machine and count, so that every policy has the same luck."""
        machine = self.market.machines[offer.machine_id]
        number = self.launches_of[offer.machine_id]
        self.launches_of[offer.machine_id] += 1
        cached = self.used_until.get(offer.machine_id, -math.inf) > now - CACHE_S
        pull = 0.0 if cached else IMAGE_GB * offer.download_usd_per_gb
        boot_s = machine.boot_s(number, cached)
        self.launches += 1
        one = Rented(f"i-{self.launches}", machine, offer.price_usd_per_hour, pull, now, boot_s)
        self.alive[one.name] = one
        if boot_s < math.inf:
            self.at(one.join - STARTS_S, "starts", one)
            self.at(one.join, "joins", one)
        self.at(one.down + LOST_S, "lost", one)

    def destroy(self, now: float, one: Rented, decision: Destroy) -> None:
        """Call it off; what it had in hand goes back."""
        self.give_back(now, one, now - one.began)
        number = one.machine.machine_id
        if decision.failed:
            self.failures = [at for at in self.failures if now - at < DAY] + [now]
            self.failed_times[number] += 1
            self.barred[number] = now + DAY * 2 ** (self.failed_times[number] - 1)
            self.failed_launches += one.joined == math.inf
            self.rates = None
        elif one.joined < math.inf:
            self.used_until[number] = now
        one.why_ended = "failed" if decision.failed else "given up"
        one.becomes("destroying", now)
        self.at(now + DESTROY_S, "gone", one)

    def known(self) -> Rates:
        """What a control plane would have measured by now."""
        if self.rates is None:
            tried = self.launches + 20
            self.rates = Rates(
                seconds_per_page={gpu: KINDS[gpu][2] for gpu in self.kinds},
                machine_seconds_per_page=dict(self.machine_pages),
                boots_s=tuple(self.boots) if len(self.boots) >= 5 else (),
                machine_boots_s=dict(self.machine_boots),
                never_joined=self.failed_launches / tried,
                image_gb=IMAGE_GB,
            )
        return self.rates

    def history(self, now: float) -> History:
        """What was spent, to the second, and what failed."""
        day = int(now // DAY)
        today, month = self.days[day], sum(usd for key, usd in self.days.items() if key // 30 == day // 30)
        for one in self.alive.values():
            today += one.price * (now - max(one.created, day * DAY)) / 3600 + (
                one.pull if one.created >= day * DAY else 0
            )
            first = day // 30 * 30 * DAY
            month += one.price * (now - max(one.created, first)) / 3600 + (one.pull if one.created >= first else 0)
        return History(barred=self.barred, failures=tuple(self.failures), spent_today_usd=today, spent_month_usd=month)

    def check(self, now: float) -> None:
        """Count what breaks a limit at this moment."""
        alive = list(self.alive.values())
        self.violations += len(alive) > self.limits.instances
        self.violations += sum(one.price for one in alive) > self.limits.usd_per_hour + 1e-9
        self.violations += len({one.machine.machine_id for one in alive}) < len(alive)
        caps = self.limits.price_cap_usd_per_hour
        self.violations += sum(one.price > caps.get(one.machine.gpu, -1) for one in alive)
        self.violations += sum(now - one.created > self.limits.lifetime_s + DESTROY_S for one in alive)

    def over_budget(self) -> int:
        """Days and months whose true bill is over the budget."""
        months: dict[int, float] = defaultdict(float)
        for day, usd in self.days.items():
            months[day // 30] += usd
        daily = sum(usd > self.limits.daily_budget_usd + 1e-9 for usd in self.days.values())
        return daily + sum(usd > self.limits.monthly_budget_usd + 1e-9 for usd in months.values())
