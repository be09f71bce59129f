"""Bulk runs in Postgres, by Supabase's client. Every write is one SQL function."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, get_args

from pydantic_core import to_jsonable_python
from supabase import Client

from aseagi_tasks.documents import Status
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.bulk_records import CANCELLED, BulkRun, RunStatus, Stands, Which
from aseagi_tasks.stores.query import storable
from aseagi_tasks.stores.records import Job
from aseagi_tasks.stores.supabase_known import SupabaseKnown
from aseagi_tasks.stores.supabase_leases import job_of

_RUN, _JOB = ",".join(BulkRun.model_fields), ",".join(Job.model_fields)


class SupabaseBulk(SupabaseKnown):
    """Implements ``bulk_records.BulkRecords``."""

    # -- runs

    def add_run(self, run: BulkRun) -> BulkRun:
        """Add a run; the same id again returns the row there is."""
        return _run(self._call("add_bulk_run", {"p_run": run.model_dump(mode="json")}))

    def run(self, run_id: str) -> BulkRun:
        """One run; an unambiguous beginning of its id will do."""
        ident = storable(run_id)

        def ask(client: Client) -> Any:
            query = client.table("bulk_runs").select(_RUN).gte("run_id", ident).lt("run_id", ident + "\U0010ffff")
            return query.order("run_id").limit(2).execute().data

        rows = self._rows(f"looking for {ident}", ask) if ident else []
        if not rows:
            raise NotFound(run_id or "An empty id", "the bulk runs")
        if len(rows) > 1 and rows[0]["run_id"] != ident:
            raise NotFound(run_id, "the bulk runs: several begin so, give more of it")
        return _run(rows[0])

    def runs(self, *, statuses: Collection[RunStatus] | None = None, limit: int = 50) -> list[BulkRun]:
        """Runs, newest first."""

        def ask(client: Client) -> Any:
            query = client.table("bulk_runs").select(_RUN)
            if statuses is not None:
                query = query.in_("status", sorted(statuses))
            return query.order("created_at", desc=True).order("run_id", desc=True).limit(limit).execute().data

        return [_run(row) for row in self._rows("listing runs", ask)]

    def move_run(
        self, run_id: str, seen: Collection[RunStatus], to: RunStatus | None = None, **changes: Any
    ) -> BulkRun | None:
        """Move a run that is in one of the statuses ``seen``; None if it was in another."""
        changed = to_jsonable_python({**changes, **({} if to is None else {"status": to})})
        rows = self._call("move_bulk_run", {"p_run_id": run_id, "p_seen": sorted(seen), "p_changes": changed})
        return _run(rows[0]) if rows else None

    def hold_run(self, run_id: str, holder: str, seconds: float) -> BulkRun | None:
        """Look after a run alone for so long; None while another does."""
        rows = self._call("hold_bulk_run", {"p_run_id": run_id, "p_holder": holder, "p_seconds": seconds})
        return _run(rows[0]) if rows else None

    def let_run(self, run_id: str, holder: str) -> None:
        """Look after it no more."""
        self._call("let_bulk_run", {"p_run_id": run_id, "p_holder": holder})

    # -- its jobs

    def register_bulk(self, run_id: str, jobs: Mapping[str, str]) -> int:
        """Add ``queued`` jobs of low priority to a run that is running; how many were new."""
        return int(self._call("register_bulk", {"p_run_id": run_id, "p_jobs": dict(jobs)}))

    def cancel_jobs(self, run_id: str, which: Which, error_class: str | None, message: str | None) -> list[str]:
        """Cancel open jobs of a run, 1,000 at most, and keep why; their ids."""
        values = {"p_run_id": run_id, "p_which": which, "p_error_class": error_class, "p_error_message": message}
        return [row["job_id"] for row in self._call("cancel_bulk_jobs", {**values, "p_limit": CANCELLED})]

    def jobs_of(self, run_id: str, *, behind: str | None = None, limit: int = 500) -> list[Job]:
        """A run's jobs by id, those behind one."""

        def ask(client: Client) -> Any:
            query = client.table("processing_jobs").select(_JOB).eq("run_id", run_id).gt("job_id", behind or "")
            return query.order("job_id").limit(limit).execute().data

        return [job_of(row) for row in self._rows("listing a run's jobs", ask)]

    def refused_jobs(self, run_id: str, limit: int = 100) -> list[Job]:
        """Open jobs of a run that were refused money for its cap, those that asked for the least first."""

        def ask(client: Client) -> Any:
            query = client.table("processing_jobs").select(_JOB).eq("run_id", run_id)
            query = query.in_("status", ["queued", "processing"]).gte("refused_usd", 0)
            return query.order("refused_usd").order("job_id").limit(limit).execute().data

        return [job_of(row) for row in self._rows("listing a run's jobs", ask)]

    def stands(self, run_id: str, since: datetime) -> Stands:
        """How a run's jobs stand; ``ended`` since then."""
        found = self._call("bulk_stands", {"p_run_id": run_id, "p_since": since.isoformat()})
        return Stands(**{**found, "jobs": {**dict.fromkeys(get_args(Status), 0), **found["jobs"]}})

    def costs_of(self, run_id: str) -> dict[str, float]:
        """USD by kind: its jobs', and what was booked for no job in its time."""
        return {row["kind"]: row["usd"] for row in self._call("bulk_costs", {"p_run_id": run_id})}


def _run(row: Any) -> BulkRun:
    return BulkRun(**{name: row[name] for name in BulkRun.model_fields})
