"""What buttons do. A button's data is a letter and what it is about; nothing else is kept for it."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from telegram import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message

from aseagi_tasks.doors.bot import bulk, card, commands, corrections, intake, people
from aseagi_tasks.doors.bot.answers import analysis_of, last_job
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.texts import say
from aseagi_tasks.doors.correcting import TYPES
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.user_records import FIELDS, Answer, User, latest
from aseagi_tasks.tasks import resubmit

#: What Telegram lets a bot send.
MAX_SEND_BYTES = 50_000_000
LINK_S = 3_600
_TAPS = uuid.UUID("c1a2b1c5-33a4-4a2b-9df1-0e6a2f9f7a10")


async def tap(desk: Desk, user: User, query: CallbackQuery) -> None:
    """Do what a button says; a button that is not ours any more is taken off the clock and does nothing."""
    message = query.message if isinstance(query.message, Message) else None
    letter, _, about = (query.data or "").partition(":")
    action = ACTIONS.get(letter)
    said = None
    try:
        if action is not None and message is not None:
            said = await action(desk, user, query, message, about)
    except NotFound:
        said = say(user.language, "not_stored")
    await desk.post.acknowledge(query.id, said)


async def _open(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    document = await run(desk.records.document, about)
    url = await run(desk.storage.url_get, document.key, LINK_S)
    if not url.startswith("http"):  # a folder on this machine: the file itself
        return await _send(desk, user, message, document.key, document.name)
    link = InlineKeyboardMarkup([[InlineKeyboardButton(say(user.language, "open"), url=url)]])
    said = say(user.language, "link", name=document.name)
    await desk.post.send(user.telegram_id, said, link, message.message_id)
    return None


async def _searchable(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    return await _published(desk, user, message, about, "searchable.pdf")


async def _text(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    return await _published(desk, user, message, about, "ocr.txt")


async def _published(desk: Desk, user: User, message: Message, document_id: str, name: str) -> str | None:
    document = await run(desk.records.document, document_id)
    stem = document.name.rpartition(".")[0] or document.name
    return await _send(desk, user, message, f"{document.processed}/{name}", f"{stem}{name[name.rindex('.') :]}")


async def _send(desk: Desk, user: User, message: Message, key: str, name: str) -> str | None:
    there = await run(desk.storage.stat, key)
    if there is None:
        return say(user.language, "not_stored")
    if there.bytes > MAX_SEND_BYTES:
        said = say(user.language, "too_big_to_send", name=name, size=f"{there.bytes / 1e6:.0f}", place=key)
        await desk.post.send(user.telegram_id, said, reply_to=message.message_id)
        return None
    await desk.post.send_file(user.telegram_id, await run(desk.storage.get, key), name, message.message_id)
    return None


async def _again(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    """Process again: the same message tells how it goes. Two taps, or one that is dealt with twice, are one job."""
    job = await run(last_job, desk, about)
    document = await run(desk.records.document, about)
    for answer in await run(desk.records.answers_to, user.telegram_id, 50):
        if answer.message_id == message.message_id and answer.answered_at is None:
            return say(user.language, "queued")
    job_id = await run(resubmit, job, "high")
    answer = Answer(
        job_id=job_id,
        telegram_id=user.telegram_id,
        name=document.name,
        message_id=message.message_id,
        created_at=datetime.now(UTC),
    )
    desk.answers.follow(await run(desk.records.open_answer, answer))
    return say(user.language, "queued")


async def _wrong(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    await desk.post.edit_keyboard(user.telegram_id, message.message_id, card.field_keyboard(user.language, about))
    return say(user.language, "which_field")


async def _back(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    await desk.post.edit_keyboard(user.telegram_id, message.message_id, card.keyboard(user.language, about))
    return None


async def _field(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    document_id, _, at = about.partition(":")
    await desk.post.edit_keyboard(user.telegram_id, message.message_id, card.keyboard(user.language, document_id))
    await corrections.ask(desk, user, document_id, FIELDS[int(at)], message.message_id)
    return None


async def _type(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    document_id, _, at = about.partition(":")
    once, kind = str(uuid.uuid5(_TAPS, query.id)), TYPES[int(at)]
    await corrections.take(desk, user, document_id, "document_type", kind, once=once, reply_to=message.message_id)
    return None


async def _show(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    """A document that was found: its card."""
    document = await run(desk.records.document, about)
    analysis = await run(analysis_of, desk, document.processed)
    said = latest(await run(desk.records.corrections, about))
    text = card.card(user.language, document, analysis, said)
    await desk.post.send(user.telegram_id, text, card.keyboard(user.language, about), message.message_id)
    return None


async def _page(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    """Another page of a search, whose words stand in the message's first line."""
    wanted = (message.text or "").split("\n", 1)[0].partition(" ")[2]
    text, pages = await run(commands.hits, desk, user.language, wanted, int(about))
    await desk.post.edit(user.telegram_id, message.message_id, text, pages)
    return None


async def _latest(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    """Another page of the user's documents."""
    text, pages = await run(commands.latest, desk, user, int(about))
    await desk.post.edit(user.telegram_id, message.message_id, text, pages)
    return None


async def _language(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    user = user.model_copy(update={"language": "es" if about == "es" else "en"})
    await run(desk.records.save_user, user)
    await desk.post.edit(user.telegram_id, message.message_id, say(user.language, "language_set"))
    return None


async def _cancel(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    await desk.post.edit(user.telegram_id, message.message_id, await commands.cancelled(desk, user, about))
    return None


async def _uploaded(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    there = await intake.uploaded(desk, user, about)
    return say(user.language, "queued" if there else "not_there")


async def _invite(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    if user.role != "operator":
        return say(user.language, "operators_only")
    telegram_id, _, let_in = about.partition(":")
    said = await people.decide(desk, user, int(telegram_id), let_in == "1")
    await desk.post.edit(user.telegram_id, message.message_id, said)
    return None


Action = Callable[[Desk, User, CallbackQuery, Message, str], Awaitable[str | None]]
ACTIONS: dict[str, Action] = {
    "o": _open,
    "s": _searchable,
    "t": _text,
    "r": _again,
    "w": _wrong,
    "b": _back,
    "f": _field,
    "v": _type,
    "g": _show,
    "q": _page,
    "a": _latest,
    "l": _language,
    "x": _cancel,
    "u": _uploaded,
    "in": _invite,
    "k": bulk.tap,
}
