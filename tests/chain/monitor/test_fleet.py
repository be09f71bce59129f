"""An operator rents and destroys a machine in a real browser; the provider is the local one."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from playwright.sync_api import Browser, expect

from tests.chain.conftest import free_port, until
from tests.servers.fleet_stack import FleetStack
from tests.servers.vast import Machine

ROOT = Path(__file__).parents[3]


class Monitored(NamedTuple):
    stack: FleetStack
    url: str


@pytest.fixture
def monitored() -> Iterator[Monitored]:
    """An installation that rents by order only, and its monitor."""
    machines = [Machine(1, gpu_usd_per_hour=0.2, boot_s=None), Machine(2, gpu_usd_per_hour=0.3, boot_s=None)]
    with TemporaryDirectory(prefix="aseagi-fleet-") as folder, FleetStack(Path(folder), machines, works=False) as stack:
        port = free_port()
        (Path(folder) / "run").mkdir()
        environment = {**stack.environment, "ASEAGI_MONITOR_PORT": str(port), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "celery", "-A", "aseagi_tasks", "flower"]
        with (Path(folder) / "monitor.log").open("wb") as log:
            monitor = subprocess.Popen(
                [*command, f"--conf={ROOT / 'flower' / 'flowerconfig.py'}"], env=environment, stdout=log, stderr=log
            )
        try:
            url = f"http://127.0.0.1:{port}"

            def answers() -> bool:
                try:
                    urllib.request.urlopen(f"{url}/instances", timeout=10).close()
                except OSError:
                    assert monitor.poll() is None, (Path(folder) / "monitor.log").read_text()
                    return False
                return True

            until(answers, lambda: (Path(folder) / "monitor.log").read_text())
            yield Monitored(stack, url)
        finally:
            monitor.terminate()
            monitor.wait(30)


def test_operator_launches_sees_why_and_destroys(monitored: Monitored, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(30_000)
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{monitored.url}/instances")
    expect(page.get_by_text("Nothing is rented.")).to_be_visible()
    page.goto(f"{monitored.url}/costs")
    expect(page.locator("tr").filter(has_text="gpu")).to_contain_text("of $100.00")
    page.goto(f"{monitored.url}/instances")
    page.get_by_role("button", name="Launch one").click()
    expect(page.get_by_role("status")).to_contain_text("rented as aseagi-")
    row = page.locator("tbody tr").first
    expect(row).to_contain_text("RTX 3090")
    expect(row).to_contain_text("launched by this machine")
    assert len(monitored.stack.server.alive()) == 1
    page.get_by_label("Limits, NAME=VALUE").fill("instances=1 usd_per_hour=0.5")
    page.get_by_role("button", name="Set", exact=True).click()
    expect(page.get_by_text("of at most $0.5000")).to_be_visible()
    page.get_by_role("button", name="Launch one").click()
    expect(page.locator("main")).to_contain_text("there are 1 instances of at most 1")
    page.goto(f"{monitored.url}/instances")
    page.get_by_role("button", name="Destroy", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("destroyed")
    until(lambda: not monitored.stack.server.alive(), lambda: "it is still rented")
    page.get_by_role("button", name="Panic").click()
    expect(page.get_by_role("status")).to_contain_text("two lists in a row have nothing of ours")
    assert page.evaluate("document.documentElement.scrollWidth") <= 1300
    assert problems == []
    page.close()
    found = json.loads(urllib.request.urlopen(f"{monitored.url}/api/v1/instances", timeout=30).read())
    assert found["paused"] is True and found["limits"]["instances"] == 1
    changes = [(change.who, change.what) for change in monitored.stack.ledger.changes()]
    assert ("this machine", "fleet destroy") in changes and ("this machine", "fleet panic") in changes
