"""Bulk runs in both stores: moves, jobs, what may begin, and the cap."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.bulk_records import BulkRecords, BulkRun, Quote, Scan
from aseagi_tasks.stores.fleet_records import FleetRecords
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.sqlite_bulk import SqliteBulk
from aseagi_tasks.stores.sqlite_fleet import SqliteFleet
from aseagi_tasks.stores.supabase_bulk import SupabaseBulk
from aseagi_tasks.stores.supabase_fleet import SupabaseFleet
from tests.servers.cloud import Project

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
QUOTE = Quote(documents=2, pages=(2, 4), usd=(0.5, 1.5), hours=(0.1, 0.2), document_usd=0.75)


class Stores(NamedTuple):
    records: Records
    bulk: BulkRecords
    fleet: FleetRecords


@pytest.fixture(params=["sqlite", "supabase"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stores]:
    if request.param == "sqlite":
        path = tmp_path / "records.sqlite3"
        yield Stores(SqliteRecords(path), SqliteBulk(path), SqliteFleet(path))
    else:
        project: Project = request.getfixturevalue("project")
        token = project.api.token
        address = (project.api.url, token("anon"), token("service_role"))
        yield Stores(project.records(), SupabaseBulk(*address), SupabaseFleet(*address))


def running(stores: Stores, jobs: int = 0, cap_usd: float = 10.0, run_id: str = "20261129-000000-aaaaaa") -> str:
    """A run that runs, with jobs that are registered."""
    run = BulkRun(run_id=run_id, prefix="raw/", requested_by="somebody", created_at=datetime.now(UTC))
    assert stores.bulk.add_run(run).status == "scanning"
    started = datetime.now(UTC) - timedelta(minutes=1)
    moved = stores.bulk.move_run(run_id, ["scanning"], "running", cap_usd=cap_usd, started_at=started)
    assert moved is not None and moved.status == "running"
    named = {f"{run_id}-{n}": f"raw/{n}.pdf" for n in range(jobs)}
    assert stores.bulk.register_bulk(run_id, named) == jobs
    return run_id


def test_run_keeps_what_it_is_and_moves_only_from_where_it_was_seen(stores: Stores) -> None:
    now = datetime.now(UTC)
    run = BulkRun(run_id="20261129-100000-abcdef", prefix="raw/", failed=True, requested_by="me", created_at=now)
    assert stores.bulk.add_run(run) == run == stores.bulk.add_run(run.model_copy(update={"prefix": "raw/x"}))
    assert stores.bulk.run("20261129-1") == run
    scan = Scan(keys=7, todo=2, finished=True, behind="raw/z")
    moved = stores.bulk.move_run(run.run_id, ["scanning"], "waiting", scan=scan, quote=QUOTE, jobs={"error": 1})
    assert moved == run.model_copy(update={"status": "waiting", "scan": scan, "quote": QUOTE, "jobs": {"error": 1}})
    assert moved.left == 1
    assert stores.bulk.move_run(run.run_id, ["scanning"], "cancelling") is None
    fields = {"deadline": None, "confirmed_by": "you", "fed": 2, "part": 3, "row": 4, "trouble": "x"}
    changed = stores.bulk.move_run(
        run.run_id, ["waiting", "running"], finished_at=now, certificate="exports/c", **fields
    )
    assert changed == moved.model_copy(update={**fields, "finished_at": now, "certificate": "exports/c"})
    other = stores.bulk.add_run(run.model_copy(update={"run_id": "20261130-1", "created_at": now + timedelta(1)}))
    assert [one.run_id for one in stores.bulk.runs()] == [other.run_id, run.run_id]
    assert [one.run_id for one in stores.bulk.runs(statuses=["waiting"])] == [run.run_id]
    for unknown in ("", "2026113a", "2026"):
        with pytest.raises(NotFound):
            stores.bulk.run(unknown)


def test_run_is_looked_after_by_one_at_a_time(stores: Stores) -> None:
    run_id = running(stores)
    held = stores.bulk.hold_run(run_id, "one", 60)
    assert held is not None and held.tended_at is not None
    assert stores.bulk.hold_run(run_id, "another", 60) is None
    assert stores.bulk.hold_run(run_id, "one", -1) is not None
    assert stores.bulk.hold_run(run_id, "another", 60) is not None  # the first fell silent
    stores.bulk.let_run(run_id, "one")
    assert stores.bulk.hold_run(run_id, "one", 60) is None
    stores.bulk.let_run(run_id, "another")
    assert stores.bulk.hold_run(run_id, "one", 60) is not None


def test_jobs_are_registered_once_and_let_in_only_while_their_run_runs(stores: Stores) -> None:
    run_id = running(stores, jobs=3)
    assert stores.bulk.register_bulk(run_id, {f"{run_id}-0": "raw/0.pdf", f"{run_id}-3": "raw/3.pdf"}) == 1
    job = stores.records.job(f"{run_id}-3")
    assert (job.run_id, job.source, job.priority, job.requested_by) == (run_id, "raw/3.pdf", "low", f"bulk:{run_id}")
    assert [job.job_id for job in stores.bulk.jobs_of(run_id, behind=f"{run_id}-1")] == [f"{run_id}-2", f"{run_id}-3"]
    stores.records.register_job("other", "raw/x", "low", None)
    stores.records.begin_stage(f"{run_id}-0", "fetch", "w")
    stores.records.drop_leases("nobody", died=True)

    assert stores.fleet.demand().open_jobs == 5
    stores.bulk.move_run(run_id, ["running"], "paused")
    assert (stores.fleet.demand().open_jobs, stores.fleet.demand().outside_bulk) == (
        1,
        1,
    )  # no machine helps the others
    assert stores.bulk.register_bulk(run_id, {"late": "raw/late.pdf"}) == 0
    assert [job.job_id for job in stores.records.admit(100, 60)] == ["other"]
    stores.bulk.move_run(run_id, ["paused"], "finishing")
    assert [job.job_id for job in stores.records.admit(100, 60)] == [f"{run_id}-0"]  # which has begun
    stores.bulk.move_run(run_id, ["finishing"], "running")
    assert len(stores.records.admit(100, 60)) == 3
    stands = stores.bulk.stands(run_id, LONG_AGO)
    assert (stands.jobs["queued"], stands.jobs["processing"], stands.begun, stands.open) == (3, 1, 1, 4)


def test_jobs_are_cancelled_by_what_became_of_them(stores: Stores) -> None:
    run_id = running(stores, jobs=3, cap_usd=1.0)
    stores.records.begin_stage(f"{run_id}-0", "fetch", "w")
    stores.records.begin_stage(f"{run_id}-1", "analyze", "w")
    assert not stores.records.reserve(f"{run_id}-1", "claude", 1.5, once="x", daily_budget_usd=100)
    assert stores.bulk.cancel_jobs(run_id, "not begun", "CapReached", "no room") == [f"{run_id}-2"]
    ended = stores.records.job(f"{run_id}-2")
    assert (ended.status, ended.error_class, ended.error_message) == ("cancelled", "CapReached", "no room")
    assert stores.records.events(ended.job_id)[-1].kind == "cancelled"
    assert stores.bulk.cancel_jobs(run_id, "refused", "CapReached", "no room") == [f"{run_id}-1"]
    assert stores.bulk.cancel_jobs(run_id, "all", None, None) == [f"{run_id}-0"]
    assert stores.bulk.cancel_jobs(run_id, "all", None, None) == []


def test_cap_is_held_against_what_is_spent_rented_and_set_aside(stores: Stores) -> None:
    run_id = running(stores, jobs=3, cap_usd=1.0)
    first, second, third = (f"{run_id}-{n}" for n in range(3))
    records, budget = stores.records, {"daily_budget_usd": 100.0}
    records.charge(None, "gpu", 0.25, once="rent", detail={})  # in its time
    assert records.reserve(first, "claude", 0.5, once="a", **budget)
    assert not records.reserve(second, "claude", 0.3, once="b", **budget)
    assert not records.reserve(third, "claude", 0.26, once="c", **budget)
    assert records.job(second).refused_usd == 0.3 and records.job(first).refused_usd is None
    assert [job.job_id for job in stores.bulk.refused_jobs(run_id)] == [third, second]
    stands = stores.bulk.stands(run_id, LONG_AGO)
    assert (stands.refused, stands.least_refused_usd, stands.reserved_usd) == (2, 0.26, 0.5)
    assert records.settle(0.1, once="a", detail={})
    assert records.reserve(second, "claude", 0.3, once="b", **budget)
    assert records.job(second).refused_usd is None
    stands = stores.bulk.stands(run_id, LONG_AGO)
    assert (stands.spent_usd, stands.rent_usd) == pytest.approx((0.1, 0.25))
    assert stands.committed_usd == pytest.approx(0.65) and stands.refused == 1
    assert stores.bulk.costs_of(run_id) == pytest.approx({"claude": 0.1, "gpu": 0.25})
    assert stores.bulk.run(run_id).spent_usd == pytest.approx(0.1)
    records.register_job("of no run", "raw/x", "low", None)
    assert records.reserve("of no run", "claude", 5.0, once="d", **budget)


def test_what_was_set_aside_does_not_grow_unseen(stores: Stores) -> None:
    records = stores.records
    records.register_job("j", "raw/x", "low", None)
    assert records.reserve("j", "claude", 1.0, once="a", daily_budget_usd=2.0)
    assert not records.reserve("j", "claude", 3.0, once="a", daily_budget_usd=2.0)
    assert records.reserve("j", "claude", 2.0, once="a", daily_budget_usd=2.0)
    assert records.reserve("j", "claude", 1.0, once="a", daily_budget_usd=2.0)  # is set aside already
    assert not records.reserve("j", "claude", 0.5, once="b", daily_budget_usd=2.0)


def test_ended_jobs_are_counted_from_a_moment_on(stores: Stores) -> None:
    run_id = running(stores, jobs=3)
    stores.records.complete(f"{run_id}-0", None, None)
    stores.records.fail(f"{run_id}-1", None, "NotADocument", "x")
    stores.records.put_off(f"{run_id}-2", 60, waits_for="money")
    stands = stores.bulk.stands(run_id, LONG_AGO)
    assert (stands.ended, stands.waits, stands.open) == (2, {"money": 1}, 1)
    assert stores.bulk.stands(run_id, datetime.now(UTC) + timedelta(hours=1)).ended == 0
