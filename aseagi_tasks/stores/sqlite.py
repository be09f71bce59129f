"""The records in one SQLite file, for one machine: write-ahead log, full-text search, any number of processes."""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from aseagi_tasks.documents import Priority, Source, Stage, Status
from aseagi_tasks.errors import Cancelled, NotFound
from aseagi_tasks.stores.records import Document, Event, Job
from aseagi_tasks.stores.sqlite_search import SqliteSearch, document_of, index

_JOB = "job.*, coalesce((SELECT sum(usd) FROM costs WHERE costs.job_id = job.job_id), 0.0) AS cost_usd"
_OPEN = "status IN ('queued', 'processing')"


class SqliteRecords(SqliteSearch):
    """Implements ``records.Records``; see ``SqliteFile`` for the file, ``SqliteSearch`` for what it finds."""

    # -- jobs

    def register_job(self, job_id: str, source: str, priority: Priority, requested_by: str | None) -> Job:
        """Add a job as ``queued``; the same id again returns the row there is."""
        with self._write("registering a job") as db:
            db.execute(
                "INSERT INTO processing_jobs (job_id, source, priority, requested_by, status, created_at, updated_at)"
                " VALUES (?, ?, ?, ?, 'queued', ?, ?) ON CONFLICT (job_id) DO NOTHING",
                (job_id, source, priority, requested_by, now := _now(), now),
            )
            return self._job(db, job_id)

    def register_document(self, job_id: str, source: Source, now: datetime) -> Document:
        """Add the document (the same bytes: the row there is, its first key kept) and tie the job to it."""
        with self._write("registering a document") as db:
            db.execute(
                "INSERT INTO documents (document_id, sha256, key, name, bytes, media_type, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    source.document_id,
                    source.sha256,
                    source.key,
                    source.name,
                    source.bytes,
                    source.media_type,
                    _iso(now),
                ),
            )
            changed = db.execute(
                "UPDATE processing_jobs SET document_id = ?, updated_at = ? WHERE job_id = ?",
                (source.document_id, _now(), job_id),
            )
            if changed.rowcount == 0:
                raise NotFound(job_id, "the jobs")
            return document_of(db.execute("SELECT * FROM documents WHERE sha256 = ?", (source.sha256,)).fetchone())

    def claim(self, job_id: str, document_id: str, quiet_since: datetime) -> Job:
        """Say that this job works on the document, unless another does; returns the job that has it."""
        with self._write("claiming a document") as db:
            db.execute(
                "UPDATE documents SET claimed_by = ? WHERE document_id = ? AND NOT EXISTS (SELECT 1 FROM"
                f" processing_jobs WHERE job_id = documents.claimed_by AND {_OPEN} AND updated_at >= ?)",
                (job_id, document_id, _iso(quiet_since)),
            )
            holder = db.execute("SELECT claimed_by FROM documents WHERE document_id = ?", (document_id,)).fetchone()
            if holder is None:
                raise NotFound(document_id, "the documents")
            return self._job(db, holder[0])

    def begin_stage(self, job_id: str, stage: Stage, worker: str) -> Job:
        """Move to ``processing`` at ``stage``, counting deliveries since the stage last ended.

        An ended job is returned as it is. A late second delivery of an earlier stage is begun like any other: its
        results are found in ``cache/``.
        """
        with self._write("beginning a stage") as db:
            db.execute(
                "UPDATE processing_jobs SET status = 'processing', updated_at = ?,"
                " deliveries = CASE WHEN stage = ? THEN deliveries + 1 ELSE 1 END, stage = ?"
                f" WHERE job_id = ? AND {_OPEN}",
                (now := _now(), stage, stage, job_id),
            )
            job = self._job(db, job_id)
            if job.status == "cancelled":
                raise Cancelled(job.job_id)
            if job.status == "processing":
                _event(db, job_id, now, stage, "started", None, worker, {})
            return job

    def end_stage(self, job_id: str, stage: Stage, seconds: float, worker: str, detail: Mapping[str, Any]) -> None:
        """Write the ``finished`` event; deliveries are counted anew from here."""
        with self._write("ending a stage") as db:
            _event(db, job_id, now := _now(), stage, "finished", seconds, worker, detail)
            db.execute(
                "UPDATE processing_jobs SET deliveries = 0, updated_at = ? WHERE job_id = ? AND stage = ?",
                (now, job_id, stage),
            )

    def add_event(self, job_id: str, stage: Stage | None, kind: str, worker: str, detail: Mapping[str, Any]) -> None:
        """Write any other event."""
        with self._write("writing an event") as db:
            _event(db, job_id, _now(), stage, kind, None, worker, detail)

    def complete(self, job_id: str, document: Document | None, text: str | None) -> bool:
        """Complete the job once; in the same transaction the document's facts and its text for search."""
        with self._write("completing a job") as db:
            if not self._end(db, job_id, "completed", "completed" if document else "known", None, None, None):
                return False
            if document is not None:
                _save_facts(db, document)
            if document is not None and text is not None:
                index(db, document, text)
            return True

    def fail(self, job_id: str, stage: Stage | None, error_class: str, message: str) -> bool:
        """End the job as ``error``; False if it had already ended."""
        with self._write("failing a job") as db:
            return self._end(db, job_id, "error", "failed", stage, error_class, message)

    def cancel(self, job_id: str) -> bool:
        """End the job as ``cancelled``; False if it had already ended."""
        with self._write("cancelling a job") as db:
            return self._end(db, job_id, "cancelled", "cancelled", None, None, None)

    def job(self, job_id: str) -> Job:
        """One job; an unambiguous beginning of its id will do."""
        return _job(self._one("processing_jobs", "job_id", job_id))

    def jobs(
        self, *, status: Status | None = None, document_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Job]:
        """Jobs, newest first."""
        wanted = {"status": status, "document_id": document_id}
        where = " AND ".join(f"{column} = :{column}" for column, value in wanted.items() if value) or "1"
        rows = self._read(
            "listing jobs",
            f"SELECT {_JOB} FROM processing_jobs job WHERE {where} ORDER BY created_at DESC, rowid DESC"
            " LIMIT :limit OFFSET :offset",
            {**wanted, "limit": limit, "offset": offset},
        )
        return [_job(row) for row in rows]

    def events(self, job_id: str) -> list[Event]:
        """A job's events, oldest first."""
        rows = self._read(
            "listing events",
            "SELECT job_id, at, stage, kind, seconds, worker, detail FROM processing_events WHERE job_id = ?"
            " ORDER BY event_id",
            (job_id,),
        )
        return [Event(**{**dict(row), "detail": json.loads(row["detail"])}) for row in rows]

    def counts(self) -> dict[Status, int]:
        """Jobs by status, every status present."""
        rows = self._read("counting jobs", "SELECT status, count(*) AS n FROM processing_jobs GROUP BY status", ())
        return {**dict.fromkeys(get_args(Status), 0), **{row["status"]: row["n"] for row in rows}}

    # -- leases

    def start_lease(self, job_id: str, holder: str, seconds: float) -> bool:
        """Take an open job's lease for so long; False while another holds it."""
        with self._write("starting a lease") as db:
            changed = db.execute(
                f"UPDATE processing_jobs SET lease_holder = ?, lease_until = ? WHERE job_id = ? AND {_OPEN}"
                " AND (lease_until IS NULL OR lease_until < ? OR lease_holder = ?)",
                (holder, _in(seconds), job_id, _now(), holder),
            )
            return changed.rowcount == 1

    def renew_lease(self, job_id: str, holder: str, seconds: float) -> bool:
        """Keep a lease; False if another has it, or the job has ended."""
        with self._write("renewing a lease") as db:
            changed = db.execute(
                f"UPDATE processing_jobs SET lease_until = ? WHERE job_id = ? AND lease_holder = ? AND {_OPEN}",
                (_in(seconds), job_id, holder),
            )
            return changed.rowcount == 1

    def take_over_leases(self, holder: str, seconds: float, limit: int = 100) -> list[Job]:
        """Take leases that are over, each job by one caller, who holds them for so long."""
        with self._write("taking leases over") as db:
            over = db.execute(
                "UPDATE processing_jobs SET lease_holder = ?, lease_until = ? WHERE job_id IN (SELECT job_id"
                " FROM processing_jobs WHERE lease_until < ? ORDER BY lease_until LIMIT ?) RETURNING job_id",
                (holder, _in(seconds), _now(), limit),
            ).fetchall()
            return [self._job(db, row["job_id"]) for row in over]

    # -- rented instances

    def give_job(self, job_id: str, instance_id: str, at_most: int) -> Job | None:
        """Give an open job to a rented instance; None if another holds it, or it has so many already."""
        values = {"job": job_id, "instance": instance_id, "now": _now(), "most": at_most}
        with self._write("giving a job") as db:
            given = db.execute(
                f"UPDATE processing_jobs SET instance_id = :instance WHERE job_id = :job AND {_OPEN}"
                " AND (instance_id IS NULL OR instance_id = :instance OR lease_until IS NULL OR lease_until < :now)"
                " AND (instance_id IS :instance OR :most > (SELECT count(*) FROM processing_jobs"
                f" WHERE instance_id = :instance AND {_OPEN}))",
                values,
            )
            return self._job(db, job_id) if given.rowcount else None

    def given_jobs(self, instance_id: str, ended_since: datetime) -> list[Job]:
        """An instance's jobs: those that are open, and those that ended since."""
        rows = self._read(
            "listing an instance's jobs",
            f"SELECT {_JOB} FROM processing_jobs job WHERE instance_id = ?"
            " AND (finished_at IS NULL OR finished_at >= ?) ORDER BY created_at, rowid",
            (instance_id, _iso(ended_since)),
        )
        return [_job(row) for row in rows]

    def take_jobs_back(self, instance_id: str) -> int:
        """An instance's jobs are nobody's; how many."""
        with self._write("taking jobs back") as db:
            sql = "UPDATE processing_jobs SET instance_id = NULL WHERE instance_id = ?"
            return db.execute(sql, (instance_id,)).rowcount

    # -- costs

    def reserve(self, job_id: str | None, kind: str, usd: float, *, once: str, daily_budget_usd: float) -> bool:
        """Set money aside before it is spent; False if the UTC day's budget has too little left."""
        today = _iso(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
        with self._write("reserving") as db:
            there = db.execute(
                "SELECT 1 FROM cost_reservations WHERE once = ? AND at >= ?"
                " UNION ALL SELECT 1 FROM costs WHERE once = ?",
                (once, today, once),
            ).fetchone()
            if there:
                return True
            added = db.execute(
                "INSERT INTO cost_reservations (once, at, kind, usd, job_id) SELECT :once, :now, :kind, :usd, :job_id"
                " WHERE (SELECT coalesce(sum(usd), 0) FROM costs WHERE at >= :today)"
                " + (SELECT coalesce(sum(usd), 0) FROM cost_reservations WHERE at >= :today) + :usd <= :budget"
                " ON CONFLICT (once) DO UPDATE SET at = excluded.at, usd = excluded.usd",
                {
                    **{"once": once, "now": _now(), "kind": kind, "usd": usd, "job_id": job_id},
                    **{"today": today, "budget": daily_budget_usd + 1e-9},  # sums of floats
                },
            )
            return added.rowcount == 1

    def settle(self, usd: float, *, once: str, detail: Mapping[str, Any]) -> bool:
        """Put what it cost into the ledger and free what was reserved; 0 frees it only. False if there is none."""
        with self._write("settling") as db:
            reserved = db.execute("DELETE FROM cost_reservations WHERE once = ? RETURNING *", (once,)).fetchone()
            if reserved is None:
                return False
            return usd == 0 or _charge(db, reserved["job_id"], reserved["kind"], usd, once, detail)

    def charge(self, job_id: str | None, kind: str, usd: float, *, once: str, detail: Mapping[str, Any]) -> bool:
        """Append to the cost ledger; the same ``once`` key is written once. False if it was there."""
        with self._write("charging") as db:
            return _charge(db, job_id, kind, usd, once, detail)

    def costs(self, since: datetime) -> dict[str, float]:
        """USD by kind since then."""
        rows = self._read(
            "adding up costs", "SELECT kind, sum(usd) AS usd FROM costs WHERE at >= ? GROUP BY kind", (_iso(since),)
        )
        return {row["kind"]: row["usd"] for row in rows}

    # -- documents

    def document(self, document_id: str) -> Document:
        """One document; an unambiguous beginning of its id will do."""
        return document_of(self._one("documents", "document_id", document_id))

    def documents(self, *, limit: int = 100, offset: int = 0) -> list[Document]:
        """Documents, newest first."""
        rows = self._read(
            "listing documents",
            "SELECT * FROM documents ORDER BY created_at DESC, rowid DESC LIMIT ? OFFSET ?",
            (limit, offset),
        )
        return [document_of(row) for row in rows]

    # -- inside

    def _end(
        self,
        db: sqlite3.Connection,
        job_id: str,
        status: Status,
        kind: str,
        stage: Stage | None,
        error_class: str | None,
        message: str | None,
    ) -> bool:
        changed = db.execute(
            "UPDATE processing_jobs SET status = ?, stage = coalesce(?, stage), updated_at = ?, finished_at = ?,"
            " error_class = ?, error_message = ?, lease_holder = NULL, lease_until = NULL"
            f" WHERE job_id = ? AND {_OPEN}",
            (status, stage, now := _now(), now, error_class, message, job_id),
        )
        if changed.rowcount == 0:
            return False
        detail = {"error_class": error_class, "message": message} if error_class else {}
        _event(db, job_id, now, stage, kind, None, None, detail)
        return True

    def _job(self, db: sqlite3.Connection, job_id: str) -> Job:
        row = db.execute(f"SELECT {_JOB} FROM processing_jobs job WHERE job_id = ?", (job_id,)).fetchone()
        if row is None:
            raise NotFound(job_id, "the jobs")
        return _job(row)

    def _one(self, table: str, column: str, ident: str) -> sqlite3.Row:
        """The row of an id or of the unambiguous beginning of one."""
        what = "jobs" if column == "job_id" else "documents"
        columns = _JOB if column == "job_id" else "job.*"
        rows = self._read(
            f"looking for {ident}",
            f"SELECT {columns} FROM {table} job WHERE {column} BETWEEN ? AND ? ORDER BY {column} LIMIT 2",
            (ident, ident + "\U0010ffff"),
        )
        if not ident or not rows:
            raise NotFound(ident or "An empty id", f"the {what}")
        if len(rows) > 1 and rows[0][column] != ident:
            raise NotFound(ident, f"the {what}: several begin so, give more of it")
        return rows[0]


def _save_facts(db: sqlite3.Connection, document: Document) -> None:
    db.execute(
        "UPDATE documents SET processed = ?, pages = ?, document_type = ?, document_date = ?, case_number = ?,"
        " title = ?, parties = ?, relevancy_score = ?, versions = ? WHERE document_id = ?",
        (
            document.processed,
            document.pages,
            document.document_type,
            document.document_date,
            document.case_number,
            document.title,
            json.dumps(document.parties, ensure_ascii=False),
            document.relevancy_score,
            json.dumps(dict(document.versions)),
            document.document_id,
        ),
    )


def _charge(
    db: sqlite3.Connection, job_id: str | None, kind: str, usd: float, once: str, detail: Mapping[str, Any]
) -> bool:
    added = db.execute(
        "INSERT INTO costs (once, at, kind, usd, job_id, detail) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (once) DO NOTHING",
        (once, _now(), kind, usd, job_id, json.dumps(dict(detail), ensure_ascii=False)),
    )
    return added.rowcount == 1


def _event(
    db: sqlite3.Connection,
    job_id: str,
    at: str,
    stage: str | None,
    kind: str,
    seconds: float | None,
    worker: str | None,
    detail: Mapping[str, Any],
) -> None:
    db.execute(
        "INSERT INTO processing_events (once, job_id, at, stage, kind, seconds, worker, detail)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (uuid.uuid4().hex, job_id, at, stage, kind, seconds, worker, json.dumps(dict(detail), ensure_ascii=False)),
    )


def _job(row: sqlite3.Row) -> Job:
    return Job(**{name: row[name] for name in Job.model_fields})


def _in(seconds: float) -> str:
    return _iso(datetime.now(UTC) + timedelta(seconds=seconds))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _now() -> str:
    return _iso(datetime.now(UTC))
