"""How often somebody may ask: words and taps beyond it are told once and left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from aseagi_tasks.doors.bot import people, post
from tests.chain.telegram_bot import until
from tests.chain.telegram_here import BO, OLGA, PABLO, HereBot, office, own_redis, telegram
from tests.servers.telegram import TelegramServer
from tests.unit.test_certify import Office

__all__ = ["office", "own_redis", "telegram"]  # the fixtures


class Clock(datetime):
    """A minute that lasts until a test ends it."""

    moment = datetime(2026, 11, 29, 12, 0, 30, tzinfo=UTC)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return cls.moment


def test_too_many_words_in_a_minute_are_told_once_and_left_alone(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(people, "ASKS_A_MINUTE", 2)
    monkeypatch.setattr(people, "datetime", Clock)
    monkeypatch.setattr(post, "CHAT_PAUSE_S", 0.0)

    def said(user: int) -> list[str]:
        return [sent.text for sent in telegram.sent.values() if sent.chat_id == user]

    def dealt_with() -> bool:
        kept = "SELECT 1 FROM telegram_updates WHERE done_at IS NULL"
        return not telegram.pending and not office.records._read("looking", kept, ())

    with HereBot():
        for _ in range(5):
            telegram.write(BO, "/help")
        telegram.write(OLGA, "/help")  # who comes behind them is answered
        until(dealt_with, lambda: telegram.calls[-5:])
        assert len(said(OLGA)) == 1 and len(said(BO)) == 3 and said(BO)[-1].startswith("That is too fast")
        for _ in range(3):
            telegram.write(PABLO, "/help")
        until(dealt_with, lambda: telegram.calls[-5:])
        assert len(said(PABLO)) == 3 and said(PABLO)[-1].startswith("Es demasiado rápido")
        monkeypatch.setattr(Clock, "moment", Clock.moment + timedelta(minutes=1))
        telegram.write(BO, "/help")
        until(dealt_with, lambda: telegram.calls[-5:])
        assert len(said(BO)) == 4 and said(BO)[-1] == said(BO)[0]
