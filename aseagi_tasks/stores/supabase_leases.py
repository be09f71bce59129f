"""Who works on which job, in Postgres: stages begun and ended, leases, admission, jobs given to rented instances."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aseagi_tasks.documents import Priority, Stage
from aseagi_tasks.errors import Cancelled
from aseagi_tasks.stores.records import Job
from aseagi_tasks.stores.supabase_api import SupabaseApi


class SupabaseLeases(SupabaseApi):
    """The part of ``records.Records`` that says who works."""

    def begin_stage(
        self, job_id: str, stage: Stage, worker: str, *, holder: str | None = None, lease_s: float = 0
    ) -> Job | None:
        """Move to ``processing`` at ``stage``, counting deliveries since the stage last ended."""
        values = {"p_once": once(), "p_job_id": job_id, "p_stage": stage, "p_worker": worker}
        begun = self._call("begin_stage", {**values, "p_holder": holder, "p_seconds": lease_s})
        if not begun:
            return None
        job = job_of(begun[0])
        if job.status == "cancelled":
            raise Cancelled(job.job_id)
        return job

    def end_stage(
        self,
        job_id: str,
        stage: Stage,
        seconds: float,
        worker: str,
        detail: Mapping[str, Any],
        *,
        then: Stage | None = None,
        holder: str | None = None,
        lease_s: float = 0,
    ) -> bool:
        """Write the ``finished`` event; deliveries and deaths are counted anew from here."""
        values: dict[str, Any] = {"p_once": once(), "p_job_id": job_id, "p_stage": stage, "p_then": then}
        values |= {"p_worker": worker, "p_seconds": seconds, "p_detail": dict(detail)}
        return bool(self._call("end_stage", {**values, "p_holder": holder, "p_lease_s": lease_s}))

    def start_lease(self, job_id: str, holder: str, seconds: float) -> Job | None:
        """Take an open job's lease for so long; None while another holds it."""
        taken = self._call("start_lease", {"p_job_id": job_id, "p_holder": holder, "p_seconds": seconds})
        return job_of(taken[0]) if taken else None

    def renew_lease(self, job_id: str, holder: str, seconds: float) -> bool:
        """Keep a lease that is still the holder's."""
        return bool(self._call("renew_lease", {"p_job_id": job_id, "p_holder": holder, "p_seconds": seconds}))

    def put_off(
        self,
        job_id: str,
        seconds: float,
        *,
        holder: str | None = None,
        waits_for: str | None = None,
        stage: Stage | None = None,
    ) -> bool:
        """Nobody needs to look at an open job for so long; False if another than ``holder`` works on it."""
        values = {"p_job_id": job_id, "p_seconds": seconds, "p_holder": holder}
        return bool(self._call("put_off_job", {**values, "p_waits_for": waits_for, "p_stage": stage}))

    def drop_leases(self, prefix: str, *, died: bool) -> int:
        """The leases of holders whose name begins so are over: their worker died, or it gives them back."""
        return int(self._call("drop_leases", {"p_prefix": prefix, "p_died": died}))

    def take_over_leases(self, seconds: float, limit: int = 100) -> list[Job]:
        """Take jobs whose time is over, each by one caller; whoever held one has died."""
        return [job_of(row) for row in self._call("take_over_leases", {"p_seconds": seconds, "p_limit": limit})]

    def admit(self, live: int, seconds: float, limit: int = 100) -> list[Job]:
        """Let the next jobs in, the important first, while fewer than ``live`` are in the queue or at work."""
        rows = self._call("admit_jobs", {"p_live": live, "p_seconds": seconds, "p_limit": limit})
        order: tuple[Priority, ...] = ("high", "normal", "low")
        return sorted(map(job_of, rows), key=lambda job: (order.index(job.priority), job.created_at, job.job_id))

    # -- rented instances

    def give_job(self, job_id: str, instance_id: str, at_most: int) -> Job | None:
        """Give an open job to a rented instance; None if another holds it, or it has so many already."""
        values = {"p_job_id": job_id, "p_instance_id": instance_id, "p_at_most": at_most}
        return next((job_of(row) for row in self._call("give_job", values)), None)

    def given_jobs(self, instance_id: str, ended_since: datetime, about: str | None = None) -> list[Job]:
        """An instance's jobs: those that are open and wait for nothing, and those that ended since."""
        values = {"p_instance_id": instance_id, "p_ended_since": ended_since.isoformat(), "p_about": about}
        return [job_of(row) for row in self._call("given_jobs", values)]

    def take_jobs_back(self, instance_id: str) -> int:
        """An instance's jobs are nobody's; how many."""
        return int(self._call("take_jobs_back", {"p_instance_id": instance_id}))


def once() -> str:
    """A key for a call that is made again if its answer was lost."""
    return uuid.uuid4().hex


def job_of(row: Any) -> Job:
    """A row as a job."""
    return Job(**{name: _moment(row[name]) if name.endswith("_at") else row[name] for name in Job.model_fields})


def _moment(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value).astimezone(UTC)
