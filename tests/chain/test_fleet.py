"""Documents that wait rent machines, are read there, and leave nothing rented behind."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from aseagi_tasks import control
from tests.chain.conftest import ASEAGI
from tests.servers.fleet_stack import FleetStack
from tests.servers.vast import Machine

#: A tenth of a cent a second: a minute that is booked wrongly shows.
MACHINES = [Machine(number, gpu_usd_per_hour=3.6, boot_s=1.0) for number in range(1, 5)]


def test_operator_sees_and_does_what_there_is_to_do() -> None:
    machines = [Machine(1, gpu_usd_per_hour=0.2, boot_s=None)]
    with TemporaryDirectory(prefix="aseagi-fleet-") as folder, FleetStack(Path(folder), machines, works=False) as stack:

        def said(*arguments: str, code: int = 0) -> str:
            ran = stack.run("fleet", *arguments)
            assert ran.returncode == code, (arguments, ran.stdout, ran.stderr)
            return ran.stdout + ran.stderr

        assert "at most 0" in said("limits", "instances=0") + said("launch", code=5)
        assert "instances                2   (set by command)" in said("limits", "instances=2")
        assert "is no limit" in said("limits", "gpus=2", code=5)
        assert "rented as aseagi-" in said("launch", "--gpu", "RTX 3090")
        (row,) = json.loads(said("status", "--json"))["instances"]
        assert row["gpu"] == "RTX 3090" and row["reason"].startswith("launched by")
        assert "Only what works is drained" in said("drain", row["instance_id"], code=5)
        said("pause")
        shown = said("status")
        assert "RTX 3090" in shown and "launching is paused" in shown
        assert "1 destroyed; two lists in a row have nothing of ours" in said("panic", "--yes")
        assert stack.is_over() and not stack.server.alive()
        doctor = json.loads(stack.run("doctor", "--json").stdout)
        (check,) = [check for check in doctor if check["what"] == "rented machines"]
        assert check["cure"].startswith("Vast.ai's balance") and stack.environment["ASEAGI_VAST_API_KEY"] not in str(
            doctor
        )


def test_without_a_provider_nothing_is_rented_and_nothing_asked() -> None:
    assert control.autoscale() is None and control.reconcile() is None
    ran = subprocess.run([*ASEAGI, "fleet", "status"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 5 and "ASEAGI_FLEET" in ran.stderr


@pytest.mark.timeout(500)
def test_two_hundred_documents_rent_what_they_need_and_give_it_back() -> None:
    with TemporaryDirectory(prefix="aseagi-fleet-") as folder, FleetStack(Path(folder), list(MACHINES)) as stack:
        stack.records.set_control("limits", {"backlog_usd_per_hour": 50.0}, "test")  # worth two machines at once
        following = stack.queue(stack.documents(200))
        stack.until(lambda: following.poll() is not None, 300, "the documents are not read")
        assert stack.ledger.counts()["completed"] == 200
        done = time.monotonic()
        stack.until(lambda: not stack.server.alive(), 60, "something is still rented")
        idle_s = time.monotonic() - done
        stack.until(stack.is_over, 30, "rows are left")
        machines = {row.machine_id for row in stack.records.machines() if row.seconds_per_page}
        assert len(machines) == 2 and stack.without_row_s < 120
        assert idle_s < 4 + 15  # the setting, and what a busy machine takes for two ticks and two calls
        assert stack.booked() == pytest.approx(stack.server.bill(), abs=0.01) and stack.booked() > 0.04
        why = json.loads(stack.run("fleet", "why", "--limit", "500", "--json").stdout)
        reasons = [decision["reason"] for tick in why for decision in tick["decisions"]]
        assert any("launch 1 × RTX 3090 at $3.6" in reason for reason in reasons)


@pytest.mark.timeout(500)
def test_control_worker_killed_again_and_again_leaves_nothing_rented() -> None:
    """The short form of ``benchmarks/fleet_kills.py``."""
    with TemporaryDirectory(prefix="aseagi-kill-") as folder, FleetStack(Path(folder), list(MACHINES)) as stack:
        following = stack.queue(stack.documents(40))
        stack.until(lambda: bool(stack.server.alive()), 60, "nothing is rented")
        stack.kill_control()  # about when the answer came
        stack.until(lambda: stack.ledger.counts()["completed"] > 3, 90, "nothing is read")
        for rented in [rented for rented in stack.server.alive() if rented.status == "running"][:1]:
            stack.server.preempt(rented.number)  # what it has in hand goes back, and another one is rented
        stack.kill_control()
        stack.until(lambda: following.poll() is not None, 240, "the documents are not read")
        stack.kill_control()  # about when it drains
        stack.until(stack.is_over, 90, "something is still rented")
        assert stack.ledger.counts()["completed"] == 40 and stack.without_row_s < 120
        assert stack.booked() > stack.server.bill() - 0.01
        stack.reconcile()
        assert stack.booked() == pytest.approx(stack.server.bill(), abs=0.01)
