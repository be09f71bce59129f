"""/bulk: an operator begins, confirms, pauses and ends bulk runs, each in one message that is edited as it goes.

Which message shows which run is kept in Redis: a bot that starts again goes on with it. Where that is lost, a message
stays as it is, its buttons do what they say, and `/bulk` shows the run anew.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from redis.exceptions import RedisError
from telegram import CallbackQuery, Message
from telegram.error import BadRequest, TelegramError

from aseagi_tasks import services
from aseagi_tasks.bulk import orders
from aseagi_tasks.doors.bot import bulk_card
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.texts import say
from aseagi_tasks.doors.showing import short
from aseagi_tasks.errors import BulkRefused, NotACertificate, NotFound, TransientError
from aseagi_tasks.reports.certificate import Certificate, read
from aseagi_tasks.stores.user_records import Language, User

log = logging.getLogger(__name__)
#: How often runs are looked at, how seldom one that is only further is shown anew, and looks while something is away.
LOOK_S, SHOW_S, AWAY_S = 2.0, 6.0, 15.0
#: A certificate of more is not read here: a run of a million documents has one of hundreds of megabytes.
MAX_CERTIFICATE_BYTES = 20_000_000
#: Runs that `/bulk` lists.
LISTED = 50
_FOLLOWED = "aseagi:bot:bulk"
_WANTED = re.compile(r"(?P<prefix>.*?)(?:\s+\$(?P<cap>\d+(?:\.\d+)?))?", re.DOTALL)
_TELEGRAM_ANSWER = 200
#: Of a refusal, which repeats what was written.
_LONGEST_WHY = 3_000


async def bulk(desk: Desk, user: User, message: Message, words: str) -> None:
    """/bulk: runs with their progress; with a prefix, and a cap if one is named, begins one; with an id shows it."""
    wanted = _WANTED.fullmatch(words.strip())
    prefix = wanted["prefix"] if wanted else ""
    if not prefix:
        text, keys = bulk_card.runs(user.language, await run(orders.listed, LISTED), 0)
        await desk.post.send(user.telegram_id, text, keys)
        return
    try:
        if prefix[:1].isdigit():
            run_id = (await run(orders.show, prefix))["run_id"]
        else:
            cap = float(wanted["cap"]) if wanted and wanted["cap"] else None
            run_id = await run(_begin, user, prefix, cap, message.date)
    except (BulkRefused, NotFound) as exc:
        said = say(user.language, "bulk_refused", why=short(str(exc), _LONGEST_WHY))
        await desk.post.send(user.telegram_id, said, reply_to=message.message_id)
        return
    await _follow(desk, user, run_id, message.message_id)


async def tap(desk: Desk, user: User, query: CallbackQuery, message: Message, about: str) -> str | None:
    """What a button below a run or a list of runs does; what to say of it in a word."""
    if user.role != "operator":
        return say(user.language, "operators_only")
    action, _, rest = about.partition(":")
    if action == "p":
        text, keys = bulk_card.runs(user.language, await run(orders.listed, LISTED), int(rest))
        await desk.post.edit(user.telegram_id, message.message_id, text, keys)
        return None
    run_id, _, cap = rest.partition(":")
    if action == "s":
        try:
            await _follow(desk, user, run_id, message.message_id)
        except NotFound:
            return say(user.language, "bulk_gone")
        return None
    said = None
    try:
        await run(_order(action, run_id, name_of(user), cap))
    except BulkRefused as exc:  # somebody else was faster, or it went on meanwhile
        refused = say(user.language, "bulk_not_now", status=say(user.language, f"run_{exc.args[1]}"))
        said = refused[:_TELEGRAM_ANSWER]
    except NotFound:
        return say(user.language, "bulk_gone")
    shown = await run(orders.show, run_id)
    text = await run(_text, desk, user.language, shown)
    await desk.post.edit(user.telegram_id, message.message_id, text, bulk_card.keyboard(user.language, shown))
    await run(_keep, user.telegram_id, run_id, message.message_id)  # if it ended meanwhile, that is shown once more
    return said or bulk_card.status(user.language, shown)


async def watch(desk: Desk) -> None:
    """Keep the messages that show runs up to date until cancelled."""
    shown: dict[tuple[int, str], tuple[float, str, str]] = {}
    while True:
        pause = LOOK_S
        try:
            followed = await run(_followed)
        except RedisError as exc:
            log.info("which bulk runs are to be shown is not known now: %s", type(exc).__name__)
            followed, pause = {}, AWAY_S
        for (telegram_id, run_id), message_id in followed.items():
            try:
                await _show(desk, telegram_id, run_id, message_id, shown)
            except (TransientError, RedisError) as exc:
                log.info("run %s is not shown now: %s", run_id, exc)
                pause = AWAY_S
            except Exception:  # one that cannot be shown keeps no document's answer from being given
                log.exception("run %s could not be shown", run_id)
                pause = AWAY_S
        await asyncio.sleep(pause)


def name_of(user: User) -> str:
    """As who an operator gives orders."""
    return f"telegram:{user.telegram_id} {user.name or ''}".rstrip()


async def _follow(desk: Desk, user: User, run_id: str, reply_to: int) -> None:
    """Show a run in a message of its own, which from now on is kept up to date.

    Raises:
        NotFound.
    """
    shown = await run(orders.show, run_id)
    text = await run(_text, desk, user.language, shown)
    keys = bulk_card.keyboard(user.language, shown)
    message_id = await desk.post.send(user.telegram_id, text, keys, reply_to)
    if message_id is not None and shown["status"] not in bulk_card.ENDED:
        await run(_keep, user.telegram_id, run_id, message_id)


async def _show(
    desk: Desk, telegram_id: int, run_id: str, message_id: int, shown: dict[tuple[int, str], tuple[float, str, str]]
) -> None:
    user = await run(desk.records.user, telegram_id)
    try:
        now = await run(orders.show, run_id)
    except NotFound:
        user = None
    if user is None or user.role != "operator":
        await run(_forget, telegram_id, run_id)
        return
    text, keys = await run(_text, desk, user.language, now), bulk_card.keyboard(user.language, now)
    last, status, before = shown.get((telegram_id, run_id), (0.0, "", ""))
    has_ended, moment = now["status"] in bulk_card.ENDED, time.monotonic()
    if not has_ended:
        late = now["status"] != status or moment - last > SHOW_S
        if text == before or not late or not desk.post.is_quiet(telegram_id):
            return
    try:
        there = await desk.post.edit(telegram_id, message_id, text, keys)
    except BadRequest as exc:  # and would be again
        log.warning("run %s is not shown to %s any more: %s", run_id, telegram_id, exc.message)
        there = False
    except TelegramError as exc:
        log.info("run %s is not shown to %s now: %s", run_id, telegram_id, exc.message)
        return
    shown[telegram_id, run_id] = (moment, now["status"], text)
    if has_ended or not there:
        await run(_forget, telegram_id, run_id)
        shown.pop((telegram_id, run_id), None)


def _begin(user: User, prefix: str, cap: float | None, sent_at: datetime) -> str:
    """Begin a run; the one that goes on over this prefix, or that this very message began, is taken instead."""
    for there in orders.listed(LISTED):
        is_ours = there["requested_by"] == name_of(user) and datetime.fromisoformat(there["created_at"]) >= sent_at
        if (
            there["kind"] == "bulk"
            and there["prefix"] == prefix
            and (is_ours or there["status"] not in bulk_card.ENDED)
        ):
            return str(there["run_id"])
    return orders.start(prefix, requested_by=name_of(user), cap_usd=cap)


def _order(action: str, run_id: str, by: str, cap: str) -> Callable[[], None]:
    """The order that a button stands for.

    Raises:
        NotFound: there is no such button any more.
    """
    match action:
        case "c":
            return partial(orders.confirm, run_id, by=by, cap_usd=float(cap) if cap else None)
        case "h":
            return partial(orders.pause, run_id, by=by)
        case "g":
            return partial(orders.resume, run_id, by=by)
        case "x":
            return partial(orders.cancel, run_id, by=by)
    raise NotFound(run_id, "the orders")


def _text(desk: Desk, language: Language, shown: dict[str, Any]) -> str:
    return bulk_card.card(language, shown, _certificate(desk, shown["certificate"]))


def _certificate(desk: Desk, key: str | None) -> Certificate | None:
    """A run's certificate, if there is one that can be read here."""
    there = desk.storage.stat(key) if key else None
    if key is None or there is None or there.bytes > MAX_CERTIFICATE_BYTES:
        return None
    try:
        return read(desk.storage.get(key), key)
    except (NotACertificate, NotFound) as exc:
        log.warning("%s", exc)
        return None


def _followed() -> dict[tuple[int, str], int]:
    """(operator, run) → the message that shows it."""
    kept: dict[bytes, bytes] = services.redis().hgetall(_FOLLOWED)  # type: ignore[assignment]
    split = {tuple(field.decode().split(":", 1)): int(value) for field, value in kept.items()}
    return {(int(telegram_id), run_id): message_id for (telegram_id, run_id), message_id in split.items()}


def _keep(telegram_id: int, run_id: str, message_id: int) -> None:
    try:
        services.redis().hset(_FOLLOWED, f"{telegram_id}:{run_id}", message_id)
    except RedisError as exc:
        log.warning("run %s is not shown on: %s", run_id, type(exc).__name__)


def _forget(telegram_id: int, run_id: str) -> None:
    services.redis().hdel(_FOLLOWED, f"{telegram_id}:{run_id}")
