"""The way to Anthropic: a pause that it asks one worker for is every worker's."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from redis import Redis

from aseagi_tasks.analysis.service import PATIENCE_S, Service
from aseagi_tasks.errors import RateLimited
from aseagi_tasks.stores.pace import Pace
from tests.contract.test_analyst import ANSWER
from tests.servers.anthropic import KEY, AnthropicServer
from tests.unit.test_pace import redis  # noqa: F401

REQUEST = {"model": "claude-haiku-5-5", "max_tokens": 10, "messages": [{"role": "user", "content": "a"}]}


@pytest.fixture
def server() -> Iterator[AnthropicServer]:
    with AnthropicServer(lambda _body: ANSWER) as one:
        yield one


def worker(server: AnthropicServer, redis: Redis, name: str) -> Service:  # noqa: F811
    return Service(KEY, server.url, pace=Pace(redis, name), timeout_s=5)


@pytest.mark.parametrize("status", [429, 529])
def test_short_pause_is_slept_through_by_all(server: AnthropicServer, redis: Redis, status: int) -> None:  # noqa: F811
    one, other = (worker(server, redis, f"short{status}") for _ in range(2))
    server.faults["messages"], server.retry_after = [status], "1"
    with pytest.raises(RateLimited, match="retry after 1 s"):
        one.ask(REQUEST)
    began = time.monotonic()
    assert other.ask(REQUEST)["content"]  # it was not asked for a pause itself
    assert time.monotonic() - began > 0.9
    assert len(server.requests) == 2


def test_long_pause_sends_the_others_away_without_a_call(server: AnthropicServer, redis: Redis) -> None:  # noqa: F811
    one, other = (worker(server, redis, "long") for _ in range(2))
    server.faults["messages"], server.retry_after = [429], "120"
    with pytest.raises(RateLimited):
        one.ask(REQUEST)
    with pytest.raises(RateLimited) as told:
        other.ask(REQUEST)
    assert PATIENCE_S < told.value.retry_after_s <= 120
    assert len(server.requests) == 1


def test_without_redis_the_work_goes_on(server: AnthropicServer) -> None:
    nowhere = Redis(unix_socket_path="/nonexistent/redis.sock")
    assert Service(KEY, server.url, pace=Pace(nowhere, "none"), timeout_s=5).ask(REQUEST)["content"]
