"""SIGTERM: what runs may finish for a while; the rest is handed back, nobody has died, and the process is gone."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.faults.balance import balance
from tests.faults.plant import Plant, filing, until


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_worker_leaves_in_time_and_hands_back_what_it_cannot_finish(home: Path, tmp_path: Path, pool: str) -> None:
    with Plant(home, ASEAGI_LEASE_S="30") as plant:  # nothing here waits for a lease to run out
        plant.worker("control", queues="control", arguments="-P threads -c 1")
        plant.worker("one", queues="cpu,gpu,claude", arguments=f"-P {pool} -c 2")
        until(lambda: plant.is_ready("one"), lambda: plant.log("one"))
        plant.order("sleep-analyze")
        left = plant.submit(filing(tmp_path, "left"))
        until(lambda: plant.done("sleep-analyze"), lambda: plant.log("one"))
        leaving = plant.processes["one"]
        leaving.send_signal(signal.SIGTERM)
        began = time.monotonic()
        leaving.wait(20)
        assert time.monotonic() - began < 2 + 6, "the drain is 2 s"
        plant.worker("two", queues="cpu,gpu,claude", arguments="-c 1")
        plant.wait_for([left], wait_s=25)
        assert plant.job(left).status == "completed"
        assert plant.events(left, "lost") == [], "handed back is not dead"
        assert balance(plant, [left]).is_even


@pytest.mark.long
def test_idle_worker_leaves_at_once_and_one_that_grew_is_replaced(home: Path, tmp_path: Path) -> None:
    with Plant(home, ASEAGI_DRAIN_S="60", ASEAGI_WORKER_MEMORY_MB="100") as plant:
        plant.worker()
        until(plant.is_ready, plant.log)
        before = set(plant.children("all"))
        ids = [plant.submit(filing(tmp_path, f"grows-{number}")) for number in range(4)]
        plant.wait_for(ids)
        until(lambda: len(before & set(plant.children("all"))) < len(before), lambda: plant.children("all"))
        assert balance(plant, ids) == (4, 0, [], [], [], [])
        began = time.monotonic()
        plant.processes["all"].send_signal(signal.SIGTERM)
        plant.processes["all"].wait(20)
        assert time.monotonic() - began < 10
