"""The bot in this process, without a stack: records in a file, a bucket in a folder, a Redis of the tests' own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

import pytest
from pydantic import SecretStr
from redis import Redis

from aseagi_tasks import control, delivery, housekeeping, services
from aseagi_tasks.doors.bot.__main__ import _bot, _left_behind, _serve
from aseagi_tasks.settings import Settings, settings
from aseagi_tasks.stores.sqlite_bulk import SqliteBulk
from aseagi_tasks.stores.user_records import User
from tests.servers.redis import redis_server
from tests.servers.telegram import TOKEN, TelegramServer
from tests.unit.test_certify import Office

OLGA, PABLO, BO = 1001, 1002, 1003


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Redis]:
    with TemporaryDirectory(prefix="aseagi-told-") as folder, redis_server(Path(folder)) as client:
        yield client


@pytest.fixture
def telegram() -> Iterator[TelegramServer]:
    with TelegramServer() as server:
        yield server


@pytest.fixture
def office(
    own_redis: Redis, telegram: TelegramServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Office]:
    """Services over a file, a folder and a Redis of their own; two operators, one of whom reads Spanish, and a user."""
    own_redis.flushall()
    made = Office(tmp_path)
    for user in (
        User(telegram_id=OLGA, role="operator"),
        User(telegram_id=PABLO, role="operator", language="es"),
        User(telegram_id=BO, role="user"),
    ):
        made.records.save_user(user)
    told = {"telegram_token": SecretStr(TOKEN), "telegram_base_url": telegram.url}
    conf = settings().model_copy(update={"home": tmp_path, "scratch": tmp_path / "scratch", "bulk_rest_s": 0, **told})
    for module in (services, control, delivery, housekeeping):
        monkeypatch.setattr(module, "settings", lambda: conf)
    monkeypatch.setattr(services, "records", lambda: made.records)
    monkeypatch.setattr(services, "storage", lambda: made.storage)
    bulk_records = SqliteBulk(made.records.path)
    monkeypatch.setattr(services, "bulk_records", lambda: bulk_records)
    monkeypatch.setattr(services, "records_source", lambda: made.records.path)
    monkeypatch.setattr(services, "redis", lambda: own_redis)
    notifier = services.notifier.__wrapped__()
    monkeypatch.setattr(services, "notifier", lambda: notifier)
    yield made


class HereBot:
    """A bot in a thread of this process, by polling. ``with``: starts and ends it."""

    def __init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    def __enter__(self) -> HereBot:
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        self._loop.run_until_complete(self._live(services.settings()))
        self._loop.close()

    async def _live(self, conf: Settings) -> None:
        bot = _bot(conf)
        await bot.initialize()
        left = await _left_behind(self._stopping)
        assert left is not None
        await _serve(conf, bot, *left, self._stopping)
        await bot.shutdown()
