"""The records of the fleet: instances, what is known of machines, decisions, what operators have set.

One protocol, two implementations beside those of ``records.py``. Moves of an instance are conditional on the state that
the caller saw: of two who move at once, one is told that it was too late.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, Protocol

from aseagi_tasks.documents import Frozen
from aseagi_tasks.fleet.model import InstanceState, Offer

#: A machine that failed is left out for so long, twice as long after the next time, and so on up to ``MAX_BARRED_S``.
FIRST_BARRED_S, MAX_BARRED_S = 86_400.0, 90 * 86_400.0
#: Decisions that are kept: a day's, at four a minute.
TICKS = 5_760


class InstanceRow(Frozen):
    """One row of ``instances``. Times are UTC.

    Attributes:
        instance_id: also its label at the provider.
        state: see ``fleet.model``. state_since: when it came into it.
        billed_until: up to here its cost is in the ledger; None before its first charge.
        detail: the rest, merged key by key as it becomes known: the offer, reasons, moments, the canary's result.
    """

    instance_id: str
    provider_id: int | None
    machine_id: int
    gpu: str
    price_usd_per_hour: float
    state: InstanceState
    created_at: datetime
    state_since: datetime
    billed_until: datetime | None
    detail: Mapping[str, Any] = {}


class MachineRow(Frozen):
    """One row of ``fleet_machines``: what renting this machine was like."""

    machine_id: int
    gpu: str
    failures: int = 0
    barred_until: datetime | None = None
    #: why it was left out the last time
    why: str | None = None
    seconds_per_page: float | None = None
    #: from create to join, the last time
    boot_s: float | None = None
    updated_at: datetime


class TickRow(Frozen):
    """One row of ``fleet_ticks``: what was seen, decided and done at a moment."""

    at: datetime
    detail: Mapping[str, Any]


class Demand(Frozen):
    """What is open, for a forecast.

    Attributes:
        open_jobs: queued and in work; what waits for something else than a machine (a message batch) is not among them.
        pages_per_document: of the 500 oldest open ones, as far as their pages are known, else as usual; 3 without any.
        oldest: when the oldest open job came.
        outside_interactive, outside_bulk: open jobs of high and of other priority that wait as rows, to be let in.
        requested: when the latest jobs came that were not asked for in bulk, and the latest in bulk.
    """

    open_jobs: int
    pages_per_document: float
    oldest: datetime | None
    outside_interactive: int
    outside_bulk: int
    requested: tuple[datetime, ...]


class FleetRecords(Protocol):
    """Errors: RecordsUnavailable, NotFound."""

    def add_instance(self, instance_id: str, offer: Offer, detail: Mapping[str, Any]) -> InstanceRow:
        """Write the intent of renting an offer, before the create call; the same id again returns the row there is."""

    def move_instance(
        self,
        instance_id: str,
        seen: Collection[InstanceState],
        to: InstanceState,
        *,
        provider_id: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> InstanceRow | None:
        """Move an instance that is in one of the states ``seen``; None if it was in another by now.

        Args:
            provider_id: is kept once it is known.
            detail: merged into the row's.
        """

    def note_instance(self, instance_id: str, detail: Mapping[str, Any]) -> None:
        """Merge ``detail`` into the row's; its state stays."""

    def bill_instance(
        self, instance_id: str, since: datetime | None, until: datetime, usd: float, detail: Mapping[str, Any]
    ) -> bool:
        """Put what it cost from ``since`` (the row's ``billed_until``) to ``until`` into the ledger, once.

        ``detail`` stands with the cost, its key ``note`` is merged into the instance's. False if another did it.
        """

    def billed(self, instance_id: str) -> float:
        """USD in the ledger for an instance."""

    def instance(self, instance_id: str) -> InstanceRow:
        """One instance; an unambiguous beginning or end of its id will do. Raises NotFound."""

    def instances(self, *, since: datetime | None = None) -> list[InstanceRow]:
        """Those that are not gone; with ``since``, also those that were created since then. Oldest first."""

    def fail_machine(self, machine_id: int, gpu: str, instance_id: str, why: str) -> MachineRow:
        """Leave a machine out, longer each time. Once for each instance."""

    def measure_machine(
        self, machine_id: int, gpu: str, *, seconds_per_page: float | None = None, boot_s: float | None = None
    ) -> None:
        """Keep what was measured; None leaves what is there."""

    def machines(self) -> list[MachineRow]:
        """What is known, newest first; at most 1,000."""

    def demand(self) -> Demand:
        """What is open and how much work it is."""

    def add_tick(self, at: datetime, detail: Mapping[str, Any]) -> None:
        """Keep a decision; the oldest beyond ``TICKS`` are dropped."""

    def ticks(self, limit: int = 20) -> list[TickRow]:
        """Decisions, newest first."""

    def controls(self) -> dict[str, Any]:
        """What operators have set, by name."""

    def set_control(self, name: str, value: Any, by: str) -> None:
        """Set it; None takes it back."""
