"""Sending and editing within Telegram's limits: its pauses are kept, a user who blocked the bot is no error."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from telegram import Bot, ForceReply, InlineKeyboardMarkup, InputMediaPhoto, LinkPreviewOptions, ReplyParameters
from telegram.constants import ParseMode
from telegram.error import BadRequest, Forbidden, NetworkError, RetryAfter, TelegramError

log = logging.getLogger(__name__)
T = TypeVar("T")
#: Telegram allows about a message a second in a chat; only what may be left out keeps to it, 429 paces the rest.
CHAT_PAUSE_S = 1.1
#: Tries of a call whose answer did not come.
TRIES = 6
_PICTURE = "there is no text in the message"
_SAME = "message is not modified"
_GONE = ("message to edit not found", "message can't be edited", "message_id_invalid")


class Post:
    """All that goes out."""

    def __init__(self, bot: Bot) -> None:
        self.bot = bot
        self._last: dict[int, float] = {}
        self._held: dict[int, float] = {}

    def is_quiet(self, chat_id: int) -> bool:
        """Whether a message that may be left out would fit in now."""
        now = time.monotonic()
        return now > self._held.get(chat_id, 0.0) and now - self._last.get(chat_id, 0.0) > CHAT_PAUSE_S

    async def send(
        self,
        chat_id: int,
        text: str,
        keyboard: InlineKeyboardMarkup | ForceReply | None = None,
        reply_to: int | None = None,
    ) -> int | None:
        """Send a message; its id, or None if the user has blocked the bot."""
        reply = ReplyParameters(reply_to, allow_sending_without_reply=True) if reply_to else None
        sent = await self._try(
            chat_id,
            lambda: self.bot.send_message(
                chat_id,
                text,
                parse_mode=ParseMode.HTML,
                reply_markup=keyboard,
                reply_parameters=reply,
                link_preview_options=LinkPreviewOptions(is_disabled=True),
            ),
        )
        return None if sent is None else sent.message_id

    async def edit(
        self, chat_id: int, message_id: int, text: str, keyboard: InlineKeyboardMarkup | None = None
    ) -> bool:
        """Put a text in place of a message's, or below its picture; False if there is no such message any more."""
        try:
            return await self._edit(
                chat_id,
                lambda: self.bot.edit_message_text(
                    text,
                    chat_id,
                    message_id,
                    parse_mode=ParseMode.HTML,
                    reply_markup=keyboard,
                    link_preview_options=LinkPreviewOptions(is_disabled=True),
                ),
            )
        except BadRequest as exc:
            if _PICTURE not in exc.message.lower():
                raise
        return await self._edit(
            chat_id,
            lambda: self.bot.edit_message_caption(
                chat_id, message_id, caption=text, parse_mode=ParseMode.HTML, reply_markup=keyboard
            ),
        )

    async def edit_picture(
        self, chat_id: int, message_id: int, picture: bytes, caption: str, keyboard: InlineKeyboardMarkup | None
    ) -> bool:
        """Make a message a picture with a caption; False if there is no such message any more."""
        return await self._edit(
            chat_id,
            lambda: self.bot.edit_message_media(
                InputMediaPhoto(picture, caption, parse_mode=ParseMode.HTML),
                chat_id,
                message_id,
                reply_markup=keyboard,
            ),
        )

    async def edit_keyboard(self, chat_id: int, message_id: int, keyboard: InlineKeyboardMarkup) -> bool:
        """Put other buttons under a message; False if there is no such message any more."""
        return await self._edit(
            chat_id, lambda: self.bot.edit_message_reply_markup(chat_id, message_id, reply_markup=keyboard)
        )

    async def send_file(self, chat_id: int, content: bytes, name: str, reply_to: int | None = None) -> None:
        """Send a file of at most 50 MB."""
        reply = ReplyParameters(reply_to, allow_sending_without_reply=True) if reply_to else None
        await self._try(
            chat_id,
            lambda: self.bot.send_document(chat_id, content, filename=name, reply_parameters=reply, write_timeout=120),
        )

    async def acknowledge(self, query_id: str, text: str | None = None) -> None:
        """Take the clock off a button; a query that is too old has none any more."""
        try:
            await self._call(0, lambda: self.bot.answer_callback_query(query_id, text))
        except TelegramError as exc:
            log.info("a button was not acknowledged: %s", exc.message)

    async def _edit(self, chat_id: int, call: Callable[[], Awaitable[object]]) -> bool:
        try:
            await self._try(chat_id, call)
        except BadRequest as exc:
            said = exc.message.lower()
            if any(gone in said for gone in _GONE):
                return False
            if _SAME not in said:
                raise
        return True

    async def _try(self, chat_id: int, call: Callable[[], Awaitable[T]]) -> T | None:
        try:
            return await self._call(chat_id, call)
        except Forbidden as exc:
            log.info("user %s is not to be reached: %s", chat_id, exc.message)
            return None
        finally:
            self._last[chat_id] = time.monotonic()

    async def _call(self, chat_id: int, call: Callable[[], Awaitable[T]]) -> T:
        """Call, wait as long as Telegram says, and call again after what may pass."""
        tries = 0
        while True:
            await asyncio.sleep(max(0.0, self._held.get(chat_id, 0.0) - time.monotonic()))
            try:
                return await call()
            except RetryAfter as exc:
                self._held[chat_id] = time.monotonic() + pause_of(exc)
            except BadRequest:
                raise
            except NetworkError:
                tries += 1
                if tries == TRIES:
                    raise
                await asyncio.sleep(min(30, 0.5 * 2**tries))


def pause_of(exc: RetryAfter) -> float:
    """Seconds for which Telegram wants to be left alone."""
    pause = exc.retry_after
    return pause.total_seconds() if isinstance(pause, timedelta) else float(pause)
