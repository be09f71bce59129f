"""Telling the operators: one protocol, the console and Telegram."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Protocol

log = logging.getLogger("aseagi.notify")
#: A message of Telegram's may have so many characters.
_LONGEST = 4_096


class Notifier(Protocol):
    """Says one sentence to the operators. Never raises: a lost message must not lose a document."""

    def tell(self, message: str) -> None:
        """Say it."""


class ConsoleNotifier:
    """Writes to the log of the process that has something to say."""

    def tell(self, message: str) -> None:
        """Say it, as a line of the log."""
        log.info("%s", message)


class TelegramNotifier:
    """Writes to every operator by Telegram, and to the log.

    Args:
        token: of the bot; part of every address, so addresses are never logged.
        operators: their ids, asked for each message.
        base_url: of the Bot API.
    """

    def __init__(self, token: str, operators: Callable[[], Iterable[int]], base_url: str) -> None:
        self._address = f"{base_url}/bot{token}/sendMessage"
        self._operators = operators

    def tell(self, message: str) -> None:
        """Say it; what Telegram does not take stands in the log."""
        import httpx

        log.info("%s", message)
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes every address
        try:
            operators = list(self._operators())
            for operator in operators:
                said = {"chat_id": operator, "text": message[:_LONGEST]}
                answer = httpx.post(self._address, json=said, timeout=10)
                if answer.status_code != 200:
                    log.warning("operator %s was not told: Telegram answered %s", operator, answer.status_code)
        except Exception as exc:  # whatever it is, the work that had something to say goes on
            log.warning("operators were not told: %s", type(exc).__name__)
