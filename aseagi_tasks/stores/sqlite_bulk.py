"""Bulk runs in the SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from pydantic import BaseModel

from aseagi_tasks.documents import Status
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.bulk_records import CANCELLED, BulkRun, RunStatus, Stands, Which
from aseagi_tasks.stores.records import Job
from aseagi_tasks.stores.sqlite_file import iso
from aseagi_tasks.stores.sqlite_known import SqliteKnown
from aseagi_tasks.stores.sqlite_leases import JOB, OPEN, event, job_of, moment

#: What was booked for no job in the time of ``run``: rent.
RENT = (
    "coalesce((SELECT sum(usd) FROM costs WHERE job_id IS NULL AND at >= run.started_at"
    " AND at < coalesce(run.finished_at, '~')), 0.0)"
)
_WHICH: dict[Which, str] = {
    "all": "1",
    "not begun": "stage IS NULL AND lease_holder IS NULL",
    "put off": "waits_for IN ('money', 'a setting')",
    "refused": "refused_usd IS NOT NULL",
}
_COLUMNS = tuple(BulkRun.model_fields)


class SqliteBulk(SqliteKnown):
    """Implements ``bulk_records.BulkRecords``."""

    # -- runs

    def add_run(self, run: BulkRun) -> BulkRun:
        """Add a run; the same id again returns the row there is."""
        stored = _stored(run.model_dump())
        with self._write("adding a run") as db:
            db.execute(
                f"INSERT INTO bulk_runs ({', '.join(stored)}) VALUES ({', '.join(':' + name for name in stored)})"
                " ON CONFLICT (run_id) DO NOTHING",
                stored,
            )
            return _one(db, run.run_id)

    def run(self, run_id: str) -> BulkRun:
        """One run; an unambiguous beginning of its id will do."""
        sql = "SELECT * FROM bulk_runs WHERE run_id BETWEEN ? AND ? ORDER BY run_id LIMIT 2"
        rows = self._read("looking for a run", sql, (run_id, run_id + "\U0010ffff"))
        if not run_id or not rows:
            raise NotFound(run_id or "An empty id", "the bulk runs")
        if len(rows) > 1 and rows[0]["run_id"] != run_id:
            raise NotFound(run_id, "the bulk runs: several begin so, give more of it")
        return _run(rows[0])

    def runs(self, *, statuses: Collection[RunStatus] | None = None, limit: int = 50) -> list[BulkRun]:
        """Runs, newest first."""
        rows = self._read(
            "listing runs",
            "SELECT * FROM bulk_runs WHERE :statuses IS NULL OR status IN (SELECT value FROM json_each(:statuses))"
            " ORDER BY created_at DESC, run_id DESC LIMIT :limit",
            {"statuses": None if statuses is None else json.dumps(sorted(statuses)), "limit": limit},
        )
        return [_run(row) for row in rows]

    def move_run(
        self, run_id: str, seen: Collection[RunStatus], to: RunStatus | None = None, **changes: Any
    ) -> BulkRun | None:
        """Move a run that is in one of the statuses ``seen``; None if it was in another."""
        stored = _stored({**changes, **({} if to is None else {"status": to})})
        with self._write("moving a run") as db:
            moved = db.execute(
                f"UPDATE bulk_runs SET {', '.join(f'{name} = :{name}' for name in stored)}"
                " WHERE run_id = :run AND status IN (SELECT value FROM json_each(:seen))",
                {**stored, "run": run_id, "seen": json.dumps(sorted(seen))},
            )
            return _one(db, run_id) if moved.rowcount else None

    def hold_run(self, run_id: str, holder: str, seconds: float) -> BulkRun | None:
        """Look after a run alone for so long; None while another does."""
        now = datetime.now(UTC)
        with self._write("holding a run") as db:
            held = db.execute(
                "UPDATE bulk_runs SET lease_holder = :holder, lease_until = :until, tended_at = :now"
                " WHERE run_id = :run AND (lease_holder IS NULL OR lease_holder = :holder OR lease_until < :now)",
                {
                    **{"run": run_id, "holder": holder, "now": iso(now)},
                    "until": iso(now + timedelta(seconds=seconds)),
                },
            )
            return _one(db, run_id) if held.rowcount else None

    def let_run(self, run_id: str, holder: str) -> None:
        """Look after it no more."""
        with self._write("letting a run") as db:
            db.execute(
                "UPDATE bulk_runs SET lease_holder = NULL, lease_until = NULL WHERE run_id = ? AND lease_holder = ?",
                (run_id, holder),
            )

    # -- its jobs

    def register_bulk(self, run_id: str, jobs: Mapping[str, str]) -> int:
        """Add ``queued`` jobs of low priority to a run that is running; how many were new."""
        with self._write("registering a run's jobs") as db:
            added = db.execute(
                "INSERT INTO processing_jobs (job_id, source, priority, requested_by, status, created_at, updated_at,"
                " run_id) SELECT wanted.key, wanted.value, 'low', 'bulk:' || :run, 'queued', :now, :now, :run"
                " FROM json_each(:jobs) wanted WHERE EXISTS (SELECT 1 FROM bulk_runs WHERE run_id = :run"
                " AND status = 'running') ON CONFLICT (job_id) DO NOTHING",
                {"run": run_id, "now": moment(), "jobs": json.dumps(dict(jobs))},
            )
            return added.rowcount

    def cancel_jobs(self, run_id: str, which: Which, error_class: str | None, message: str | None) -> list[str]:
        """Cancel open jobs of a run, 1,000 at most, and keep why; their ids."""
        said = {"error_class": error_class, "message": message} if error_class else {}
        with self._write("cancelling a run's jobs") as db:
            rows = db.execute(
                "UPDATE processing_jobs SET status = 'cancelled', updated_at = :now, finished_at = :now,"
                " error_class = :class, error_message = :message, lease_holder = NULL, lease_until = NULL,"
                " waits_for = NULL WHERE job_id IN (SELECT job_id FROM processing_jobs WHERE run_id = :run"
                f" AND {OPEN} AND {_WHICH[which]} LIMIT :limit) RETURNING job_id, updated_at",
                {"run": run_id, "now": moment(), "class": error_class, "message": message, "limit": CANCELLED},
            ).fetchall()
            for row in rows:
                event(db, row["job_id"], row["updated_at"], None, "cancelled", None, None, said)
            return [row["job_id"] for row in rows]

    def jobs_of(self, run_id: str, *, behind: str | None = None, limit: int = 500) -> list[Job]:
        """A run's jobs by id, those behind one."""
        sql = f"SELECT {JOB} FROM processing_jobs job WHERE run_id = ? AND job_id > ? ORDER BY job_id LIMIT ?"
        return [job_of(row) for row in self._read("listing a run's jobs", sql, (run_id, behind or "", limit))]

    def refused_jobs(self, run_id: str, limit: int = 100) -> list[Job]:
        """Open jobs of a run that were refused money for its cap, those that asked for the least first."""
        rows = self._read(
            "listing a run's jobs",
            f"SELECT {JOB} FROM processing_jobs job WHERE run_id = ? AND {OPEN} AND refused_usd IS NOT NULL"
            " ORDER BY refused_usd, job_id LIMIT ?",
            (run_id, limit),
        )
        return [job_of(row) for row in rows]

    def stands(self, run_id: str, since: datetime) -> Stands:
        """How a run's jobs stand; ``ended`` since then."""
        values = {"run": run_id, "since": iso(since)}
        counted = "SELECT status, count(*) AS n FROM processing_jobs WHERE run_id = :run GROUP BY status"
        counts = {row["status"]: row["n"] for row in self._read("counting a run's jobs", counted, values)}
        still = self._read(
            "counting a run's jobs",
            "SELECT waits_for, count(*) AS n, sum(stage IS NOT NULL) AS begun, sum(refused_usd IS NOT NULL) AS refused,"
            f" min(refused_usd) AS least FROM processing_jobs WHERE run_id = :run AND {OPEN} GROUP BY waits_for",
            values,
        )
        (money,) = self._read(
            "adding up a run",
            f"SELECT run.spent_usd, {RENT} AS rent_usd, (SELECT coalesce(sum(reserved.usd), 0.0)"
            " FROM cost_reservations reserved JOIN processing_jobs job USING (job_id) WHERE job.run_id = run.run_id)"
            " AS reserved_usd, (SELECT count(*) FROM processing_jobs WHERE run_id = :run"
            " AND status IN ('completed', 'error') AND finished_at >= :since) AS ended"
            " FROM bulk_runs run WHERE run_id = :run",
            values,
        )
        return Stands(
            **dict(money),
            jobs={**dict.fromkeys(get_args(Status), 0), **counts},
            begun=sum(row["begun"] for row in still),
            refused=sum(row["refused"] for row in still),
            least_refused_usd=min((row["least"] for row in still if row["least"] is not None), default=None),
            waits={row["waits_for"]: row["n"] for row in still if row["waits_for"]},
        )

    def costs_of(self, run_id: str) -> dict[str, float]:
        """USD by kind: its jobs', and what was booked for no job in its time."""
        rows = self._read(
            "adding up a run",
            "SELECT kind, sum(usd) AS usd FROM (SELECT costs.kind, costs.usd FROM processing_jobs job"
            " JOIN costs USING (job_id) WHERE job.run_id = :run UNION ALL SELECT costs.kind, costs.usd"
            " FROM bulk_runs run JOIN costs ON costs.job_id IS NULL AND costs.at >= run.started_at"
            " AND costs.at < coalesce(run.finished_at, '~') WHERE run.run_id = :run) GROUP BY kind",
            {"run": run_id},
        )
        return {row["kind"]: row["usd"] for row in rows}


def _one(db: sqlite3.Connection, run_id: str) -> BulkRun:
    row = db.execute("SELECT * FROM bulk_runs WHERE run_id = ?", (run_id,)).fetchone()
    if row is None:
        raise NotFound(run_id, "the bulk runs")
    return _run(row)


def _run(row: sqlite3.Row) -> BulkRun:
    values = {name: row[name] for name in _COLUMNS}
    for name in ("scan", "quote", "jobs"):
        values[name] = json.loads(values[name]) if values[name] is not None else None
    return BulkRun(**values)


def _stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a run as they are kept; what the ledger adds up is not among them."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, BaseModel):
            value = value.model_dump_json()
        elif isinstance(value, Mapping):
            value = json.dumps(dict(value))
        elif isinstance(value, datetime):
            value = iso(value)
        if name != "spent_usd":
            kept[name] = value
    return kept
