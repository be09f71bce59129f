"""Sixteen writers at once against Postgres, through the API: nothing lost, nothing doubled, no budget passed."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aseagi_tasks.documents import STAGES, Source
from aseagi_tasks.errors import Cancelled
from aseagi_tasks.stores.bulk_records import BulkRun
from aseagi_tasks.stores.supabase import SupabaseRecords
from aseagi_tasks.stores.supabase_bulk import SupabaseBulk
from tests.servers.cloud import Project

WRITERS, OPERATIONS = 16, 2_000
EACH = OPERATIONS // WRITERS
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def together(project: Project, work: Callable[[SupabaseRecords, int], list[Any]]) -> list[Any]:
    """Run ``work(records, writer)`` in sixteen threads that start at once, each with a client of its own."""
    answers: list[Any] = []
    errors: list[BaseException] = []
    start = threading.Barrier(WRITERS)

    def run(writer: int) -> None:
        try:
            records = project.records()
            start.wait(30)
            answers.extend(work(records, writer))
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=run, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert errors == []
    return answers


def source(number: int) -> Source:
    sha256 = f"{number:016x}" * 4
    return Source(key=f"raw/{number}.pdf", name="n.pdf", sha256=sha256, bytes=1, media_type="application/pdf")


def queued(records: SupabaseRecords, count: int) -> list[str]:
    """Jobs that are there."""
    names = [f"job-{number:04}" for number in range(count)]
    rows = [{"job_id": name, "source": "raw/x", "priority": "normal"} for name in names]
    records.add_rows("processing_jobs", "job_id", rows)
    return names


def test_same_jobs_and_same_bytes_are_registered_once(project: Project) -> None:
    def work(records: SupabaseRecords, writer: int) -> list[Any]:
        found = []
        for turn in range(EACH // 2):
            job_id = f"job-{(turn * 7 + writer) % 200}"
            job = records.register_job(job_id, f"raw/{job_id}", "normal", str(writer))
            document = records.register_document(job_id, source((turn + writer) % 40), NOW)
            found.append((job.job_id, document.document_id))
        return found

    found = together(project, work)
    records = project.records()
    assert len(found) == WRITERS * (EACH // 2)
    jobs, documents = records.jobs(limit=1000), records.documents(limit=1000)
    assert {job.job_id for job in jobs} == {job_id for job_id, _ in found} and len(jobs) == 200
    assert {document.document_id for document in documents} == {source(number).document_id for number in range(40)}
    assert all(job.source == f"raw/{job.job_id}" and job.document_id for job in jobs)


def test_one_job_at_a_time_has_a_document(project: Project) -> None:
    records = project.records()
    for writer in range(WRITERS):
        records.register_job(f"w{writer}", "raw/x", "normal", None)
        for number in range(10):
            records.register_document(f"w{writer}", source(number), NOW)
    long_ago = datetime.now(UTC) - timedelta(hours=1)

    def work(records: SupabaseRecords, writer: int) -> list[Any]:
        claims = range(EACH)
        return [(n % 10, records.claim(f"w{writer}", source(n % 10).document_id, long_ago).job_id) for n in claims]

    holders: dict[int, set[str]] = {}
    for number, holder in together(project, work):
        holders.setdefault(number, set()).add(holder)
    assert {number: len(found) for number, found in holders.items()} == dict.fromkeys(range(10), 1)


def test_job_ends_once_and_status_moves_only_forwards(project: Project) -> None:
    names = queued(project.records(), 100)

    def work(records: SupabaseRecords, writer: int) -> list[Any]:
        ended = []
        for turn in range(EACH):
            job_id = names[(turn * 13 + writer) % 100]
            try:
                records.begin_stage(job_id, STAGES[turn % 6], f"w{writer}")
            except Cancelled:
                continue
            if turn < 40:
                continue
            end = (writer + turn) % 3
            if end == 0 and records.complete(job_id, None, None):
                ended.append((job_id, "completed"))
            elif end == 1 and records.fail(job_id, "ocr", "X", "x"):
                ended.append((job_id, "error"))
            elif end == 2 and records.cancel(job_id):
                ended.append((job_id, "cancelled"))
        return ended

    ended = together(project, work)
    records = project.records()
    assert Counter(job_id for job_id, _ in ended) == Counter(names)
    assert {job.job_id: job.status for job in records.jobs(limit=1000)} == dict(ended)
    for job_id, _ in ended:
        kinds = [event.kind for event in records.events(job_id)]
        assert sum(kind in ("known", "failed", "cancelled") for kind in kinds) == 1
        assert kinds[-1] != "started", "a stage began after the end"


def test_lease_has_one_holder_and_an_expired_one_is_taken_over_once(project: Project) -> None:
    names = queued(project.records(), 60)

    def take(records: SupabaseRecords, writer: int) -> list[Any]:
        return [name for name in names for _ in range(2) if records.start_lease(name, f"w{writer}", 600) and _ == 0]

    taken = together(project, take)
    assert Counter(taken) == Counter(names)
    client = project.records()._client()
    client.table("processing_jobs").update({"lease_until": "2020-01-01T00:00:00Z"}).gt("job_id", "").execute()

    def reap(records: SupabaseRecords, writer: int) -> list[Any]:
        return [job.job_id for _ in range(5) for job in records.take_over_leases(600, limit=3)]

    assert Counter(together(project, reap)) == Counter(names)
    assert {job.deaths for job in project.records().jobs()} == {1}

    def begin(records: SupabaseRecords, writer: int) -> list[Any]:
        return [n for n in names if records.begin_stage(n, "ocr", "w", holder=f"r{writer}/", lease_s=600)]

    assert Counter(together(project, begin)) == Counter(names)


def test_jobs_are_admitted_once_and_no_more_than_may_live(project: Project) -> None:
    names = queued(project.records(), 200)

    def work(records: SupabaseRecords, writer: int) -> list[Any]:
        return [job.job_id for _ in range(EACH // 5) for job in records.admit(120, 600, limit=3)]

    admitted = together(project, work)
    assert Counter(admitted) == Counter(names[:120])


@pytest.mark.parametrize("settles", [False, True], ids=["reserved", "settled-meanwhile"])
def test_daily_budget_is_never_passed(project: Project, settles: bool) -> None:
    def work(records: SupabaseRecords, writer: int) -> list[Any]:
        got = []
        for turn in range(EACH):
            once = f"{writer}-{turn}"
            if records.reserve(None, "claude", 0.1, once=once, daily_budget_usd=10.0):
                got.append(once)
                if settles:  # at half the price: room for others
                    assert records.settle(0.05, once=once, detail={})
        return got

    got = together(project, work)
    assert len(set(got)) == len(got)
    records = project.records()
    spent = records.costs(datetime.now(UTC) - timedelta(days=1)).get("claude", 0.0)
    if settles:
        assert spent == pytest.approx(0.05 * len(got)) and 9.85 <= spent <= 10.0
    else:
        assert len(got) == 100 and spent == 0
        assert all(records.settle(0.1, once=once, detail={}) for once in got)
        assert not any(records.settle(0.1, once=once, detail={}) for once in got[:5])
        assert records.costs(datetime.now(UTC) - timedelta(days=1)) == pytest.approx({"claude": 10.0})


def test_charge_is_made_once_and_added_to_its_job(project: Project) -> None:
    names = queued(project.records(), 20)

    def work(records: SupabaseRecords, writer: int) -> list[Any]:
        charges = ((names[(turn + writer) % 20], turn % 5) for turn in range(EACH))
        return [(job, n) for job, n in charges if records.charge(job, "claude", 0.01, once=f"{job}:{n}", detail={})]

    made = together(project, work)
    assert Counter(made) == Counter((name, number) for name in names for number in range(5))
    assert {round(job.cost_usd, 9) for job in project.records().jobs()} == {0.05}


def test_cap_of_a_bulk_run_is_not_passed_by_many_who_set_money_aside(project: Project) -> None:
    token, names = project.api.token, [f"job-{number:03}" for number in range(160)]
    bulk = SupabaseBulk(project.api.url, token("anon"), token("service_role"))
    bulk.add_run(BulkRun(run_id="r", prefix="raw/", requested_by="x", created_at=NOW))
    bulk.move_run("r", ["scanning"], "running", cap_usd=1.0, started_at=NOW)
    assert bulk.register_bulk("r", dict.fromkeys(names, "raw/x")) == 160

    def work(records: SupabaseRecords, writer: int) -> list[Any]:
        mine = names[writer::WRITERS]
        made = [(job, records.reserve(job, "claude", 0.01, once=job, daily_budget_usd=100)) for job in mine]
        for job, reserved in made[::2]:
            if reserved:
                records.settle(0.01, once=job, detail={})
        return made

    made = Counter(reserved for _, reserved in together(project, work))
    stands = bulk.stands("r", NOW)
    assert made == {True: 100, False: 60}
    assert stands.committed_usd == pytest.approx(1.0) and stands.refused == 60
