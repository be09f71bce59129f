"""Bulk runs from scan to certificate, on real records and files, with the chain's writes but not its work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Ignore, Retry

from aseagi_tasks import control, leases, services
from aseagi_tasks.bulk import ending, orders, quote, tending
from aseagi_tasks.documents import Reading, Source
from aseagi_tasks.errors import (
    BudgetExceeded,
    BulkRefused,
    CapReached,
    NotFound,
    RecordsUnavailable,
    StorageUnavailable,
)
from aseagi_tasks.settings import Settings, settings
from aseagi_tasks.stages.analyze import JobErrand
from aseagi_tasks.stages.certify import certify
from aseagi_tasks.stores.bulk_records import BulkRun, Quote
from aseagi_tasks.stores.records import FOLLOWS, Job
from aseagi_tasks.stores.sqlite_bulk import SqliteBulk
from aseagi_tasks.tasks import process
from tests.unit.test_certify import Office


class Works(Office):
    """An office with bulk runs, and what was told and sent."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.bulk = SqliteBulk(home / "records.sqlite3")
        self.told: list[str] = []
        self.sent: list[str] = []
        self.forgotten: list[str] = []
        self.document_usd = 0.0
        self.conf: Settings = settings().model_copy(update={"bulk_rest_s": 0, "home": home})

    def put(self, *names: str) -> None:
        """Files that nobody has done."""
        for name in names:
            self.storage.put(f"raw/{name}.pdf", name.encode())

    def quote(self, run_id: str, scan: Any, **_rest: Any) -> Quote:
        """What ``document_usd`` comes to."""
        usd = scan.todo * self.document_usd
        return Quote(
            documents=scan.todo, pages=(1, 2), usd=(usd / 2, usd), hours=(0, 1), document_usd=self.document_usd
        )

    def started(self, **asked: Any) -> str:
        """A run that is scanned and quoted."""
        run_id = orders.start("raw/", requested_by="me", **asked)
        tending.step(run_id)
        return run_id

    def running(self, cap_usd: float | None = None, **asked: Any) -> str:
        """A run whose first jobs are registered."""
        run_id = self.started(**asked)
        orders.confirm(run_id, by="me", cap_usd=cap_usd)
        assert tending.step(run_id).status == "running"
        return run_id

    def jobs(self, run_id: str) -> dict[str, Job]:
        """By name of the file."""
        found = self.bulk.jobs_of(run_id)
        return {job.source.removeprefix("raw/").removesuffix(".pdf"): job for job in found}

    def finish(self, job: Job) -> None:
        """As if the chain had done it."""
        body = self.storage.get(job.source)
        sha256 = hashlib.sha256(body).hexdigest()
        source = Source(key=job.source, name="n", sha256=sha256, bytes=len(body), media_type="application/pdf")
        self.records.register_document(job.job_id, source, datetime.now(UTC))
        self.publish(job.job_id, body.decode())


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Works:
    made = Works(tmp_path)
    monkeypatch.setattr(services, "records", lambda: made.records)
    monkeypatch.setattr(services, "bulk_records", lambda: made.bulk)
    monkeypatch.setattr(services, "fleet_records", lambda: None)
    monkeypatch.setattr(services, "storage", lambda: made.storage)
    monkeypatch.setattr(services, "tell_surely", lambda _key, message: made.told.append(message))
    monkeypatch.setattr(services, "tell_once", lambda _key, message: made.told.append(message))
    monkeypatch.setattr(tending, "feed_if_possible", lambda limit: None)
    monkeypatch.setattr(tending, "forget_ended", made.forgotten.extend)
    monkeypatch.setattr(tending, "go_on", lambda job: made.sent.append(job.job_id))
    monkeypatch.setattr(quote, "quote_of", made.quote)
    for module in (orders, tending, control):
        monkeypatch.setattr(module, "settings", lambda: made.conf)
    return made


def test_run_is_scanned_quoted_confirmed_done_and_certified(works: Works) -> None:
    works.put("a", "b", "c")
    run_id = works.started()
    assert orders.show(run_id)["status"] == "waiting" and works.bulk.jobs_of(run_id) == []
    orders.confirm(run_id[:16], by="you")
    tending.tend()
    jobs = works.jobs(run_id)
    assert set(jobs) == {"a", "b", "c"} and {job.requested_by for job in jobs.values()} == {f"bulk:{run_id}"}
    works.finish(jobs["a"])
    orders.pause(run_id, by="you")
    assert works.records.admit(10, 60) == [] and tending.step(run_id).status == "paused"
    orders.resume(run_id, by="you")
    assert len(works.records.admit(10, 60)) == 2
    works.finish(jobs["b"])
    shown = orders.show(run_id)
    assert (shown["status"], shown["left"], shown["progress"]["done"]) == ("running", 1, 2)
    works.records.fail(jobs["c"].job_id, "fetch", "Encrypted", "It is locked.")
    ended = tending.step(run_id)
    assert (ended.status, ended.left, ended.reason) == ("completed", 0, None)
    certificate = json.loads(works.storage.get(ended.certificate or ""))
    assert certificate["totals"]["balanced"] and certificate["totals"]["files"] == 3
    (digest,) = works.told
    assert "3 of 3" not in digest and "2 of 3 documents are done, 1 failed (1 Encrypted)" in digest
    assert "Its certificate balances" in digest and ended.certificate in digest
    assert list(works.storage.list("bulk/")) == [] and tending.tend() == {}
    (row,) = orders.listed()
    assert (row["todo"], row["done"], row["left"], row["certificate"]) == (3, 3, 0, ended.certificate)
    json.dumps([orders.show(run_id), row])

    again = tending.step(orders.start("raw/", requested_by="me"))
    assert (again.status, again.scan.done, again.scan.failed) == ("completed", 2, 1)
    assert again.reason == "There is nothing to do." and len(works.told) == 1
    with_failed = tending.step(orders.start("raw/", requested_by="me", failed=True))
    assert (with_failed.status, with_failed.scan.todo) == ("waiting", 1)


def test_what_is_stopped_anywhere_registers_nothing_twice(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    works.put("a", "b", "c", "d", "e")
    monkeypatch.setattr(tending, "TOGETHER", 2)
    run_id = works.started()
    orders.confirm(run_id, by="me")
    move, calls = works.bulk.move_run, 0

    def fails(*args: Any, **changes: Any) -> BulkRun | None:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise RecordsUnavailable("moving a run", "it is locked")
        return move(*args, **changes)

    monkeypatch.setattr(works.bulk, "move_run", fails)
    for _ in range(20):
        try:
            tending.step(run_id)
        except RecordsUnavailable:
            continue
    run = works.bulk.run(run_id)
    assert (run.status, run.fed, set(works.jobs(run_id))) == ("running", 5, set("abcde"))


def test_run_at_its_cap_begins_nothing_and_leaves_the_rest_to_the_next(works: Works) -> None:
    works.put("a", "b", "c", "d")
    works.document_usd = 0.5
    run_id = works.running(cap_usd=1.2)
    jobs = works.jobs(run_id)
    assert set(jobs) == {"a", "b"}  # a third could pass the cap
    assert orders.show(run_id)["left_usd"] == pytest.approx(1.2)
    for job in jobs.values():
        works.records.begin_stage(job.job_id, "analyze", "w")
    assert works.records.reserve(jobs["a"].job_id, "claude", 0.4, once="a", daily_budget_usd=9)
    assert not works.records.reserve(jobs["b"].job_id, "claude", 0.85, once="b", daily_budget_usd=9)
    works.records.put_off(jobs["b"].job_id, 60, waits_for="the cap")
    assert tending.step(run_id).status == "running"  # the first may cost less than was set aside
    works.records.settle(0.2, once="a", detail={})
    works.finish(jobs["a"])
    tending.step(run_id)
    third = works.jobs(run_id)["c"]  # for which there is room now
    works.records.charge(third.job_id, "claude", 0.1, once="c", detail={})
    works.finish(third)
    assert tending.step(run_id).status == "running" and works.sent == [jobs["b"].job_id]
    works.records.charge(None, "gpu", 0.3, once="rent", detail={})
    assert tending.step(run_id).status == "finishing"
    ended = tending.step(run_id)
    assert (ended.status, ended.reason, ended.left) == ("completed", "The cap of $1.20 is reached.", 2)
    job = works.records.job(jobs["b"].job_id)
    assert (job.status, job.error_class) == ("cancelled", "CapReached") and job.job_id in works.forgotten
    shown = orders.show(run_id)
    assert (shown["spent_usd"], shown["rent_usd"]) == pytest.approx((0.6, 0.3)) and shown["left"] == 2
    assert "2 are left" in works.told[0] and "$0.60 of $1.20" in works.told[0]
    assert json.loads(works.storage.get(ended.certificate or ""))["totals"]["balanced"]
    assert works.bulk.run(works.started()).scan.todo == 2


def test_runs_that_wait_come_last(works: Works) -> None:
    works.put("a")
    waits, runs = works.started(), works.running()
    assert list(tending.tend()) == [runs, waits]


def test_cap_below_one_document_is_said_and_begins_nothing(works: Works) -> None:
    works.put("a", "b")
    works.document_usd = 0.5
    run_id = works.started()
    orders.confirm(run_id, by="me", cap_usd=0.1)
    assert "below what was quoted" in orders.show(run_id)["trouble"]
    tending.step(run_id)
    ended = tending.step(run_id)
    assert (ended.status, ended.fed, ended.left) == ("completed", 0, 2)


def test_deadline_ends_what_was_begun_and_carries_the_rest_over(works: Works) -> None:
    works.put("a", "b", "c")
    now = datetime.now(UTC)
    run_id = works.running(deadline=now + timedelta(hours=1))
    jobs = works.jobs(run_id)
    works.records.begin_stage(jobs["a"].job_id, "fetch", "w")
    works.records.begin_stage(jobs["b"].job_id, "analyze", "w")
    works.records.put_off(jobs["b"].job_id, 60, waits_for="money")
    late = now + timedelta(hours=2)
    assert tending.step(run_id, now=late).status == "finishing"
    assert tending.step(run_id, now=late).status == "finishing"
    assert {name: works.records.job(job.job_id).status for name, job in jobs.items()} == {
        **{"a": "processing", "b": "cancelled", "c": "cancelled"}
    }
    works.finish(jobs["a"])
    ended = tending.step(run_id, now=late)
    assert (ended.status, ended.left) == ("completed", 2) and "deadline" in (ended.reason or "")


def test_cancelled_run_ends_its_jobs_and_is_certified(works: Works) -> None:
    works.put("a", "b")
    run_id = works.running()
    works.finish(works.jobs(run_id)["a"])
    orders.cancel(run_id, by="you")
    ended = tending.step(run_id)
    assert (ended.status, ended.reason) == ("cancelled", "cancelled by you")
    assert {name: job.status for name, job in works.jobs(run_id).items()} == {"a": "completed", "b": "cancelled"}
    assert json.loads(works.storage.get(ended.certificate or ""))["totals"]["outcomes"]["cancelled"] == 1


def test_run_ends_when_its_lists_are_gone_and_its_operators_told(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    works.put("a")
    run_id = works.running()
    works.finish(works.jobs(run_id)["a"])
    delete, broken = works.storage.delete_all, StorageUnavailable("removing lists", "as told")
    monkeypatch.setattr(works.storage, "delete_all", lambda _prefix: (_ for _ in ()).throw(broken))
    assert tending.step(run_id).status == "running"
    monkeypatch.setattr(works.storage, "delete_all", delete)
    telling, calls = services.tell_surely, list[str]()

    def dies(key: str, message: str) -> None:
        telling(key, message)
        calls.append(key)
        if len(calls) == 1:
            raise RecordsUnavailable("moving a run", "as told")

    monkeypatch.setattr(services, "tell_surely", dies)
    with pytest.raises(RecordsUnavailable):
        tending.step(run_id)
    assert (works.bulk.run(run_id).status, len(works.told)) == ("running", 1)
    assert tending.step(run_id).status == "completed"
    assert calls == [f"bulk:{run_id}:completed"] * 2, "under one key, so that they hear of it once"
    assert list(works.storage.list("bulk/")) == []


def test_digest_says_how_long_it_took_in_both_languages(works: Works) -> None:
    works.put("a")
    run = works.bulk.run(works.running())
    certificate, _ = certify(
        [], "run", records=works.records, storage=works.storage, bucket="b", key=None, now=run.created_at
    )
    assert run.started_at is not None
    for seconds, said in ((0.2, "1 segundo."), (2, "2 segundos."), (600, "10 minutos."), (7_200, "2.0 horas.")):
        ended = run.model_copy(
            update={"status": "completed", "finished_at": run.started_at + timedelta(seconds=seconds)}
        )
        assert f"Duró {said}" in ending.digest(ended, certificate, {}).spanish


@pytest.mark.parametrize(
    ("usd", "asked", "status"), [(0.4, {}, "confirmed"), (0.6, {}, "waiting"), (9.0, {"cap_usd": 1.0}, "confirmed")]
)
def test_run_that_nobody_watches_confirms_itself_up_to_a_limit(
    works: Works, usd: float, asked: dict[str, float], status: str
) -> None:
    works.put("a", "b")
    works.document_usd = usd
    run_id = works.started(unattended=True, **asked)
    tending.step(run_id) if status == "waiting" else None
    run = works.bulk.run(run_id)
    assert run.status == status
    if status == "waiting":
        assert works.told and "ASEAGI_BULK_UNATTENDED_USD" in (run.reason or "")


def test_night_begins_once_a_date_and_only_while_it_is_night(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    works.put("a")
    assert control.nightly() is None  # off
    here = {"nightly": "on", "nightly_at": "22:00", "nightly_until": "05:00", "time_zone": "America/New_York"}
    works.conf = works.conf.model_copy(update=here)

    def at(hour: int, day: int = 29) -> None:
        moment = datetime(2026, 11, day, hour, 30, tzinfo=UTC)
        monkeypatch.setattr(control, "datetime", type("Then", (), {"now": staticmethod(lambda _zone: moment)}))

    at(12)  # 07:30 there
    assert control.nightly() is None
    at(4)  # 23:30 of the day before, there
    first = control.nightly()
    at(9)  # 04:30
    assert first is not None and control.nightly() == first and first.startswith("20261128-220000-")
    at(4, day=30)
    assert control.nightly() != first
    monkeypatch.setattr(works.bulk, "add_run", lambda _run: (_ for _ in ()).throw(RecordsUnavailable("adding", "no")))
    control.nightly.push_request(called_directly=False, id="1", is_eager=True, retries=40)
    with pytest.raises(Retry, match="60s"):
        control.nightly.run()
    control.nightly.pop_request()
    run = works.bulk.run(first)
    assert (run.kind, run.cap_usd, run.unattended) == ("night", 5.0, True)
    assert run.deadline == datetime(2026, 11, 29, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize("prefix", ["", "/", "processed/", "raw", "raw/../processed/", "raw//x", "/raw/"])
def test_what_lies_elsewhere_is_refused(works: Works, prefix: str) -> None:
    with pytest.raises(BulkRefused):
        orders.start(prefix, requested_by="me")


def test_run_moves_only_from_where_it_may(works: Works) -> None:
    works.put("a")
    run_id = orders.start("raw/a", requested_by="me")
    refused: list[Callable[[], None]] = [
        lambda: orders.confirm(run_id, by="me"),
        lambda: orders.pause(run_id, by="me"),
        lambda: orders.resume(run_id, by="me"),
        lambda: orders.confirm(run_id, by="me", cap_usd=-1),
    ]
    for ask in refused:
        with pytest.raises(BulkRefused) as said:
            ask()
        assert said.value.run_id == run_id and "scanning" in str(said.value)
    orders.cancel(run_id, by="me")
    assert tending.step(run_id).status == "cancelled"
    with pytest.raises(BulkRefused):
        orders.cancel(run_id, by="me")
    with pytest.raises(NotFound):
        orders.show("nothing")


def test_trouble_says_why_nothing_moves(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    works.put("a")
    run_id = works.running()
    assert orders.show(run_id)["trouble"] is None
    works.records.put_off(works.jobs(run_id)["a"].job_id, 60, waits_for="a setting")
    assert orders.show(run_id)["trouble"] == "1 of its documents wait for a setting."
    assert "control worker" in orders.show(run_id, now=datetime.now(UTC) + timedelta(hours=1))["trouble"]
    works.put("b")
    other = orders.start("raw/b", requested_by="me")
    monkeypatch.setattr(works.storage, "list", lambda *_: (_ for _ in ()).throw(NotFound("raw/b", "the bucket")))
    tending.tend()
    assert "raw/b" in orders.show(other)["trouble"] and orders.show(other)["status"] == "scanning"


def test_document_whose_money_is_refused_waits_for_the_cap_of_its_run(works: Works) -> None:
    works.put("a")
    run_id = works.running(cap_usd=0.5)
    (job,) = works.jobs(run_id).values()
    source = SimpleNamespace(name="a.pdf")
    place: Any = SimpleNamespace(job_id=job.job_id, source=source, settings=works.conf)
    errand = JobErrand(place, Reading(engine="t", pages=()), works.records)
    errand.reserve("p1-1", 0.4)
    with pytest.raises(CapReached, match=f"the cap of run {run_id} leaves no room"):
        errand.reserve("p2-1", 0.2)
    works.bulk.move_run(run_id, ["running"], cap_usd=100.0)
    with pytest.raises(BudgetExceeded) as said:  # the day's
        errand.reserve("p2-1", 50.0)
    assert not isinstance(said.value, CapReached)


@pytest.mark.parametrize("waits_for", ["the cap", None], ids=["here", "on a rented machine"])
def test_request_that_follows_one_that_waits_waits_too_and_holds_up_no_end(
    works: Works, monkeypatch: pytest.MonkeyPatch, waits_for: str | None
) -> None:
    works.put("a", "b")
    works.document_usd = 0.5
    run_id = works.running(cap_usd=1.0)
    first, second = works.jobs(run_id).values()
    source = Source(key=first.source, name="n", sha256="a" * 64, bytes=1, media_type="application/pdf")
    for job in (first, second):  # the same bytes under two names
        works.records.register_document(job.job_id, source, datetime.now(UTC))
    assert works.records.claim(first.job_id, source.document_id, datetime.now(UTC)).job_id == first.job_id
    works.records.begin_stage(first.job_id, "analyze", "w")
    assert not works.records.reserve(first.job_id, "claude", 1.5, once="x", daily_budget_usd=9)
    works.records.put_off(first.job_id, 60, waits_for=waits_for)
    monkeypatch.setattr(leases._Kept, "start", lambda _: None)  # no thread is left behind
    process.push_request(id=second.job_id, args=[second.source], hostname="w", retries=0)
    try:
        with pytest.raises(Ignore):
            process.run(second.source)
    finally:
        process.pop_request()
    assert works.records.job(second.job_id).waits_for == FOLLOWS
    assert tending.step(run_id).status == "finishing"
    ended = tending.step(run_id)
    assert (ended.status, ended.left, ended.reason) == ("completed", 2, "The cap of $1.00 is reached.")
