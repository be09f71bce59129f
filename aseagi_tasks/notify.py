"""Telling people: one protocol, the console here."""

from __future__ import annotations

import logging
from typing import Protocol

log = logging.getLogger("aseagi.notify")


class Notifier(Protocol):
    """Says one sentence to the operators. Never raises: a lost message must not lose a document."""

    def tell(self, message: str) -> None:
        """Say it."""


class ConsoleNotifier:
    """Writes to the log of the process that has something to say."""

    def tell(self, message: str) -> None:
        """Say it, as a line of the log."""
        log.info("%s", message)
