"""The fleet's records in the SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

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
from aseagi_tasks.stores.sqlite_file import SqliteFile

#: What waits to be let in of a run that is paused or cancelled, no machine helps.
_WANTS = """status IN ('queued', 'processing') AND waits_for IS NULL AND (lease_until IS NOT NULL OR run_id IS NULL
    OR run_id NOT IN (SELECT run_id FROM bulk_runs WHERE status IN ('paused', 'cancelling')))"""
#: Pages of a job in work are those that rasterizing left to recognition, one at least.
_DEMAND = f"""
WITH usual AS (SELECT coalesce(avg(pages), 3.0) AS pages FROM
        (SELECT pages FROM documents WHERE pages IS NOT NULL ORDER BY created_at DESC LIMIT 200)),
    open AS (SELECT count(*) AS open_jobs, min(created_at) AS oldest,
        count(*) FILTER (WHERE lease_until IS NULL AND priority = 'high') AS outside_interactive,
        count(*) FILTER (WHERE lease_until IS NULL AND priority <> 'high') AS outside_bulk
        FROM processing_jobs WHERE {_WANTS}),
    next AS (SELECT coalesce(
        CASE WHEN status = 'processing' THEN (SELECT max(1, json_extract(detail, '$.unread')) FROM processing_events
            WHERE processing_events.job_id = job.job_id AND stage = 'rasterize' AND kind = 'finished'
            ORDER BY event_id DESC LIMIT 1) END,
        (SELECT pages FROM documents WHERE documents.document_id = job.document_id)) AS pages
        FROM (SELECT * FROM processing_jobs WHERE {_WANTS}
            ORDER BY created_at LIMIT 500) AS job)
SELECT open.*, coalesce((SELECT avg(coalesce(next.pages, usual.pages)) FROM next), usual.pages) AS pages_per_document
FROM open, usual
"""
_REQUESTED = """
SELECT created_at FROM
    (SELECT created_at FROM processing_jobs WHERE priority <> 'low' ORDER BY created_at DESC LIMIT 40)
UNION SELECT max(created_at) FROM processing_jobs WHERE priority = 'low' HAVING max(created_at) IS NOT NULL
"""


class SqliteFleet(SqliteFile):
    """Implements ``fleet_records.FleetRecords``."""

    # -- instances

    def add_instance(self, instance_id: str, offer: Offer, detail: Mapping[str, Any]) -> InstanceRow:
        """Write the intent of renting an offer; the same id again returns the row there is."""
        with self._write("writing the intent of an instance") as db:
            now = _iso(datetime.now(UTC))
            db.execute(
                "INSERT INTO instances (instance_id, label, state, gpu_name, price_usd_per_hour, machine_id,"
                " created_at, updated_at, state_since, detail) VALUES (?, ?, 'intent', ?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (
                    *(instance_id, instance_id, offer.gpu, offer.price_usd_per_hour, offer.machine_id, now, now, now),
                    _json({"offer": offer.model_dump(mode="json"), **detail}),
                ),
            )
            return _instance(_row(db, instance_id))

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
        with self._write("moving an instance") as db:
            changed = db.execute(
                "UPDATE instances SET state_since = CASE WHEN state = :to THEN state_since ELSE :now END, state = :to,"
                " updated_at = :now, provider_id = coalesce(provider_id, :provider_id),"
                " detail = json_patch(detail, :detail)"
                " WHERE instance_id = :instance_id AND state IN (SELECT value FROM json_each(:seen))",
                {
                    **{"to": to, "now": _iso(datetime.now(UTC)), "provider_id": provider_id},
                    **{"detail": _json(detail or {}), "instance_id": instance_id, "seen": json.dumps(sorted(seen))},
                },
            )
            return _instance(_row(db, instance_id)) if changed.rowcount else None

    def note_instance(self, instance_id: str, detail: Mapping[str, Any]) -> None:
        """Merge ``detail`` into the row's; its state stays."""
        with self._write("noting an instance") as db:
            db.execute(
                "UPDATE instances SET detail = json_patch(detail, ?), updated_at = ? WHERE instance_id = ?",
                (_json(detail), _iso(datetime.now(UTC)), instance_id),
            )

    def bill_instance(
        self, instance_id: str, since: datetime | None, until: datetime, usd: float, detail: Mapping[str, Any]
    ) -> bool:
        """Put what it cost from ``since`` to ``until`` into the ledger, once; False if another did it."""
        told = dict(detail)
        with self._write("billing an instance") as db:
            changed = db.execute(
                "UPDATE instances SET billed_until = ?, detail = json_patch(detail, ?)"
                " WHERE instance_id = ? AND billed_until IS ?",
                (_iso(until), _json(told.pop("note", {})), instance_id, None if since is None else _iso(since)),
            )
            if changed.rowcount == 0:
                return False
            db.execute(
                "INSERT INTO costs (once, at, kind, usd, detail) VALUES (?, ?, 'gpu', ?, ?)",
                (
                    *(f"{instance_id}:{_iso(until)}", _iso(datetime.now(UTC)), usd),
                    _json({"instance_id": instance_id, **told}),
                ),
            )
            return True

    def billed(self, instance_id: str) -> float:
        """USD in the ledger for an instance."""
        values = (f"{instance_id}:", f"{instance_id};")  # the character behind the colon
        sql = "SELECT coalesce(sum(usd), 0.0) FROM costs WHERE once >= ? AND once < ?"
        return float(self._read("adding up an instance", sql, values)[0][0])

    def instance(self, instance_id: str) -> InstanceRow:
        """One instance; an unambiguous beginning or end of its id will do."""
        rows = self._read(
            "looking for an instance",
            "SELECT * FROM instances WHERE instance_id = :id OR substr(instance_id, 1, length(:id)) = :id"
            " OR substr(instance_id, -length(:id)) = :id ORDER BY instance_id = :id DESC, created_at DESC LIMIT 2",
            {"id": instance_id},
        )
        if not instance_id or not rows:
            raise NotFound(instance_id or "An empty id", "the instances")
        if len(rows) > 1 and rows[0]["instance_id"] != instance_id:
            raise NotFound(instance_id, "the instances: several begin or end so, give more of it")
        return _instance(rows[0])

    def instances(self, *, since: datetime | None = None) -> list[InstanceRow]:
        """Those that are not gone; with ``since``, also those that were created since then. Oldest first."""
        rows = self._read(
            "listing instances",
            "SELECT * FROM instances WHERE state <> 'gone' OR created_at >= ? ORDER BY created_at, instance_id",
            (_iso(since) if since else "~",),
        )
        return [_instance(row) for row in rows]

    # -- machines

    def fail_machine(self, machine_id: int, gpu: str, instance_id: str, why: str) -> MachineRow:
        """Leave a machine out, longer each time. Once for each instance."""
        with self._write("leaving a machine out") as db:
            now = datetime.now(UTC)
            db.execute(
                "INSERT INTO fleet_machines (machine_id, gpu, updated_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (machine_id, gpu, _iso(now)),
            )
            row = db.execute("SELECT * FROM fleet_machines WHERE machine_id = ?", (machine_id,)).fetchone()
            if row["failed_instance"] != instance_id:
                barred = min(FIRST_BARRED_S * 2 ** row["failures"], MAX_BARRED_S)
                row = db.execute(
                    "UPDATE fleet_machines SET failures = failures + 1, failed_instance = ?, why = ?, updated_at = ?,"
                    " barred_until = ? WHERE machine_id = ? RETURNING *",
                    (instance_id, why, _iso(now), _iso(now + timedelta(seconds=barred)), machine_id),
                ).fetchone()
            return _machine(row)

    def measure_machine(
        self, machine_id: int, gpu: str, *, seconds_per_page: float | None = None, boot_s: float | None = None
    ) -> None:
        """Keep what was measured; None leaves what is there."""
        with self._write("measuring a machine") as db:
            db.execute(
                "INSERT INTO fleet_machines (machine_id, gpu, seconds_per_page, boot_s, updated_at)"
                " VALUES (?, ?, ?, ?, ?) ON CONFLICT (machine_id) DO UPDATE SET gpu = excluded.gpu,"
                " seconds_per_page = coalesce(excluded.seconds_per_page, seconds_per_page),"
                " boot_s = coalesce(excluded.boot_s, boot_s), updated_at = excluded.updated_at",
                (machine_id, gpu, seconds_per_page, boot_s, _iso(datetime.now(UTC))),
            )

    def machines(self) -> list[MachineRow]:
        """What is known, newest first; at most 1,000."""
        rows = self._read("listing machines", "SELECT * FROM fleet_machines ORDER BY updated_at DESC LIMIT 1000", ())
        return [_machine(row) for row in rows]

    # -- what waits

    def demand(self) -> Demand:
        """What is open and how much work it is."""
        (row,) = self._read("looking at what is open", _DEMAND, ())
        rows = self._read("looking at the latest requests", _REQUESTED, ())
        return Demand(
            open_jobs=row["open_jobs"],
            pages_per_document=row["pages_per_document"],
            oldest=row["oldest"],
            outside_interactive=row["outside_interactive"],
            outside_bulk=row["outside_bulk"],
            requested=tuple(datetime.fromisoformat(found["created_at"]) for found in rows),
        )

    # -- decisions and what operators have set

    def add_tick(self, at: datetime, detail: Mapping[str, Any]) -> None:
        """Keep a decision; the oldest beyond ``TICKS`` are dropped."""
        with self._write("keeping a decision") as db:
            added = db.execute("INSERT INTO fleet_ticks (at, detail) VALUES (?, ?)", (_iso(at), _json(detail)))
            db.execute("DELETE FROM fleet_ticks WHERE tick_id <= ?", ((added.lastrowid or 0) - TICKS,))

    def ticks(self, limit: int = 20) -> list[TickRow]:
        """Decisions, newest first."""
        sql = "SELECT at, detail FROM fleet_ticks ORDER BY tick_id DESC LIMIT ?"
        rows = self._read("listing decisions", sql, (limit,))
        return [TickRow(at=datetime.fromisoformat(row["at"]), detail=json.loads(row["detail"])) for row in rows]

    def controls(self) -> dict[str, Any]:
        """What operators have set, by name."""
        rows = self._read("reading what operators have set", "SELECT name, value FROM fleet_controls", ())
        return {row["name"]: json.loads(row["value"]) for row in rows}

    def set_control(self, name: str, value: Any, by: str) -> None:
        """Set it; None takes it back."""
        with self._write("setting " + name) as db:
            db.execute("DELETE FROM fleet_controls WHERE name = ?", (name,))
            if value is not None:
                db.execute(
                    "INSERT INTO fleet_controls (name, value, set_by, updated_at) VALUES (?, ?, ?, ?)",
                    (name, _json(value), by, _iso(datetime.now(UTC))),
                )


def _row(db: sqlite3.Connection, instance_id: str) -> sqlite3.Row:
    row: sqlite3.Row = db.execute("SELECT * FROM instances WHERE instance_id = ?", (instance_id,)).fetchone()
    return row


def _instance(row: sqlite3.Row) -> InstanceRow:
    kept = {name: row[name] for name in InstanceRow.model_fields if name not in ("gpu", "detail")}
    return InstanceRow(**kept, gpu=row["gpu_name"], detail=json.loads(row["detail"]))


def _machine(row: sqlite3.Row) -> MachineRow:
    return MachineRow(**{name: row[name] for name in MachineRow.model_fields})


def _json(value: Any) -> str:
    return json.dumps(value if not isinstance(value, Mapping) else dict(value), ensure_ascii=False)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
