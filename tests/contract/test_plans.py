"""At 100,000 documents the queries use the indexes that are there for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.servers.cloud import Cloud

ROWS = 100_000
FILL = f"""
ALTER TABLE documents DISABLE TRIGGER USER;
INSERT INTO documents
    (document_id, sha256, key, name, bytes, media_type, created_at, case_number, title, parties, words,
     processed, versions)
    SELECT lpad(to_hex(n), 16, '0'), lpad(to_hex(n), 64, '0'), 'raw/' || n, n || '.pdf', 1, 'application/pdf',
        now() - make_interval(mins => n), (n / 50) || 'CV' || (n / 50), 'Motion', jsonb_build_array('Party ' || n / 50),
        'court motion word' || n % 5000, 'processed/' || n,
        jsonb_build_object('ocr', 'tesseract 5', 'analyst', CASE WHEN n % 1000 = 0 THEN 'rules 1' ELSE 'rules 2' END)
    FROM generate_series(1, {ROWS}) AS n;
ALTER TABLE documents ENABLE TRIGGER USER;
INSERT INTO known_names (name) SELECT md5(n::text) FROM generate_series(1, {ROWS}) AS n;
INSERT INTO known_names (name) VALUES ('Avery Pellworth');
INSERT INTO document_texts (document_id, part, text)
    SELECT document_id, 0, words FROM documents;
INSERT INTO processing_jobs (job_id, source, priority, status, document_id, created_at, finished_at, lease_until,
        rolled_up)
    SELECT 'job-' || n, 'raw/' || n, 'normal', CASE WHEN n % 1000 = 0 THEN 'processing' ELSE 'completed' END,
        lpad(to_hex(n), 16, '0'), now() - make_interval(mins => n),
        CASE WHEN n % 1000 > 0 THEN now() - make_interval(mins => n) END,
        CASE WHEN n % 1000 = 0 THEN now() + make_interval(mins => n % 50 - 25) END,
        n > 2000
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO processing_events (once, job_id, kind)
    SELECT n::text, 'job-' || n, 'noted' FROM generate_series(1, {ROWS}) AS n;
ALTER TABLE costs DISABLE TRIGGER USER;
INSERT INTO costs (once, kind, usd, at, job_id)
    SELECT n::text, 'gpu', 1, now() - make_interval(mins => n), 'job-' || n FROM generate_series(1, {ROWS}) AS n;
INSERT INTO bulk_runs (run_id, prefix, status)
    SELECT n::text, 'raw/', CASE WHEN n % 1000 = 0 THEN 'confirmed' ELSE 'completed' END
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO corrections (once, document_id, field, value, corrected_by)
    SELECT n::text, lpad(to_hex(n), 16, '0'), 'title', 'Motion', 'somebody' FROM generate_series(1, {ROWS}) AS n;
INSERT INTO telegram_updates (update_id, body, done_at)
    SELECT n, '{{}}', CASE WHEN n % 1000 > 0 THEN now() END FROM generate_series(1, {ROWS}) AS n;
INSERT INTO telegram_answers (job_id, telegram_id, name, created_at, answered_at)
    SELECT 'job-' || n, n % 50, n, now() - make_interval(mins => n), CASE WHEN n % 1000 > 0 THEN now() END
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO instances (instance_id, label, state)
    SELECT n::text, n::text, CASE WHEN n % 1000 = 0 THEN 'joined' ELSE 'gone' END
    FROM generate_series(1, {ROWS}) AS n;
INSERT INTO processing_jobs (job_id, source, priority)
    SELECT 'waits-' || n, 'raw/x', 'low' FROM generate_series(1, 20000) AS n;
UPDATE instances SET created_at = now() - make_interval(mins => instance_id::integer);
INSERT INTO fleet_machines (machine_id, gpu, updated_at)
    SELECT n, 'RTX 3090', now() - make_interval(mins => n) FROM generate_series(1, {ROWS}) AS n;
INSERT INTO fleet_ticks (detail) SELECT '{{}}' FROM generate_series(1, {ROWS}) AS n;
ANALYZE;
"""
#: what is asked → the statement, as PostgREST or a function sends it, and the index it is to use
QUERIES = {
    "job by the beginning of its id": (
        "SELECT * FROM processing_jobs WHERE job_id >= 'job-4711' AND job_id < 'job-4711~' ORDER BY job_id LIMIT 2",
        "processing_jobs_pkey",
    ),
    "document by the beginning of its id": (
        "SELECT document_id FROM documents WHERE document_id >= '0000000000000a' AND document_id < '0000000000000a~'"
        " ORDER BY document_id LIMIT 2",
        "documents_pkey",
    ),
    "document by its bytes": (f"SELECT document_id FROM documents WHERE sha256 = '{'a' * 64}'", "documents_sha256_key"),
    "newest documents": (
        "SELECT document_id FROM documents ORDER BY created_at DESC, document_id DESC LIMIT 20",
        "documents_by_age",
    ),
    "newest jobs": ("SELECT * FROM processing_jobs ORDER BY created_at DESC, job_id DESC LIMIT 20", "jobs_by_age"),
    "jobs of a day": (
        "SELECT * FROM processing_jobs WHERE created_at >= now() - interval '30 hours'"
        " AND created_at < now() - interval '6 hours' ORDER BY created_at, job_id LIMIT 500 OFFSET 3",
        "jobs_by_age",
    ),
    "jobs that ended in a week": (
        "SELECT * FROM processing_jobs WHERE finished_at >= now() - interval '7 days' AND finished_at < now()"
        " ORDER BY finished_at, job_id LIMIT 500 OFFSET 3",
        "jobs_by_end",
    ),
    "newest jobs of a status": (
        "SELECT * FROM processing_jobs WHERE status = 'processing' ORDER BY created_at DESC, job_id DESC LIMIT 20",
        "jobs_by_status",
    ),
    "jobs of a document": (
        "SELECT * FROM processing_jobs WHERE document_id = '000000000000abcd' ORDER BY created_at DESC, job_id DESC",
        "jobs_by_document",
    ),
    "events of a job": (
        "SELECT * FROM processing_events WHERE job_id = 'job-17' ORDER BY event_id LIMIT 1000",
        "events_by_job",
    ),
    "jobs whose events are old": (
        "SELECT job_id FROM processing_jobs WHERE finished_at < now() - interval '60 days' AND rolled_up IS FALSE"
        " ORDER BY finished_at LIMIT 50",
        "jobs_to_roll_up",
    ),
    "answers of long ago": (
        "DELETE FROM telegram_answers WHERE answered_at < now() - interval '60 days'",
        "telegram_answers_ended",
    ),
    "costs of the day": (
        "SELECT kind, sum(usd) FROM costs WHERE at >= now() - interval '1 day' GROUP BY kind",
        "costs_by_time",
    ),
    "pages of a table": (
        "SELECT * FROM processing_jobs WHERE job_id > 'job-5' ORDER BY job_id LIMIT 500",
        "processing_jobs_pkey",
    ),
    "texts of documents": (
        "SELECT document_id, text FROM document_texts WHERE document_id IN ('000000000000abcd', '000000000000abce')"
        " ORDER BY document_id, part LIMIT 1000",
        "document_texts_pkey",
    ),
    "corrections of a document": (
        "SELECT * FROM corrections WHERE document_id = '000000000000abcd' ORDER BY correction_id",
        "corrections_by_document",
    ),
    "answers that are open": (
        "SELECT * FROM telegram_answers WHERE answered_at IS NULL ORDER BY created_at LIMIT 1000",
        "telegram_answers_open",
    ),
    "somebody's answers": (
        "SELECT * FROM telegram_answers WHERE telegram_id = 7 ORDER BY created_at DESC LIMIT 10",
        "telegram_answers_to",
    ),
    "instances that live": (
        "SELECT * FROM instances WHERE state <> 'gone' ORDER BY created_at, instance_id LIMIT 1000",
        "instances_alive",
    ),
    "machines that are known": (
        "SELECT * FROM fleet_machines ORDER BY updated_at DESC LIMIT 1000",
        "fleet_machines_by_age",
    ),
    "latest decisions": ("SELECT at, detail FROM fleet_ticks ORDER BY tick_id DESC LIMIT 20", "fleet_ticks_pkey"),
}
#: calls whose statements are looked at where they run, inside the function
CALLS = {
    "word": ("SELECT * FROM search_documents(ARRAY['word4711'])", "documents_by_word"),
    "words and a phrase": ("SELECT * FROM search_documents(ARRAY['court motion', 'word4711'])", "documents_by_word"),
    "name with a typing error": ("SELECT * FROM search_documents(ARRAY['Pelworth'])", "known_names_by_likeness"),
    "documents that others made": (
        """SELECT * FROM find_documents('{"not_of_ocr": "tesseract 5", "not_of_analyst": "rules 2"}', 500)""",
        "documents_by_analyst",
    ),
    "documents that some made": ("""SELECT * FROM find_documents('{"ocr": "trocr*"}', 500)""", "documents_by_engine"),
    "jobs requested so": ("SELECT * FROM count_requested('reprocess:1')", "jobs_by_requester"),
    "leases that are over": ("SELECT * FROM take_over_leases(60, 10)", "jobs_by_lease"),
    "jobs to admit": ("SELECT * FROM admit_jobs(1000, 60, 10)", "jobs_to_admit"),
    "jobs that are live": ("SELECT * FROM admit_jobs(1000, 60, 10)", "jobs_live"),
    "leases of a worker": ("SELECT drop_leases('reader@somewhere/', true)", "jobs_held"),
    "updates to deal with": ("SELECT * FROM open_updates()", "telegram_updates_open"),
    "how a bulk run stands": ("SELECT bulk_stands('1000', now() - interval '1 hour')", "jobs_of_run"),
    "costs of a bulk run": ("SELECT * FROM bulk_costs('1000')", "jobs_of_run"),
    "rent of a bulk run": ("SELECT rent_of(now() - interval '1 hour', NULL)", "costs_of_no_job"),
    "jobs of bulk runs": ("SELECT * FROM admit_jobs(1000, 60, 10)", "bulk_runs_open"),
    "instances that live, and of a day": (
        "SELECT list_instances(now() - interval '1 day', 1000)",
        "instances_by_age",
    ),
    "what is open": ("SELECT fleet_demand()", "jobs_in_bulk_by_age"),
    "ledger of an instance": ("SELECT billed_instance('17')", "costs_once_key"),
    "keys by those who asked for them": ("SELECT * FROM known_keys(ARRAY['raw/17', 'raw/18'])", "jobs_by_source"),
    "keys by their documents": ("SELECT * FROM known_keys(ARRAY['raw/17', 'raw/18'])", "documents_by_key"),
    "originals between two keys": (
        "SELECT * FROM original_keys('raw/', 'raw/17', 'raw/18', now(), 1000)",
        "documents_by_key",
    ),
    "reservation": ("SELECT reserve_cost('x', NULL, 'gpu', 1, 2)", "costs_by_time"),
}
BIG = (
    "documents",
    "document_texts",
    "known_names",
    "processing_jobs",
    "processing_events",
    "costs",
    "bulk_runs",
    "instances",
    "corrections",
    "telegram_updates",
    "telegram_answers",
    "fleet_machines",
    "fleet_ticks",
)


@pytest.fixture(scope="module")
def large(cloud: Cloud) -> Iterator[psycopg.Connection[Any]]:
    """A database with 100,000 of everything."""
    name = cloud.postgres.create(cloud.template)
    with psycopg.connect(cloud.postgres.url(name), autocommit=True) as db:
        db.execute(FILL)
        yield db
    cloud.postgres.drop(name)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A plan and everything below it."""
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


@pytest.mark.parametrize("name", QUERIES)
def test_query_uses_its_index(large: psycopg.Connection[Any], name: str) -> None:
    statement, index = QUERIES[name]
    row = large.execute(f"EXPLAIN (FORMAT JSON) {statement}").fetchone()
    assert row is not None
    found = list(nodes(row[0][0]["Plan"]))
    assert index in {node.get("Index Name") for node in found}, found
    assert not [node for node in found if node["Node Type"] == "Seq Scan"]


def plans_of(db: psycopg.Connection[Any], call: str, *settings: str) -> str:
    """The plans of all statements that a call came to, inside functions too. What it wrote is taken back."""
    said: list[str] = []
    db.execute("LOAD 'auto_explain'")
    for setting in ("log_min_duration = 0", "log_nested_statements = on", *settings):
        db.execute(f"SET auto_explain.{setting}")
    db.execute("SET client_min_messages = log")

    def keep(notice: psycopg.errors.Diagnostic) -> None:
        said.append(notice.message_primary or "")

    db.add_notice_handler(keep)
    try:
        with db.transaction(force_rollback=True):
            db.execute(call)
    finally:
        db.remove_notice_handler(keep)
        db.execute("RESET client_min_messages; SET auto_explain.log_analyze = off")
    return "\n".join(said)


@pytest.mark.parametrize("name", CALLS)
def test_function_uses_its_index(large: psycopg.Connection[Any], name: str) -> None:
    call, index = CALLS[name]
    plans = plans_of(large, call)
    assert f"Scan on {index}" in plans or f"Scan using {index}" in plans, plans
    assert not [table for table in BIG if f"Seq Scan on {table} " in plans], plans


def test_of_those_that_wait_only_those_are_read_that_may_be_let_in(large: psycopg.Connection[Any]) -> None:
    plans = plans_of(large, "SELECT * FROM admit_jobs(1000, 60, 10)", "log_analyze = on")
    read = [int(rows) for rows in re.findall(r"using jobs_to_admit on processing_jobs.*actual.* rows=(\d+)", plans)]
    assert read == [10], plans
