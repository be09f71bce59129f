"""The fleet's words: offers, instances, what waits, what was measured, limits, decisions.

Times are seconds since the epoch, UTC; money is US dollars. Nothing here does I/O.

An instance goes ``intent`` (row and label are written before the create call) → ``requested`` (the provider answered) →
``loading`` (image is pulled) → ``running`` (container has started) → ``joined`` (its worker takes work) → ``draining``
(takes no more) → ``destroying`` → ``gone`` (absent from two listings). Aside stand ``ambiguous`` (a create that timed
out: the label will tell), ``failed`` (the provider or the canary says so), ``lost`` (no longer listed, or its worker is
silent), ``preempted`` and ``orphan`` (carries our label, has no row).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from aseagi_tasks.documents import Frozen

InstanceState = Literal[
    "intent",
    "requested",
    "loading",
    "running",
    "joined",
    "draining",
    "destroying",
    "gone",
    "ambiguous",
    "failed",
    "lost",
    "preempted",
    "orphan",
]
#: On the way up: it may come to work.
BOOTING: frozenset[InstanceState] = frozenset({"intent", "requested", "loading", "running"})
#: Nothing good comes of these; they are destroyed at sight.
BROKEN: frozenset[InstanceState] = frozenset({"failed", "lost", "preempted", "orphan"})

LimitName = Literal[
    "paused",
    "instances",
    "usd_per_hour",
    "daily_budget",
    "monthly_budget",
    "spending_unknown",
    "offers",
    "breaker",
    "ambiguous",
]


class Offer(Frozen):
    """A machine that can be rented now.

    Attributes:
        ask_id: what a create call names. machine_id: the machine behind it, the same in its later offers.
        gpu: the vendor's name, with a space (``"RTX 3090"``).
        price_usd_per_hour: all that runs by the hour, disk included.
        download_usd_per_gb: what pulling costs. reliability: in [0, 1].
        region: two letters of the country. available_s: how long the machine can be had.
    """

    ask_id: int
    machine_id: int
    gpu: str
    price_usd_per_hour: float
    download_usd_per_gb: float = 0.0
    reliability: float
    verified: bool = False
    datacenter: bool = False
    region: str = ""
    available_s: float = 0.0


class Instance(Frozen):
    """A rented machine, or one about to be, as far as a decision needs to know it.

    Attributes:
        instance_id: ours, and its label at the provider. provider_id: the provider's, once known.
        created_at: when the intent was written. state_since: when ``state`` began.
        busy: stages in work on it. idle_since: since when it has had nothing to do, if it has joined.
        asked_for: by a person: kept until it has been idle for ``Limits.idle_s``, whether something waits or not.
    """

    instance_id: str
    provider_id: int | None = None
    machine_id: int
    gpu: str
    price_usd_per_hour: float
    state: InstanceState
    created_at: float
    state_since: float
    busy: int = 0
    idle_since: float | None = None
    asked_for: bool = False


class QueueState(Frozen):
    """What waits for a machine. Counted from the documents that are not done, not from one queue's length.

    Attributes:
        interactive_*: asked for by somebody who waits. bulk_*: the rest.
        *_documents, *_pages: of documents that nobody works on yet.
        running_documents: in work somewhere.
        oldest_s: how long the oldest document has waited.
        requests: when the latest requests came, oldest first, some dozens; a bulk run is one request.
    """

    interactive_documents: int = 0
    interactive_pages: int = 0
    bulk_documents: int = 0
    bulk_pages: int = 0
    running_documents: int = 0
    oldest_s: float = 0.0
    requests: tuple[float, ...] = ()

    @property
    def documents(self) -> int:
        """Documents that wait."""
        return self.interactive_documents + self.bulk_documents

    @property
    def pages(self) -> int:
        """Pages that wait."""
        return self.interactive_pages + self.bulk_pages


class Rates(Frozen):
    """What was measured.

    Attributes:
        seconds_per_page: by GPU kind. machine_seconds_per_page: by machine, from its canary or its work.
        unmeasured_seconds_per_page: of an RTX 3080, as long as no kind was measured.
        boots_s: latest launches, from create to join, on machines that were new.
        machine_boots_s: by machine, the latest; the image is on its disk since.
        never_joined: share of launches that came to nothing. image_gb: what a new machine pulls.
    """

    seconds_per_page: Mapping[str, float] = {}
    machine_seconds_per_page: Mapping[int, float] = {}
    unmeasured_seconds_per_page: float = 1.0
    boots_s: tuple[float, ...] = ()
    machine_boots_s: Mapping[int, float] = {}
    never_joined: float = 0.05
    image_gb: float = 3.0


class Limits(Frozen):
    """What may never be exceeded, and what waiting is worth. A value that is missing or no number stops launches.

    Attributes:
        price_cap_usd_per_hour: by GPU kind; a kind that is not named is not rented.
        regions: two letters each; empty: any.
        boot_s: from create to running. join_s: from running to joined.
        lifetime_s: the longest that an instance lives. drain_s: what finishing the work in hand may take.
        stop_s: from the decision to destroy until billing ends, a tick included.
        failures, failure_window_s: so many failed launches within that time stop further ones.
        backlog_usd_per_hour: what it is worth to be done with all that waits an hour sooner.
        person_usd_per_hour: what it is worth that one interactive document waits an hour less.
    """

    paused: bool = False
    instances: int = Field(10, ge=0)
    usd_per_hour: float = Field(3.0, ge=0)
    daily_budget_usd: float = Field(10.0, ge=0)
    monthly_budget_usd: float = Field(100.0, ge=0)
    price_cap_usd_per_hour: Mapping[str, float] = {
        "RTX 3080": 0.20,
        "RTX 3090": 0.30,
        "RTX 4090": 0.60,
        "RTX 5090": 0.90,
        "A100 SXM4": 1.30,
    }
    reliability: float = Field(0.97, ge=0, le=1)
    verified_only: bool = True
    datacenter_only: bool = False
    regions: frozenset[str] = frozenset()
    boot_s: float = Field(900.0, gt=0)
    join_s: float = Field(180.0, gt=0)
    lifetime_s: float = Field(86_400.0, gt=0)
    idle_s: float = Field(300.0, ge=0)
    drain_s: float = Field(180.0, ge=0)
    stop_s: float = Field(60.0, ge=0)
    failures: int = Field(6, ge=1)
    failure_window_s: float = Field(1_800.0, gt=0)
    launches_per_tick: int = Field(3, ge=1)
    backlog_usd_per_hour: float = Field(0.10, ge=0)
    person_usd_per_hour: float = Field(0.5, ge=0)


class History(Frozen):
    """What was.

    Attributes:
        barred: machines that failed, and until when each is left out.
        failures: when recent launches failed.
        spent_*_usd: of the day and the month (UTC) so far, running instances included; None: it could not be read.
    """

    barred: Mapping[int, float] = {}
    failures: tuple[float, ...] = ()
    spent_today_usd: float | None = None
    spent_month_usd: float | None = None


class Launch(Frozen):
    """Rent this offer."""

    kind: Literal["launch"] = "launch"
    offer: Offer
    reason: str


class Drain(Frozen):
    """Let it take no more work. It is destroyed when what it has in hand is done: at once, if that is nothing."""

    kind: Literal["drain"] = "drain"
    instance_id: str
    reason: str


class Destroy(Frozen):
    """End it now. ``failed``: remember the machine as one that failed. What it has in hand goes back to the queue."""

    kind: Literal["destroy"] = "destroy"
    instance_id: str
    reason: str
    failed: bool = False


class Wait(Frozen):
    """Do nothing, or no more than that. ``limit``: the one that stands in the way, to be told to the operator."""

    kind: Literal["wait"] = "wait"
    reason: str
    limit: LimitName | None = None


Decision = Launch | Drain | Destroy | Wait
