"""What users say in words: commands, and words to search for."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

from telegram import BotCommandScope, BotCommandScopeChat, BotCommandScopeDefault, InlineKeyboardMarkup, Message
from telegram.error import TelegramError

from aseagi_tasks import services
from aseagi_tasks.doors.bot import bulk, card
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.texts import Html, say
from aseagi_tasks.doors.showing import short, words
from aseagi_tasks.doors.spending import spending
from aseagi_tasks.errors import NotFound
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.user_records import Language, User

log = logging.getLogger(__name__)
#: Hits and documents on one page.
PAGE = 5
#: Documents on their way, and machines, that one message names: more would pass what a message may have.
SHOWN = 20
#: Answers of a user's that /last goes back through.
REMEMBERED = 200
Command = Callable[[Desk, User, Message, str], Awaitable[None]]


async def start(desk: Desk, user: User, message: Message, _words: str) -> None:
    """/start, /help"""
    said = say(user.language, "start", commands=_listed(user))
    await desk.post.send(user.telegram_id, said)


async def language(desk: Desk, user: User, message: Message, _words: str) -> None:
    """/language: English or Spanish."""
    choice = card.buttons([[("English", "l:en"), ("Español", "l:es")]])
    await desk.post.send(user.telegram_id, say(user.language, "language"), choice)


async def search(desk: Desk, user: User, message: Message, wanted: str) -> None:
    """/search words, and words alone."""
    wanted = short(" ".join(wanted.split()), 200)
    if not wanted:
        await desk.post.send(user.telegram_id, say(user.language, "no_words"))
        return
    text, pages = await run(hits, desk, user.language, wanted, 0)
    await desk.post.send(user.telegram_id, text, pages, message.message_id)


def hits(desk: Desk, language: Language, wanted: str, offset: int) -> tuple[str, InlineKeyboardMarkup | None]:
    """A page of what was found, with a button for each document and for the pages before and after."""
    found = desk.records.search(wanted, limit=PAGE + 1, offset=offset)
    if not found:
        return say(language, "nothing_found", words=wanted), None
    lines: list[str] = [say(language, "found", words=wanted)]
    if not found[0].exact:
        lines.append(say(language, "alike"))
    rows = []
    for number, hit in enumerate(found[:PAGE], start=offset + 1):
        doc = hit.document
        facts = " · ".join(filter(None, (words(doc.document_type), doc.document_date, doc.case_number)))
        where = re.sub(r"\[(.*?)\]", r"<b>\1</b>", escape(" ".join(hit.snippet.split()), quote=False))
        lines.append(f"\n{number}. {escape(doc.name, quote=False)}\n{escape(facts, quote=False)}\n{where}")
        rows.append((str(number), f"g:{doc.document_id}"))
    return "\n".join(lines), card.buttons([rows, *_turns("q", offset, len(found) > PAGE)])


async def last(desk: Desk, user: User, message: Message, _words: str) -> None:
    """/last: the user's last documents, by button."""
    text, keys = await run(latest, desk, user, 0)
    await desk.post.send(user.telegram_id, text, keys)


def latest(desk: Desk, user: User, offset: int) -> tuple[str, InlineKeyboardMarkup | None]:
    """A page of the user's completed documents, newest first, with a button for each and for the pages around it."""
    answers = desk.records.answers_to(user.telegram_id, REMEMBERED)
    about = ("job_id", "status", "document_id")
    rows = desk.records.rows_of("processing_jobs", "job_id", [answer.job_id for answer in answers], about)
    done = {row["job_id"]: row["document_id"] for row in rows if row["status"] == "completed" and row["document_id"]}
    found = [(short(one.name, 50), f"g:{done[one.job_id]}") for one in answers if one.job_id in done]
    shown = [[button] for button in found[offset : offset + PAGE]]
    if not shown:
        return say(user.language, "no_documents"), None
    return say(user.language, "yours"), card.buttons([*shown, *_turns("a", offset, len(found) > offset + PAGE)])


def _turns(letter: str, offset: int, more: bool) -> list[list[tuple[str, str]]]:
    """Buttons for the pages before and after, if there are any."""
    turns = []
    if offset:
        turns.append(("◀", f"{letter}:{max(0, offset - PAGE)}"))
    if more:
        turns.append(("▶", f"{letter}:{offset + PAGE}"))
    return [turns] if turns else []


async def status(desk: Desk, user: User, message: Message, _words: str) -> None:
    """/status: what waits and runs, and the user's own documents."""
    lines = [str(say(user.language, "status", **await run(desk.records.counts)))]
    own = await _open(desk, user)
    if own:
        lines.append(say(user.language, "yours"))
        for _, name, stage in own[:SHOWN]:
            lines.append(say(user.language, "at", name=short(name, 80), stage=say(user.language, stage)))
        if len(own) > SHOWN:
            lines.append(say(user.language, "more", count=len(own) - SHOWN))
    await desk.post.send(user.telegram_id, "\n".join(lines))


async def cancel(desk: Desk, user: User, message: Message, _words: str) -> None:
    """/cancel: the one document that is on its way, or a choice of them."""
    own = await _open(desk, user)
    if not own:
        await desk.post.send(user.telegram_id, say(user.language, "nothing_to_cancel"))
    elif len(own) == 1:
        await desk.post.send(user.telegram_id, await cancelled(desk, user, own[0][0]))
    else:
        rows = [[(short(name, 50), f"x:{job_id}")] for job_id, name, _ in own[:10]]
        await desk.post.send(user.telegram_id, say(user.language, "which_cancel"), card.buttons(rows))


async def cancelled(desk: Desk, user: User, job_id: str) -> str:
    """Cancel a job of the user's; what to say about it."""
    answers = await run(desk.records.answers_to, user.telegram_id, 1_000)
    answer = next((one for one in answers if one.job_id == job_id), None)
    if answer is None:
        return say(user.language, "nothing_to_cancel")
    done = await run(desk.records.cancel, job_id)
    return say(user.language, "is_cancelled" if done else "had_ended", name=answer.name)


async def costs(desk: Desk, user: User, message: Message, _words: str) -> None:
    """/costs: today, this month, and for 1,000 documents."""
    spent = await run(spending, datetime.now(UTC))
    said = say(user.language, "costs", today=_usd(spent.today), month=_usd(spent.month))
    if spent.per_thousand_usd is not None:
        said = Html(f"{said}\n{say(user.language, 'per_thousand', usd=f'${spent.per_thousand_usd:.2f}')}")
    await desk.post.send(user.telegram_id, said)


async def budget(desk: Desk, user: User, message: Message, _words: str) -> None:
    """/budget: what was spent today of what may be, by kind."""
    spent = (await run(spending, datetime.now(UTC))).today
    limits = {"claude": settings().claude_daily_usd}
    if settings().fleet != "none":
        limits["gpu"] = await run(_fleet_budget)
    lines = [
        say(user.language, "budget", kind=kind, spent=f"${spent.get(kind, 0):.2f}", limit=f"${limit:.2f}")
        for kind, limit in limits.items()
    ]
    await desk.post.send(user.telegram_id, "\n".join(lines))


COMMANDS: dict[str, Command] = {
    "start": start,
    "help": start,
    "search": search,
    "last": last,
    "status": status,
    "cancel": cancel,
    "costs": costs,
    "language": language,
}


async def instances(desk: Desk, user: User, message: Message, _words: str) -> None:
    """/instances: rented machines, their state, age and price."""
    rented = await run(services.fleet_records().instances)
    now = datetime.now(UTC)
    lines = [
        f"{row.instance_id}: {row.gpu}, {row.state}, {(now - row.created_at).total_seconds() / 60:.0f} min,"
        f" ${row.price_usd_per_hour:.2f}/h"
        for row in rented[: 2 * SHOWN]
    ]
    total = sum(row.price_usd_per_hour for row in rented)
    lines.append(say(user.language, "rented", count=len(rented), total=f"${total:.2f}"))
    await desk.post.send(user.telegram_id, escape("\n".join(lines), quote=False))


FOR_OPERATORS: dict[str, Command] = {"budget": budget, "instances": instances, "bulk": bulk.bulk}


async def menu(desk: Desk, operators: Sequence[User]) -> None:
    """Tell Telegram which commands to offer: to everybody theirs, in both languages, and to operators all of them.

    It is a convenience: what Telegram does not take is left.
    """
    languages: tuple[tuple[str, Language], ...] = (("", "en"), ("es", "es"))
    for code, spoken in languages:
        await _offer(desk, COMMANDS, spoken, code, BotCommandScopeDefault())
    for user in operators:
        offered = {**COMMANDS, **FOR_OPERATORS}
        await _offer(desk, offered, user.language, "", BotCommandScopeChat(user.telegram_id))


async def _offer(
    desk: Desk, offered: Mapping[str, Command], spoken: Language, code: str, scope: BotCommandScope
) -> None:
    named = [(name, say(spoken, f"menu_{name}")) for name in offered if name != "start"]
    try:
        await desk.post.bot.set_my_commands(named, scope=scope, language_code=code or None)
    except TelegramError as exc:
        log.info("commands are not offered: %s", exc.message)


async def command(desk: Desk, user: User, message: Message) -> None:
    """Do what a text says: a command, or words to search for."""
    text = message.text or ""
    if not text.startswith("/"):
        await search(desk, user, message, text)
        return
    name, _, rest = text[1:].partition(" ")
    name = name.partition("@")[0].lower()
    if name in FOR_OPERATORS and user.role != "operator":
        await desk.post.send(user.telegram_id, say(user.language, "operators_only"))
        return
    wanted = COMMANDS.get(name) or FOR_OPERATORS.get(name)
    if wanted is None:
        said = say(user.language, "unknown_command", command=f"/{short(name)}", commands=_listed(user))
        await desk.post.send(user.telegram_id, said)
        return
    await wanted(desk, user, message, rest)


async def _open(desk: Desk, user: User) -> list[tuple[str, str, str]]:
    """The user's jobs that go on: (job id, name, stage)."""
    found = []
    for answer in await run(desk.records.answers_to, user.telegram_id, 100):
        if answer.answered_at is not None:
            continue
        try:
            job = await run(desk.records.job, answer.job_id)
        except NotFound:
            continue
        if job.status in ("queued", "processing"):
            at_work = job.stage if job.status == "processing" and job.stage else "queued"
            found.append((job.job_id, answer.name, str(at_work)))
    return found


def _fleet_budget() -> float:
    """USD a day for machines, as set, or as an operator has changed it."""
    from aseagi_tasks.tending.watching import limits_of

    return limits_of(settings(), services.fleet_records().controls()).daily_budget_usd


def _listed(user: User) -> Html:
    more = "".join(f" · /{name}" for name in FOR_OPERATORS) if user.role == "operator" else ""
    return Html(say(user.language, "commands") + more)


def _usd(by_kind: dict[str, float]) -> str:
    kinds = ", ".join(f"{kind} ${usd:.4f}" for kind, usd in sorted(by_kind.items()))
    return f"${sum(by_kind.values()):.2f}" + (f" ({kinds})" if kinds else "")
