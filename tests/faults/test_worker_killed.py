"""Processes, workers and machines that die: the document goes on where it was, and one that kills is set aside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aseagi_tasks.documents import FINAL, STAGES
from tests.faults.balance import balance
from tests.faults.plant import Plant, filing, scan, until


def test_process_killed_in_each_stage_and_before_each_acknowledgement(plant: Plant, tmp_path: Path) -> None:
    for stage in STAGES:
        plant.order(f"kill-before-{stage}")
    killed = plant.submit(filing(tmp_path, "killed"))
    plant.wait_for([killed])
    assert plant.events(killed, "lost") == list(STAGES)
    some = ("fetch", "analyze", "record")
    for stage in some:
        plant.order(f"kill-after-{stage}")
    unacknowledged = plant.submit(filing(tmp_path, "unacknowledged"))
    plant.wait_for([unacknowledged])
    until(lambda: all(plant.done(f"kill-after-{stage}") for stage in some), plant.log)
    assert plant.events(unacknowledged, "lost") == [], "they died when the lease had been given up"
    for job_id in (killed, unacknowledged):
        assert plant.events(job_id, "finished") == list(STAGES[:-1]), "each stage ended once"
    assert balance(plant, [killed, unacknowledged]).is_even


def test_poison_is_set_aside_after_three_and_fifty_healthy_ones_are_done(plant: Plant, tmp_path: Path) -> None:
    plant.order("poison")
    ids = [plant.submit(filing(tmp_path, f"healthy-{number}")) for number in range(10)]
    poison = plant.submit(scan(tmp_path, "poison"))
    ids += [plant.submit(filing(tmp_path, f"healthy-{number}")) for number in range(10, 50)]
    plant.wait_for([*ids, poison])
    job = plant.job(poison)
    assert (job.status, job.stage, job.error_class, job.deaths) == ("error", "ocr", "Quarantined", 3)
    assert plant.events(poison, "lost") == ["ocr"] * 3
    assert balance(plant, [*ids, poison]) == (50, 1, [], [], [], [])

    # it can be tried again, and when its poison is gone it passes
    plant.end_order("poison")
    command = [str(Path(sys.executable).with_name("aseagi")), "retry", poison, "--json"]
    retried = subprocess.run(command, env=plant.environment, capture_output=True, text=True, timeout=60)
    again = json.loads(retried.stdout)["job_id"]
    plant.wait_for([again])
    assert plant.job(again).status == "completed"


def test_stage_that_hangs_is_killed_and_done_by_another(plant: Plant, tmp_path: Path) -> None:
    plant.order("hang-ocr")
    hung = plant.submit(filing(tmp_path, "hung"))
    plant.wait_for([hung])
    assert plant.events(hung, "lost") == ["ocr"]
    assert balance(plant, [hung]).is_even


def test_stage_that_takes_too_long_is_told_to_stop(plant: Plant, tmp_path: Path) -> None:
    plant.order("sleep-ocr")
    slow = plant.submit(filing(tmp_path, "slow"))
    plant.wait_for([slow])
    job = plant.job(slow)
    assert (job.status, job.error_class, job.deaths) == ("error", "TooSlow", 0)
    assert "ASEAGI_STAGE_LIMIT_S" in str(job.error_message)


def test_lost_machine_is_noticed_and_its_document_runs_elsewhere(home: Path, tmp_path: Path) -> None:
    with Plant(home) as plant:
        plant.worker("control", queues="control", arguments="-P threads -c 1")
        for name in ("one", "two"):
            plant.worker(name, queues="cpu,gpu,claude", arguments="-c 1")
        until(lambda: all(map(plant.is_ready, ("one", "two", "control"))), plant.log)
        plant.order("hang-ocr")
        job_id = plant.submit(filing(tmp_path, "moved"))
        until(lambda: plant.done("hang-ocr"), lambda: plant.log("one"))
        (began,) = (event for event in plant.records.events(job_id) if (event.stage, event.kind) == ("ocr", "started"))
        assert began.worker is not None
        time.sleep(3)  # longer than a lease: it is renewed
        assert plant.events(job_id, "lost") == []
        plant.lose(began.worker.split("@")[0])
        lost = time.monotonic()
        until(lambda: plant.events(job_id, "started").count("ocr") == 2, lambda: plant.log("control"))
        seconds = time.monotonic() - lost
        print(f"from the loss of a machine to its document running again: {seconds:.1f} s with a lease of 2 s")
        assert seconds < 15
        plant.wait_for([job_id])
        assert plant.events(job_id, "resumed") == ["ocr"], "at the stage that it had reached"
        assert balance(plant, [job_id]).is_even


@pytest.mark.long
def test_poison_takes_none_with_it_that_share_its_process(home: Path, tmp_path: Path) -> None:
    with Plant(home) as plant:
        plant.order("poison")
        plant.worker("control", queues="control", arguments="-P threads -c 1")
        ids = [plant.submit(scan(tmp_path, f"beside-{number}")) for number in range(6)]
        poison = plant.submit(scan(tmp_path, "poison"))
        plant.worker("threads", queues="cpu,gpu,claude", arguments="-P threads -c 7")

        def ended() -> bool:
            if plant.processes["threads"].poll() is not None:
                plant.worker("threads", queues="cpu,gpu,claude", arguments="-P threads -c 7")
            return all(plant.job(job_id).status in FINAL for job_id in [*ids, poison])

        until(ended, lambda: plant.log("threads"))
        job = plant.job(poison)
        assert (job.error_class, job.deaths) == ("Quarantined", 3)
        assert balance(plant, [*ids, poison]) == (6, 1, [], [], [], [])


@pytest.mark.long
def test_worker_that_was_paused_does_not_disturb_the_one_that_took_over(home: Path, tmp_path: Path) -> None:
    with Plant(home) as plant:
        plant.worker("control", queues="control", arguments="-P threads -c 1")
        plant.worker("one", queues="cpu,gpu,claude", arguments="-c 1")
        until(lambda: plant.is_ready("one"), lambda: plant.log("one"))
        plant.order("hang-ocr")
        job_id = plant.submit(scan(tmp_path, "paused"))
        until(lambda: plant.done("hang-ocr"), lambda: plant.log("one"))
        os.killpg(plant.processes["one"].pid, signal.SIGSTOP)
        plant.worker("two", queues="cpu,gpu,claude", arguments="-c 1")
        plant.wait_for([job_id])
        os.killpg(plant.processes["one"].pid, signal.SIGCONT)
        later = plant.submit(filing(tmp_path, "later"))
        plant.wait_for([later])
        assert plant.events(job_id, "resumed") == ["ocr"]
        assert balance(plant, [job_id, later]).is_even
