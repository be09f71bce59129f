"""`aseagi up`: supervision, the monitor, Ctrl-C. Each test has a home and a stack of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from reportlab.pdfgen.canvas import Canvas

from tests.chain.conftest import ASEAGI, WAIT_S, Up, processes_of, until


@pytest.fixture
def home() -> Iterator[Path]:
    with TemporaryDirectory(prefix="aseagi-up-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def up(home: Path) -> Iterator[Up]:
    with Up(home) as one:
        yield one


def filing(path: Path) -> Path:
    canvas = Canvas(str(path), invariant=True)
    canvas.drawString(72, 720, "ORDER GRANTING MOTION TO COMPEL")
    canvas.drawString(72, 680, "Case No. 3:24-cv-00042")
    canvas.drawString(72, 640, "Dated: May 6, 2024")
    canvas.save()
    return path


def test_stack_lives_shows_tasks_and_leaves_nothing_behind(up: Up, tmp_path: Path) -> None:
    # a child that dies is started again and reported
    victim = next(child for child in up.stack.children() if child.name == "analysis")
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: "analysis died" in up.said, lambda: up.said)

    # a file given to another terminal's command goes through this stack
    ran = up.run("process", str(filing(tmp_path / "order.pdf")))
    assert ran.returncode == 0, ran.stderr + up.said
    assert re.search(r"order\.pdf.*order.*2024-05-06.*3:24-cv-00042", ran.stdout)

    # the monitor shows the chain by name, with argument and result
    def tasks() -> str:
        query = "draw=1&start=0&length=50&search[value]=&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"
        with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/tasks/datatable?{query}", timeout=10) as answer:
            return str(answer.read().decode())

    # (`process` is not among them: it becomes the chain, and `record` ends under its id)
    names = [f"aseagi.{name}" for name in ("fetch", "rasterize", "ocr", "analyze", "upload", "record")]
    until(lambda: all(f'"{name}"' in tasks() for name in names), tasks)
    until(lambda: "completed" in tasks(), tasks)

    # another `up` on the same home is refused, and says the cure
    second = up.run("up")
    assert second.returncode == 5
    assert "aseagi down" in second.stderr

    # Ctrl-C, which `make run` hands on once more
    up.process.send_signal(signal.SIGINT)
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(WAIT_S) == 0, up.said
    until(lambda: processes_of(up.home) == [], lambda: "\n".join(processes_of(up.home)))


def test_killed_stack_goes_on_where_it_was(home: Path, tmp_path: Path) -> None:
    paths = [filing(tmp_path / "order.pdf")]
    one = Up(home, *map(str, paths))
    try:
        until(lambda: bool(one.stack.children()) and "taking in" in one.said, lambda: one.said)
    finally:
        # everything dies at once, as in a power cut; the supervisor first, so that it starts nothing again
        victims = [one.process.pid, one.stack.pid, *(child.pid for child in one.stack.children())]
        for pid in filter(None, victims):
            os.kill(pid, signal.SIGKILL)
        one.process.wait()
        one.log.close()
    until(lambda: processes_of(home) == [], lambda: "\n".join(processes_of(home)))
    again = subprocess.run(
        [*ASEAGI, "process", *map(str, paths), "--json"],
        env=one.environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert again.returncode == 0, again.stderr + again.stdout
    assert '"completed"' in again.stdout
    assert processes_of(home) == []


def test_busy_port_is_an_error_that_names_the_setting(home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environment = {**os.environ, "ASEAGI_HOME": str(home), "ASEAGI_MONITOR_PORT": str(taken.getsockname()[1])}
        ran = subprocess.run([*ASEAGI, "up"], env=environment, capture_output=True, text=True, timeout=WAIT_S)
    assert ran.returncode == 5
    assert "ASEAGI_MONITOR_PORT" in ran.stderr
    assert processes_of(home) == []
