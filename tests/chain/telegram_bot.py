"""The bot as a process of its own, beside the stack of the test run."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from aseagi_tasks import services
from aseagi_tasks.stores.user_records import User
from tests.chain.conftest import ASEAGI
from tests.servers.telegram import TOKEN, Sent, TelegramServer

WAIT_S = 90
OPERATOR, ANA, BO = 1001, 1002, 1003


class BotProcess:
    """A running `aseagi bot` that talks to a local Bot API."""

    def __init__(self, server: TelegramServer, log: Path, **more: str) -> None:
        self.log = log
        environment = {**os.environ, "ASEAGI_TELEGRAM_TOKEN": TOKEN, "ASEAGI_TELEGRAM_BASE_URL": server.url, **more}
        with log.open("ab") as out:
            self.process = subprocess.Popen([*ASEAGI, "bot"], env=environment, stdout=out, stderr=subprocess.STDOUT)

    def __enter__(self) -> BotProcess:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.end(signal.SIGTERM)

    def end(self, number: int) -> int:
        """End it by a signal; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(30)

    @property
    def said(self) -> str:
        return self.log.read_text()


def people() -> None:
    """An operator and two users, one of whom reads Spanish."""
    records = services.records()
    records.save_user(User(telegram_id=OPERATOR, role="operator", name="Olga"))
    records.save_user(User(telegram_id=ANA, role="user", name="Ana", language="es"))
    records.save_user(User(telegram_id=BO, role="user", name="Bo"))


def until(ready: Callable[[], bool], what: Callable[[], object]) -> None:
    """Wait for what the bot does; fails after a bound."""
    deadline = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < deadline, what()
        time.sleep(0.03)


def is_final(sent: Sent) -> bool:
    """Whether a message has its last form: a result with its picture, or why there is none."""
    return sent.picture is not None or any(sign in sent.text for sign in ("⚠", "✖", " MB"))


def answered(server: TelegramServer, message_id: int) -> Sent:
    """The one answer to a message, in its last form."""

    def ready() -> bool:
        return any(is_final(sent) for sent in server.answers(message_id))

    until(ready, lambda: [sent.text for sent in server.answers(message_id)])
    (sent,) = server.answers(message_id)
    return sent


def replied(server: TelegramServer, user: int, after: int) -> Sent:
    """The next message to somebody behind one that came before."""
    until(lambda: any(sent.message_id > after for sent in server.to(user)), lambda: server.calls[-5:])
    return next(sent for sent in server.to(user) if sent.message_id > after)
