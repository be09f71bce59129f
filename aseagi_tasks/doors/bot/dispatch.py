"""Which part deals with an update: only private chats, only people who were let in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from telegram import Update
from telegram.constants import ChatType

from aseagi_tasks.doors.bot import callbacks, commands, corrections, intake, people
from aseagi_tasks.doors.bot.answers import language_of
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.texts import say

#: What Telegram is asked for.
KINDS = ("message", "callback_query")


async def deal(desk: Desk, updates: Sequence[Update]) -> None:
    """Deal with one update, or with the photographs of one album in the order in which they were sent."""
    first = updates[0]
    query, message = first.callback_query, first.message
    sender = query.from_user if query else message.from_user if message else None
    chat = first.effective_chat
    if sender is None or sender.is_bot or chat is None or chat.type != ChatType.PRIVATE:
        return
    user = await people.admit(desk, sender)
    if user is None:
        return
    if message is not None and query is None and (message.document or message.photo):
        messages = sorted((one.message for one in updates if one.message), key=lambda one: one.message_id)
        await intake.take(desk, user, messages)
        return
    left = await run(people.asks_left, user.telegram_id)
    if left == 0:
        await desk.post.send(user.telegram_id, say(user.language, "too_fast"))
    if left <= 0:
        return
    if query is not None:
        await callbacks.tap(desk, user, query)
        return
    assert message is not None
    if message.text and (field := corrections.asked(message)):
        once, reply_to = intake.job_of(message), message.message_id
        await corrections.take(desk, user, *field, message.text, once=once, reply_to=reply_to)
    elif message.text:
        await commands.command(desk, user, message)
    else:
        await desk.post.send(user.telegram_id, say(user.language, "no_file"), reply_to=message.message_id)


async def give_up(desk: Desk, updates: Sequence[Update]) -> None:
    """Say that an update cannot be dealt with; a document's own message says it, if it has one."""
    chat, message = updates[0].effective_chat, updates[0].message
    if chat is None or chat.type != ChatType.PRIVATE:
        return
    said = say(await language_of(desk, chat.id), "broken")
    if message is not None and (message.document or message.photo):
        job_id = intake.job_of(message)
        answer = next((one for one in await run(desk.records.open_answers) if one.job_id == job_id), None)
        if answer is not None:
            await run(desk.records.end_answer, job_id, datetime.now(UTC))
            said = say(await language_of(desk, chat.id), "failed", name=answer.name, why=said)
            if answer.message_id is not None and await desk.post.edit(chat.id, answer.message_id, said):
                return
    await desk.post.send(chat.id, said)
