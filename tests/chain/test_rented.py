"""What a rented machine does before and instead of work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis import Redis

from aseagi_tasks.fleet.worker import Heard, Presence
from tests.chain.conftest import until
from tests.servers.redis import redis_server

NAME = "aseagi-test"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def redis() -> Iterator[Redis]:
    with TemporaryDirectory(prefix="aseagi-rented-") as folder, redis_server(Path(folder)) as client:
        yield client


@pytest.fixture
def start(redis: Redis) -> Iterator[Start]:
    home = Path(redis.connection_pool.connection_kwargs["path"]).parent
    started: list[subprocess.Popen[str]] = []

    def run(**settings: str) -> subprocess.Popen[str]:
        common = {"ASEAGI_HOME": str(home), "ASEAGI_BROKER_URL": f"redis+socket://{home}/redis.sock"}
        own = {"ASEAGI_INSTANCE": NAME, "ASEAGI_OCR_ENGINE": "tesseract", "ASEAGI_CPU_WORKERS": "1"}
        command = [sys.executable, "-m", "aseagi_tasks.doors.rented"]
        environment = {**os.environ, **common, **own, **settings}
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.terminate()
        assert process.wait(30) is not None


def heard(redis: Redis) -> Heard | None:
    return Presence(redis).hear([NAME]).get(NAME)


def test_machine_that_is_too_slow_takes_no_work_and_says_why(redis: Redis, start: Start) -> None:
    process = start(ASEAGI_FLEET_SLOWEST_S_PER_PAGE="0.001")
    until(lambda: (it := heard(redis)) is not None and it.step == "failed", lambda: str(heard(redis)))
    it = heard(redis)
    assert it is not None and it.canary is not None and it.nodes == {}
    assert "0.00 s is the limit" in it.why and "MOTION TO DISMISS" in it.canary["text"]
    assert process.poll() is None  # the provider would start it again, and bill on


def test_machine_that_was_told_to_leave_and_is_started_again_takes_no_work(redis: Redis, start: Start) -> None:
    Presence(redis).say(NAME, leave=True)
    process = start()
    until(lambda: (it := heard(redis)) is not None and it.step == "left", lambda: str(heard(redis)))
    assert process.poll() is None


def test_workers_that_end_are_started_again_without_another_canary(redis: Redis, start: Start) -> None:
    Presence(redis).say(NAME, step="working", canary={"text": "", "seconds_per_page": 1.0}, nodes=[])
    start(ASEAGI_FLEET_SLOWEST_S_PER_PAGE="0.001", ASEAGI_FLEET_QUEUES="claude")
    until(lambda: (it := heard(redis)) is not None and it.is_working, lambda: str(heard(redis)))
    it = heard(redis)
    assert it is not None and list(it.nodes) == [f"analysis@{NAME}"] and it.consuming and it.busy == 0


def test_machine_without_a_name_is_an_error(start: Start) -> None:
    process = start(ASEAGI_INSTANCE="")
    assert process.wait(60) == 5
    assert process.stderr is not None and "ASEAGI_INSTANCE" in process.stderr.read()
