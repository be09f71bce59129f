"""Telling the operators what ``notices.py`` words: one protocol, the console and Telegram.

What Telegram does not take now (it is away, or wants a pause) is kept in Redis for each operator, and said later by
whoever calls ``deliver``: beat does, so that neither a bot nor the process that had something to say needs to live.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol

from redis.exceptions import RedisError

from aseagi_tasks.notices import Notice

if TYPE_CHECKING:
    from redis import Redis

log = logging.getLogger("aseagi.notify")
#: A message of Telegram's may have so many characters.
_LONGEST = 4_096
#: Notices that are kept; then the oldest are dropped. Each is for one operator.
KEPT = 1_000
_OUTBOX, _HELD, _DELIVERING = "aseagi:notices", "aseagi:notices:held:", "aseagi:notices:delivering"
#: One who delivers is taken for dead after so long, and leaves the rest to the next after so long: others wait for him.
_DELIVERING_S, _ROUND_S = 120, 5.0
Outcome = Literal["said", "never", "later", "away"]


class Notifier(Protocol):
    """Says one sentence to the operators. Never raises: a lost message must not lose a document."""

    def tell(self, message: str) -> None:
        """Say it: a ``Notice`` in each operator's language."""

    def deliver(self) -> int:
        """Say what could not be said before; how many messages went out."""


class ConsoleNotifier:
    """Writes to the log of the process that has something to say."""

    def tell(self, message: str) -> None:
        """Say it, as a line of the log."""
        log.info("%s", message)

    def deliver(self) -> int:
        """Nothing is kept."""
        return 0


class TelegramNotifier:
    """Writes to every operator by Telegram, and to the log.

    Args:
        token: of the bot; part of every address, so addresses are never logged.
        operators: their ids and languages (``en``, ``es``), asked for each message.
        base_url: of the Bot API.
        redis: where messages wait that Telegram did not take.
    """

    def __init__(
        self, token: str, operators: Callable[[], Iterable[tuple[int, str]]], base_url: str, redis: Callable[[], Redis]
    ) -> None:
        self._address = f"{base_url}/bot{token}/sendMessage"
        self._operators, self._redis = operators, redis

    def tell(self, message: str) -> None:
        """Say it; what Telegram does not take now is kept, and stands in the log."""
        log.info("%s", message)
        try:
            kept, away = [], False
            entries = _for_each(message, self._people())
            held = self._held(entries)
            for entry in entries:
                outcome = "away" if away or entry["chat"] is None else self._send(entry, held)
                away = outcome == "away"
                if outcome in ("later", "away"):
                    kept.append(json.dumps(entry, ensure_ascii=False))
            if kept:
                redis = self._redis()
                redis.rpush(_OUTBOX, *kept)
                redis.ltrim(_OUTBOX, -KEPT, -1)
        except Exception as exc:  # whatever it is, the work that had something to say goes on
            log.warning("operators were not told, and it is not kept: %s", type(exc).__name__)

    def deliver(self) -> int:
        """Say what could not be said before, oldest first; how many messages went out. One process does it at a time.

        Raises:
            RedisError: Redis does not answer.
        """
        redis, said = self._redis(), 0
        lock = redis.lock(_DELIVERING, timeout=_DELIVERING_S)
        if not redis.llen(_OUTBOX) or not lock.acquire(blocking=False):
            return 0
        try:
            until, people = time.monotonic() + _ROUND_S, self._people()
            if people is not None:
                _address(redis, people)
            raws: list[bytes] = redis.lrange(_OUTBOX, 0, -1)  # type: ignore[assignment]
            entries = [json.loads(raw) for raw in raws]
            held = self._held(entries)
            for raw, entry in zip(raws, entries, strict=True):
                if entry["chat"] is None:
                    continue
                is_left_out = people is not None and entry["chat"] not in dict(people)  # no operator any more
                outcome = "never" if is_left_out else self._send(entry, held)
                said += outcome == "said"
                if outcome in ("said", "never"):
                    redis.lrem(_OUTBOX, 1, raw)  # type: ignore[arg-type]
                if outcome == "away" or time.monotonic() > until or not lock.owned():
                    break
        finally:
            if lock.owned():
                lock.release()
        return said

    def _people(self) -> list[tuple[int, str]] | None:
        """The operators; None while the records do not say who they are."""
        try:
            return list(self._operators())
        except Exception as exc:
            log.warning("who the operators are is not known now: %s", type(exc).__name__)
            return None

    def _send(self, entry: Mapping[str, Any], held: set[int]) -> Outcome:
        """Send to one operator; whether that was done, is not to be done, or may be done later."""
        import httpx

        logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes every address
        chat = entry["chat"]
        if chat in held:
            return "later"
        try:
            answer = httpx.post(self._address, json={"chat_id": chat, "text": entry["text"]}, timeout=10)
            given = answer.json() if answer.status_code == 429 else {}
        except (httpx.HTTPError, ValueError) as exc:
            log.warning("Telegram does not answer: %s", type(exc).__name__)
            return "away"
        if answer.status_code == 200:
            return "said"
        log.warning("operator %s was not told: Telegram answered %s", chat, answer.status_code)
        if answer.status_code == 429:
            self._hold(chat, int((given.get("parameters") or {}).get("retry_after", 1)))
            held.add(chat)
            return "later"
        # blocked, or never written to: for this operator it stays so; another status may pass, a wrong token too
        return "never" if answer.status_code in (400, 403) else "away"

    def _held(self, entries: Iterable[Mapping[str, Any]]) -> set[int]:
        """The chats of these that Telegram wants no message to for a while."""
        chats = sorted({entry["chat"] for entry in entries if entry["chat"] is not None})
        try:
            marks = self._redis().mget([f"{_HELD}{chat}" for chat in chats]) if chats else []
        except RedisError:
            return set()
        return {chat for chat, mark in zip(chats, marks, strict=True) if mark}  # type: ignore[arg-type]

    def _hold(self, chat: int, pause_s: int) -> None:
        """Telegram said for how many seconds it wants no message to this chat."""
        try:
            self._redis().set(f"{_HELD}{chat}", 1, ex=max(1, pause_s))
        except RedisError as exc:
            log.warning("a pause of Telegram's is not kept: %s", type(exc).__name__)


def _for_each(message: str, people: list[tuple[int, str]] | None) -> list[dict[str, Any]]:
    """A message for each operator; one for nobody yet, if it is not known who they are."""
    english, spanish = (_fit(text) for text in (str(message), getattr(message, "spanish", message)))
    entry_id = uuid.uuid4().hex
    if people is None:
        return [{"id": entry_id, "chat": None, "text": english, "spanish": spanish}]
    return [
        {"id": entry_id, "chat": chat, "text": spanish if language == "es" else english} for chat, language in people
    ]


def _fit(text: str) -> str:
    """As much as a message may have; half a character, as in names of files, cannot be sent."""
    return text[:_LONGEST].encode("utf-8", "replace").decode()


def _address(redis: Redis, people: list[tuple[int, str]]) -> None:
    """Put a message for each operator in the place of each that was for nobody yet."""
    for raw in redis.lrange(_OUTBOX, 0, -1):  # type: ignore[union-attr]
        entry = json.loads(raw)
        if entry["chat"] is not None:
            continue
        with redis.pipeline() as all_:
            for one in _for_each(Notice(entry["text"], entry["spanish"]), people):
                all_.linsert(_OUTBOX, "BEFORE", raw, json.dumps(one, ensure_ascii=False))  # type: ignore[arg-type]
            all_.lrem(_OUTBOX, 1, raw)  # type: ignore[arg-type]
            all_.ltrim(_OUTBOX, -KEPT, -1)
            all_.execute()
