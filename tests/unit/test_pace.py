"""A rhythm that processes share, on a real Redis."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from redis import Redis

from aseagi_tasks import services
from aseagi_tasks.errors import RateLimited
from aseagi_tasks.stores.pace import Pace, ServiceRhythm
from tests.servers.redis import redis_server


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with TemporaryDirectory(prefix="aseagi-pace-") as folder, redis_server(Path(folder)) as client:
        yield client


def test_turns_of_many_callers_are_an_interval_apart(redis: Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        waits = sorted(pool.map(lambda _: Pace(redis, "turns").take(10.0), range(24)))
    apart = [later - sooner for sooner, later in itertools.pairwise(waits)]
    assert waits[0] == 0 and all(9 < gap < 11 for gap in apart)


def test_turn_that_is_too_far_away_is_not_taken(redis: Redis) -> None:
    pace = Pace(redis, "far")
    assert pace.take(100.0) == 0
    assert pace.take(100.0, within_s=5) > 90
    assert 99 < pace.take(100.0) <= 100, "the refused one left its turn to the next"


def test_nobody_has_a_turn_during_a_pause_and_the_longer_pause_stays(redis: Redis) -> None:
    pace = Pace(redis, "held")
    assert 59 < pace.hold(60.0) <= 60
    assert 59 < pace.hold(5.0) <= 60
    assert 59 < Pace(redis, "held").take(0.0) <= 60
    assert Pace(redis, "another").take(0.0) == 0


def test_quota_is_never_overdrawn(redis: Redis) -> None:
    with ThreadPoolExecutor(8) as pool:
        left = list(pool.map(lambda _: Pace(redis, "quota").count("2026-11-25", 10), range(30)))
    assert sorted(number for number in left if number >= 0) == list(range(10))
    assert Pace(redis, "quota").count("2026-11-26", 10, 4) == 6


def test_operators_are_told_once(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Ear:
        def tell(self, message: str) -> None:
            told.append(message)

    monkeypatch.setattr(services, "notifier", Ear)
    monkeypatch.setattr(services, "redis", lambda: redis)
    assert services.tell_once("budget", "The budget is used up.")
    assert not services.tell_once("budget", "The budget is used up.")
    assert told == ["The budget is used up."]
    monkeypatch.setattr(services, "redis", lambda: Redis(unix_socket_path="/nowhere"))
    assert services.tell_once("budget", "The budget is used up.") and len(told) == 2


def test_who_is_stopped_while_telling_tells_again(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    class Ear:
        def tell(self, message: str) -> None:
            told.append(message)
            if len(told) == 1:
                raise KeyboardInterrupt

    monkeypatch.setattr(services, "notifier", Ear)
    monkeypatch.setattr(services, "redis", lambda: redis)
    with pytest.raises(KeyboardInterrupt):
        services.tell_surely("run", "It has ended.")
    services.tell_surely("run", "It has ended.")
    services.tell_surely("run", "It has ended.")
    assert told == ["It has ended."] * 2


def test_service_waits_for_its_turns_and_says_when_they_are_too_far(redis: Redis) -> None:
    slept: list[float] = []
    rhythm = ServiceRhythm(redis, "vendor", within_s=2, sleep=slept.append)
    for _ in range(3):
        rhythm.turn("create", 0.9)
    assert [round(s, 1) for s in slept] == [0.0, 0.9, 1.8]
    with pytest.raises(RateLimited):
        rhythm.turn("create", 0.9)
    rhythm.turn("list", 0.9)
    rhythm.hold("list", 100)
    with pytest.raises(RateLimited) as raised:
        rhythm.turn("list", 0.9)
    assert raised.value.retry_after_s > 90


def test_calls_of_a_day_are_counted(redis: Redis) -> None:
    rhythm = ServiceRhythm(redis, "counted", daily={"search": 2}, sleep=lambda _s: None)
    rhythm.turn("search", 0)
    rhythm.turn("search", 0)
    with pytest.raises(RateLimited):
        rhythm.turn("search", 0)
    rhythm.turn("list", 0)
