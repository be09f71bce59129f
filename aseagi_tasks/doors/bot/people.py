"""Who may come in: roles from the records, one refusal for a stranger and an invitation for the operators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from redis.exceptions import RedisError
from telegram import User as TelegramUser

from aseagi_tasks import services
from aseagi_tasks.doors.bot.card import buttons
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.texts import say
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.pace import Pace
from aseagi_tasks.stores.user_records import Language, User

#: Invitations that operators get in a day: a stranger's friends are not to fill their telephones.
INVITATIONS_A_DAY = 20
#: Words and taps of one user; what comes beyond is told so once, and left alone until the next minute.
ASKS_A_MINUTE = 60


async def admit(desk: Desk, sender: TelegramUser) -> User | None:
    """The user who wrote, if let in. A stranger is told no, once, and the operators are asked, once."""
    user = await run(desk.records.user, sender.id)
    if user is not None and user.role in ("operator", "user"):
        return user
    if user is not None and user.role == "refused":
        return None
    language: Language = "es" if (sender.language_code or "").startswith("es") else "en"
    user = User(telegram_id=sender.id, role="stranger", name=sender.full_name[:100], language=language)
    await run(desk.records.save_user, user)
    await desk.post.send(sender.id, say(language, "refused"))
    if await run(_may_invite):
        for operator in await operators(desk):
            question = say(operator.language, "invite", name=user.name, id=user.telegram_id)
            answers = [
                (say(operator.language, "let_in"), f"in:{user.telegram_id}:1"),
                (say(operator.language, "keep_out"), f"in:{user.telegram_id}:0"),
            ]
            await desk.post.send(operator.telegram_id, question, buttons([answers]))
    await run(desk.records.save_user, user.model_copy(update={"role": "refused"}))
    return None


async def operators(desk: Desk) -> list[User]:
    """Those who are asked and told."""
    return [user for user in await run(desk.records.users) if user.role == "operator"]


async def decide(desk: Desk, operator: User, telegram_id: int, let_in: bool) -> str:
    """What an operator's tap did: the stranger is a user and told so, or stays out."""
    user = await run(desk.records.user, telegram_id) or User(telegram_id=telegram_id, role="refused")
    name = user.name or str(telegram_id)
    if not let_in:
        return say(operator.language, "was_kept_out", name=name)
    if user.role not in ("operator", "user"):
        user = user.model_copy(update={"role": "user"})
        await run(desk.records.save_user, user)
        start = say(user.language, "start", commands=say(user.language, "commands"))
        await desk.post.send(telegram_id, say(user.language, "welcome") + start)
    return say(operator.language, "was_let_in", name=name)


def may_send(telegram_id: int) -> str | None:
    """Count a file; when the hour's are used up, the time (UTC) at which the next hour begins."""
    now = datetime.now(UTC)
    pace = Pace(services.redis(), f"telegram:files:{telegram_id}")
    try:
        left = pace.count(f"{now:%Y-%m-%dT%H}", settings().telegram_files_per_hour)
    except RedisError:  # nothing is queued without it either: what comes next says so
        return None
    return f"{now + timedelta(hours=1):%H}:00" if left < 0 else None


def asks_left(telegram_id: int) -> int:
    """Count words or a tap; 0: the first that is too many in this minute, -1: one of those behind it."""
    pace = Pace(services.redis(), f"telegram:asks:{telegram_id}")
    try:
        return pace.count(f"{datetime.now(UTC):%Y-%m-%dT%H:%M}", ASKS_A_MINUTE + 1)
    except RedisError:
        return 1


def _may_invite() -> bool:
    now = datetime.now(UTC)
    try:
        return Pace(services.redis(), "telegram:invitations").count(f"{now:%Y-%m-%d}", INVITATIONS_A_DAY) >= 0
    except RedisError:
        return True
