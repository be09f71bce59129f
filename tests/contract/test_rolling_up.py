"""Old events become one row each job, once, whoever does it; nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.rolling_up import SUMMARY, stages_of, summary
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.transfer import export_records, import_records
from aseagi_tasks.stores.user_records import Answer
from tests.contract.test_records import begun
from tests.servers.cloud import Project

DAY = timedelta(days=1)


@pytest.fixture(params=["sqlite", "supabase"])
def records(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Records]:
    if request.param == "sqlite":
        yield SqliteRecords(tmp_path / "records.sqlite3")
    else:
        project: Project = request.getfixturevalue("project")
        yield project.records()


def work(records: Records, content: str) -> str:
    """A job as far as the end of its reading, with a lost worker on the way."""
    job_id, _ = begun(records, content)
    records.begin_stage(job_id, "rasterize", "a")
    records.end_stage(job_id, "rasterize", 0.5, "a", {"pages": 7})
    records.begin_stage(job_id, "ocr", "a")
    records.add_event(job_id, "ocr", "lost", "a", {})
    records.add_event(job_id, "ocr", "resumed", "reaper", {})
    records.begin_stage(job_id, "ocr", "b")
    records.end_stage(job_id, "ocr", 1.25, "b", {"pages_left": 3})
    records.begin_stage(job_id, "ocr", "b")
    records.end_stage(job_id, "ocr", 2.25, "b", {"pages": 7})
    records.add_event(job_id, None, "note", "telegram", {"note": "for the hearing"})
    return job_id


def test_ended_jobs_keep_one_row_and_all_else(records: Records) -> None:
    completed, failed, still = work(records, "a"), work(records, "b"), work(records, "c")
    records.charge(completed, "claude", 0.25, once="x", detail={})
    assert records.complete(completed, None, None)
    assert records.fail(failed, "analyze", "Refused", "No.")
    jobs, long = [records.job(job_id) for job_id in (completed, failed, still)], records.events(still)
    began = records.events(completed)[0].at
    assert records.roll_up_events(datetime.now(UTC) - DAY) == 0
    assert len(records.events(completed)) == 11
    assert records.roll_up_events(datetime.now(UTC) + DAY) == 2
    assert records.roll_up_events(datetime.now(UTC) + DAY) == 0
    note, one = sorted(records.events(completed), key=lambda event: event.kind)
    assert (note.kind, note.detail["note"]) == ("note", "for the hearing")
    assert (one.kind, one.stage, one.seconds, one.worker) == (SUMMARY, None, 4.0, "b")
    assert one.detail == {
        **{"began": began.isoformat(timespec="milliseconds"), "ended": "known", "events": 10, "pages": 7},
        **{"seconds": {"rasterize": 0.5, "ocr": 3.5}, "starts": {"ocr": 3}, "lost": 1, "resumed": 1},
        "workers": ["a", "b"],
    }
    assert stages_of(one) == {"rasterize", "ocr"}
    said = next(event for event in records.events(failed) if event.kind == SUMMARY).detail
    assert (said["ended"], said["error_class"], said["message"]) == ("failed", "Refused", "No.")
    assert [records.job(job_id) for job_id in (completed, failed, still)] == jobs
    assert records.job(completed).cost_usd == 0.25
    assert records.events(still) == long


def test_what_was_rolled_up_elsewhere_and_travels_stays_so(records: Records, tmp_path: Path) -> None:
    job_id = work(records, "a")
    records.complete(job_id, None, None)
    assert records.roll_up_events(datetime.now(UTC) + DAY) == 1
    export_records(records, tmp_path / "all.jsonl")
    other = SqliteRecords(tmp_path / "other.sqlite3")
    assert import_records(other, tmp_path / "all.jsonl").different == {}
    assert other.roll_up_events(datetime.now(UTC) + DAY) == 1
    assert other.events(job_id) == records.events(job_id)
    assert summary(records.events(job_id)) is None


def test_many_at_once_roll_each_up_once(records: Records) -> None:
    job_ids = [work(records, letter) for letter in "abcdefgh"]
    for job_id in job_ids:
        records.complete(job_id, None, None)

    def roll(_number: int) -> None:
        while records.roll_up_events(datetime.now(UTC) + DAY, limit=3):
            pass

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(roll, range(4)))
    for job_id in job_ids:
        assert sorted(event.kind for event in records.events(job_id)) == ["note", SUMMARY]


def test_answers_of_long_ago_are_forgotten_and_open_ones_stay(records: Records) -> None:
    now = datetime.now(UTC)
    for job_id, ended in (("old", now - 2 * DAY), ("new", now), ("open", None)):
        records.open_answer(Answer(job_id=job_id, telegram_id=7, name="a.pdf", created_at=now - 9 * DAY))
        if ended is not None:
            records.end_answer(job_id, ended)
    assert records.forget_answers(now - DAY) == 1
    assert sorted(answer.job_id for answer in records.answers_to(7)) == ["new", "open"]
