"""What the control plane, the workers and the monitor ask of the records, measured where it runs, with its plan."""

from __future__ import annotations

import re
import sqlite3
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

from aseagi_tasks.stores.records import Wanted
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.sqlite_fleet import SqliteFleet
from benchmarks.scaling.rows import TABLES, document_id, job_id

#: An ask is repeated until it has taken so long, or so often.
SECONDS, TIMES = 1.0, 15
#: A document of which the run has some at every size, neither the newest nor live.
SOME = 700
#: Names that SQLite's plans have for tables.
NAMES = {"job": "processing_jobs", "jobs": "processing_jobs"}


class Asked(NamedTuple):
    """Milliseconds in the middle; ``scans``: tables that were read from end to end."""

    ms: float
    scans: tuple[str, ...]


#: What is asked → when, or by whom → the statement as the function gets it.
POSTGRES = {
    "let jobs in (admit)": "SELECT * FROM admit_jobs(1000000000, 40, 2)",
    "begin a stage": f"SELECT * FROM begin_stage('x', '{job_id(9)}', 'ocr', 'w', 'reader@aseagi-0/x/1', 40)",
    "end a stage": f"SELECT end_stage('y', '{job_id(9)}', 'ocr', 1, 'w', '{{}}', 'analyze', 'reader@aseagi-0/x/1', 40)",
    "renew a lease": f"SELECT renew_lease('{job_id(9)}', 'reader@aseagi-0/x/1', 40)",
    "reap (take_over_leases)": "SELECT * FROM take_over_leases(40, 500)",
    "tick: what is open (demand)": "SELECT fleet_demand()",
    "tick: instances": "SELECT list_instances(now() - interval '3 days', 1000)",
    "costs of the day": "SELECT * FROM sum_costs(date_trunc('day', now()))",
    "costs of the month": "SELECT * FROM sum_costs(now() - interval '30 days')",
    "set money aside (reserve)": "SELECT reserve_cost('x', NULL, 'claude', 0.001, 1000000)",
    "gateway: give a job": f"SELECT * FROM give_job('{job_id(9)}', 'aseagi-0', 400)",
    "gateway: an instance's jobs": "SELECT * FROM given_jobs('aseagi-0', now() - interval '10 minutes')",
    "status: jobs by status": "SELECT * FROM count_jobs()",
    "jobs that run": "SELECT * FROM processing_jobs WHERE status = 'processing'"
    " ORDER BY created_at DESC, job_id DESC LIMIT 50",
    "certificate: jobs of a day": "SELECT * FROM processing_jobs WHERE created_at >= now() - interval '1 day'"
    " ORDER BY created_at, job_id LIMIT 500",
    "find: newest": "SELECT * FROM find_documents('{}', 20)",
    "find: far down": f"SELECT found.* FROM documents d, find_documents('{{}}', 20, d.created_at, d.document_id) found"
    f" WHERE d.document_id = '{document_id(SOME)}'",
    "find: type and relevancy": """SELECT * FROM find_documents('{"document_type": "order", "relevancy": 90}', 20)""",
    "find: a requester's": """SELECT * FROM find_documents('{"requested_by": "bulk"}', 20)""",
    "events of a job": f"SELECT * FROM processing_events WHERE job_id = '{job_id(SOME)}' ORDER BY event_id",
    "costs page: days of a month": "SELECT * FROM daily_totals(now() - interval '30 days')",
    "a worker died (drop_leases)": "SELECT drop_leases('reader@aseagi-0/', true)",
}


def sqlite_asks(records: SqliteRecords, fleet: SqliteFleet) -> dict[str, Callable[[], Any]]:
    """The same, as the records' methods."""
    now, holder = datetime.now(UTC), "reader@aseagi-0/x/1"
    month = now - timedelta(days=30)
    some = records.document(document_id(SOME))
    return {
        "let jobs in (admit)": lambda: records.admit(10**9, 40, 2),
        "begin a stage": lambda: records.begin_stage(job_id(9), "ocr", "w", holder=holder, lease_s=40),
        "end a stage": lambda: records.end_stage(
            job_id(9), "ocr", 1, "w", {}, then="analyze", holder=holder, lease_s=40
        ),
        "renew a lease": lambda: records.renew_lease(job_id(9), holder, 40),
        "reap (take_over_leases)": lambda: records.take_over_leases(40, 500),
        "tick: what is open (demand)": fleet.demand,
        "tick: instances": lambda: fleet.instances(since=now - timedelta(days=3)),
        "costs of the day": lambda: records.costs(now.replace(hour=0, minute=0, second=0, microsecond=0)),
        "costs of the month": lambda: records.costs(month),
        "set money aside (reserve)": lambda: records.reserve(
            None, "claude", 0.001, once=uuid.uuid4().hex, daily_budget_usd=1e6
        ),
        "gateway: give a job": lambda: records.give_job(job_id(9), "aseagi-0", 400),
        "gateway: an instance's jobs": lambda: records.given_jobs("aseagi-0", now - timedelta(minutes=10)),
        "status: jobs by status": records.counts,
        "jobs that run": lambda: records.jobs(status="processing", limit=50),
        "certificate: jobs of a day": lambda: records.jobs_between(now - timedelta(days=1), now),
        "find: newest": lambda: records.find(Wanted(), limit=20),
        "find: far down": lambda: records.find(Wanted(), limit=20, behind=some),
        "find: type and relevancy": lambda: records.find(Wanted(document_type="order", relevancy=90), limit=20),
        "find: a requester's": lambda: records.find(Wanted(requested_by="bulk"), limit=20),
        "events of a job": lambda: records.events(job_id(SOME)),
        "costs page: days of a month": lambda: records.days(month),
        "a worker died (drop_leases)": lambda: records.drop_leases("reader@aseagi-0/", died=True),
    }


def ask_postgres(url: str) -> dict[str, Asked]:
    """Each in a transaction that is rolled back; plans by ``auto_explain``, from inside the functions too."""
    found = {}
    with psycopg.connect(url, autocommit=True) as db:
        large = [t for t in TABLES if db.execute(f"SELECT count(*) FROM {t}").fetchone() > (0,)]  # type: ignore[operator]
        for name, statement in POSTGRES.items():
            taken = _repeat(lambda statement=statement: _in_postgres(db, statement))  # type: ignore[misc]
            with _plans(db) as said:
                _in_postgres(db, statement)
            scans = [table for table in large if re.search(rf"Seq Scan on (public\.)?{table}\b", "\n".join(said))]
            found[name] = Asked(taken, tuple(scans))
    return found


def ask_sqlite(path: Path) -> dict[str, Asked]:
    """Each as often; what they write stays. Plans of all statements that they came to."""
    found, stores = {}, (SqliteRecords(path), SqliteFleet(path))
    for name, ask in sqlite_asks(*stores).items():
        taken = _repeat(lambda ask=ask: _in_sqlite(ask))  # type: ignore[misc]
        scans = set[str]()
        for store in stores:
            scans |= set(_sqlite_scans(store._connection(), ask))
        found[name] = Asked(taken, tuple(sorted(scans)))
    return found


def _repeat(ask: Callable[[], float]) -> float:
    ask()
    taken: list[float] = []
    while not taken or (len(taken) < TIMES and sum(taken) < SECONDS):
        taken.append(ask())
    return 1_000 * statistics.median(taken)


def _in_postgres(db: psycopg.Connection[Any], statement: str) -> float:
    with db.transaction(force_rollback=True):
        began = time.perf_counter()
        db.execute(statement).fetchall()
        return time.perf_counter() - began


def _in_sqlite(ask: Callable[[], Any]) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


@contextmanager
def _plans(db: psycopg.Connection[Any]) -> Iterator[list[str]]:
    said: list[str] = []

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        said.append(notice.message_primary or "")

    db.execute("LOAD 'auto_explain'")
    db.execute("SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on")
    db.execute("SET client_min_messages = log")
    db.add_notice_handler(keep)
    try:
        yield said
    finally:
        db.remove_notice_handler(keep)
        db.execute("RESET client_min_messages; SET auto_explain.log_min_duration = -1")


def _sqlite_scans(db: sqlite3.Connection, ask: Callable[[], Any]) -> Iterator[str]:
    """Tables that an ask's statements go through from end to end, in whatever order."""
    asked: list[str] = []
    db.set_trace_callback(asked.append)
    try:
        ask()
    finally:
        db.set_trace_callback(None)
    for statement in asked:
        if re.match(r"\s*(SELECT|UPDATE|DELETE|WITH)", statement):
            for row in db.execute("EXPLAIN QUERY PLAN " + statement):
                scanned = re.match(r"SCAN (\w+)(?! USING COVERING INDEX sqlite_autoindex)", row["detail"])
                ordered = "USING INDEX" in row["detail"] or "USING COVERING INDEX" in row["detail"]
                if scanned and not (ordered and "LIMIT" in statement):
                    yield NAMES.get(scanned[1], scanned[1])
