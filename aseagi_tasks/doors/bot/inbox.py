"""Updates in: kept in the records before Telegram hears that they came, dealt with once, in each chat in order.

Telegram forgets an update when the next one is asked for (polling) or when it is answered 200 (webhook). By then it
stands in the records, and stays open there until it was dealt with: a bot that starts begins with those.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from telegram import Bot, Update
from telegram.error import BadRequest, Conflict, InvalidToken, NetworkError, RetryAfter, TelegramError
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from aseagi_tasks.doors.bot.desk import run
from aseagi_tasks.doors.bot.dispatch import KINDS
from aseagi_tasks.doors.bot.post import pause_of
from aseagi_tasks.errors import RecordsUnavailable, TransientError
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.user_records import Update as Kept

log = logging.getLogger(__name__)
#: An album comes as one update for each photograph, within a moment of each other; then it is complete.
ALBUM_QUIET_S = 1.5
#: An update that was begun with so often and never ended has killed the bot each time.
MAX_TRIES = 5
#: Updates that are dealt with at a time: each may have a file of 20 MB in memory.
AT_ONCE = 4
POLL_S = 25
_SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"
Deal = Callable[[Sequence[Update]], Awaitable[None]]


class Inbox:
    """Takes updates and has them dealt with.

    Args:
        deal: one update, or an album's; an error of what may pass has it called again.
        give_up: what is said of one that cannot be dealt with.
    """

    def __init__(self, bot: Bot, records: Records, deal: Deal, give_up: Deal) -> None:
        self._bot, self._records, self._deal, self._give_up = bot, records, deal, give_up
        self._taken: set[int] = set()
        self._locks: dict[int, asyncio.Lock] = {}
        self._albums: dict[tuple[int, str], list[Update]] = {}
        self._closing: dict[tuple[int, str], asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._limit = asyncio.Semaphore(AT_ONCE)

    # -- coming in

    def begin(self, left: Sequence[Kept]) -> None:
        """Take up what the last bot left."""
        for kept in left:
            self._take(kept.update_id, dict(kept.body), kept.tries)

    async def keep(self, body: dict[str, Any]) -> None:
        """Keep an update, and take it up if it is new.

        Raises:
            RecordsUnavailable: it is not kept; Telegram has to give it again.
        """
        update_id = int(body["update_id"])
        if update_id not in self._taken and await run(self._records.keep_update, update_id, body):
            self._take(update_id, body)

    async def poll(self) -> None:
        """Ask Telegram for updates until cancelled."""
        offset: int | None = None
        while True:
            try:
                updates = await self._bot.get_updates(
                    offset, timeout=timedelta(seconds=POLL_S), read_timeout=POLL_S + 10, allowed_updates=KINDS
                )
                for update in updates:
                    await self.keep(update.to_dict())
                    offset = update.update_id + 1
            except RecordsUnavailable as exc:
                log.warning("updates stay at Telegram: %s", exc)
                await asyncio.sleep(5)
            except (InvalidToken, BadRequest):
                raise
            except RetryAfter as exc:
                await asyncio.sleep(pause_of(exc))
            except Conflict as exc:
                log.error("another bot asks with the same token, or a webhook is set: %s", exc.message)
                await asyncio.sleep(10)
            except (NetworkError, TelegramError) as exc:
                log.warning("Telegram does not answer: %s", exc.message)
                await asyncio.sleep(2)

    def serve(self, url: str, secret: str, port: int) -> HTTPServer:
        """Take Telegram's calls on loopback; what lacks the secret is refused, what cannot be kept is asked for again.

        Args:
            url: where Telegram calls; its path counts.
        """
        inbox = self

        class Handler(RequestHandler):
            async def post(self) -> None:
                given = self.request.headers.get(_SECRET_HEADER, "")
                if not hmac.compare_digest(given.encode(), secret.encode()):
                    self.set_status(403)
                    return
                try:
                    await inbox.keep(json.loads(self.request.body))
                except (ValueError, KeyError, TypeError):
                    self.set_status(400)
                except RecordsUnavailable as exc:
                    log.warning("updates stay at Telegram: %s", exc)
                    self.set_status(503)

        server = HTTPServer(Application([(urlsplit(url).path or "/", Handler)]), max_body_size=1_000_000)
        server.listen(port, "127.0.0.1")
        return server

    async def drain(self, seconds: float) -> None:
        """Let what is being dealt with end; what does not in time is left for the next bot."""
        for closing in self._closing.values():
            closing.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()

    # -- dealing with

    def _take(self, update_id: int, body: dict[str, Any], tries: int = 0) -> None:
        if update_id in self._taken:
            return
        self._taken.add(update_id)
        try:
            update = Update.de_json(body, self._bot)
        except (TypeError, ValueError, KeyError, AttributeError):  # of a later API; the next bot is not to end by it
            log.exception("update %s is not understood", update_id)
            return
        message = update.message
        if message is not None and message.media_group_id and message.photo and tries <= MAX_TRIES:
            key = message.chat_id, message.media_group_id
            self._albums.setdefault(key, []).append(update)
            if key in self._closing:
                self._closing[key].cancel()
            self._closing[key] = asyncio.get_running_loop().call_later(ALBUM_QUIET_S, self._close, key)
        else:
            self._start([update], tries)

    def _close(self, key: tuple[int, str]) -> None:
        del self._closing[key]
        self._start(self._albums.pop(key), 0)

    def _start(self, updates: list[Update], tries: int) -> None:
        task = asyncio.create_task(self._until_dealt_with(updates, tries))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_dealt_with(self, updates: list[Update], tries: int) -> None:
        chat = updates[0].effective_chat
        lock = self._locks.setdefault(chat.id if chat else 0, asyncio.Lock())
        ids = [update.update_id for update in updates]
        async with lock, self._limit:
            pause = 1.0
            while True:
                try:
                    if tries > MAX_TRIES:
                        log.error("updates %s are given up", ids)
                        await self._give_up(updates)
                    else:
                        await self._deal(updates)
                    await run(self._records.end_updates, ids)
                    self._taken.difference_update(ids)
                    return
                except BadRequest as exc:
                    log.error("Telegram refused an answer to updates %s: %s", ids, exc.message)
                    tries = MAX_TRIES + 1
                except (TransientError, NetworkError) as exc:
                    log.warning("updates %s wait: %s", ids, exc)
                except Exception:
                    log.exception("updates %s cannot be dealt with", ids)
                    tries = MAX_TRIES + 1
                await asyncio.sleep(pause)
                pause = min(30.0, pause * 2)
