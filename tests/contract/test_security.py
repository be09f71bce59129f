"""Who may do what in Postgres: every role, table and verb, asked through the API with a token of that role."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from postgrest import APIError
from rich.console import Console
from rich.table import Table

from aseagi_tasks.documents import Source
from aseagi_tasks.errors import ConfigError, NotFound
from aseagi_tasks.stores.supabase import SupabaseRecords
from aseagi_tasks.stores.tokens import make_token
from tests.servers.cloud import SECRET, Cloud, Project

OWN, OTHER, LOOSE = "a" * 16, "b" * 16, "c" * 16
#: table → key, rows that are there by whose they are, a new row, a change
TABLES: dict[str, tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "documents": (
        "document_id",
        {"own": OWN, "other": OTHER, "loose": LOOSE},
        {"document_id": "d" * 16, "sha256": "d" * 64, "key": "k", "name": "n", "bytes": 1, "media_type": "m"},
        {"title": "changed"},
    ),
    "document_texts": (
        "document_id",
        {"own": OWN, "other": OTHER, "loose": LOOSE},
        {"part": 9, "text": "new"},
        {"text": "changed"},
    ),
    "known_names": ("name", {"own": "N"}, {"name": "new"}, {"name": "changed"}),
    "processing_jobs": (
        "job_id",
        {"own": "own", "other": "other", "loose": "loose"},
        {"job_id": "new", "source": "raw/x", "priority": "low"},
        {"stage": "ocr"},
    ),
    "processing_events": (
        "once",
        {"own": "own", "other": "other", "loose": "loose"},
        {"once": "new", "kind": "noted"},
        {"kind": "changed"},
    ),
    "costs": ("once", {"own": "own"}, {"once": "new", "kind": "gpu", "usd": 1}, {"usd": 0}),
    "cost_reservations": ("once", {"own": "own"}, {"once": "new", "kind": "gpu", "usd": 1}, {"usd": 0}),
    "instances": (
        "instance_id",
        {"own": "i-1"},
        {"instance_id": "i-9", "label": "l9", "state": "gone"},
        {"state": "lost"},
    ),
    "fleet_machines": ("machine_id", {"own": 1}, {"machine_id": 2, "gpu": "RTX 3090"}, {"failures": 0}),
    "fleet_ticks": ("tick_id", {"own": 1}, {"detail": {}}, {"detail": {}}),
    "fleet_controls": ("name", {"own": "paused"}, {"name": "limits", "value": {}}, {"value": False}),
    "bulk_runs": (
        "run_id",
        {"own": "r"},
        {"run_id": "r9", "prefix": "raw/", "status": "waiting", "requested_by": "x"},
        {"status": "paused"},
    ),
    "message_batches": (
        "batch_id",
        {"own": "b"},
        {"batch_id": "b9", "state": "sent", "requests": 1},
        {"requests": 2},
    ),
    "users": ("telegram_id", {"own": 1}, {"telegram_id": 2, "role": "user"}, {"role": "user"}),
    "corrections": (
        "once",
        {"own": "own", "other": "other", "loose": "loose"},
        {"once": "new", "field": "title", "value": "v", "corrected_by": "c"},
        {"value": "changed"},
    ),
    "telegram_updates": ("update_id", {"own": 1}, {"update_id": 2, "body": {}}, {"tries": 9}),
    "telegram_answers": (
        "job_id",
        {"own": "own"},
        {"job_id": "new", "telegram_id": 1, "name": "n", "created_at": "2026-01-01"},
        {"message_id": 9},
    ),
    "api_tokens": (
        "name",
        {"own": "script"},
        {"token_sha256": "f" * 64, "name": "new", "scopes": ["read"]},
        {"scopes": ["read", "operate"]},
    ),
    "audit": ("once", {"own": "own"}, {"once": "new", "who": "w", "what": "x"}, {"who": "somebody else"}),
}
VERBS = ("select", "insert", "update", "delete")
#: yes: done · none: such rows are not there for this role · no: refused
ALL, READ, NOTHING = ("yes",) * 4, ("yes", "no", "no", "no"), ("no",) * 4
EXPECTED: dict[tuple[str, str], dict[str, tuple[str, ...]]] = {
    ("service_role", "loose"): {
        **dict.fromkeys(TABLES, ALL),
        **dict.fromkeys(("costs", "audit", "corrections"), ("yes", "yes", "no", "no")),
    },
    ("aseagi_worker", "own"): {
        **dict.fromkeys(TABLES, NOTHING),
        "documents": ("yes", "no", "yes", "no"),
        "document_texts": ("yes", "yes", "no", "yes"),
        "processing_jobs": ("yes", "no", "yes", "no"),
        "processing_events": ("yes", "yes", "no", "no"),
    },
    ("aseagi_worker", "other"): {
        **dict.fromkeys(TABLES, NOTHING),
        "documents": ("none", "no", "none", "no"),
        "document_texts": ("none", "no", "no", "none"),
        "processing_jobs": ("none", "no", "none", "no"),
        "processing_events": ("none", "no", "no", "no"),
    },
    ("aseagi_viewer", "other"): {
        **dict.fromkeys(TABLES, NOTHING),
        **dict.fromkeys(("documents", "document_texts", "known_names", "processing_jobs", "processing_events"), READ),
        "corrections": READ,
    },
    ("anon", "other"): dict.fromkeys(TABLES, NOTHING),
    ("authenticated", "other"): dict.fromkeys(TABLES, NOTHING),
}
CASES = list(itertools.product(EXPECTED, TABLES, VERBS))

CONTROL = {"register_job", "register_document", "claim_document", "charge_cost", "reserve_cost", "settle_cost"}
CONTROL |= {"give_job", "given_jobs", "take_jobs_back"}
CONTROL |= {"add_instance", "merged_detail", "move_instance", "note_instance", "bill_instance", "billed_instance"}
CONTROL |= {
    "start_lease",
    "take_over_leases",
    "admit_jobs",
    "sum_costs",
    "save_texts",
    "daily_totals",
    "intend_batch",
    "move_batch",
    "find_instance",
    "list_instances",
    "fail_machine",
    "measure_machine",
    "add_fleet_tick",
    "set_fleet_control",
    "fleet_demand",
}
CONTROL |= {"move_original", "register_again", "count_requested", "count_documents"}
CONTROL |= {"add_bulk_run", "move_bulk_run", "hold_bulk_run", "let_bulk_run", "register_bulk", "cancel_bulk_jobs"}
CONTROL |= {"bulk_stands", "bulk_costs", "rent_of"}
CONTROL |= {"known_keys", "original_keys"}
CONTROL |= {"roll_up_events", "correct_document", "keep_update", "open_updates", "end_updates"}
STAGE = {"begin_stage", "end_stage", "add_event", "end_job", "complete_job", "save_text", "renew_lease"}
STAGE |= {"put_off_job", "drop_leases"}
LOOK = {"search_documents", "count_jobs", "find_documents", "document_conditions", "version_condition", "other_version"}
PARTS = {"search_words", "search_vector", "without_accents", "token_instance", "is_given_document", "is_given_job"}
TRIGGERS = {"touch_updated_at", "status_moves_forwards", "ledger_is_not_changed", "add_cost_to_job", "keep_names"}
TRIGGERS |= {"keep_corrections"}
FUNCTIONS = {
    "service_role": CONTROL | STAGE | LOOK | PARTS,
    "aseagi_worker": STAGE | PARTS,
    "aseagi_viewer": LOOK | PARTS,
    "anon": set(),
    "authenticated": set(),
}


@pytest.fixture(scope="module")
def seeded(cloud: Cloud) -> Iterator[Project]:
    """A project with a document, job, text and event of instance i-1, of i-2, and of none."""
    with cloud.project() as project:
        with psycopg.connect(project.url) as db:
            for name, document_id, instance in (("own", OWN, "i-1"), ("other", OTHER, "i-2"), ("loose", LOOSE, None)):
                db.execute(
                    "INSERT INTO documents (document_id, sha256, key, name, bytes, media_type)"
                    " VALUES (%s, %s, 'k', 'n', 1, 'm')",
                    (document_id, document_id * 4),
                )
                db.execute("SELECT save_text(%s, %s)", (document_id, [f"the secret text of {name}"]))
                db.execute(
                    "INSERT INTO processing_jobs (job_id, source, priority, status, document_id, instance_id)"
                    " VALUES (%s, 'raw/x', 'normal', 'processing', %s, %s)",
                    (name, None if name == "loose" else document_id, instance),
                )
                db.execute(
                    "INSERT INTO processing_events (once, job_id, kind) VALUES (%s, %s, 'noted')",
                    (name, "other" if name == "loose" else name),
                )
            db.execute("INSERT INTO costs (once, kind, usd) VALUES ('own', 'gpu', 1)")
            db.execute("INSERT INTO cost_reservations (once, kind, usd) VALUES ('own', 'gpu', 1)")
            db.execute("INSERT INTO instances (instance_id, label, state) VALUES ('i-1', 'l1', 'joined')")
            db.execute("INSERT INTO fleet_machines (machine_id, gpu) VALUES (1, 'RTX 3090')")
            db.execute("INSERT INTO fleet_ticks (detail) VALUES ('{}')")
            db.execute("INSERT INTO fleet_controls (name, value) VALUES ('paused', 'true')")
            db.execute("INSERT INTO bulk_runs (run_id, prefix, status) VALUES ('r', 'raw/', 'waiting')")
            db.execute("INSERT INTO message_batches (batch_id, state, requests) VALUES ('b', 'intent', 1)")
            db.execute("INSERT INTO known_names (name) VALUES ('N')")
            db.execute(
                "INSERT INTO api_tokens (token_sha256, name, scopes) VALUES (%s, 'script', '[\"read\"]')", ("a" * 64,)
            )
            db.execute("INSERT INTO audit (once, who, what) VALUES ('own', 'w', 'x')")
            db.execute("INSERT INTO users (telegram_id, role) VALUES (1, 'operator')")
            db.execute("INSERT INTO telegram_updates (update_id, body) VALUES (1, '{}')")
            db.execute(
                "INSERT INTO telegram_answers (job_id, telegram_id, name, created_at) VALUES ('own', 1, 'n', now())"
            )
            for name, document_id in (("own", OWN), ("other", OTHER), ("loose", LOOSE)):
                db.execute(
                    "INSERT INTO corrections (once, document_id, field, value, corrected_by)"
                    " VALUES (%s, %s, 'title', 'v', 'c')",
                    (name, document_id),
                )
        yield project


def asked(project: Project, role: str, whose: str, table: str, verb: str) -> str:
    """What comes of a request, which is rolled back."""
    claims = {"instance": "i-1"} if role == "aseagi_worker" else {}
    client = project.records(role, **claims)._client()
    key, rows, new, change = TABLES[table]
    there = rows.get(whose, rows["own"])
    builder = client.table(table)
    if verb == "select":
        query: Any = builder.select(key).eq(key, there)
    elif verb == "insert":
        belongs = {
            "document_texts": {"document_id": there},
            "processing_events": {"job_id": there},
            "corrections": {"document_id": OWN},
        }.get(table, {})
        query = builder.insert({**new, **belongs})
    elif verb == "update":
        query = builder.update(change).eq(key, there)
    else:
        query = builder.delete().eq(key, there)
    prefer = query.request.headers.get("prefer", "")
    query.request.headers["prefer"] = ",".join(filter(None, [prefer, "tx=rollback"]))
    if verb == "insert":  # what was inserted need not be readable
        query.request.headers["prefer"] = "return=minimal,tx=rollback"
        query.request.params = query.request.params.remove("select")
    try:
        rows_back = query.execute().data
    except APIError as exc:
        assert exc.code in ("42501", "PT409"), exc
        return "no"
    return "yes" if rows_back or verb == "insert" else "none"


@pytest.mark.parametrize(("who", "table", "verb"), CASES, ids=["-".join((*w, t, v)) for w, t, v in CASES])
def test_matrix(seeded: Project, who: tuple[str, str], table: str, verb: str) -> None:
    expected = EXPECTED[who][table][VERBS.index(verb)]
    assert asked(seeded, *who, table, verb) == expected


def test_matrix_is_complete_and_printed(seeded: Project, capsys: pytest.CaptureFixture[str]) -> None:
    with psycopg.connect(seeded.url) as db:
        found = db.execute(
            "SELECT relname, relrowsecurity FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        ).fetchall()
    assert dict(found) == dict.fromkeys(TABLES, True)
    shown = Table("role", "rows", *TABLES, title="select insert update delete: y done, - no such row, x refused")
    letters = {"yes": "y", "none": "-", "no": "x"}
    for role, whose in EXPECTED:
        cells = ["".join(letters[asked(seeded, role, whose, table, verb)] for verb in VERBS) for table in TABLES]
        shown.add_row(role, whose, *cells)
    with capsys.disabled():
        Console(width=200).print("\n", shown)


@pytest.mark.parametrize("role", FUNCTIONS)
def test_functions_of_each_role(seeded: Project, role: str) -> None:
    with psycopg.connect(seeded.url) as db:
        found = db.execute(
            "SELECT proname, has_function_privilege(%s, oid, 'EXECUTE') FROM pg_proc"
            " WHERE pronamespace = 'public'::regnamespace",
            (role,),
        ).fetchall()
    assert {name for name, _ in found} == CONTROL | STAGE | LOOK | PARTS | TRIGGERS
    assert {name for name, allowed in found if allowed} == FUNCTIONS[role]


def given_job(project: Project, instance: str = "i-1") -> tuple[SupabaseRecords, str]:
    """A job of a new document, given to an instance."""
    service, sha256 = project.records(), "e" * 64
    service.register_job("mine", "raw/e", "normal", None)
    source = Source(key="raw/e", name="e.pdf", sha256=sha256, bytes=1, media_type="application/pdf")
    service.register_document("mine", source, datetime.now(UTC))
    service._client().table("processing_jobs").update({"instance_id": instance}).eq("job_id", "mine").execute()
    return service, source.document_id


def test_worker_takes_its_own_job_through_the_stages(project: Project) -> None:
    service, document_id = given_job(project)
    worker = project.records("aseagi_worker", instance="i-1")
    assert worker.begin_stage("mine", "ocr", "w").deliveries == 1
    worker.end_stage("mine", "ocr", 1.0, "w", {"pages": 2})
    worker.add_event("mine", None, "noted", "w", {})
    document = worker.document(document_id).model_copy(update={"title": "Motion", "processed": "processed/x"})
    assert worker.complete("mine", document, "the needle")
    assert service.search("needle")[0].document.title == "Motion"
    assert [event.kind for event in worker.events("mine")] == ["started", "finished", "noted", "completed"]


@pytest.mark.parametrize("claims", [{"instance": "i-2"}, {"instance": ""}, {}], ids=["another", "empty", "none"])
def test_worker_of_another_instance_finds_nothing(project: Project, claims: dict[str, str]) -> None:
    service, document_id = given_job(project)
    before = service.job("mine")
    worker = project.records("aseagi_worker", **claims)
    for attempt in (
        lambda: worker.job("mine"),
        lambda: worker.document(document_id),
        lambda: worker.begin_stage("mine", "ocr", "w"),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert not worker.complete("mine", None, None)
    assert not worker.fail("mine", "ocr", "X", "x")
    with pytest.raises(ConfigError):
        worker.add_event("mine", None, "noted", "w", {})
    assert worker.texts([document_id]) == {}
    assert worker.jobs() == worker.documents() == worker.events("mine") == []
    assert service.job("mine") == before


def test_worker_cannot_change_what_stages_do_not(project: Project) -> None:
    service, document_id = given_job(project)
    client = project.records("aseagi_worker", instance="i-1")._client()
    for table, key, value, change in (
        ("processing_jobs", "job_id", "mine", {"priority": "high"}),
        ("processing_jobs", "job_id", "mine", {"instance_id": "i-2"}),
        ("processing_jobs", "job_id", "mine", {"cost_usd": 0}),
        ("documents", "document_id", document_id, {"key": "raw/elsewhere"}),
        ("documents", "document_id", document_id, {"claimed_by": None}),
    ):
        with pytest.raises(APIError) as refused:
            client.table(table).update(change).eq(key, value).execute()
        assert refused.value.code == "42501"
    assert service.job("mine").priority == "normal"


def test_viewer_searches_and_changes_nothing(project: Project) -> None:
    service, document_id = given_job(project)
    document = service.document(document_id).model_copy(update={"processed": "p", "title": "Motion"})
    service.complete("mine", document, "a needle")
    secret = project.api.jwt_secret
    token = make_token(secret, "viewer", now=datetime.now(UTC), valid_for=timedelta(minutes=1))
    viewer = SupabaseRecords(project.api.url, project.api.token("anon"), token)
    assert viewer.search("needle")[0].document.title == "Motion"
    assert viewer.counts()["completed"] == 1
    for attempt in (
        lambda: viewer.cancel("mine"),
        lambda: viewer.register_job("x", "raw/x", "low", None),
        lambda: viewer.charge(None, "gpu", 1, once="x", detail={}),
        lambda: viewer.costs(datetime.now(UTC)),
    ):
        with pytest.raises(ConfigError, match="ASEAGI_SUPABASE_KEY"):
            attempt()


def test_token_that_is_over_or_of_another_secret_is_refused(project: Project) -> None:
    now = datetime.now(UTC)
    over = make_token(SECRET, "viewer", now=now - timedelta(hours=2), valid_for=timedelta(hours=1))
    foreign = make_token(
        "another secret, long enough for HS256 to like", "viewer", now=now, valid_for=timedelta(hours=1)
    )
    for token in (over, foreign, "no token at all"):
        with pytest.raises(ConfigError, match="ASEAGI_SUPABASE_KEY"):
            SupabaseRecords(project.api.url, project.api.token("anon"), token).counts()


def test_workers_token_names_its_instance() -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    with pytest.raises(ValueError, match="names its instance"):
        make_token(SECRET, "worker", now=now, valid_for=hour)
    with pytest.raises(ValueError, match="names its instance"):
        make_token(SECRET, "viewer", now=now, valid_for=hour, instance_id="i-1")


def test_ledger_and_status_cannot_be_changed_by_anybody(project: Project) -> None:
    service, _ = given_job(project)
    service.charge("mine", "gpu", 1.0, once="k", detail={})
    service.cancel("mine")
    with psycopg.connect(project.url, autocommit=True) as owner:
        for statement in ("UPDATE costs SET usd = 0", "DELETE FROM costs", "TRUNCATE costs"):
            with pytest.raises(psycopg.Error, match="never changed"):
                owner.execute(statement)
        with pytest.raises(psycopg.Error, match="only forwards"):
            owner.execute("UPDATE processing_jobs SET status = 'queued', finished_at = NULL")
