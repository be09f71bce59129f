"""Files and photographs in: each message, or each album of photographs, becomes one document and one job."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.exceptions import RedisError
from telegram import Document as TelegramDocument
from telegram import Message, PhotoSize
from telegram.error import BadRequest

from aseagi_tasks import services
from aseagi_tasks.doors.bot import card
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.people import may_send
from aseagi_tasks.doors.bot.texts import Html, say
from aseagi_tasks.errors import DocumentError, NotFound
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.records import Document
from aseagi_tasks.stores.user_records import Answer, User
from aseagi_tasks.tasks import enqueue, submit

#: What Telegram lets a bot fetch.
MAX_FETCH_BYTES = 20_000_000
UPLOAD_LINK_S = 86_400
_JOBS = uuid.UUID("5e1f63a2-6d0c-4f0e-9b58-6a1c5f0f9a51")
_CASE = re.compile(r"#(?:case|caso)[\s:=]+#?(\S+)|#(?=\w*\d)([\w:.-]*\w)", re.IGNORECASE)
_CAPTION = "aseagi:bot:caption:"
_NO_NAME = re.compile(r'[\x00-\x1f/\\:*?"<>|]+')


def job_of(message: Message) -> str:
    """The job of a message: the same one however often a bot begins with it."""
    return str(uuid.uuid5(_JOBS, f"{message.get_bot().id}:{message.chat_id}:{message.message_id}"))


def cases(caption: str) -> list[str]:
    """`#case 3:21-cv-01234`, `#23CV998417` → the numbers."""
    return [(one or other).rstrip(".,;") for one, other in _CASE.findall(caption)]


async def take(desk: Desk, user: User, messages: Sequence[Message]) -> None:
    """Take in a message's file, or an album's photographs as one document, and queue it.

    May be called again for the same messages after a restart: job and answer are the same ones then.
    """
    first = messages[0]
    files = [message.document or message.photo[-1] for message in messages]
    job_id, name = job_of(first), _name(messages)
    now = datetime.now(UTC)
    answer = await run(
        desk.records.open_answer,
        Answer(job_id=job_id, telegram_id=user.telegram_id, name=name, reply_to=first.message_id, created_at=now),
    )
    if answer.answered_at is not None:
        return
    too_big = max(file.file_size or 0 for file in files)
    caption = next((message.caption for message in messages if message.caption), "")
    if too_big > MAX_FETCH_BYTES:
        if answer.message_id is None:
            await run(_keep_caption, job_id, caption)
            await _offer_upload(desk, user, answer, too_big)
        return
    if answer.message_id is None:
        full_at = await run(may_send, user.telegram_id)
        if full_at is not None:
            limit = settings().telegram_files_per_hour
            said = say(user.language, "too_many", name=name, limit=limit, time=full_at)
            await desk.post.send(user.telegram_id, said, reply_to=first.message_id)
            await run(desk.records.end_answer, job_id, now)
            return
        sent = await desk.post.send(
            user.telegram_id, say(user.language, "received", name=name), reply_to=first.message_id
        )
        if sent is not None:
            await run(desk.records.answer_sent, job_id, sent)
            answer = answer.model_copy(update={"message_id": sent})
    try:
        await _submit(desk, user, answer, files, caption)
    except (DocumentError, BadRequest) as exc:
        kind, why = (type(exc).__name__, str(exc)) if isinstance(exc, DocumentError) else ("Telegram", exc.message)
        why = card.failure(user.language, name, kind, why)
        if answer.message_id is None or not await desk.post.edit(user.telegram_id, answer.message_id, why):
            await desk.post.send(user.telegram_id, why, reply_to=first.message_id)
        await run(desk.records.end_answer, job_id, datetime.now(UTC))
        return
    desk.answers.follow(answer)


async def uploaded(desk: Desk, user: User, job_id: str) -> bool:
    """A file that was too big for Telegram lies where its link pointed: queue it; False if it is not there."""
    answers = await run(desk.records.answers_to, user.telegram_id, 1_000)
    answer = next((one for one in answers if one.job_id == job_id), None)
    if answer is None:
        return False
    key = _upload_key(answer)
    if await run(desk.storage.stat, key) is None:
        return False
    await run(_queue, key, user, job_id)
    await run(_note, desk, job_id, await run(_kept_caption, job_id))
    desk.answers.follow(answer)
    return True


def requester(user: User) -> str:
    """Who asks, as jobs and corrections keep it."""
    return f"telegram:{user.telegram_id} {user.name or ''}".rstrip()


async def _offer_upload(desk: Desk, user: User, answer: Answer, size: int) -> None:
    key = _upload_key(answer)
    url = await run(desk.storage.url_put, key, UPLOAD_LINK_S)
    said = say(user.language, "too_big", name=answer.name, size=f"{size / 1e6:.0f}")
    if not url.startswith("http"):
        await desk.post.send(
            user.telegram_id, f"{said}\n{say(user.language, 'no_upload_link')}", reply_to=answer.reply_to
        )
        await run(desk.records.end_answer, answer.job_id, datetime.now(UTC))
        return
    said = Html(f"{said}\n{say(user.language, 'upload_link', name=answer.name, url=url)}")
    done = card.buttons([[(say(user.language, "uploaded"), f"u:{answer.job_id}")]])
    sent = await desk.post.send(user.telegram_id, said, done, reply_to=answer.reply_to)
    if sent is not None:
        await run(desk.records.answer_sent, answer.job_id, sent)


async def _submit(
    desk: Desk, user: User, answer: Answer, files: Sequence[TelegramDocument | PhotoSize], caption: str
) -> None:
    if not await run(_is_to_be_queued, desk, answer.job_id):
        return
    with TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(files))]
        for file, path in zip(files, paths, strict=True):  # one after the other: they are in memory on their way
            told = await desk.post.bot.get_file(file.file_id)
            await told.download_to_drive(path, read_timeout=60)
        await asyncio.shield(run(_take_in, desk, user, answer, paths, caption))


def _take_in(desk: Desk, user: User, answer: Answer, paths: Sequence[Path], caption: str) -> None:
    path = paths[0].with_name(answer.name)
    if len(paths) > 1:
        from aseagi_tasks.reading.embedding import bound_together

        bound_together(paths, path)
    else:
        paths[0].rename(path)
    document = submit(path, priority="high", requested_by=requester(user), job_id=answer.job_id)
    say_case(desk, answer.job_id, document.document_id, caption, requester(user))
    _note(desk, answer.job_id, caption)
    if _is_published(desk, document):  # known: answered at once, whoever else waits for a worker
        desk.records.complete(answer.job_id, None, None)


def say_case(desk: Desk, job_id: str, document_id: str, caption: str, by: str) -> None:
    """Put the case that a caption names beside what is found; the same job's once."""
    for number in cases(caption)[:1]:
        desk.records.correct(document_id, "case_number", number, by, once=f"{job_id}:case")


def _note(desk: Desk, job_id: str, caption: str) -> None:
    if caption:
        desk.records.add_event(job_id, None, "note", "telegram", {"note": caption[:1_000]})


def _keep_caption(job_id: str, caption: str) -> None:
    """Until the file that it came with is put where its link points."""
    if caption:
        with suppress(RedisError):
            services.redis().set(f"{_CAPTION}{job_id}", caption, ex=2 * UPLOAD_LINK_S)


def _kept_caption(job_id: str) -> str:
    with suppress(RedisError):
        kept: bytes | None = services.redis().get(f"{_CAPTION}{job_id}")  # type: ignore[assignment]
        return (kept or b"").decode()
    return ""


def _is_to_be_queued(desk: Desk, job_id: str) -> bool:
    """Whether no worker has begun with the job: after a restart it may have been queued already."""
    try:
        return desk.records.job(job_id).status == "queued"
    except NotFound:
        return True


def _is_published(desk: Desk, document: Document) -> bool:
    return document.processed is not None and desk.storage.stat(f"{document.processed}/metadata.json") is not None


def _queue(key: str, user: User, job_id: str) -> None:
    enqueue(job_id, key, "high", requested_by=requester(user), again=False, ocr_engine=None)


def _upload_key(answer: Answer) -> str:
    """Where a file that comes by link lies: with the other originals, under a name that nobody else's has."""
    return f"raw/{answer.created_at:%Y/%m/%d}/{answer.job_id[:13]} {answer.name}"


def _name(messages: Sequence[Message]) -> str:
    first = messages[0]
    if first.document is not None and first.document.file_name:
        return _NO_NAME.sub("_", first.document.file_name).strip(" .")[-120:] or "document"
    taken = f"{first.date:%Y-%m-%d %H.%M.%S}"
    return f"photographs {taken}.pdf" if len(messages) > 1 else f"photograph {taken}.jpg"
