"""What the image's healthcheck finds wrong. That all is well is shown where a machine joins."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aseagi_tasks.fleet import health
from aseagi_tasks.fleet.enrolment import Credentials, Enrolment
from aseagi_tasks.fleet.marks import Marks
from tests.chain.conftest import free_port
from tests.instance.conftest import ROOT

GIVEN = Enrolment("i-1", "certificate", "ca", "i-1", "password", "token", "127.0.0.1", 6380, time.time() + 86_400, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a machine that has enrolled, whose tunnel is down."""
    Marks(tmp_path).make()
    credentials = Credentials(tmp_path)
    credentials.request("i-1")
    credentials.keep(GIVEN, free_port())
    return tmp_path


def test_machine_without_a_tunnel_and_workers_is_not_well(folder: Path) -> None:
    found = health.health(folder, time.time())
    assert found["tunnel and broker"].startswith("no answer")
    assert "password" not in str(found)
    assert found["workers"] == "none has joined"


def test_worker_that_is_stuck_is_named(folder: Path) -> None:
    marks = Marks(folder)
    marks.consumes("lines")
    marks.consumes("reading")
    os.utime(marks.folder / "consumes" / "lines", (0, time.time() - 90))
    found = health.health(folder, time.time())
    assert found["reading"] == "ok"
    assert found["lines"] == "has not consumed for 90 s"


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 24576, 20000", "ok"),
        ("echo 'Unable to determine the device handle for GPU0'; exit 15", "does not answer"),
        ("echo '[GPU is lost], [GPU is lost]'", "does not answer"),
        ("exit 0", "does not answer"),
    ],
)
def test_gpu_is_asked_for_its_memory(
    script: str, said: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(health, "GPU_DEVICE", tmp_path)
    assert health.health(folder, time.time())["gpu"].startswith(said)


def test_device_without_a_driver_is_not_usable(folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    monkeypatch.setattr(health, "GPU_DEVICE", tmp_path)
    assert "no driver" in health.health(folder, time.time())["gpu"]


def test_exit_code_tells(tmp_path: Path) -> None:
    environment = {**os.environ, "ASEAGI_INSTANCE_FOLDER": str(tmp_path)}
    command = [sys.executable, "-m", "aseagi_tasks.fleet.health"]
    ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 1
    assert json.loads(ran.stdout)["tunnel and broker"] == "this machine is not enrolled"
