"""What every records store promises, whoever writes at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aseagi_tasks.documents import STAGES, Source, Stage
from aseagi_tasks.errors import Cancelled, ConfigError, NotFound, RecordsUnavailable
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.records import ANYTHING, Document, Job, Records, Requested, Wanted
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.servers.cloud import Project
from tests.servers.gateway import GatewayServer

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.fixture(params=["sqlite", "supabase", "gateway"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "sqlite":
        yield SqliteRecords(tmp_path / "records.sqlite3")
    elif request.param == "supabase":
        project: Project = request.getfixturevalue("project")
        yield project.records()
    else:
        behind, redis = SqliteRecords(tmp_path / "records.sqlite3"), request.getfixturevalue("broker").redis
        bucket = FolderStorage(tmp_path / "bucket")
        with GatewayServer(tmp_path / "gateway", redis, behind, bucket, unlimited=True) as server:
            yield server.records()


def source(content: str = "a", name: str = "motion.pdf") -> Source:
    sha256 = (content.encode().hex() + "0" * 64)[:64]
    return Source(key=f"raw/{content}.pdf", name=name, sha256=sha256, bytes=10, media_type="application/pdf")


def begun(records: Records, content: str = "a") -> tuple[str, Document]:
    job_id = str(uuid.uuid4())
    records.register_job(job_id, f"raw/{content}.pdf", "normal", "tester")
    return job_id, records.register_document(job_id, source(content), NOW)


def finished(records: Records, content: str, text: str, **facts: object) -> Document:
    job_id, document = begun(records, content)
    records.begin_stage(job_id, "record", "w")
    done = document.model_copy(update={"processed": "processed/x", **facts})
    assert records.complete(job_id, done, text)
    return records.document(document.document_id)


def test_same_job_id_is_one_job(records: Records) -> None:
    first = records.register_job("j", "raw/a.pdf", "high", "me")
    assert records.register_job("j", "raw/other.pdf", "low", None) == first
    assert (first.status, first.priority, first.source, first.deliveries) == ("queued", "high", "raw/a.pdf", 0)


def test_same_bytes_are_one_document_under_its_first_key(records: Records) -> None:
    _, first = begun(records)
    records.register_job("again", "raw/copy.pdf", "normal", None)
    second = records.register_document("again", source().model_copy(update={"key": "raw/copy.pdf"}), NOW)
    assert second == first
    assert len(records.documents()) == 1
    assert {job.document_id for job in records.jobs()} == {first.document_id}


def test_original_that_was_moved_is_known_at_its_new_key(records: Records) -> None:
    _, document = begun(records)
    assert not records.move_original(document.document_id, "raw/elsewhere.pdf", "raw/new.pdf"), "it is not there"
    assert not records.move_original("f" * 16, document.key, "raw/new.pdf")
    assert all(records.move_original(document.document_id, document.key, "raw/ne\u0301w//a.pdf") for _ in range(2))
    assert records.document(document.document_id) == document.model_copy(update={"key": "raw/ne\u0301w//a.pdf"})


def test_deliveries_of_a_stage_are_counted_until_it_ends(records: Records) -> None:
    job_id, _ = begun(records)
    assert [records.begin_stage(job_id, "fetch", "w").deliveries for _ in range(3)] == [1, 2, 3]
    assert records.begin_stage(job_id, "ocr", "w").deliveries == 1
    records.end_stage(job_id, "ocr", 1.5, "w", {"pages": 3})
    assert records.begin_stage(job_id, "ocr", "w").deliveries == 1
    kinds = [(event.stage, event.kind) for event in records.events(job_id)]
    assert kinds.count(("ocr", "started")) == 2
    (ended,) = [event for event in records.events(job_id) if event.kind == "finished"]
    assert (ended.seconds, ended.detail) == (1.5, {"pages": 3})


@pytest.mark.parametrize("end", ["complete", "fail", "cancel"])
def test_a_job_ends_once_and_stays_ended(records: Records, end: str) -> None:
    job_id, _ = begun(records)
    ends: dict[str, Callable[[], bool]] = {
        "complete": lambda: records.complete(job_id, None, None),
        "fail": lambda: records.fail(job_id, "ocr", "Unreadable", "it is torn"),
        "cancel": lambda: records.cancel(job_id),
    }
    assert ends[end]()
    ended = records.job(job_id)
    assert not any(again() for again in ends.values())
    assert records.job(job_id) == ended
    assert ended.finished_at is not None
    if end == "cancel":
        with pytest.raises(Cancelled):
            records.begin_stage(job_id, "ocr", "w")
    else:
        assert records.begin_stage(job_id, "ocr", "w").status == ended.status


def test_failure_says_stage_class_and_sentence(records: Records) -> None:
    job_id, _ = begun(records)
    records.fail(job_id, "rasterize", "Encrypted", "It is locked.")
    job = records.job(job_id)
    assert (job.status, job.stage, job.error_class, job.error_message) == (
        "error",
        "rasterize",
        "Encrypted",
        "It is locked.",
    )


def test_one_of_several_jobs_has_the_document_until_it_ends(records: Records) -> None:
    first, document = begun(records)
    second, _ = begun(records)
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    assert records.claim(second, document.document_id, long_ago).job_id == second
    assert records.claim(first, document.document_id, long_ago).job_id == second
    assert records.claim(second, document.document_id, long_ago).job_id == second
    records.fail(second, "ocr", "X", "x")
    assert records.claim(first, document.document_id, long_ago).job_id == first
    with pytest.raises(NotFound):
        records.claim(first, "0" * 16, long_ago)


def test_claim_of_a_job_that_fell_silent_is_taken_over(records: Records) -> None:
    first, document = begun(records)
    second, _ = begun(records)
    records.claim(first, document.document_id, datetime.now(UTC) - timedelta(hours=1))
    assert records.claim(second, document.document_id, datetime.now(UTC) + timedelta(seconds=1)).job_id == second


def test_charge_is_made_once(records: Records) -> None:
    job_id, _ = begun(records)
    assert records.charge(job_id, "claude", 0.02, once="k", detail={"model": "m"})
    assert not records.charge(job_id, "claude", 0.02, once="k", detail={})
    records.charge(None, "gpu", 0.5, once="other", detail={})
    assert records.job(job_id).cost_usd == pytest.approx(0.02)
    assert records.costs(datetime.now(UTC) - timedelta(hours=1)) == pytest.approx({"claude": 0.02, "gpu": 0.5})
    assert records.costs(datetime.now(UTC) + timedelta(hours=1)) == {}


def test_beginning_of_an_id_will_do_if_it_is_the_only_one(records: Records) -> None:
    for name in ("abc-1", "abc-2", "xyz"):
        records.register_job(name, "raw/a", "normal", None)
    assert records.job("x").job_id == "xyz"
    assert records.job("abc-1").job_id == "abc-1"
    with pytest.raises(NotFound, match="several"):
        records.job("abc")
    for nothing in ("", "nope", "%", "_"):
        with pytest.raises(NotFound):
            records.job(nothing)
        with pytest.raises(NotFound):
            records.document(nothing)


def test_lists_are_newest_first_and_paged(records: Records) -> None:
    for number in range(5):
        records.register_job(f"j{number}", "raw/a", "normal", None)
    records.cancel("j2")
    assert [job.job_id for job in records.jobs(limit=2)] == ["j4", "j3"]
    assert [job.job_id for job in records.jobs(limit=2, offset=3)] == ["j1", "j0"]
    assert [job.job_id for job in records.jobs(status="cancelled")] == ["j2"]
    assert records.counts() == {"queued": 4, "processing": 0, "completed": 0, "error": 0, "cancelled": 1}


def test_jobs_of_a_span_come_oldest_first_and_paged(records: Records) -> None:
    made = [records.register_job(f"j{number}", "raw/a.pdf", "normal", None) for number in range(5)]
    ordered = sorted(made, key=lambda job: (job.created_at, job.job_id))
    first, last = ordered[0].created_at, ordered[-1].created_at
    assert records.jobs_between(first, last + timedelta(seconds=1)) == ordered
    assert records.jobs_between(first, last + timedelta(seconds=1), limit=2, offset=2) == ordered[2:4]
    before_last = [job for job in ordered if job.created_at < last]
    assert records.jobs_between(first, last) == before_last
    assert records.jobs_between(last + timedelta(seconds=1), last + timedelta(days=1)) == []


def test_jobs_that_ended_in_a_span_come_in_the_order_of_their_ends(records: Records) -> None:
    for number in range(5):
        records.register_job(f"j{number}", "raw/a.pdf", "normal", None)
    records.cancel("j3")
    records.fail("j0", "fetch", "Encrypted", "It is locked.")
    job_id, document = begun(records, "b")
    records.begin_stage(job_id, "record", "w")
    records.complete(job_id, document, None)
    ended = [records.job("j3"), records.job("j0"), records.job(job_id)]
    first, last = (ended[at].finished_at for at in (0, -1))
    assert first is not None and last is not None
    beyond = last + timedelta(seconds=1)
    ordered = sorted(ended, key=lambda job: (job.finished_at or NOW, job.job_id))
    assert records.jobs_ended(first, beyond) == ordered
    assert records.jobs_ended(first, beyond, limit=1, offset=1) == ordered[1:2]
    assert records.jobs_ended(first, last) == [job for job in ordered if job.finished_at != last]
    assert records.jobs_ended(beyond, beyond + timedelta(days=1)) == []


def test_search_ranks_and_shows_where(records: Records) -> None:
    finished(records, "a", "The court grants the motion. Pellworth is named once here.")
    finished(
        records,
        "b",
        "Nothing of interest.",
        title="Motion to Compel",
        parties=("Pellworth",),
        case_number="3:21-cv-01234-ABC",
    )
    finished(records, "c", "Señor Núñez vivía aquí.")
    assert [hit.document.name for hit in records.search("pellworth")] == ["motion.pdf"] * 2
    assert records.search("pellworth")[0].document.title == "Motion to Compel"
    assert "[Pellworth]" in records.search('"grants the motion" pellworth')[0].snippet
    assert len(records.search("3:21-cv-01234-ABC")) == len(records.search('"3:21-cv-01234"')) == 1
    assert len(records.search("nunez")) == 1
    assert len(records.search("interes*")) == 1
    assert records.search("grants Atlantis") == []
    assert len(records.search("motion", limit=1)) == 1


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        '"',
        '""',
        "*",
        "AND",
        "a AND",
        "NEAR(a b)",
        "title:x",
        "a^2",
        "(((",
        "'; DROP TABLE x",
        "\0",
        "x" * 100_000,
        "- -",
        "é*",
    ],
)
def test_any_search_is_safe(records: Records, query: str) -> None:
    finished(records, "a", "text")
    assert isinstance(records.search(query), list)


def test_new_text_replaces_the_old_in_search(records: Records) -> None:
    finished(records, "a", "first version", title="Old")
    finished(records, "a", "second version", title="New")
    assert records.search("first") == []
    assert [hit.document.title for hit in records.search("second")] == ["New"]


def test_large_text_is_indexed(records: Records) -> None:
    finished(records, "a", "filler words of a page " * 250_000 + " needle")
    assert len(records.search("needle")) == 1


def test_name_with_a_typing_error_is_found_where_nothing_is_exact(records: Records) -> None:
    finished(
        records, "a", "x", title="Motion to Compel", parties=("Avery Pellworth", "José Núñez"), case_number="23CV998417"
    )
    finished(records, "b", "x", title="Order", parties=("Wexmoor Logistics",), case_number="3:21-cv-01234-ABC")
    for wrong, right in {
        "Pelworth": "23CV998417",
        "pellwrth": "23CV998417",
        "23CV998471": "23CV998417",
        "Nunes": "23CV998417",
        "Wexmore Logistics": "3:21-cv-01234-ABC",
        "3:21-cv-01243-ABC": "3:21-cv-01234-ABC",
    }.items():
        hits = records.search(wrong)
        assert [hit.document.case_number for hit in hits] == [right], wrong
        assert not hits[0].exact
        assert right in hits[0].snippet
    assert records.search("Atlantis") == []
    assert records.search("Pellworth")[0].exact


def test_words_on_different_pages_are_found_and_phrases_anywhere(records: Records) -> None:
    pages = [f"page {number} " + "filler of the page " * 200 for number in range(60)]
    pages[2] += "the needle was lost"
    pages[50] += "a haystack and/or a barn, with U.S.C. 42 behind it"
    finished(records, "a", "\f".join(pages), title="Affidavit")
    for query in (
        "needle haystack",
        "needle affidavit",
        '"needle was lost" haystack',
        '"a haystack"',
        "barn",
        '"42 behind"',
    ):
        (hit,) = records.search(query)
        assert hit.exact
    assert records.search('"needle haystack"') == []
    assert "[haystack]" in records.search("haystack")[0].snippet


def test_text_with_anything_in_it_is_kept(records: Records) -> None:
    odd = "a\0b needle \ud83d\ufb01 \u200b 😀 end"
    document = finished(records, "a", odd)
    assert len(records.search("needle")) == 1
    assert "needle" in records.texts([document.document_id])[document.document_id]


def test_lease_has_one_holder_until_it_is_over(records: Records) -> None:
    job_id, _ = begun(records)
    assert records.start_lease(job_id, "one", 60)
    assert records.start_lease(job_id, "one", 60)
    assert not records.start_lease(job_id, "two", 60)
    assert records.renew_lease(job_id, "one", 60)
    assert not records.renew_lease(job_id, "two", 60)
    assert records.take_over_leases(60) == []
    assert records.renew_lease(job_id, "one", -1)
    assert [job.job_id for job in records.take_over_leases(-1)] == [job_id]
    assert [job.deaths for job in records.take_over_leases(60)] == [1], "a death is counted once"
    assert records.take_over_leases(60) == []
    assert not records.renew_lease(job_id, "one", 60)
    assert records.start_lease(job_id, "two", -1)
    taken = records.start_lease(job_id, "three", 60)
    assert taken is not None and taken.deaths == 2
    records.cancel(job_id)
    assert not records.renew_lease(job_id, "three", 60)
    assert not records.start_lease(job_id, "four", 60)
    assert records.take_over_leases(60) == []


def lost(records: Records, job_id: str) -> list[tuple[str | None, str | None]]:
    return [(event.stage, event.worker) for event in records.events(job_id) if event.kind == "lost"]


def test_stage_that_another_runs_is_not_begun_and_a_dead_one_is_counted(records: Records) -> None:
    job_id, _ = begun(records)

    def begin(holder: str, stage: Stage = "ocr", seconds: float = 60) -> Job | None:
        return records.begin_stage(job_id, stage, "w", holder=holder, lease_s=seconds)

    assert begin("a@h/1/2/")
    assert begin("b@h/1/2/") is None
    assert begin("b@h/1/2/", "upload") is None
    again = begin("a@h/1/2/", seconds=-1)
    assert again is not None and (again.deliveries, again.deaths) == (2, 0)
    assert lost(records, job_id) == []
    job = begin("b@h/1/2/")
    assert job is not None and (job.deliveries, job.deaths) == (3, 1)
    assert lost(records, job_id) == [("ocr", "a@h")]
    assert not records.end_stage(job_id, "ocr", 1, "w", {}, then="analyze", holder="a@h/1/2/", lease_s=60)
    assert records.end_stage(job_id, "ocr", 1, "w", {}, then="analyze", holder="b@h/1/2/", lease_s=60)
    now = records.job(job_id)
    assert (now.stage, now.deliveries, now.deaths) == ("analyze", 0, 0)
    assert [event.kind for event in records.events(job_id)].count("finished") == 1
    assert begin("a@h/1/2/", "ocr") is None, "an old message"
    assert begin("a@h/1/2/", "analyze")
    records.cancel(job_id)
    with pytest.raises(Cancelled):
        begin("a@h/1/2/", "analyze")
    assert not records.end_stage(job_id, "analyze", 1, "w", {}, then="upload", holder="a@h/1/2/")


def test_what_waits_is_left_alone_until_its_time_is_over(records: Records) -> None:
    job_id, document = begun(records)
    records.begin_stage(job_id, "analyze", "w", holder="a/1/", lease_s=60)
    assert not records.put_off(job_id, 60, waits_for="nothing"), "somebody works on it"
    assert records.put_off(job_id, 60, holder="a/1/", waits_for="a batch")
    assert records.job(job_id).waits_for == "a batch"
    assert records.take_over_leases(60) == []
    records.register_job("other", "raw/a.pdf", "normal", None)
    assert records.claim(job_id, document.document_id, NOW).job_id == job_id
    late = datetime.now(UTC) + timedelta(hours=1)
    assert records.claim("other", document.document_id, late).job_id == job_id
    assert records.put_off(job_id, -1, waits_for="a batch", stage="ocr")
    (over,) = records.take_over_leases(60)
    assert (over.stage, over.deaths) == ("ocr", 0)
    begun_again = records.begin_stage(job_id, "ocr", "w", holder="b/1/", lease_s=60)
    assert begun_again is not None and begun_again.waits_for is None
    records.fail(job_id, "ocr", "X", "x")
    assert not records.put_off(job_id, 60)


def test_leases_of_a_worker_are_dropped_by_its_name(records: Records) -> None:
    ids = [begun(records, content)[0] for content in "abc"]
    for job_id, holder in zip(ids, ("w@h/1/10/", "w@h/1/101/", "w@h_/1/10/"), strict=True):
        records.begin_stage(job_id, "ocr", "w", holder=holder, lease_s=60)
    assert records.drop_leases("w@h/1/10/", died=True) == 1
    assert [(job.job_id, job.deaths) for job in records.take_over_leases(60)] == [(ids[0], 1)]
    assert records.drop_leases("w@h/", died=False) == 1
    assert [(job.job_id, job.deaths) for job in records.take_over_leases(60)] == [(ids[1], 0)]
    assert records.drop_leases("w@h/", died=True) == 0


def test_jobs_are_admitted_by_priority_and_age_up_to_a_number(records: Records) -> None:
    for number in range(6):
        records.register_job(f"j{number}", "raw/a", "low" if number < 3 else "normal", None)

    def admit(live: int, limit: int = 100) -> list[str]:
        return [job.job_id for job in records.admit(live, 60, limit)]

    assert admit(2) == ["j3", "j4"]
    assert admit(2) == []
    assert records.put_off("j3", 60, waits_for="a batch")  # is not live
    assert admit(2) == ["j5"]
    records.register_job("now", "raw/a", "high", None)
    assert admit(2) == ["now"], "before those that wait, and though all places are taken"
    records.cancel("j4")
    records.fail("j5", None, "X", "x")
    assert admit(2) == ["j0"]
    assert admit(10, limit=1) == ["j1"]
    records.cancel("j2")
    assert admit(10) == []
    assert records.put_off("j0", -1)
    assert [job.job_id for job in records.take_over_leases(60)] == ["j0"]


def test_job_keeps_what_was_asked(records: Records) -> None:
    job = records.register_job("j", "raw/a", "normal", "me", again=True, ocr_engine="trocr")
    assert (job.again, job.ocr_engine) == (True, "trocr")
    assert records.job("j") == job == records.jobs()[0]
    plain = records.register_job("k", "raw/a", "normal", "me")
    assert (plain.again, plain.ocr_engine, plain.waits_for, plain.deaths) == (False, None, None, 0)


def test_job_is_given_to_one_instance_until_its_lease_is_over_or_it_is_taken_back(records: Records) -> None:
    job_id, _ = begun(records)
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    given = records.give_job(job_id, "i-1", 1)
    assert given is not None
    assert given.job_id == job_id
    assert records.give_job(job_id, "i-1", 1) is not None  # it has it already
    assert records.give_job("nobody's", "i-1", 1) is None
    records.start_lease(job_id, "worker of i-1", 60)
    assert records.give_job(job_id, "i-2", 9) is None
    assert [job.job_id for job in records.given_jobs("i-1", hour_ago)] == [job_id]
    document = records.document(given.document_id or "")
    for about in (job_id, document.document_id, document.key, given.source):
        assert [job.job_id for job in records.given_jobs("i-1", hour_ago, about)] == [job_id], about
    assert records.given_jobs("i-1", hour_ago, "another") == records.given_jobs("i-1", hour_ago, "") == []
    records.renew_lease(job_id, "worker of i-1", -1)
    assert records.give_job(job_id, "i-2", 9) is not None
    assert records.given_jobs("i-1", hour_ago) == []
    another, _ = begun(records, "b")
    assert records.give_job(another, "i-2", 1) is None  # it has one
    assert records.take_jobs_back("i-2") == 1
    assert records.give_job(another, "i-2", 1) is not None
    records.cancel(another)
    assert records.give_job(another, "i-2", 9) is None
    assert [job.job_id for job in records.given_jobs("i-2", hour_ago)] == [another]
    assert records.given_jobs("i-2", datetime.now(UTC) + timedelta(hours=1)) == []


def test_budget_is_not_passed_by_reservations_and_ledger_together(records: Records) -> None:
    job_id, _ = begun(records)

    def reserve(once: str, usd: float) -> bool:
        return records.reserve(job_id, "claude", usd, once=once, daily_budget_usd=1.0)

    assert reserve("a", 0.6)
    assert reserve("a", 0.6)  # again, not twice
    assert not reserve("b", 0.5)
    assert records.settle(0.2, once="a", detail={"model": "m"})
    assert not records.settle(0.2, once="a", detail={})
    assert records.job(job_id).cost_usd == pytest.approx(0.2)
    assert reserve("a", 0.6)  # spent already: it may go on, and nothing is set aside
    assert reserve("b", 0.5)
    assert not reserve("c", 0.4)
    assert records.settle(0, once="b", detail={})  # not used
    assert reserve("c", 0.4)
    assert records.costs(datetime.now(UTC) - timedelta(hours=1)) == pytest.approx({"claude": 0.2})
    records.charge(None, "gpu", 50.0, once="gpu", detail={})
    assert reserve("d", 0.2)  # another kind's costs are another budget's


def test_batches_are_intended_one_at_a_time_and_move_forwards(records: Records) -> None:
    assert records.open_batches() == []
    assert records.intend_batch("a", 2)
    assert not records.intend_batch("b", 1)  # one is about to be submitted
    assert not records.move_batch("a", "ended")
    assert records.move_batch("a", "sent", "msgbatch_1")
    assert records.intend_batch("b", 1)
    assert [(b.batch_id, b.state, b.service_id, b.requests) for b in records.open_batches()] == [
        ("a", "sent", "msgbatch_1", 2),
        ("b", "intent", None, 1),
    ]
    assert records.move_batch("b", "dropped")
    assert not records.move_batch("b", "sent", "msgbatch_2")
    assert records.move_batch("a", "ended")
    assert not records.move_batch("a", "ended")
    assert records.open_batches() == []


def hammer(path: Path, worker: int) -> None:
    """One of several processes that do the same to the same jobs."""
    records = SqliteRecords(path)
    for number in range(40):
        job_id = f"job-{number:03}"
        records.register_job(job_id, "raw/a", "normal", None)
        records.register_document(job_id, source(f"d{number % 7}"), NOW)
        for stage in STAGES:
            try:
                records.begin_stage(job_id, stage, f"w{worker}")
            except Cancelled:
                break
        records.charge(job_id, "claude", 0.01, once=f"{job_id}:analyze", detail={})
        if number % 5 == 0 and worker % 2:
            records.cancel(job_id)
        elif number % 5 == 1 and worker % 2:
            records.fail(job_id, "ocr", "X", "x")
        elif records.complete(job_id, None, None):
            records.add_event(job_id, None, "won", f"w{worker}", {})


def test_eight_writers_lose_and_double_nothing(tmp_path: Path) -> None:
    path = tmp_path / "records.sqlite3"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=hammer, args=(path, worker)) for worker in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * 8
    records = SqliteRecords(path)
    jobs = records.jobs(limit=1000)
    assert len(jobs) == 40
    assert len(records.documents()) == 7
    for job in jobs:
        ends = [
            event.kind
            for event in records.events(job.job_id)
            if event.kind in ("completed", "known", "failed", "cancelled")
        ]
        assert len(ends) == 1
        assert job.status in ("completed", "error", "cancelled")
        assert [event.kind for event in records.events(job.job_id)].count("won") == (job.status == "completed")
        assert job.cost_usd == pytest.approx(0.01)


def test_threads_have_connections_of_their_own(records: Records) -> None:
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(25):
                records.register_job(f"{number}-{turn}", "raw/a", "normal", None)
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert records.counts()["queued"] == 200


def test_status_cannot_be_moved_backwards_by_anybody(tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "r.sqlite3")
    records.register_job("j", "raw/a", "normal", None)
    records.cancel("j")
    with sqlite3.connect(tmp_path / "r.sqlite3") as db, pytest.raises(sqlite3.IntegrityError, match="only forwards"):
        db.execute("UPDATE processing_jobs SET status = 'queued'")


def test_ledger_cannot_be_changed(tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "r.sqlite3")
    records.charge(None, "gpu", 1.0, once="k", detail={})
    with sqlite3.connect(tmp_path / "r.sqlite3") as db:
        for statement in ("UPDATE costs SET usd = 0", "DELETE FROM costs"):
            with pytest.raises(sqlite3.IntegrityError, match="never changed"):
                db.execute(statement)


def test_file_that_is_no_database_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "r.sqlite3").write_text("this is a letter, not a database, and long enough to be one of the pages")
    with pytest.raises(ConfigError, match="ASEAGI_HOME"):
        SqliteRecords(tmp_path / "r.sqlite3")


def test_records_of_a_newer_version_are_left_alone(tmp_path: Path) -> None:
    SqliteRecords(tmp_path / "r.sqlite3")
    with sqlite3.connect(tmp_path / "r.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(ConfigError, match="version 99"):
        SqliteRecords(tmp_path / "r.sqlite3")


def test_database_that_breaks_is_unavailable(tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "r.sqlite3")
    with sqlite3.connect(tmp_path / "r.sqlite3") as db:
        db.execute("DROP TABLE costs")
    with pytest.raises(RecordsUnavailable, match="costs"):
        records.charge(None, "gpu", 1.0, once="k", detail={})


def test_documents_are_found_by_what_is_wanted_of_them_page_by_page(records: Records) -> None:
    for number in range(7):
        kind = "order" if number % 2 else "motion"
        finished(
            records,
            f"d{number}",
            f"the needle {number}",
            document_type=kind,
            case_number=f"23CV{number // 4}",
            document_date=f"2024-03-0{number + 1}",
            relevancy_score=10 * number,
        )
    everything = records.find(ANYTHING, limit=100)
    assert len(everything) == 7 and everything == sorted(
        everything, key=lambda document: (document.created_at, document.document_id), reverse=True
    )
    pages = [records.find(ANYTHING, limit=3)]
    while len(pages[-1]) == 3:
        pages.append(records.find(ANYTHING, limit=3, behind=pages[-1][-1]))
    assert [document for page in pages for document in page] == everything
    orders = records.find(Wanted(document_type="order"), limit=100)
    assert [document.document_type for document in orders] == ["order"] * 3
    assert records.find(Wanted(document_type="order"), limit=2, behind=orders[1]) == orders[2:]
    for wanted, expected in (
        (Wanted(case_number="23CV1"), {4, 5, 6}),
        (Wanted(dated_since="2024-03-02", dated_until="2024-03-03"), {1, 2}),
        (Wanted(relevancy=50), {5, 6}),
        (Wanted(requested_by="tester", relevancy=60), {6}),
        (Wanted(requested_by="nobody"), set()),
        (Wanted(document_type="'; DROP TABLE documents; --"), set()),
    ):
        dates = {f"2024-03-0{number + 1}" for number in expected}
        assert {document.document_date for document in records.find(wanted, limit=100)} == dates, wanted
        found = records.search("needle", wanted=wanted, limit=100)
        assert {hit.document.document_date for hit in found} == dates, wanted
    assert records.search("needle*", wanted=Wanted(relevancy=60))[0].document.relevancy_score == 60


def test_names_that_look_alike_are_found_among_what_is_wanted(records: Records) -> None:
    finished(records, "a", "x", document_type="order", parties=("Avery Pellworth",))
    assert [hit.exact for hit in records.search("Pelworth", wanted=Wanted(document_type="order"))] == [False]
    assert records.search("Pelworth", wanted=Wanted(document_type="motion")) == []


def test_a_day_is_what_it_cost_and_how_its_jobs_ended(records: Records) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    assert records.days(before) == []
    finished(records, "a", "text", pages=3)
    finished(records, "b", "text", pages=4)
    failed, _ = begun(records, "c")
    records.fail(failed, "ocr", "Unreadable", "It could not be read.")
    cancelled, _ = begun(records, "d")
    records.cancel(cancelled)
    records.charge(failed, "claude", 0.5, once="1", detail={})
    records.charge(None, "gpu", 0.25, once="2", detail={})
    records.charge(None, "gpu", 0.25, once="3", detail={})
    days = records.days(before)
    assert sum(day.completed for day in days) == 2 and sum(day.pages for day in days) == 7
    assert sum(day.failed for day in days) == sum(day.cancelled for day in days) == 1
    assert {kind: usd for day in days for kind, usd in day.usd.items()} == {"claude": 0.5, "gpu": 0.5}
    assert records.days(datetime.now(UTC) + timedelta(minutes=1)) == []


def test_api_tokens_open_until_they_are_revoked(records: Records) -> None:
    assert records.add_api_token("a" * 64, "script", ["read", "write"])
    assert not records.add_api_token("b" * 64, "script", ["operate"])
    assert records.api_token("b" * 64) is None
    found = records.api_token("a" * 64)
    assert found is not None and (found.name, found.scopes) == ("script", ("read", "write"))
    assert records.revoke_api_token("script")
    assert not records.revoke_api_token("script") and not records.revoke_api_token("another")
    assert records.api_token("a" * 64) is None
    (listed,) = records.api_tokens()
    assert listed.revoked_at is not None


def test_changes_are_kept_newest_first(records: Records) -> None:
    records.note_change("operator", "cancel", {"job": "a"})
    records.note_change("script", "retry", {"job": "b", "error": "no key: \0"})  # Postgres holds none
    first, second = records.changes()
    assert (first.who, first.what, first.detail["job"]) == ("script", "retry", "b")
    assert second.at <= first.at
    assert len(records.changes(limit=1)) == 1


def test_documents_are_found_by_what_made_them_and_when_they_were_taken_in(records: Records) -> None:
    made = {
        "a": {"ocr": "tesseract 5", "analyst": "rules 2"},
        "b": {"ocr": "tesseract 5", "analyst": "rules 21"},
        "c": {"ocr": "trocr x", "analyst": "claude-haiku-5-5 prompt 1"},
        "d": {"ocr": "tesseract 6", "analyst": "claude-haiku-5-5 prompt 2"},
    }
    ids = {name: finished(records, name, "x", versions=versions).document_id for name, versions in made.items()}
    _, unfinished = begun(records, "e")
    ids["e"] = unfinished.document_id
    for wanted, expected in (
        (Wanted(analyst="rules 2"), "a"),
        (Wanted(analyst="rules 2*"), "ab"),
        (Wanted(analyst_not="claude*"), "ab"),
        (Wanted(ocr="tesseract*", analyst="claude*"), "d"),
        (Wanted(ocr_not="tesseract 5"), "cd"),
        (Wanted(not_of_analyst="claude-haiku-5-5 prompt 2"), "abc"),
        (Wanted(not_of_ocr="tesseract 6", not_of_analyst="claude-haiku-5-5 prompt 2"), "abc"),
        (Wanted(not_of_ocr="tesseract 5", not_of_analyst="rules 2"), "bcd"),
        (Wanted(not_of_ocr="tesseract 5", not_of_analyst="rules 2", ocr="trocr*"), "c"),
        (Wanted(document_ids=(ids["b"], ids["e"], "f" * 16)), "be"),
        (Wanted(document_ids=()), ""),
        (Wanted(taken_since="2026-11-23", taken_until="2026-11-24"), "abcde"),
        (Wanted(taken_since="2026-11-24"), ""),
        (Wanted(taken_until="2026-11-23"), ""),
        (Wanted(analyst="'); DROP TABLE documents; --*"), ""),
    ):
        found = {document.document_id for document in records.find(wanted, limit=100)}
        assert found == {ids[name] for name in expected}, wanted
        assert sum(records.count_documents(wanted).values()) == len(expected)


def test_jobs_on_known_documents_are_registered_once_and_counted(records: Records) -> None:
    ids = {name: finished(records, name, "x").document_id for name in "ab"}
    jobs = {"again-a": ids["a"], "again-b": ids["b"], "again-c": "f" * 16}
    asked = {"begins": "analyze", "analyst": "claude-haiku-5-5", "ocr_engine": "tesseract"}
    assert records.register_again(jobs, "reprocess:1", **asked) == 2  # type: ignore[arg-type]
    assert records.register_again(jobs, "reprocess:1", **asked) == 0  # type: ignore[arg-type]
    job = records.job("again-a")
    assert (job.document_id, job.priority, job.status, job.again) == (ids["a"], "low", "queued", False)
    assert (job.begins, job.analyst, job.ocr_engine) == ("analyze", "claude-haiku-5-5", "tesseract")
    assert job.source == records.document(ids["a"]).key
    records.charge("again-a", "claude", 0.25, once="x", detail={})
    records.cancel("again-b")
    requested = records.requested("reprocess:1")
    assert (dict(requested.jobs), requested.usd) == ({"queued": 1, "cancelled": 1}, 0.25)
    assert records.requested("reprocess:2") == Requested()
