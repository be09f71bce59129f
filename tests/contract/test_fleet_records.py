"""What both stores promise about the fleet, whoever writes at once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aseagi_tasks.documents import Source
from aseagi_tasks.errors import NotFound
from aseagi_tasks.fleet.model import Offer
from aseagi_tasks.stores import fleet_records
from aseagi_tasks.stores.fleet_records import FleetRecords
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.sqlite_fleet import SqliteFleet
from aseagi_tasks.stores.supabase_fleet import SupabaseFleet
from tests.servers.cloud import Project

OFFER = Offer(ask_id=5, machine_id=77, gpu="RTX 3090", price_usd_per_hour=0.19, reliability=0.99)


@pytest.fixture(params=["sqlite", "supabase"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[FleetRecords, Records]:
    if request.param == "sqlite":
        return SqliteFleet(tmp_path / "records.sqlite3"), SqliteRecords(tmp_path / "records.sqlite3")
    project: Project = request.getfixturevalue("project")
    api = project.api
    return SupabaseFleet(api.url, api.token("anon"), api.token("service_role")), project.records()


@pytest.fixture
def fleet(stores: tuple[FleetRecords, Records]) -> FleetRecords:
    return stores[0]


def test_intent_is_written_once(fleet: FleetRecords) -> None:
    first = fleet.add_instance("aseagi-1", OFFER, {"reason": "41 pages wait"})
    assert (first.state, first.provider_id, first.machine_id, first.gpu) == ("intent", None, 77, "RTX 3090")
    assert first.price_usd_per_hour == pytest.approx(0.19)
    assert first.detail["reason"] == "41 pages wait" and Offer(**first.detail["offer"]) == OFFER
    assert fleet.add_instance("aseagi-1", OFFER, {"reason": "another"}) == first
    assert abs((datetime.now(UTC) - first.created_at).total_seconds()) < 60
    assert [row.instance_id for row in fleet.instances()] == ["aseagi-1"]


def test_move_is_conditional_on_what_was_seen(fleet: FleetRecords) -> None:
    created = fleet.add_instance("aseagi-1", OFFER, {})
    moved = fleet.move_instance("aseagi-1", {"intent"}, "requested", provider_id=123, detail={"message": "ok"})
    assert moved is not None and (moved.state, moved.provider_id) == ("requested", 123)
    assert moved.state_since > created.state_since
    assert fleet.move_instance("aseagi-1", {"intent"}, "failed") is None
    again = fleet.move_instance("aseagi-1", {"requested", "loading"}, "requested", provider_id=9, detail={"x": 1})
    assert again is not None and (again.provider_id, again.state_since) == (123, moved.state_since)
    assert {"message": "ok", "x": 1}.items() <= again.detail.items()
    assert fleet.move_instance("nobody", {"intent"}, "gone") is None


def test_of_many_who_move_at_once_one_does(fleet: FleetRecords) -> None:
    fleet.add_instance("aseagi-1", OFFER, {})
    moved: list[bool] = []
    start = threading.Barrier(8)

    def move() -> None:
        start.wait(10)
        moved.append(fleet.move_instance("aseagi-1", {"intent"}, "requested") is not None)

    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert moved.count(True) == 1 and len(moved) == 8


def test_note_merges_and_takes_away(fleet: FleetRecords) -> None:
    fleet.add_instance("aseagi-1", OFFER, {"a": 1, "b": 2})
    fleet.note_instance("aseagi-1", {"b": None, "c": "é"})
    row = fleet.instance("aseagi-1")
    assert {name: row.detail.get(name) for name in "abc"} == {"a": 1, "b": None, "c": "é"}
    assert "b" not in row.detail and row.state == "intent"


def test_gone_are_listed_only_since(fleet: FleetRecords) -> None:
    for name in ("aseagi-1", "aseagi-2"):
        fleet.add_instance(name, OFFER, {})
    fleet.move_instance("aseagi-1", {"intent"}, "gone")
    now = datetime.now(UTC)
    assert [row.instance_id for row in fleet.instances()] == ["aseagi-2"]
    both = [row.instance_id for row in fleet.instances(since=now - timedelta(hours=1))]
    assert both == ["aseagi-1", "aseagi-2"]
    assert [row.instance_id for row in fleet.instances(since=now + timedelta(hours=1))] == ["aseagi-2"]


def test_instance_is_found_by_beginning_or_end(fleet: FleetRecords) -> None:
    for name in ("aseagi-abc1", "aseagi-abd2"):
        fleet.add_instance(name, OFFER, {})
    assert fleet.instance("bd2").instance_id == fleet.instance("aseagi-abd").instance_id == "aseagi-abd2"
    for wrong in ("", "aseagi-", "zzz"):
        with pytest.raises(NotFound):
            fleet.instance(wrong)


def test_time_is_billed_once(stores: tuple[FleetRecords, Records]) -> None:
    fleet, records = stores
    row = fleet.add_instance("aseagi-1", OFFER, {})
    first, second = row.created_at + timedelta(minutes=5), row.created_at + timedelta(minutes=7)
    detail = {"gpu": 0.01, "note": {"billed_down_gb": 4.0}}
    assert fleet.bill_instance("aseagi-1", None, first, 0.02, detail)
    assert not fleet.bill_instance("aseagi-1", None, second, 0.5, detail)
    assert fleet.bill_instance("aseagi-1", first, second, 0.01, {"gpu": 0.01})
    assert fleet.instance("aseagi-1").billed_until == second
    assert fleet.instance("aseagi-1").detail["billed_down_gb"] == 4.0
    fleet.add_instance("aseagi-12", OFFER, {})
    assert fleet.bill_instance("aseagi-12", None, first, 1.0, {})
    assert fleet.billed("aseagi-1") == pytest.approx(0.03)
    assert records.costs(row.created_at - timedelta(days=1)) == pytest.approx({"gpu": 1.03})
    assert not fleet.bill_instance("nobody", None, first, 1.0, {})


def test_failed_machine_is_barred_longer_each_time(fleet: FleetRecords) -> None:
    now = datetime.now(UTC)
    for failure, days in ((1, 1), (2, 2), (3, 4)):
        for _ in range(2):  # told twice of the same instance
            row = fleet.fail_machine(77, "RTX 3090", f"aseagi-{failure}", "never ran")
        assert row.failures == failure and row.barred_until is not None
        assert abs(row.barred_until - now - timedelta(days=days)) < timedelta(minutes=2)
    for number in range(20):
        row = fleet.fail_machine(77, "RTX 3090", f"again-{number}", "never ran")
    assert row.barred_until is not None
    most = timedelta(seconds=fleet_records.MAX_BARRED_S)
    assert abs(row.barred_until - now - most) < timedelta(minutes=2)


def test_measurements_are_kept(fleet: FleetRecords) -> None:
    fleet.measure_machine(77, "RTX 3090", seconds_per_page=0.3)
    fleet.measure_machine(77, "RTX 3090", boot_s=90)
    fleet.fail_machine(78, "RTX 4090", "aseagi-1", "wrong text")
    known = {row.machine_id: row for row in fleet.machines()}
    assert (known[77].seconds_per_page, known[77].boot_s, known[77].failures) == (0.3, 90, 0)
    assert (known[78].gpu, known[78].why, known[78].seconds_per_page) == ("RTX 4090", "wrong text", None)


def test_demand_counts_pages_as_well_as_they_are_known(stores: tuple[FleetRecords, Records]) -> None:
    fleet, records = stores
    none = fleet.demand()
    assert (none.open_jobs, none.pages_per_document, none.oldest, none.requested) == (0, 3, None, ())
    for number in range(4):
        name = f"job-{number}"
        records.register_job(name, "raw/x", "low" if number > 1 else "normal", None)
        digest = f"{number:064x}"[::-1]
        source = Source(key="raw/x", name="x.pdf", sha256=digest, bytes=1, media_type="application/pdf")
        document = records.register_document(name, source, datetime.now(UTC))
        if number == 0:
            records.complete(name, document.model_copy(update={"processed": "p", "pages": 8}), None)
    assert fleet.demand().pages_per_document == pytest.approx(8)  # as usual
    records.begin_stage("job-1", "rasterize", "w")
    records.end_stage("job-1", "rasterize", 1.0, "w", {"pages": 30, "unread": 20})
    found = fleet.demand()
    assert (found.open_jobs, found.pages_per_document) == (3, pytest.approx((20 + 8 + 8) / 3))
    assert found.oldest == records.job("job-1").created_at
    assert (found.outside_interactive, found.outside_bulk) == (0, 3), "nobody let them in"
    records.register_job("urgent", "raw/x", "high", None)
    assert fleet.demand().outside_interactive == 1
    assert records.put_off("job-2", 3_600, waits_for="a message batch")
    assert (fleet.demand().open_jobs, fleet.demand().outside_bulk) == (3, 2), "no machine helps what waits for a batch"
    assert sorted(found.requested) == [records.job(f"job-{number}").created_at for number in (0, 1, 3)]


def test_decisions_are_kept_and_bounded(fleet: FleetRecords, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sqlite_fleet", "supabase_fleet"):
        monkeypatch.setattr(f"aseagi_tasks.stores.{module}.TICKS", 3)
    at = datetime(2026, 11, 25, 1, tzinfo=UTC)
    for number in range(6):
        fleet.add_tick(at + timedelta(seconds=15 * number), {"number": number, "decisions": [{"reason": "é"}]})
    kept = fleet.ticks()
    assert [tick.detail["number"] for tick in kept] == [5, 4, 3]
    assert kept[0].at == at + timedelta(seconds=75) and kept[0].detail["decisions"] == [{"reason": "é"}]
    assert len(fleet.ticks(1)) == 1


def test_controls_are_set_and_taken_back(fleet: FleetRecords) -> None:
    assert fleet.controls() == {}
    fleet.set_control("paused", True, "me")
    fleet.set_control("limits", {"instances": 2, "usd_per_hour": 0.5}, "me")
    fleet.set_control("limits", {"instances": 3}, "me")
    assert fleet.controls() == {"paused": True, "limits": {"instances": 3}}
    fleet.set_control("paused", None, "me")
    assert fleet.controls() == {"limits": {"instances": 3}}
