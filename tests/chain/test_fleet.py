"""Documents that wait rent machines, are read there, and leave nothing rented behind."""

from __future__ import annotations

import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.servers.fleet_stack import FleetStack
from tests.servers.vast import Machine

#: A tenth of a cent a second: a minute that is booked wrongly shows.
MACHINES = [Machine(number, gpu_usd_per_hour=3.6, boot_s=1.0) for number in range(1, 5)]


def test_two_hundred_documents_rent_what_they_need_and_give_it_back() -> None:
    with TemporaryDirectory(prefix="aseagi-fleet-") as folder, FleetStack(Path(folder), list(MACHINES)) as stack:
        following = stack.queue(stack.documents(200))
        stack.until(lambda: following.poll() is not None, 120, "the documents are not read")
        assert stack.ledger.counts()["completed"] == 200
        done = time.monotonic()
        stack.until(lambda: not stack.server.alive(), 60, "something is still rented")
        idle_s = time.monotonic() - done
        stack.until(stack.is_over, 30, "rows are left")
        machines = {row.machine_id for row in stack.records.machines() if row.seconds_per_page}
        assert machines and stack.without_row_s < 120
        assert idle_s < 4 + 15  # the setting, and what a busy machine takes for two ticks and two calls
        assert stack.booked() == pytest.approx(stack.server.bill(), abs=0.01) and stack.booked() > 0.04
        why = json.loads(stack.run("fleet", "why", "--limit", "500", "--json").stdout)
        reasons = [decision["reason"] for tick in why for decision in tick["decisions"]]
        assert any("launch 1 × RTX 3090 at $3.6" in reason for reason in reasons)


def test_control_worker_killed_again_and_again_leaves_nothing_rented() -> None:
    """The short form of ``benchmarks/fleet_kills.py``."""
    with TemporaryDirectory(prefix="aseagi-kill-") as folder, FleetStack(Path(folder), list(MACHINES)) as stack:
        following = stack.queue(stack.documents(40))
        stack.until(lambda: bool(stack.records.instances()), 60, "nothing is rented")
        stack.kill_control()  # about when it creates
        stack.until(lambda: any(row.state == "joined" for row in stack.records.instances()), 90, "nothing joins")
        stack.kill_control()
        stack.until(lambda: following.poll() is not None, 120, "the documents are not read")
        stack.kill_control()  # about when it drains
        stack.until(stack.is_over, 90, "something is still rented")
        assert stack.ledger.counts()["completed"] == 40 and stack.without_row_s < 120
        assert stack.booked() == pytest.approx(stack.server.bill(), abs=0.01)
