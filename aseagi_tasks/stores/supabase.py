"""The records in Postgres, by Supabase's client: for several machines, with row-level security.

Every write is one SQL function (``droplet/supabase/migrations``), called by RPC; calls that write an event carry a key
of their own, so that a call whose answer was lost is made again without harm.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, get_args

from postgrest import ReturnMethod
from supabase import Client

from aseagi_tasks.documents import Priority, Source, Stage, Status
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.query import parts_of_query, storable
from aseagi_tasks.stores.records import ANYTHING, Batch, BatchState, Document, Event, Hit, Job, Requested, Wanted
from aseagi_tasks.stores.supabase_access import SupabaseAccess
from aseagi_tasks.stores.supabase_api import MAX_ROWS
from aseagi_tasks.stores.supabase_keeping import SupabaseKeeping
from aseagi_tasks.stores.supabase_leases import SupabaseLeases, job_of, once
from aseagi_tasks.stores.supabase_users import SupabaseUsers

#: A tsvector keeps 16,383 positions and 256 of one word: a few pages are well below both.
PART_CHARACTERS = 20_000
_DOCUMENT = list(Document.model_fields)
_JOB = list(Job.model_fields)
_KNOWN_AT_INTAKE = {"sha256", "key", "name", "bytes", "media_type", "created_at"}


class SupabaseRecords(SupabaseLeases, SupabaseAccess, SupabaseUsers, SupabaseKeeping):
    """Implements ``records.Records``; see ``SupabaseApi`` for the way to it."""

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
        values = {"p_job_id": job_id, "p_source": source, "p_priority": priority, "p_requested_by": requested_by}
        return job_of(self._call("register_job", {**values, "p_again": again, "p_ocr_engine": ocr_engine}))

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
        values = {"p_jobs": dict(jobs), "p_requested_by": requested_by, "p_begins": begins, "p_analyst": analyst}
        return int(self._call("register_again", {**values, "p_ocr_engine": ocr_engine, "p_again": again}))

    def requested(self, requested_by: str) -> Requested:
        """How the jobs that were requested so stand."""
        rows = self._call("count_requested", {"p_requested_by": requested_by})
        return Requested(jobs={row["status"]: row["jobs"] for row in rows}, usd=sum(row["usd"] for row in rows))

    def register_document(self, job_id: str, source: Source, now: datetime) -> Document:
        """Add the document (the same bytes: the row there is, its first key kept) and tie the job to it."""
        values = {f"p_{name}": value for name, value in source.model_dump().items()}
        values |= {"p_job_id": job_id, "p_document_id": source.document_id, "p_created_at": now.isoformat()}
        return _document(self._call("register_document", values))

    def move_original(self, document_id: str, was: str, key: str) -> bool:
        """Say that a document's original is at ``key`` now; False where it is not known to be at ``was``, nor there."""
        return bool(self._call("move_original", {"p_document_id": document_id, "p_was": was, "p_key": key}))

    def claim(self, job_id: str, document_id: str, quiet_since: datetime) -> Job:
        """Say that this job works on the document, unless another does; returns the job that has it."""
        values = {"p_job_id": job_id, "p_document_id": document_id, "p_quiet_since": quiet_since.isoformat()}
        return job_of(self._call("claim_document", values))

    def add_event(self, job_id: str, stage: Stage | None, kind: str, worker: str, detail: Mapping[str, Any]) -> None:
        """Write any other event."""
        values = {"p_once": once(), "p_job_id": job_id, "p_stage": stage, "p_worker": worker}
        self._call("add_event", {**values, "p_kind": kind, "p_detail": dict(detail)})

    def complete(self, job_id: str, document: Document | None, text: str | None) -> bool:
        """Complete the job once; in the same transaction the document's facts and its text for search."""
        values: dict[str, Any] = {"p_once": once(), "p_job_id": job_id}
        if document is not None:
            values["p_document"] = document.model_dump(mode="json", exclude=_KNOWN_AT_INTAKE)
            if text is not None:
                values["p_parts"] = parts_of_text(text)
        return bool(self._call("complete_job", values))

    def fail(self, job_id: str, stage: Stage | None, error_class: str, message: str) -> bool:
        """End the job as ``error``; False if it had already ended."""
        values = {"p_stage": stage, "p_error_class": error_class, "p_error_message": message}
        return self._end(job_id, "error", "failed", values)

    def cancel(self, job_id: str) -> bool:
        """End the job as ``cancelled``; False if it had already ended."""
        return self._end(job_id, "cancelled", "cancelled", {})

    def job(self, job_id: str) -> Job:
        """One job; an unambiguous beginning of its id will do."""
        return job_of(self._one("processing_jobs", "job_id", job_id, _JOB))

    def jobs(
        self, *, status: Status | None = None, document_id: str | None = None, limit: int = 100, offset: int = 0
    ) -> list[Job]:
        """Jobs, newest first."""

        def ask(client: Client) -> Any:
            query = client.table("processing_jobs").select(",".join(_JOB))
            if status:
                query = query.eq("status", status)
            if document_id:
                query = query.eq("document_id", document_id)
            ordered = query.order("created_at", desc=True).order("job_id", desc=True)
            return ordered.limit(limit).offset(offset).execute().data

        return [job_of(row) for row in self._rows("listing jobs", ask)]

    def jobs_between(self, since: datetime, until: datetime, *, limit: int = 500, offset: int = 0) -> list[Job]:
        """Jobs created from ``since`` on and before ``until``, oldest first."""

        def ask(client: Client) -> Any:
            query = client.table("processing_jobs").select(",".join(_JOB))
            query = query.gte("created_at", since.isoformat()).lt("created_at", until.isoformat())
            return query.order("created_at").order("job_id").limit(limit).offset(offset).execute().data

        return [job_of(row) for row in self._rows("listing jobs", ask)]

    def jobs_ended(self, since: datetime, until: datetime, *, limit: int = 500, offset: int = 0) -> list[Job]:
        """Jobs that ended from ``since`` on and before ``until``, the first first."""

        def ask(client: Client) -> Any:
            query = client.table("processing_jobs").select(",".join(_JOB))
            query = query.gte("finished_at", since.isoformat()).lt("finished_at", until.isoformat())
            return query.order("finished_at").order("job_id").limit(limit).offset(offset).execute().data

        return [job_of(row) for row in self._rows("listing jobs", ask)]

    def events(self, job_id: str) -> list[Event]:
        """A job's events, oldest first."""
        columns = ",".join(Event.model_fields)

        def ask(client: Client, offset: int) -> Any:
            query = client.table("processing_events").select(columns).eq("job_id", job_id)
            return query.order("event_id").limit(MAX_ROWS).offset(offset).execute().data

        return [Event(**row) for row in self._all_rows("listing events", ask)]

    def counts(self) -> dict[Status, int]:
        """Jobs by status, every status present."""
        rows = self._call("count_jobs", {})
        return {**dict.fromkeys(get_args(Status), 0), **{row["status"]: row["jobs"] for row in rows}}

    # -- costs

    def charge(self, job_id: str | None, kind: str, usd: float, *, once: str, detail: Mapping[str, Any]) -> bool:
        """Append to the cost ledger; the same ``once`` key is written once. False if it was there."""
        values = {"p_once": once, "p_job_id": job_id, "p_kind": kind, "p_usd": usd, "p_detail": dict(detail)}
        return bool(self._call("charge_cost", values))

    def reserve(self, job_id: str | None, kind: str, usd: float, *, once: str, daily_budget_usd: float) -> bool:
        """Set money aside before it is spent; False if the day's budget has too little left."""
        values = {"p_once": once, "p_job_id": job_id, "p_kind": kind, "p_usd": usd}
        return bool(self._call("reserve_cost", {**values, "p_daily_budget_usd": daily_budget_usd}))

    def settle(self, usd: float, *, once: str, detail: Mapping[str, Any]) -> bool:
        """Put what it cost into the ledger and free the reservation; False if there is none."""
        return bool(self._call("settle_cost", {"p_once": once, "p_usd": usd, "p_detail": dict(detail)}))

    def costs(self, since: datetime) -> dict[str, float]:
        """USD by kind since then."""
        return {row["kind"]: row["usd"] for row in self._call("sum_costs", {"p_since": since.isoformat()})}

    # -- message batches

    def intend_batch(self, batch_id: str, requests: int) -> bool:
        """Say, before it is submitted, that a message batch will be. False while another is about to be."""
        return bool(self._call("intend_batch", {"p_batch_id": batch_id, "p_requests": requests}))

    def move_batch(self, batch_id: str, state: BatchState, service_id: str | None = None) -> bool:
        """Move a batch on; a state only moves forwards. False if it did not move."""
        values = {"p_batch_id": batch_id, "p_state": state, "p_service_id": service_id}
        return bool(self._call("move_batch", values))

    def open_batches(self) -> list[Batch]:
        """Batches that are neither ended nor dropped, oldest first."""
        columns = ",".join(Batch.model_fields)

        def ask(client: Client) -> Any:
            query = client.table("message_batches").select(columns).in_("state", ["intent", "sent"])
            return query.order("created_at").order("batch_id").execute().data

        return [Batch(**row) for row in self._rows("listing batches", ask)]

    # -- documents

    def document(self, document_id: str) -> Document:
        """One document; an unambiguous beginning of its id will do."""
        return _document(self._one("documents", "document_id", document_id, _DOCUMENT))

    def documents(self, *, limit: int = 100, offset: int = 0) -> list[Document]:
        """Documents, newest first."""

        def ask(client: Client) -> Any:
            query = client.table("documents").select(",".join(_DOCUMENT))
            ordered = query.order("created_at", desc=True).order("document_id", desc=True)
            return ordered.limit(limit).offset(offset).execute().data

        return [_document(row) for row in self._rows("listing documents", ask)]

    def find(self, wanted: Wanted, *, limit: int, behind: Document | None = None) -> list[Document]:
        """Documents as wanted, newest first; ``behind``: those after it."""
        values: dict[str, Any] = {"p_wanted": wanted.conditions, "p_limit": limit}
        if behind is not None:
            values |= {"p_created_at": behind.created_at.isoformat(), "p_document_id": behind.document_id}
        return [_document(row) for row in self._call("find_documents", values)]

    def count_documents(self, wanted: Wanted) -> dict[str, int]:
        """How many are as wanted, by type; ``""``: those of which none is known."""
        return {row["kind"]: row["n"] for row in self._call("count_documents", {"p_wanted": wanted.conditions})}

    def search(self, query: str, *, limit: int = 20, offset: int = 0, wanted: Wanted = ANYTHING) -> list[Hit]:
        """Documents whose text or facts contain the words, best first. Any input is safe; no words: no hits."""
        parts = parts_of_query(query)
        if not parts:
            return []
        asked = {"p_parts": parts, "p_limit": limit, "p_offset": offset, "p_wanted": wanted.conditions}
        found = self._call("search_documents", asked)
        ids = [row["document_id"] for row in found]
        rows = self.rows_of("documents", "document_id", ids, _DOCUMENT)
        documents = {row["document_id"]: _document(row) for row in rows}
        return [
            Hit(document=documents[row["document_id"]], snippet=row["snippet"], rank=row["rank"], exact=row["exact"])
            for row in found
            if row["document_id"] in documents
        ]

    # -- whole tables, for export and import: see ``transfer.py``

    def page(self, table: str, columns: Sequence[str], key: str, after: Any, limit: int) -> list[dict[str, Any]]:
        """Rows behind ``after`` in the order of ``key``."""

        def ask(client: Client) -> Any:
            query = client.table(table).select(",".join(columns)).order(key)
            return (query if after is None else query.gt(key, after)).limit(limit).execute().data

        return self._rows(f"reading {table}", ask)

    def rows_of(self, table: str, key: str, values: Sequence[Any], columns: Sequence[str]) -> list[dict[str, Any]]:
        """The rows with these values of ``key``."""

        found = []
        for begin in range(0, len(values), 100):  # the values travel in the address
            some = list(values[begin : begin + 100])

            def ask(client: Client, some: list[Any] = some) -> Any:
                return client.table(table).select(",".join(columns)).in_(key, some).execute().data

            found += self._rows(f"reading {table}", ask)
        return found

    def add_rows(self, table: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; one whose ``key`` is there stays as it is."""

        def ask(client: Client) -> Any:
            query = client.table(table).upsert(
                [dict(row) for row in rows], on_conflict=key, ignore_duplicates=True, returning=ReturnMethod.minimal
            )
            return query.execute().data

        self._try(f"writing {table}", ask)

    def add_texts(self, texts: Mapping[str, str]) -> None:
        """Make documents' texts findable, by document id, in place of what was there."""
        self._call("save_texts", {"p_texts": {key: parts_of_text(text) for key, text in texts.items()}})

    def texts(self, document_ids: Sequence[str]) -> dict[str, str]:
        """The texts of these documents; one without text is missing."""

        found: dict[str, str] = {}
        for begin in range(0, len(document_ids), 100):
            some = list(document_ids[begin : begin + 100])

            def ask(client: Client, offset: int, some: list[str] = some) -> Any:
                query = client.table("document_texts").select("document_id,text").in_("document_id", some)
                return query.order("document_id").order("part").limit(MAX_ROWS).offset(offset).execute().data

            for row in self._all_rows("reading texts", ask):
                found[row["document_id"]] = found.get(row["document_id"], "") + row["text"]
        return found

    # -- inside

    def _end(self, job_id: str, status: Status, kind: str, values: Mapping[str, Any]) -> bool:
        values = {"p_once": once(), "p_job_id": job_id, "p_status": status, "p_kind": kind, **values}
        return bool(self._call("end_job", values))

    def _one(self, table: str, column: str, ident: str, columns: Sequence[str]) -> dict[str, Any]:
        """The row of an id or of the unambiguous beginning of one."""
        what = "jobs" if column == "job_id" else "documents"
        ident = storable(ident)

        def ask(client: Client) -> Any:
            query = client.table(table).select(",".join(columns)).gte(column, ident).lt(column, ident + "\U0010ffff")
            return query.order(column).limit(2).execute().data

        rows = self._rows(f"looking for {ident}", ask) if ident else []
        if not rows:
            raise NotFound(ident or "An empty id", f"the {what}")
        if len(rows) > 1 and rows[0][column] != ident:
            raise NotFound(ident, f"the {what}: several begin so, give more of it")
        return rows[0]


def parts_of_text(text: str) -> list[str]:
    """Pieces of a few whole pages that joined are the text; what Postgres cannot store is replaced."""
    parts, current = [], ""
    for piece in _pieces(storable(text)):
        if current and len(current) + len(piece) > PART_CHARACTERS:
            parts.append(current)
            current = ""
        current += piece
    return [*parts, current] if current or not parts else parts


def _pieces(text: str) -> Iterator[str]:
    """Pages with the form feed that ends them; one that is too long is cut, at a space if there is one."""
    pages = text.split("\f")
    for page in [*(page + "\f" for page in pages[:-1]), pages[-1]]:
        rest = page
        while len(rest) > PART_CHARACTERS:
            cut = rest.rfind(" ", PART_CHARACTERS // 2, PART_CHARACTERS) + 1 or PART_CHARACTERS
            yield rest[:cut]
            rest = rest[cut:]
        yield rest


def _document(row: Any) -> Document:
    return Document(**{name: row[name] for name in Document.model_fields})
