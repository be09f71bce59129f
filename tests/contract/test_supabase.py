"""What the Supabase records do when the way to them fails, and what the server in the tests does for the client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from postgrest import APIError, CountMethod

from aseagi_tasks.documents import Source
from aseagi_tasks.errors import AseagiError, ConfigError, NotFound, RecordsUnavailable
from aseagi_tasks.stores import supabase, supabase_api
from aseagi_tasks.stores.records import Document
from aseagi_tasks.stores.supabase import SupabaseRecords, parts_of_text
from tests.servers.cloud import Project

FAULTS: list[Any] = [502, 503, 429, "refuse", "half", "lose"]
SOURCE = Source(key="raw/a", name="a.pdf", sha256="a" * 64, bytes=1, media_type="application/pdf")
DONE = Document(
    **SOURCE.model_dump(), document_id=SOURCE.document_id, created_at=datetime.now(UTC), processed="p", title="T"
)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def records(project: Project) -> SupabaseRecords:
    """Records with one job, which is at work on one document."""
    made = project.records()
    made.register_job("j", "raw/a", "normal", None)
    made.register_document("j", SOURCE, datetime.now(UTC))
    made.begin_stage("j", "fetch", "w")
    return made


CALLS: dict[str, tuple[Callable[[SupabaseRecords], Any], Callable[[SupabaseRecords], Any], Any]] = {
    # what is called, what is looked at afterwards, what that must be
    "register_job": (lambda r: r.register_job("k", "raw/k", "low", None).source, lambda r: r.counts()["queued"], 1),
    "register_document": (
        lambda r: r.register_document("j", SOURCE, LONG_AGO).document_id,
        lambda r: len(r.documents()),
        1,
    ),
    "move_original": (
        lambda r: r.move_original(SOURCE.document_id, "raw/a", "raw/b"),
        lambda r: r.document(SOURCE.document_id).key,
        "raw/b",
    ),
    "claim": (lambda r: r.claim("j", SOURCE.document_id, LONG_AGO).job_id, lambda r: r.job("j").status, "processing"),
    "begin_stage": (lambda r: r.begin_stage("j", "fetch", "w").deliveries, lambda r: r.job("j").deliveries, 2),
    "end_stage": (
        lambda r: r.end_stage("j", "fetch", 1.0, "w", {}),
        lambda r: [event.kind for event in r.events("j")],
        ["started", "finished"],
    ),
    "add_event": (
        lambda r: r.add_event("j", None, "noted", "w", {}),
        lambda r: [event.kind for event in r.events("j")],
        ["started", "noted"],
    ),
    "complete": (
        lambda r: r.complete("j", DONE, "needle"),
        lambda r: (r.job("j").status, len(r.search("needle")), [event.kind for event in r.events("j")]),
        ("completed", 1, ["started", "completed"]),
    ),
    "fail": (lambda r: r.fail("j", "ocr", "X", "x"), lambda r: r.job("j").error_class, "X"),
    "cancel": (lambda r: r.cancel("j"), lambda r: r.job("j").status, "cancelled"),
    "reserve": (
        lambda r: r.reserve("j", "gpu", 1.0, once="o", daily_budget_usd=1.0),
        lambda r: r.reserve("j", "gpu", 0.1, once="p", daily_budget_usd=1.0),
        False,
    ),
    "charge": (
        lambda r: r.charge("j", "gpu", 1.0, once="o", detail={}) in (True, False),
        lambda r: r.job("j").cost_usd,
        1.0,
    ),
    "job": (lambda r: r.job("j").job_id, lambda r: None, None),
    "search": (lambda r: r.search("nothing"), lambda r: None, None),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", CALLS)
def test_call_that_failed_once_is_made_again_and_counts_once(
    project: Project, records: SupabaseRecords, name: str, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase_api, "FIRST_PAUSE_S", 0.001)
    call, look, expected = CALLS[name]
    project.api.faults = [fault]
    answer = call(records)
    assert project.api.faults == []
    assert answer is not False
    assert look(records) == expected


@pytest.mark.parametrize("broken", [500, 503, "refuse", "half", None, 1.0], ids=str)
def test_what_lasts_is_unavailable_and_nothing_is_lost_when_it_ends(
    project: Project, records: SupabaseRecords, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supabase_api, "FIRST_PAUSE_S", 0.001)
    hurried = SupabaseRecords(project.api.url, project.api.token("service_role"), timeout_s=0.3)
    project.api.broken = broken
    for call in (
        lambda: hurried.fail("j", "ocr", "X", "x"),
        lambda: hurried.job("j"),
        lambda: hurried.search("x"),
        lambda: hurried.counts(),
    ):
        with pytest.raises(RecordsUnavailable):
            call()
    project.api.broken = False
    records.fail("j", "ocr", "X", "x")
    assert (records.job("j").status, records.job("j").error_class) == ("error", "X")
    assert [event.kind for event in records.events("j")].count("failed") == 1


def test_nobody_at_the_address_is_unavailable(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supabase_api, "FIRST_PAUSE_S", 0.001)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(RecordsUnavailable, match="ConnectError"):
        SupabaseRecords(address, "k").counts()


def test_slow_answer_is_waited_for(project: Project, records: SupabaseRecords) -> None:
    project.api.faults = [0.5]
    began = time.monotonic()
    assert records.job("j").job_id == "j"
    assert time.monotonic() - began >= 0.5


def test_pauses_double_and_differ() -> None:
    pauses = [supabase_api._pauses() for _ in range(200)]
    for attempt in range(supabase_api.TRIES - 1):
        seen = [some[attempt] for some in pauses]
        middle = supabase_api.FIRST_PAUSE_S * 2**attempt
        assert middle * 0.5 <= min(seen) < middle * 0.7 and middle * 1.3 < max(seen) <= middle * 1.5


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [("nonsense", "k", "ASEAGI_SUPABASE_URL"), ("http://127.0.0.1:1", "", "ASEAGI_SUPABASE_URL")],
)
def test_address_or_key_that_is_none_is_a_config_error(url: str, key: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SupabaseRecords(url, key)


def test_database_without_our_tables_names_the_cure(project: Project) -> None:
    with psycopg.connect(project.url, autocommit=True) as db:
        db.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO service_role")
    for call in (lambda r: r.job("x"), lambda r: r.counts()):
        with pytest.raises(ConfigError, match="aseagi migrate"):
            call(project.records())


def test_clients_of_many_threads_do_not_disturb_each_other(project: Project, records: SupabaseRecords) -> None:
    found: list[str] = []

    def look(number: int) -> None:
        for _ in range(20):
            found.append(records.register_job(f"t{number}", f"raw/{number}", "low", None).source)

    threads = [threading.Thread(target=look, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == sorted(f"raw/{number}" for number in range(12) for _ in range(20))


def test_more_events_than_one_answer_holds(records: SupabaseRecords) -> None:
    rows = [{"once": f"e{n}", "job_id": "j", "kind": "noted", "worker": str(n)} for n in range(2_345)]
    records.add_rows("processing_events", "once", rows)
    assert [event.worker for event in records.events("j")[1:]] == [str(n) for n in range(2_345)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "one page",
        "a\fb\f",
        "\f\f",
        "word " * 50_000,
        "x" * 50_001,
        "\f".join("page of text " * 300 for _ in range(40)),
    ],
)
def test_parts_joined_are_the_text_and_short(text: str) -> None:
    parts = parts_of_text(text)
    assert "".join(parts) == text
    assert max(map(len, parts)) <= supabase.PART_CHARACTERS


# -- the server in the tests, where our records do not use what the client may


def test_server_counts_and_ranges(project: Project, records: SupabaseRecords) -> None:
    client = records._client()
    client.table("users").insert([{"telegram_id": n, "role": "user", "name": f"n{n},x"} for n in range(10)]).execute()
    answer = (
        client.table("users").select("telegram_id", count=CountMethod.exact).order("telegram_id").range(3, 5).execute()
    )
    assert answer.count == 10
    assert answer.data == [{"telegram_id": 3}, {"telegram_id": 4}, {"telegram_id": 5}]
    with pytest.raises(APIError) as refused:
        client.table("users").select("*", count=CountMethod.exact).range(50, 60).execute()
    assert refused.value.code == "PGRST103"
    found = (
        client.table("users").select("telegram_id").in_("name", ["n1,x", "n2,x"]).not_.eq("telegram_id", 1).execute()
    )
    assert found.data == [{"telegram_id": 2}]


def test_server_upserts(records: SupabaseRecords) -> None:
    table = records._client().table
    row = {"telegram_id": 1, "role": "user", "name": "first"}
    assert table("users").insert(row).execute().data[0]["name"] == "first"  # type: ignore[index,call-overload]
    table("users").upsert({**row, "name": "second"}, on_conflict="telegram_id", ignore_duplicates=True).execute()
    assert table("users").select("name").execute().data == [{"name": "first"}]
    table("users").upsert({**row, "name": "second"}).execute()
    assert table("users").select("name").execute().data == [{"name": "second"}]
    with pytest.raises(APIError) as refused:
        table("users").insert(row).execute()
    assert refused.value.code == "23505"
    with pytest.raises(APIError) as refused:
        table("users").insert({**row, "telegram_id": 2, "role": "king"}).execute()
    assert refused.value.code == "23514"
    assert table("users").delete().eq("telegram_id", 1).execute().data[0]["name"] == "second"  # type: ignore[index,call-overload]


def test_server_says_what_it_does_not_know(project: Project, records: SupabaseRecords) -> None:
    client = records._client()
    for query, code in (
        (client.table("nothing").select("*"), "PGRST205"),
        (client.rpc("nothing", {}), "PGRST202"),
        (client.rpc("start_lease", {"p_job_id": "j"}), "PGRST202"),
        (client.table("users").select("nothing"), "42703"),
    ):
        with pytest.raises(APIError) as refused:
            query.execute()
        assert refused.value.code == code
    assert client.rpc("count_jobs", get=True).execute().data == [{"status": "processing", "jobs": 1}]
    with pytest.raises(APIError) as refused:  # a GET is read-only
        client.rpc("start_lease", {"p_job_id": "j", "p_holder": "x", "p_seconds": 1}, get=True).execute()
    assert refused.value.code == "25006"
    with pytest.raises(NotFound):
        records.begin_stage("nobody", "ocr", "w")


def test_what_the_database_refuses_is_final(records: SupabaseRecords) -> None:
    with pytest.raises(AseagiError, match="23514") as refused:
        records.register_job("k", "raw/k", "urgent", None)  # type: ignore[arg-type]
    assert not isinstance(refused.value, RecordsUnavailable)
