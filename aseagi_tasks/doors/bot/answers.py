"""One message a document: edited as stages pass, until it has its last form.

Editing is what makes an answer once: whatever happens between sending and remembering, the same message gets the same
last form again, and Telegram calls that no change.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from redis.exceptions import RedisError
from telegram.error import TelegramError

from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.celery import app
from aseagi_tasks.documents import FINAL, Stage, Status
from aseagi_tasks.doors.bot import card
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.intake import say_case
from aseagi_tasks.doors.bot.texts import say
from aseagi_tasks.errors import NotFound, TransientError
from aseagi_tasks.stages.record import result
from aseagi_tasks.stores.records import Job
from aseagi_tasks.stores.user_records import Answer, Language, User, latest

log = logging.getLogger(__name__)
#: How often jobs are looked at, and how seldom while the records do not answer.
LOOK_S, AWAY_S = 0.25, 5.0
#: An answer whose job never came (a link for an upload that was not used) is forgotten after so long.
FORGET = timedelta(days=2)
#: Documents whose last form is made at a time: thumbnails are in memory.
AT_ONCE = 4


class Answers:
    """The answers whose jobs go on.

    Args:
        open_: those that the last bot left.
    """

    def __init__(self, open_: Sequence[Answer]) -> None:
        self._open = {answer.job_id: answer for answer in open_}
        self._shown: dict[str, str] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._limit = asyncio.Semaphore(AT_ONCE)

    def follow(self, answer: Answer) -> None:
        """From now on this job's message is kept up to date."""
        self._open[answer.job_id] = answer

    async def watch(self, desk: Desk) -> None:
        """Keep messages up to date until cancelled."""
        while True:
            try:
                await self._round(desk)
                await asyncio.sleep(LOOK_S)
            except TransientError as exc:
                log.warning("%s", exc)
                await asyncio.sleep(AWAY_S)

    async def _round(self, desk: Desk) -> None:
        waiting = [answer for answer in self._open.values() if answer.job_id not in self._ending]
        if not waiting:
            return
        seen = await run(_look, desk, [answer.job_id for answer in waiting])
        for answer in waiting:
            job = seen.get(answer.job_id)
            if job is None:
                if datetime.now(UTC) - answer.created_at > FORGET:
                    await run(desk.records.end_answer, answer.job_id, datetime.now(UTC))
                    self._open.pop(answer.job_id, None)
            elif job.status in FINAL:
                self._ending[answer.job_id] = asyncio.create_task(self._end(desk, answer))
            else:
                await self._show(desk, answer, job)

    async def _show(self, desk: Desk, answer: Answer, job: _Seen) -> None:
        """A stage that passed, if the chat has room for it: it may be left out, the last form may not."""
        if answer.message_id is None or not desk.post.is_quiet(answer.telegram_id):
            return
        language = await language_of(desk, answer.telegram_id)
        stage = say(language, job.stage if job.status == "processing" and job.stage else "queued")
        told = job.progress
        if job.stage == "ocr" and told.get("stage") == "ocr" and told.get("total", 0) > 1:
            stage = say(language, "ocr_page", page=min(told["done"] + 1, told["total"]), pages=told["total"])
        if self._shown.get(answer.job_id) == stage:
            return
        self._shown[answer.job_id] = stage
        said = say(language, "at", name=answer.name, stage=stage)
        try:
            await desk.post.edit(answer.telegram_id, answer.message_id, said)
        except TelegramError as exc:
            log.info("progress of job %s was not shown: %s", answer.job_id, exc.message)

    async def _end(self, desk: Desk, answer: Answer) -> None:
        """The last form, tried until it is given."""
        pause = 1.0
        while True:
            try:
                async with self._limit:
                    await self.give(desk, answer, await run(desk.records.job, answer.job_id))
                break
            except (TransientError, TelegramError) as exc:
                log.warning("the answer for job %s waits: %s", answer.job_id, exc)
            except Exception:
                log.exception("the answer for job %s could not be given", answer.job_id)
                break
            await asyncio.sleep(pause)
            pause = min(60.0, pause * 2)
        self._open.pop(answer.job_id, None)
        self._ending.pop(answer.job_id, None)
        self._shown.pop(answer.job_id, None)

    async def give(self, desk: Desk, answer: Answer, job: Job) -> None:
        """Give a message its last form: the result with its thumbnail and buttons, or why there is none."""
        language = await language_of(desk, answer.telegram_id)
        if job.status == "completed" and job.document_id:
            text, picture = await run(_card, desk, language, job)
            keys = card.keyboard(language, job.document_id)
            if answer.message_id is None or not await desk.post.edit_picture(
                answer.telegram_id, answer.message_id, picture, text, keys
            ):
                await desk.post.send(answer.telegram_id, text, keys, reply_to=answer.reply_to)
        else:
            if job.status == "error":
                text = card.failure(language, answer.name, job.error_class or "", job.error_message or "")
            else:
                text = say(language, "cancelled", name=answer.name)
            if answer.message_id is None or not await desk.post.edit(answer.telegram_id, answer.message_id, text):
                await desk.post.send(answer.telegram_id, text, reply_to=answer.reply_to)
        await run(desk.records.end_answer, answer.job_id, datetime.now(UTC))


async def language_of(desk: Desk, telegram_id: int) -> Language:
    """The user's, English for nobody."""
    user: User | None = await run(desk.records.user, telegram_id)
    return user.language if user else "en"


def last_job(desk: Desk, document_id: str) -> Job:
    """The newest completed job on a document.

    Raises:
        NotFound: there is none.
    """
    for job in desk.records.jobs(document_id=document_id):
        if job.status == "completed":
            return job
    raise NotFound(document_id, "the completed documents")


def analysis_of(desk: Desk, processed: str | None) -> Analysis | None:
    """What was found in a document; None before anything was."""
    if processed is None:
        return None
    return Analysis.model_validate_json(desk.storage.get(f"{processed}/analysis.json"))


def _card(desk: Desk, language: Language, job: Job) -> tuple[str, bytes]:
    document = desk.records.document(job.document_id or "")
    made = result(job.job_id, document, desk.storage)
    events = desk.records.events(job.job_id)
    note = next((str(event.detail["note"]) for event in events if event.kind == "note"), "")
    say_case(desk, job.job_id, document.document_id, note, job.requested_by or "telegram")  # of what came by a link
    corrections = latest(desk.records.corrections(document.document_id))
    text = card.card(
        language,
        document,
        analysis_of(desk, document.processed),
        corrections,
        note=re.sub(r"\s+", " ", note),
        known=any(event.kind == "known" for event in events),
        blank=set(made["text_sources"]) == {"blank"},
    )
    return text, desk.storage.get(made["keys"]["thumbnail.jpg"])


def _progress(job_id: str) -> Any:
    try:
        return app.AsyncResult(job_id).info
    except RedisError:  # it may be left out
        return None


class _Seen(NamedTuple):
    """A job at a glance, with what its worker told while it read."""

    status: Status
    stage: Stage | None
    progress: dict[str, Any]


def _look(desk: Desk, job_ids: list[str]) -> dict[str, _Seen]:
    """Each job that is registered, in one question."""
    seen = {}
    for row in desk.records.rows_of("processing_jobs", "job_id", job_ids, ("job_id", "status", "stage")):
        reading = row["stage"] == "ocr" and row["status"] == "processing"
        info = _progress(row["job_id"]) if reading else None
        seen[row["job_id"]] = _Seen(row["status"], row["stage"], info if isinstance(info, dict) else {})
    return seen
