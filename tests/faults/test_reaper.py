"""Jobs that nobody has: found from records and bucket alone, once, whatever clocks and reapers do."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aseagi_tasks.stores import sqlite_leases
from aseagi_tasks.stores.sqlite import SqliteRecords
from beat_schedule import Every
from tests.faults.balance import balance
from tests.faults.plant import Plant, filing, until


def test_chain_that_broke_goes_on_once_with_two_beats_and_two_reapers(plant: Plant, tmp_path: Path) -> None:
    plant.worker("second", queues="control", arguments="-P threads -c 2")
    plant.celery("clock", "beat", "-s", str(plant.home / "beat-again"), "--pidfile=")
    try:
        until(lambda: plant.is_ready("second"), lambda: plant.log("second"))
        ids = [plant.submit(filing(tmp_path, f"broken-{number}")) for number in range(8)]
        plant.wait_for(ids)
        done = [plant.job(job_id) for job_id in ids]
        # as if their messages were lost behind the stage `ocr`, with nothing but records and bucket left
        broken = []
        for job in done:
            job_id = f"{job.job_id}-again"
            plant.records.register_job(job_id, job.source, "normal", "test", again=True)
            document = plant.records.document(str(job.document_id))
            plant.records.put_off(job_id, 3600, stage="fetch")
            plant.records._connection().execute(
                "UPDATE processing_jobs SET document_id = ?, status = 'processing' WHERE job_id = ?",
                (document.document_id, job_id),
            )
            broken.append(job_id)
        for job_id in broken:
            plant.records.put_off(job_id, -1)
        plant.wait_for(broken)
        assert all(plant.events(job_id, "resumed") == ["fetch"] for job_id in broken)
        assert all(plant.events(job_id, "started").count("ocr") == 1 for job_id in broken)
        assert balance(plant, broken) == (8, 0, [], [], [], [])
    finally:
        for name in ("second", "clock"):
            plant.lose(name)
            del plant.processes[name]


def test_job_goes_on_from_an_earlier_stage_if_what_it_needs_is_gone(plant: Plant, tmp_path: Path) -> None:
    job_id = plant.submit(filing(tmp_path, "cacheless"))
    plant.order("sleep-analyze")
    until(lambda: plant.done("sleep-analyze"), plant.log)
    plant.bucket.delete_all(f"cache/{job_id}/")
    for pid in plant.children("all"):
        if f"sleep-analyze-{pid}" in " ".join(path.name for path in (plant.home / "sabotage").iterdir()):
            subprocess.run(["kill", "-9", str(pid)], check=True)
    plant.proxy.cut()
    plant.wipe_redis()
    plant.proxy.mend()
    plant.wait_for([job_id])
    assert plant.events(job_id, "resumed") == ["rasterize"]
    assert balance(plant, [job_id]).is_even


def test_job_that_waits_on_purpose_is_left_alone_until_its_time_is_over(plant: Plant, tmp_path: Path) -> None:
    for stage in ("ocr", "analyze"):
        plant.order(f"wait-{stage}")
    job_id = plant.submit(filing(tmp_path, "waits"))
    until(lambda: plant.job(job_id).waits_for == "a test", plant.log)
    assert plant.job(job_id).status == "processing"
    plant.wait_for([job_id])
    assert plant.events(job_id, "resumed") == ["ocr", "analyze"]
    assert plant.events(job_id, "lost") == []
    assert balance(plant, [job_id]).is_even


WAITS = """
import sys
from aseagi_tasks.tasks import process
queued = process.delay(sys.argv[1])
print(queued.id, flush=True)
print(queued.get(timeout=60)["facts"]["case_number"])
"""


def test_caller_gets_the_result_of_a_job_that_was_resumed(home: Path, tmp_path: Path) -> None:
    with Plant(home) as plant:
        plant.worker("control", queues="control", arguments="-P threads -c 1")
        plant.worker("one", queues="cpu,gpu,claude", arguments="-c 1")
        until(lambda: plant.is_ready("one") and plant.is_ready("control"), lambda: plant.log("one"))
        plant.order("hang-ocr")
        plant.bucket.upload(filing(tmp_path, "asked"), "raw/2026/11/25/asked.pdf")
        command = [sys.executable, "-c", WAITS, "raw/2026/11/25/asked.pdf"]
        waiting = subprocess.Popen(command, env=plant.environment, stdout=subprocess.PIPE, text=True)
        try:
            until(lambda: plant.done("hang-ocr"), lambda: plant.log("one"))
            plant.lose("one")
            plant.worker("two", queues="cpu,gpu,claude", arguments="-c 1")
            said, _ = waiting.communicate(timeout=60)
        finally:
            waiting.kill()
        job_id, case_number = said.split()
        assert case_number.startswith("3:24-cv-")
        assert plant.events(job_id, "resumed") == ["ocr"]


@pytest.mark.long
def test_few_documents_live_at_a_time_and_an_urgent_one_overtakes(home: Path, tmp_path: Path) -> None:
    with Plant(home, ASEAGI_MAX_LIVE="4") as plant:
        ids = [plant.submit(filing(tmp_path, f"bulk-{number}"), "low") for number in range(40)]
        plant.worker()
        until(lambda: any(plant.job(job_id).status == "completed" for job_id in ids), plant.log)
        urgent = plant.submit(filing(tmp_path, "urgent"), "high")
        most = 0

        def ended() -> bool:
            nonlocal most
            live = "SELECT count(*) FROM processing_jobs WHERE lease_until IS NOT NULL"
            most = max(most, plant.records._read("counting", live, ())[0][0])
            return plant.job(urgent).status == "completed"

        until(ended, plant.log)
        behind = sum(plant.job(job_id).status != "completed" for job_id in ids)
        assert behind > 20, "it did not wait for the others"
        assert most <= 5, "four, and the urgent one"
        plant.wait_for(ids)
        assert balance(plant, ids) == (40, 0, [], [], [], [])


def test_clock_that_is_set_ends_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = SqliteRecords(tmp_path / "r.sqlite3")
    records.register_job("j", "raw/a", "normal", None)
    records.start_lease("j", "w/1/", 60)

    class Stepped(datetime):
        @classmethod
        def now(cls, tz: object = None) -> Stepped:
            return super().now(UTC) + timedelta(hours=3)

    monkeypatch.setattr(sqlite_leases, "datetime", Stepped)
    assert records.take_over_leases(60) == []
    # a start of the machine ends all
    monkeypatch.setattr(sqlite_leases, "_boot", lambda: "another")
    assert [job.deaths for job in records.take_over_leases(60)] == [1]


def test_clock_that_is_put_back_does_not_silence_beat() -> None:
    schedule, now = Every(10), datetime.now(UTC)
    assert schedule.is_due(now + timedelta(hours=1)) == (True, 10)
    assert not schedule.is_due(now).is_due
    assert schedule.is_due(now - timedelta(seconds=11)).is_due


def test_two_reapers_at_once_take_each_job_once(tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "r.sqlite3")
    for number in range(60):
        records.register_job(f"j{number}", "raw/a", "normal", None)
        records.put_off(f"j{number}", -1)
    taken: list[str] = []
    start = threading.Barrier(4)

    def reap() -> None:
        start.wait()
        for _ in range(10):
            taken.extend(job.job_id for job in records.take_over_leases(60, limit=7))

    threads = [threading.Thread(target=reap) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(taken) == sorted(f"j{number}" for number in range(60))
