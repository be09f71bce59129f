"""What a night puts in order: only what is over, counted, twice at once, and one step's failure stops no other."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aseagi_tasks import housekeeping, services
from aseagi_tasks.errors import StorageUnavailable
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.rolling_up import SUMMARY
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.unit.test_certify import Office

DAY = timedelta(days=1)


class House(Office):
    """An office whose files and rows can be made old."""

    def age(self, key: str, days: float) -> None:
        """A file of the bucket."""
        then = time.time() - days * 86_400
        os.utime(self.storage.root / key, (then, then))

    def ended(self, job_id: str, days: float) -> None:
        """When a job ended."""
        with self.records._write("making it old") as db:
            then = (datetime.now(UTC) - timedelta(days=days)).isoformat(timespec="microseconds")
            db.execute("UPDATE processing_jobs SET finished_at = ? WHERE job_id = ?", (then, job_id))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    made = House(tmp_path)
    monkeypatch.setattr(services, "records", lambda: made.records)
    monkeypatch.setattr(services, "storage", lambda: made.storage)
    conf = settings().model_copy(update={"scratch": tmp_path / "scratch"})
    monkeypatch.setattr(housekeeping, "settings", lambda: conf)
    (tmp_path / "scratch").mkdir()
    return made


def furnish(house: House) -> set[str]:
    """Things old and new, of jobs ended and open; the keys that are to stay."""
    house.process("done", "motion")
    house.hand_in("open", "order")
    go = {"cache/done/ocr.json", "cache/nobody/x", "cache/stray", "exports/weekly-report-2024-01-01.pdf"}
    stay = {"cache/open/ocr.json", "exports/certificates/2020-01-01-x.json", "cache/fresh/x"}
    stay |= {there.key for prefix in ("raw/", "processed/") for there in house.storage.list(prefix)}
    for key in go | stay:
        if not key.startswith(("raw", "processed")):
            house.storage.put(key, b"x")
        if key != "cache/fresh/x":
            house.age(key, 1_000)
    then = time.time() - 2 * 86_400
    for name in ("done", "open", "records-1.sqlite3"):
        path = house.home / "scratch" / name
        path.write_text("x") if "." in name else path.mkdir()
        os.utime(path, (then, then))
    return stay


def keys_of(house: House) -> set[str]:
    return {there.key for there in house.storage.list("")}


def test_what_is_over_goes_and_is_counted(house: House) -> None:
    stay = furnish(house)
    house.ended("done", 91)
    assert housekeeping.clean() == {
        **{"cache": 3, "scratch": 2, "updates": 0, "answers": 0, "jobs_rolled_up": 1, "exports": 1}
    }
    assert keys_of(house) == stay
    assert [path.name for path in (house.home / "scratch").iterdir()] == ["open"]
    assert set(housekeeping.clean().values()) == {0}


def test_many_at_once_do_no_harm(house: House) -> None:
    stay = furnish(house)
    house.ended("done", 91)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _number: housekeeping.clean(), range(4)))
    assert keys_of(house) == stay
    assert [event.kind for event in house.records.events("done")] == [SUMMARY]


def test_one_step_that_fails_stops_no_other_and_is_told(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    furnish(house)
    house.ended("done", 91)

    class Away(FolderStorage):
        def list(self, prefix: str):  # type: ignore[no-untyped-def]
            raise StorageUnavailable(f"listing {prefix}", "away")

    monkeypatch.setattr(services, "storage", lambda: Away(house.storage.root))
    with pytest.raises(StorageUnavailable, match="cache/"):
        housekeeping.clean()
    assert [event.kind for event in house.records.events("done")] == [SUMMARY]
    assert [path.name for path in (house.home / "scratch").iterdir()] == ["open"]


def test_certificates_go_only_where_that_is_said(house: House) -> None:
    house.storage.put("exports/certificates/2020-01-01-x.json", b"x")
    house.age("exports/certificates/2020-01-01-x.json", 1_000)
    assert housekeeping.clean_exports(datetime.now(UTC), 365, 0) == 0
    assert housekeeping.clean_exports(datetime.now(UTC), 0, 365) == 1


def test_certificates_of_days_rolled_up_hold_and_say_the_same_anew(house: House) -> None:
    house.process("done", "motion")
    house.hand_in("poison", "poison")
    house.records.begin_stage("poison", "rasterize", "w")
    house.records.end_stage("poison", "rasterize", 1, "w", {"pages": 7, "unread": 7})
    house.records.begin_stage("poison", "ocr", "w")
    house.records.fail("poison", "ocr", "Quarantined", "Stage ocr was started 3 times.")
    before = house.certificate()
    assert house.records.roll_up_events(datetime.now(UTC) + DAY) == 2
    assert house.check(before) == []
    assert house.certificate().entries == before.entries
    assert next(entry for entry in before.entries if entry.job_id == "poison").pages == 7


def test_a_night_that_is_killed_is_made_good_by_the_next(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(120):
        house.hand_in(f"job-{number:03}", f"text {number}")
        house.records.begin_stage(f"job-{number:03}", "fetch", "w")
        house.records.cancel(f"job-{number:03}")
    calls = 0
    whole = SqliteRecords.roll_up_events

    def dies(self: SqliteRecords, before: datetime, limit: int = 50) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return whole(self, before, limit)

    monkeypatch.setattr(SqliteRecords, "roll_up_events", dies)
    later = datetime.now(UTC) + DAY
    with pytest.raises(KeyboardInterrupt):
        housekeeping.roll_up(later)
    assert housekeeping.roll_up(later) == 70
    assert all([e.kind for e in house.records.events(f"job-{n:03}")] == [SUMMARY] for n in range(120))
