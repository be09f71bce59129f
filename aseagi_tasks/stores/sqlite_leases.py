"""Who works on which job, in SQLite: stages begun and ended, leases, admission, jobs given to rented instances.

Leases are told by the machine's clock that runs from its start and that nobody sets, with the name of that start: a
clock that is put forward ends none, and after a restart of the machine, which no worker survives, all are over.
"""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from aseagi_tasks.documents import STAGES, Stage
from aseagi_tasks.errors import Cancelled, NotFound
from aseagi_tasks.stores.records import Job
from aseagi_tasks.stores.sqlite_file import SqliteFile, iso

JOB = "job.*, coalesce((SELECT sum(usd) FROM costs WHERE costs.job_id = job.job_id), 0.0) AS cost_usd"
OPEN = "status IN ('queued', 'processing')"
#: Needs :boot and :now.
_OVER = "(lease_boot <> :boot OR lease_until < :now)"
#: Of a bulk run that is not running none that has not begun, and none at all while it is paused or cancelled.
_MAY_BEGIN = (
    "(run_id IS NULL OR EXISTS (SELECT 1 FROM bulk_runs run WHERE run.run_id = processing_jobs.run_id"
    " AND (run.status = 'running' OR (stage IS NOT NULL"
    " AND run.status NOT IN ('paused', 'cancelling', 'completed', 'cancelled')))))"
)
_ORDER = f"'{' '.join(STAGES)}'"  # instr() of a stage's name in it tells which is later


class SqliteLeases(SqliteFile):
    """The part of ``records.Records`` that says who works."""

    def begin_stage(
        self, job_id: str, stage: Stage, worker: str, *, holder: str | None = None, lease_s: float = 0
    ) -> Job | None:
        """Move to ``processing`` at ``stage``, counting deliveries since the stage last ended.

        An ended job is returned as it is.
        """
        with self._write("beginning a stage") as db:
            before = one_job(db, job_id)
            if before.status == "cancelled":
                raise Cancelled(before.job_id)
            if before.status not in ("queued", "processing"):
                return before
            values = {"job": job_id, "holder": holder, "stage": stage, "at": moment(), **_clock(lease_s)}
            if holder is not None:
                died = _died(db, values)
                taken = db.execute(
                    "UPDATE processing_jobs SET lease_holder = :holder, lease_until = :until, lease_boot = :boot,"
                    " deaths = deaths + :died WHERE job_id = :job"
                    f" AND (lease_holder IS NULL OR lease_holder = :holder OR {_OVER})"
                    f" AND (stage IS NULL OR instr({_ORDER}, stage) <= instr({_ORDER}, :stage))",
                    {**values, "died": died is not None},
                )
                if taken.rowcount == 0:
                    return None
                if died is not None:
                    event(db, job_id, values["at"], before.stage, "lost", None, died, {})
            db.execute(
                "UPDATE processing_jobs SET status = 'processing', updated_at = :at, waits_for = NULL,"
                " deliveries = CASE WHEN stage = :stage THEN deliveries + 1 ELSE 1 END, stage = :stage"
                " WHERE job_id = :job",
                values,
            )
            event(db, job_id, values["at"], stage, "started", None, worker, {})
            return one_job(db, job_id)

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
        with self._write("ending a stage") as db:
            values = {"job": job_id, "holder": holder, "stage": stage, "then": then, "at": moment(), **_clock(lease_s)}
            if holder is not None:
                given_up = db.execute(
                    "UPDATE processing_jobs SET lease_holder = NULL, lease_until = :until, lease_boot = :boot"
                    " WHERE job_id = :job AND stage = :stage AND lease_holder = :holder AND status = 'processing'",
                    values,
                )
                if given_up.rowcount == 0:
                    return False
            event(db, job_id, values["at"], stage, "finished", seconds, worker, detail)
            db.execute(
                "UPDATE processing_jobs SET deliveries = 0, deaths = 0, updated_at = :at,"
                " stage = coalesce(:then, stage) WHERE job_id = :job AND stage = :stage",
                values,
            )
            return True

    def start_lease(self, job_id: str, holder: str, seconds: float) -> Job | None:
        """Take an open job's lease for so long; None while another holds it."""
        with self._write("starting a lease") as db:
            values = {"job": job_id, "holder": holder, **_clock(seconds)}
            died = _died(db, values)
            changed = db.execute(
                "UPDATE processing_jobs SET lease_holder = :holder, lease_until = :until, lease_boot = :boot,"
                f" deaths = deaths + :died, waits_for = NULL WHERE job_id = :job AND {OPEN}"
                f" AND (lease_holder IS NULL OR lease_holder = :holder OR {_OVER})",
                {**values, "died": died is not None},
            )
            return one_job(db, job_id) if changed.rowcount else None

    def renew_lease(self, job_id: str, holder: str, seconds: float) -> bool:
        """Keep a lease; False if another has it, or the job has ended."""
        with self._write("renewing a lease") as db:
            changed = db.execute(
                "UPDATE processing_jobs SET lease_until = :until, lease_boot = :boot"
                f" WHERE job_id = :job AND lease_holder = :holder AND {OPEN}",
                {"job": job_id, "holder": holder, **_clock(seconds)},
            )
            return changed.rowcount == 1

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
        with self._write("putting a job off") as db:
            changed = db.execute(
                "UPDATE processing_jobs SET lease_holder = NULL, lease_until = :until, lease_boot = :boot,"
                f" waits_for = :waits_for, stage = coalesce(:stage, stage) WHERE job_id = :job AND {OPEN}"
                " AND (lease_holder IS NULL OR lease_holder = :holder)",
                {"job": job_id, "holder": holder, "waits_for": waits_for, "stage": stage, **_clock(seconds)},
            )
            return changed.rowcount == 1

    def drop_leases(self, prefix: str, *, died: bool) -> int:
        """The leases of holders whose name begins so are over: their worker died, or it gives them back."""
        with self._write("dropping leases") as db:
            changed = db.execute(
                "UPDATE processing_jobs SET lease_until = :now, lease_holder = CASE WHEN :died THEN lease_holder END"
                " WHERE lease_holder IS NOT NULL AND substr(lease_holder, 1, length(:prefix)) = :prefix",
                {"prefix": prefix, "died": died, **_clock(0)},
            )
            return changed.rowcount

    def take_over_leases(self, seconds: float, limit: int = 100) -> list[Job]:
        """Take jobs whose time is over, each by one caller; whoever held one has died."""
        with self._write("taking leases over") as db:
            values = {"limit": limit, **_clock(seconds)}
            over = db.execute(
                "SELECT job_id, stage, lease_holder FROM processing_jobs WHERE lease_until IS NOT NULL"
                f" AND {_OVER} ORDER BY lease_until LIMIT :limit",
                values,
            ).fetchall()
            for row in over:
                db.execute(
                    "UPDATE processing_jobs SET deaths = deaths + (lease_holder IS NOT NULL), lease_holder = NULL,"
                    " lease_until = :until, lease_boot = :boot WHERE job_id = :job",
                    {**values, "job": row["job_id"]},
                )
                if row["lease_holder"] is not None:
                    event(db, row["job_id"], moment(), row["stage"], "lost", None, _node(row["lease_holder"]), {})
            return [one_job(db, row["job_id"]) for row in over]

    def admit(self, live: int, seconds: float, limit: int = 100) -> list[Job]:
        """Let the next jobs in, the important first, while fewer than ``live`` are in the queue or at work."""
        with self._write("admitting jobs") as db:
            waiting = db.execute(
                # named, since the planner would sort all that wait (3,000 rows: 0.5 ms instead of 0.03)
                "SELECT job_id, priority FROM processing_jobs INDEXED BY jobs_to_admit WHERE lease_until IS NULL"
                f" AND status IN ('queued', 'processing') AND {_MAY_BEGIN}"
                " ORDER BY (CASE priority WHEN 'high' THEN 0 WHEN 'normal' THEN 1 ELSE 2 END), created_at, job_id"
                " LIMIT ?",
                (limit,),
            ).fetchall()
            if not waiting:
                return []
            there = db.execute(
                "SELECT count(*) FROM processing_jobs WHERE lease_until IS NOT NULL AND waits_for IS NULL"
            ).fetchone()[0]
            admitted = []
            for place, row in enumerate(waiting, there + 1):
                if place <= (2 * live if row["priority"] == "high" else live):
                    db.execute(
                        "UPDATE processing_jobs SET lease_until = :until, lease_boot = :boot WHERE job_id = :job",
                        {"job": row["job_id"], **_clock(seconds)},
                    )
                    admitted.append(one_job(db, row["job_id"]))
            return admitted

    # -- rented instances

    def give_job(self, job_id: str, instance_id: str, at_most: int) -> Job | None:
        """Give an open job to a rented instance; None if another holds it, or it has so many already."""
        values = {"job": job_id, "instance": instance_id, "most": at_most, **_clock(0)}
        with self._write("giving a job") as db:
            given = db.execute(
                f"UPDATE processing_jobs SET instance_id = :instance WHERE job_id = :job AND {OPEN}"
                f" AND (instance_id IS :instance OR ((lease_holder IS NULL OR {_OVER})"
                " AND :most > (SELECT count(*) FROM processing_jobs WHERE instance_id = :instance"
                f" AND waits_for IS NULL AND {OPEN})))",
                values,
            )
            return one_job(db, job_id) if given.rowcount else None

    def given_jobs(self, instance_id: str, ended_since: datetime, about: str | None = None) -> list[Job]:
        """An instance's jobs: those that are open and wait for nothing, and those that ended since."""
        rows = self._read(
            "listing an instance's jobs",
            f"SELECT {JOB} FROM processing_jobs job WHERE instance_id = :instance AND waits_for IS NULL"
            " AND (finished_at IS NULL OR finished_at >= :since)"
            " AND (:about IS NULL OR :about IN (job_id, document_id, source)"
            " OR EXISTS (SELECT 1 FROM documents it WHERE it.document_id = job.document_id AND it.key = :about))"
            " ORDER BY created_at, rowid",
            {"instance": instance_id, "since": iso(ended_since), "about": about},
        )
        return [job_of(row) for row in rows]

    def take_jobs_back(self, instance_id: str) -> int:
        """An instance's jobs are nobody's; how many."""
        with self._write("taking jobs back") as db:
            sql = "UPDATE processing_jobs SET instance_id = NULL WHERE instance_id = ?"
            return db.execute(sql, (instance_id,)).rowcount


def one_job(db: sqlite3.Connection, job_id: str) -> Job:
    """The row with this very id.

    Raises:
        NotFound: there is none.
    """
    row = db.execute(f"SELECT {JOB} FROM processing_jobs job WHERE job_id = ?", (job_id,)).fetchone()
    if row is None:
        raise NotFound(job_id, "the jobs")
    return job_of(row)


def job_of(row: sqlite3.Row) -> Job:
    """A row as a job."""
    return Job(**{name: row[name] for name in Job.model_fields})


def event(
    db: sqlite3.Connection,
    job_id: str,
    at: str,
    stage: str | None,
    kind: str,
    seconds: float | None,
    worker: str | None,
    detail: Mapping[str, Any],
) -> None:
    """Write an event."""
    db.execute(
        "INSERT INTO processing_events (once, job_id, at, stage, kind, seconds, worker, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (uuid.uuid4().hex, job_id, at, stage, kind, seconds, worker, json.dumps(dict(detail), ensure_ascii=False)),
    )


def moment() -> str:
    """This moment, as it is stored."""
    return iso(datetime.now(UTC))


def _died(db: sqlite3.Connection, values: Mapping[str, Any]) -> str | None:
    """The node of another holder whose lease is over."""
    row = db.execute(
        f"SELECT lease_holder FROM processing_jobs WHERE job_id = :job AND lease_holder <> :holder AND {_OVER}", values
    ).fetchone()
    return None if row is None else _node(row["lease_holder"])


def _node(holder: str) -> str:
    return holder.split("/", 1)[0]


def _clock(seconds: float) -> dict[str, Any]:
    """Now, the end of a lease that begins now, and the machine's start since which they are counted."""
    clock = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
    return {"now": clock, "until": clock + seconds, "boot": _boot()}


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:  # not Linux: the clock alone tells
        return "?"
