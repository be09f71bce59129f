"""Documents, jobs, events and costs by the million, as a run leaves them; the same in Postgres and in SQLite.

Three states of a run of N documents, each with as many live jobs as a stack lets in:

    waiting    just handed in: all others wait as rows to be let in
    collected  all others wait for the answer of a message batch
    done       all others completed, with twelve events and two costs each, 20,000 of them by each instance

Text for search is left out: `benchmarks/search.py` has its size and its times.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, get_args

import psycopg

from aseagi_tasks.stores.sqlite import SqliteRecords

State = Literal["waiting", "collected", "done"]
STATES: tuple[State, ...] = get_args(State)
LIVE = 200
#: Documents of one instance: a day's work at one in four seconds.
OF_AN_INSTANCE = 20_000
#: Documents that were paid for since midnight.
A_DAY = 100_000
#: Events are written for so many documents at most; what one takes is counted from those.
WITH_EVENTS = 100_000
STAGES = ("fetch", "rasterize", "ocr", "analyze", "upload", "record")
TYPES = ("motion", "order", "declaration", "letter", "agreement")
VERSIONS = {"ocr": "tesseract 5.5.4", "analyst": "rules 3", "schema": "2"}
TABLES = ("documents", "processing_jobs", "processing_events", "costs")
Row = tuple[Any, ...]

DOCUMENT = "document_id sha256 key name bytes media_type created_at processed pages document_type document_date"
DOCUMENT += " case_number title parties relevancy_score versions"
JOB = "job_id source priority requested_by status document_id stage deliveries created_at updated_at finished_at"
JOB += " instance_id waits_for lease_holder lease_until"
EVENT = "once job_id at stage kind seconds worker detail"
COST = "once at kind usd job_id detail"


def job_id(number: int) -> str:
    """Of the document with that number; in no order, as ids are."""
    return str(uuid.UUID(bytes=hashlib.md5(b"job%d" % number).digest()))


def document_id(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()[:16]


def documents(count: int, state: State, now: datetime) -> Iterator[Row]:
    """The older the higher the number, one a second."""
    for n in range(1, count + 1):
        sha256 = hashlib.sha256(b"%d" % n).hexdigest()
        own = (sha256[:16], sha256, f"raw/2026/11/25/{sha256[:16]}.pdf", f"filing-{n}.pdf", 100_000, "application/pdf")
        facts: Row = (None, None, None, None, None, None, "[]", None, "{}")
        if state == "done" and n > LIVE:
            parties = json.dumps([f"Party {n // 50}", f"Other {n // 50} LLC"])
            facts = (f"processed/2026/11/25/{sha256[:16]}", 1 + n % 9, TYPES[n % 5], f"2024-03-{1 + n % 28:02}")
            facts += (f"{n // 50 % 25:02}CV{n // 50:06}", "Motion to Compel", parties, n % 101, json.dumps(VERSIONS))
        yield (*own, now - timedelta(seconds=n), *facts)


def jobs(count: int, state: State, now: datetime, until: Callable[[float], Any], live: int) -> Iterator[Row]:
    """One of each document; the newest are live."""
    for n in range(1, count + 1):
        at, document = now - timedelta(seconds=n), document_id(n)
        own = (job_id(n), f"raw/2026/11/25/{document}.pdf", "low", "bulk")
        if n <= live:
            work = (
                "processing",
                document,
                "ocr",
                1,
                at,
                at,
                None,
                "aseagi-0",
                None,
                "reader@aseagi-0/x/1",
                until(3600),
            )
        elif state == "waiting":
            work = ("queued", document, None, 0, at, at, None, None, None, None, None)
        elif state == "collected":
            work = ("processing", document, "analyze", 1, at, at, None, None, "a message batch", None, until(86_400))
        else:
            ended = at + timedelta(seconds=30)
            work = ("completed", document, "record", 0, at, ended, ended, f"aseagi-{n // OF_AN_INSTANCE}", *[None] * 3)
        yield (*own, *work)


def events(count: int, now: datetime) -> Iterator[Row]:
    """Twelve of each job that is done: six stages begun, five ended, one completed."""
    for n in range(LIVE + 1, min(count, WITH_EVENTS) + 1):
        for number in range(12):
            kind = "started" if number % 2 == 0 else "completed" if number == 11 else "finished"
            detail = '{"pages": 3, "unread": 2}' if number == 3 else "{}"
            at, once = now - timedelta(seconds=n - number), hashlib.md5(b"%d-%d" % (n, number)).hexdigest()
            seconds = 0.5 if kind == "finished" else None
            yield (once, job_id(n), at, STAGES[number // 2], kind, seconds, "reader@aseagi-7f3a2b", detail)


def costs(count: int, now: datetime) -> Iterator[Row]:
    """Claude's of each document, and every so often an instance's; the day has those of ``A_DAY`` documents so far."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    apart = (now - midnight) / A_DAY
    used = '{"model": "claude-haiku-5-5", "batch": true, "input_tokens": 2400, "output_tokens": 690}'
    for n in range(LIVE + 1, count + 1):
        at = now - n * apart
        yield (f"{job_id(n)}:analysis-1", at, "claude", 0.0004, job_id(n), used)
        if n % 300 == 0:
            yield (f"aseagi-{n // OF_AN_INSTANCE}:{at.isoformat()}", at, "gpu", 0.01, None, "{}")


def _tables(
    count: int, state: State, until: Callable[[float], Any], live: int = LIVE
) -> list[tuple[str, str, Iterator[Row]]]:
    now = datetime.now(UTC)
    found = [("documents", DOCUMENT, documents(count, state, now))]
    found += [("processing_jobs", JOB, jobs(count, state, now, until, live))]
    if state == "done":
        found += [("processing_events", EVENT, events(count, now)), ("costs", COST, costs(count, now))]
    return found


_SECONDARY = """SELECT c.relname, pg_get_indexdef(c.oid) FROM pg_index x JOIN pg_class c ON c.oid = x.indexrelid
    WHERE x.indrelid = ANY (%s::regclass[]) AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid)"""


def fill_postgres(url: str, count: int, state: State) -> float:
    """COPY, index, analyze; seconds. Triggers and foreign keys are off meanwhile."""
    began, now = time.monotonic(), datetime.now(UTC)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET maintenance_work_mem = '512MB'; SET session_replication_role = replica")
        indexes = db.execute(_SECONDARY, (list(TABLES),)).fetchall()
        for name, _ in indexes:
            db.execute(f'DROP INDEX "{name}"')
        for table, columns, rows in _tables(count, state, lambda seconds: now + timedelta(seconds=seconds)):
            with db.cursor().copy(f"COPY {table} ({columns.replace(' ', ', ')}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        for _, definition in indexes:
            db.execute(definition)
        db.execute("VACUUM ANALYZE")
    return time.monotonic() - began


def fill_sqlite(path: Path, count: int, state: State, live: int = LIVE) -> float:
    """Insert into the project's own schema; seconds."""
    began = time.monotonic()
    SqliteRecords(path)
    clock = time.clock_gettime(time.CLOCK_BOOTTIME)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous = OFF")
        for table, columns, rows in _tables(count, state, lambda seconds: clock + seconds, live):
            names = columns.split()
            sql = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
            db.executemany(sql, ([_stored(value) for value in row] for row in rows))
        db.execute("UPDATE processing_jobs SET lease_boot = ? WHERE lease_until IS NOT NULL", (boot,))
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return time.monotonic() - began


def _stored(value: Any) -> Any:
    return value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value


def bytes_postgres(url: str) -> dict[str, tuple[int, int]]:
    """Table → its rows, and its bytes with all its indexes."""
    with psycopg.connect(url) as db:
        return {
            table: db.execute(f"SELECT count(*), pg_total_relation_size('{table}') FROM {table}").fetchone()  # type: ignore[misc]
            for table in TABLES
        }
