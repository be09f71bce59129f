"""The fleet's records in Postgres, by Supabase's client. Every write is one SQL function."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from supabase import Client

from aseagi_tasks.errors import NotFound
from aseagi_tasks.fleet.model import InstanceState, Offer
from aseagi_tasks.stores.fleet_records import (
    FIRST_BARRED_S,
    MAX_BARRED_S,
    TICKS,
    Demand,
    InstanceRow,
    MachineRow,
    TickRow,
)
from aseagi_tasks.stores.supabase_api import MAX_ROWS, SupabaseApi

_MACHINE = ",".join(MachineRow.model_fields)


class SupabaseFleet(SupabaseApi):
    """Implements ``fleet_records.FleetRecords``."""

    # -- instances

    def add_instance(self, instance_id: str, offer: Offer, detail: Mapping[str, Any]) -> InstanceRow:
        """Write the intent of renting an offer; the same id again returns the row there is."""
        values = {
            **{"p_instance_id": instance_id, "p_gpu_name": offer.gpu, "p_machine_id": offer.machine_id},
            **{"p_price_usd_per_hour": offer.price_usd_per_hour},
            "p_detail": {"offer": offer.model_dump(mode="json"), **detail},
        }
        return _instance(self._call("add_instance", values))

    def move_instance(
        self,
        instance_id: str,
        seen: Collection[InstanceState],
        to: InstanceState,
        *,
        provider_id: int | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> InstanceRow | None:
        """Move an instance that is in one of the states ``seen``; None if it was in another by now."""
        values = {"p_instance_id": instance_id, "p_seen": sorted(seen), "p_to": to, "p_provider_id": provider_id}
        rows = self._call("move_instance", {**values, "p_detail": dict(detail or {})})
        return _instance(rows[0]) if rows else None

    def note_instance(self, instance_id: str, detail: Mapping[str, Any]) -> None:
        """Merge ``detail`` into the row's; its state stays."""
        self._call("note_instance", {"p_instance_id": instance_id, "p_detail": dict(detail)})

    def bill_instance(
        self, instance_id: str, since: datetime | None, until: datetime, usd: float, detail: Mapping[str, Any]
    ) -> bool:
        """Put what it cost from ``since`` to ``until`` into the ledger, once; False if another did it."""
        told = dict(detail)
        values = {
            **{"p_instance_id": instance_id, "p_usd": usd, "p_note": told.pop("note", {}), "p_detail": told},
            **{"p_since": since.isoformat() if since else None, "p_until": until.isoformat()},
        }
        return bool(self._call("bill_instance", values))

    def billed(self, instance_id: str) -> float:
        """USD in the ledger for an instance."""
        return float(self._call("billed_instance", {"p_instance_id": instance_id}))

    def instance(self, instance_id: str) -> InstanceRow:
        """One instance; an unambiguous beginning or end of its id will do."""
        rows = self._call("find_instance", {"p_part": instance_id}) if instance_id else []
        if not rows:
            raise NotFound(instance_id or "An empty id", "the instances")
        if len(rows) > 1 and rows[0]["instance_id"] != instance_id:
            raise NotFound(instance_id, "the instances: several begin or end so, give more of it")
        return _instance(rows[0])

    def instances(self, *, since: datetime | None = None) -> list[InstanceRow]:
        """Those that are not gone; with ``since``, also those that were created since then. Oldest first."""

        values = {"p_since": since.isoformat() if since else "infinity", "p_limit": MAX_ROWS}
        found: list[Any] = []
        while len(rows := self._call("list_instances", {**values, "p_offset": len(found)})) == MAX_ROWS:
            found += rows
        return [_instance(row) for row in [*found, *rows]]

    # -- machines

    def fail_machine(self, machine_id: int, gpu: str, instance_id: str, why: str) -> MachineRow:
        """Leave a machine out, longer each time. Once for each instance."""
        values = {"p_machine_id": machine_id, "p_gpu": gpu, "p_instance_id": instance_id, "p_why": why}
        return _machine(self._call("fail_machine", {**values, "p_first_s": FIRST_BARRED_S, "p_most_s": MAX_BARRED_S}))

    def measure_machine(
        self, machine_id: int, gpu: str, *, seconds_per_page: float | None = None, boot_s: float | None = None
    ) -> None:
        """Keep what was measured; None leaves what is there."""
        values = {"p_machine_id": machine_id, "p_gpu": gpu, "p_seconds_per_page": seconds_per_page}
        self._call("measure_machine", {**values, "p_boot_s": boot_s})

    def machines(self) -> list[MachineRow]:
        """What is known, newest first; at most 1,000."""

        def ask(client: Client) -> Any:
            query = client.table("fleet_machines").select(_MACHINE)
            return query.order("updated_at", desc=True).limit(MAX_ROWS).execute().data

        return [_machine(row) for row in self._rows("listing machines", ask)]

    # -- what waits

    def demand(self) -> Demand:
        """What is open and how much work it is."""
        return Demand(**self._call("fleet_demand", {}))

    # -- decisions and what operators have set

    def add_tick(self, at: datetime, detail: Mapping[str, Any]) -> None:
        """Keep a decision; the oldest beyond ``TICKS`` are dropped."""
        self._call("add_fleet_tick", {"p_at": at.isoformat(), "p_detail": dict(detail), "p_keep": TICKS})

    def ticks(self, limit: int = 20) -> list[TickRow]:
        """Decisions, newest first."""

        def ask(client: Client) -> Any:
            query = client.table("fleet_ticks").select("at,detail")
            return query.order("tick_id", desc=True).limit(limit).execute().data

        return [TickRow(**row) for row in self._rows("listing decisions", ask)]

    def controls(self) -> dict[str, Any]:
        """What operators have set, by name."""

        def ask(client: Client) -> Any:
            return client.table("fleet_controls").select("name,value").limit(MAX_ROWS).execute().data

        return {row["name"]: row["value"] for row in self._rows("reading what operators have set", ask)}

    def set_control(self, name: str, value: Any, by: str) -> None:
        """Set it; None takes it back."""
        self._call("set_fleet_control", {"p_name": name, "p_value": value, "p_by": by})


def _instance(row: Any) -> InstanceRow:
    kept = {name: row[name] for name in InstanceRow.model_fields if name != "gpu"}
    return InstanceRow(**kept, gpu=row["gpu_name"])


def _machine(row: Any) -> MachineRow:
    return MachineRow(**{name: row[name] for name in MachineRow.model_fields})
