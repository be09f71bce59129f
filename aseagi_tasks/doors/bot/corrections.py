""" "Wrong?": a person says what a field is. The question names document and field, so that no state is kept for it."""

from __future__ import annotations

import re

from telegram import ForceReply, Message

from aseagi_tasks.doors.bot import card
from aseagi_tasks.doors.bot.answers import analysis_of
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.intake import requester
from aseagi_tasks.doors.bot.texts import say
from aseagi_tasks.doors.correcting import TYPES, checked
from aseagi_tasks.doors.showing import words
from aseagi_tasks.stores.user_records import FIELDS, Field, Language, User, latest

_MARK = re.compile(r"^([0-9a-f]{16}) (\w+)$", re.MULTILINE)
_HOW = {
    "document_date": "how_date",
    "filed_date": "how_date",
    "relevancy_score": "how_score",
    "parties": "how_parties",
}


async def ask(desk: Desk, user: User, document_id: str, field: Field, reply_to: int) -> None:
    """Ask what a field is instead: types by button, everything else as an answer to the question."""
    document = await run(desk.records.document, document_id)
    if field == "document_type":
        named = [(words(name), f"v:{document_id}:{at}") for at, name in enumerate(TYPES)]
        rows = [named[at : at + 3] for at in range(0, len(named), 3)]
        said = say(user.language, "which_type", name=document.name)
        await desk.post.send(user.telegram_id, said, card.buttons(rows), reply_to)
        return
    corrections = latest(await run(desk.records.corrections, document_id))
    analysis = await run(analysis_of, desk, document.processed)
    said = say(
        user.language,
        "what_instead",
        name=document.name,
        field=say(user.language, field),
        value=card.value(document, analysis, corrections, field) or say(user.language, "nothing"),
        how=_how(user.language, field),
        mark=f"{document_id} {field}",
    )
    await desk.post.send(user.telegram_id, said, ForceReply(), reply_to)


def asked(message: Message) -> tuple[str, Field] | None:
    """Document and field, if the message answers a question of ours."""
    question = message.reply_to_message
    if question is None or question.from_user is None or question.from_user.id != message.get_bot().id:
        return None
    mark = _MARK.search(question.text or "")
    if mark is None or mark[2] not in FIELDS:
        return None
    return mark[1], mark[2]  # type: ignore[return-value]


async def take(desk: Desk, user: User, document_id: str, field: Field, text: str, *, once: str, reply_to: int) -> None:
    """Keep a correction and say so, or say what the field takes.

    Args:
        once: of the message or tap, so that a restart does not make two of it.
    """
    value = checked(field, text)
    name = say(user.language, field)
    if value is None:
        said = say(user.language, "not_valid", field=name, how=_how(user.language, field))
        await desk.post.send(user.telegram_id, said, reply_to=reply_to)
        return
    document = await run(desk.records.document, document_id)
    kept = await run(desk.records.correct, document_id, field, value, requester(user), once=once)
    said = say(
        user.language,
        "was_corrected",
        field=name,
        value="; ".join(words(kept.value).splitlines() if field == "document_type" else kept.value.splitlines()),
        who=card.who(kept.corrected_by),
        when=f"{kept.at:%Y-%m-%d %H:%M}",
        was=card.found_words(user.language, await run(analysis_of, desk, document.processed), field),
    )
    await desk.post.send(user.telegram_id, said, reply_to=reply_to)


def _how(language: Language, field: Field) -> str:
    return say(language, _HOW[field]) if field in _HOW else ""
