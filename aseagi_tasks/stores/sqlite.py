"""The records in one SQLite file, for one machine: write-ahead log, full-text search, any number of processes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, get_args

from aseagi_tasks.documents import Priority, Source, Stage, Status
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.records import Batch, BatchState, Document, Event, Job, Requested
from aseagi_tasks.stores.sqlite_access import SqliteAccess
from aseagi_tasks.stores.sqlite_bulk import RENT
from aseagi_tasks.stores.sqlite_file import iso
from aseagi_tasks.stores.sqlite_keeping import SqliteKeeping
from aseagi_tasks.stores.sqlite_leases import JOB, OPEN, SqliteLeases, event, job_of, moment, one_job
from aseagi_tasks.stores.sqlite_search import SqliteSearch, document_of, index
from aseagi_tasks.stores.sqlite_users import SqliteUsers, as_corrected

#: Whether what a job asks for fits below the cap of its run: of no run, no row.
_FITS_CAP = f"""
SELECT run.spent_usd + {RENT} + :usd <= run.cap_usd + 1e-9 - (SELECT coalesce(sum(reserved.usd), 0)
    FROM cost_reservations reserved JOIN processing_jobs other USING (job_id)
    WHERE other.run_id = run.run_id AND reserved.once <> :once)
FROM processing_jobs job JOIN bulk_runs run USING (run_id) WHERE job.job_id = :job_id AND run.cap_usd IS NOT NULL
"""


class SqliteRecords(SqliteLeases, SqliteSearch, SqliteAccess, SqliteUsers, SqliteKeeping):
    """Implements ``records.Records``; see ``SqliteFile`` for the file, ``SqliteSearch`` for what it finds."""

    # -- jobs

    def register_job(
        self,
        job_id: str,
        source: str,
        priority: Priority,
        requested_by: str | None,
        *,
        again: bool = False,
        ocr_engine: str | None = None,
    ) -> Job:
        """Add a job as ``queued``; the same id again returns the row there is."""
        with self._write("registering a job") as db:
            db.execute(
                "INSERT INTO processing_jobs"
                " (job_id, source, priority, requested_by, status, created_at, updated_at, again, ocr_engine)"
                " VALUES (?, ?, ?, ?, 'queued', ?, ?, ?, ?) ON CONFLICT (job_id) DO NOTHING",
                (job_id, source, priority, requested_by, stamp := moment(), stamp, int(again), ocr_engine),
            )
            return one_job(db, job_id)

    def register_again(
        self,
        jobs: Mapping[str, str],
        requested_by: str,
        *,
        begins: Stage | None,
        analyst: str | None = None,
        ocr_engine: str | None = None,
        again: bool = False,
    ) -> int:
        """Add ``queued`` jobs of low priority on documents that are known; what is there stays as it is."""
        with self._write("registering jobs") as db:
            added = db.execute(
                "INSERT INTO processing_jobs (job_id, source, priority, requested_by, status, document_id, created_at,"
                " updated_at, again, ocr_engine, analyst, begins)"
                " SELECT wanted.key, documents.key, 'low', :by, 'queued', documents.document_id, :now, :now, :again,"
                " :engine, :analyst, :begins FROM json_each(:jobs) wanted"
                " JOIN documents ON documents.document_id = wanted.value WHERE true ON CONFLICT (job_id) DO NOTHING",
                {
                    **{"by": requested_by, "now": moment(), "again": int(again), "engine": ocr_engine},
                    **{"analyst": analyst, "begins": begins, "jobs": json.dumps(dict(jobs))},
                },
            )
            return added.rowcount

    def requested(self, requested_by: str) -> Requested:
        """How the jobs that were requested so stand."""
        rows = self._read(
            "counting jobs",
            "SELECT job.status, count(*) AS jobs, coalesce(sum((SELECT sum(usd) FROM costs WHERE costs.job_id ="
            " job.job_id)), 0.0) AS usd FROM processing_jobs job WHERE requested_by = ? GROUP BY job.status",
            (requested_by,),
        )
        return Requested(jobs={row["status"]: row["jobs"] for row in rows}, usd=sum(row["usd"] for row in rows))

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
                    iso(now),
                ),
            )
            changed = db.execute(
                "UPDATE processing_jobs SET document_id = ?, updated_at = ? WHERE job_id = ?",
                (source.document_id, moment(), job_id),
            )
            if changed.rowcount == 0:
                raise NotFound(job_id, "the jobs")
            return document_of(db.execute("SELECT * FROM documents WHERE sha256 = ?", (source.sha256,)).fetchone())

    def move_original(self, document_id: str, was: str, key: str) -> bool:
        """Say that a document's original is at ``key`` now; False where it is not known to be at ``was``, nor there."""
        with self._write("moving an original") as db:
            moved = db.execute(
                "UPDATE documents SET key = :key WHERE document_id = :id AND key IN (:was, :key)",
                {"id": document_id, "was": was, "key": key},
            )
            return moved.rowcount == 1

    def claim(self, job_id: str, document_id: str, quiet_since: datetime) -> Job:
        """Say that this job works on the document, unless another does; returns the job that has it."""
        with self._write("claiming a document") as db:
            db.execute(
                "UPDATE documents SET claimed_by = ? WHERE document_id = ? AND NOT EXISTS (SELECT 1 FROM"
                f" processing_jobs WHERE job_id = documents.claimed_by AND {OPEN}"
                " AND (updated_at >= ? OR waits_for IS NOT NULL))",
                (job_id, document_id, iso(quiet_since)),
            )
            holder = db.execute("SELECT claimed_by FROM documents WHERE document_id = ?", (document_id,)).fetchone()
            if holder is None:
                raise NotFound(document_id, "the documents")
            return one_job(db, holder[0])

    def add_event(self, job_id: str, stage: Stage | None, kind: str, worker: str, detail: Mapping[str, Any]) -> None:
        """Write any other event."""
        with self._write("writing an event") as db:
            event(db, job_id, moment(), stage, kind, None, worker, detail)

    def complete(self, job_id: str, document: Document | None, text: str | None) -> bool:
        """Complete the job once; in the same transaction the document's facts and its text for search."""
        with self._write("completing a job") as db:
            if not self._end(db, job_id, "completed", "completed" if document else "known", None, None, None):
                return False
            if document is not None:
                document = as_corrected(db, document)
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
        return job_of(self._one("processing_jobs", "job_id", job_id))

    def jobs(
        self, *, status: Status | None = None, document_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Job]:
        """Jobs, newest first."""
        wanted = {"status": status, "document_id": document_id}
        where = " AND ".join(f"{column} = :{column}" for column, value in wanted.items() if value) or "1"
        rows = self._read(
            "listing jobs",
            f"SELECT {JOB} FROM processing_jobs job WHERE {where} ORDER BY created_at DESC, rowid DESC"
            " LIMIT :limit OFFSET :offset",
            {**wanted, "limit": limit, "offset": offset},
        )
        return [job_of(row) for row in rows]

    def jobs_between(self, since: datetime, until: datetime, *, limit: int = 500, offset: int = 0) -> list[Job]:
        """Jobs created from ``since`` on and before ``until``, oldest first."""
        rows = self._read(
            "listing jobs",
            f"SELECT {JOB} FROM processing_jobs job WHERE created_at >= ? AND created_at < ?"
            " ORDER BY created_at, job_id LIMIT ? OFFSET ?",
            (iso(since), iso(until), limit, offset),
        )
        return [job_of(row) for row in rows]

    def jobs_ended(self, since: datetime, until: datetime, *, limit: int = 500, offset: int = 0) -> list[Job]:
        """Jobs that ended from ``since`` on and before ``until``, the first first."""
        rows = self._read(
            "listing jobs",
            f"SELECT {JOB} FROM processing_jobs job WHERE finished_at >= ? AND finished_at < ?"
            " ORDER BY finished_at, job_id LIMIT ? OFFSET ?",
            (iso(since), iso(until), limit, offset),
        )
        return [job_of(row) for row in rows]

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

    # -- costs

    def reserve(self, job_id: str | None, kind: str, usd: float, *, once: str, daily_budget_usd: float) -> bool:
        """Set money aside before it is spent; False if the UTC day's budget has too little left."""
        today = iso(datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))
        values = {
            **{"once": once, "now": moment(), "kind": kind, "usd": usd, "job_id": job_id},
            **{"today": today, "budget": daily_budget_usd + 1e-9},  # sums of floats
        }
        with self._write("reserving") as db:
            there = db.execute(
                "SELECT 1 FROM cost_reservations WHERE once = :once AND at >= :today AND usd >= :usd"
                " UNION ALL SELECT 1 FROM costs WHERE once = :once",
                values,
            ).fetchone()
            if there:
                return True
            fits = db.execute(_FITS_CAP, values).fetchone()
            db.execute(
                "UPDATE processing_jobs SET refused_usd = :usd WHERE job_id = :job_id AND refused_usd IS NOT :usd",
                {"job_id": job_id, "usd": None if fits is None or fits[0] else usd},
            )
            if fits is not None and not fits[0]:
                return False
            added = db.execute(
                "INSERT INTO cost_reservations (once, at, kind, usd, job_id) SELECT :once, :now, :kind, :usd, :job_id"
                " WHERE (SELECT coalesce(sum(usd), 0) FROM costs WHERE kind = :kind AND at >= :today)"
                " + (SELECT coalesce(sum(usd), 0) FROM cost_reservations WHERE kind = :kind AND at >= :today"
                " AND once <> :once) + :usd <= :budget"
                " ON CONFLICT (once) DO UPDATE SET at = excluded.at, usd = excluded.usd",
                values,
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
            "adding up costs", "SELECT kind, sum(usd) AS usd FROM costs WHERE at >= ? GROUP BY kind", (iso(since),)
        )
        return {row["kind"]: row["usd"] for row in rows}

    # -- message batches

    def intend_batch(self, batch_id: str, requests: int) -> bool:
        """Say, before it is submitted, that a message batch will be. False while another is about to be."""
        with self._write("intending a batch") as db:
            added = db.execute(
                "INSERT INTO message_batches (batch_id, state, requests, created_at, updated_at)"
                " VALUES (?, 'intent', ?, ?, ?) ON CONFLICT DO NOTHING",
                (batch_id, requests, now := moment(), now),
            )
            return added.rowcount == 1

    def move_batch(self, batch_id: str, state: BatchState, service_id: str | None = None) -> bool:
        """Move a batch on; a state only moves forwards. False if it did not move."""
        before = {"sent": ("intent",), "ended": ("sent",), "dropped": ("intent",)}.get(state, ())
        with self._write("moving a batch") as db:
            moved = db.execute(
                "UPDATE message_batches SET state = ?, service_id = coalesce(?, service_id), updated_at = ?"
                " WHERE batch_id = ? AND state IN (SELECT value FROM json_each(?))",
                (state, service_id, moment(), batch_id, json.dumps(before)),
            )
            return moved.rowcount == 1

    def open_batches(self) -> list[Batch]:
        """Batches that are neither ended nor dropped, oldest first."""
        rows = self._read(
            "listing batches",
            "SELECT batch_id, state, service_id, requests, created_at FROM message_batches"
            " WHERE state IN ('intent', 'sent') ORDER BY created_at, batch_id",
            (),
        )
        return [Batch(**dict(row)) for row in rows]

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
            " error_class = ?, error_message = ?, lease_holder = NULL, lease_until = NULL,"
            " waits_for = NULL"
            f" WHERE job_id = ? AND {OPEN}",
            (status, stage, stamp := moment(), stamp, error_class, message, job_id),
        )
        if changed.rowcount == 0:
            return False
        detail = {"error_class": error_class, "message": message} if error_class else {}
        event(db, job_id, stamp, stage, kind, None, None, detail)
        return True

    def _one(self, table: str, column: str, ident: str) -> sqlite3.Row:
        """The row of an id or of the unambiguous beginning of one."""
        what = "jobs" if column == "job_id" else "documents"
        columns = JOB if column == "job_id" else "job.*"
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
        (once, moment(), kind, usd, job_id, json.dumps(dict(detail), ensure_ascii=False)),
    )
    return added.rowcount == 1
