"""The bot as a process: ``aseagi bot``, or ``python -m aseagi_tasks.doors.bot`` under the supervisor."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

from telegram import Bot, Update
from telegram.error import InvalidToken, NetworkError
from telegram.request import HTTPXRequest

from aseagi_tasks import services
from aseagi_tasks.doors.bot import bulk, commands, people
from aseagi_tasks.doors.bot.answers import Answers
from aseagi_tasks.doors.bot.desk import Desk, run
from aseagi_tasks.doors.bot.dispatch import KINDS, deal, give_up
from aseagi_tasks.doors.bot.inbox import Inbox
from aseagi_tasks.doors.bot.post import Post
from aseagi_tasks.errors import AseagiError, ConfigError, TransientError
from aseagi_tasks.settings import Settings, settings
from aseagi_tasks.stores.user_records import Answer
from aseagi_tasks.stores.user_records import Update as Kept

log = logging.getLogger(__name__)
DRAIN_S = 10.0


async def serve(conf: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT.

    Raises:
        ConfigError: there is no token, or Telegram does not know it.
    """
    if conf.telegram_token is None:
        raise ConfigError("ASEAGI_TELEGRAM_TOKEN", "is not set.", "@BotFather gives one.")
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    bot = _bot(conf)
    try:
        await _known(bot, stopping)
        left = await _left_behind(stopping)
        if left is not None:
            await _serve(conf, bot, *left, stopping)
    finally:
        await bot.shutdown()


async def _serve(
    conf: Settings, bot: Bot, answers: Sequence[Answer], updates: Sequence[Kept], stopping: asyncio.Event
) -> None:
    records = services.records()
    desk = Desk(Post(bot), records, services.storage(), Answers(answers))

    async def deal_with(updates: Sequence[Update]) -> None:
        await deal(desk, updates)

    async def give_up_on(updates: Sequence[Update]) -> None:
        await give_up(desk, updates)

    with suppress(TransientError):
        await commands.menu(desk, await people.operators(desk))
    inbox = Inbox(bot, records, deal_with, give_up_on)
    inbox.begin(updates)
    at_work = [asyncio.create_task(desk.answers.watch(desk)), asyncio.create_task(bulk.watch(desk))]
    server = None
    if conf.telegram_webhook_url and conf.telegram_webhook_secret:
        secret = conf.telegram_webhook_secret.get_secret_value()
        server = inbox.serve(conf.telegram_webhook_url, secret, conf.telegram_webhook_port)
        await bot.set_webhook(conf.telegram_webhook_url, secret_token=secret, allowed_updates=KINDS)
        log.info("Telegram calls %s", conf.telegram_webhook_url)
    else:
        await bot.delete_webhook()
        at_work.append(asyncio.create_task(inbox.poll()))
        log.info("asking Telegram for updates")
    until = asyncio.create_task(stopping.wait())
    await asyncio.wait({*at_work, until}, return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]
    if server is not None:
        server.stop()
    ended = [task for task in at_work if task.done()]
    for task in at_work:
        task.cancel()
    await inbox.drain(DRAIN_S)
    for task in ended:
        task.result()  # the error that ended it


async def _left_behind(stopping: asyncio.Event) -> tuple[list[Answer], list[Kept]] | None:
    """What the last bot left, when the records answer: a supervisor would give up a bot that ends again and again."""
    while not stopping.is_set():
        try:
            records = services.records()
            return await run(records.open_answers), await run(records.open_updates)
        except TransientError as exc:
            log.warning("%s", exc)
            with suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), 5)
    return None


def _bot(conf: Settings) -> Bot:
    assert conf.telegram_token is not None
    base = conf.telegram_base_url.rstrip("/")
    return Bot(
        conf.telegram_token.get_secret_value(),
        base_url=f"{base}/bot",
        base_file_url=f"{base}/file/bot",
        request=HTTPXRequest(connection_pool_size=32, read_timeout=20, pool_timeout=10),
        get_updates_request=HTTPXRequest(connection_pool_size=1),
    )


async def _known(bot: Bot, stopping: asyncio.Event) -> None:
    while not stopping.is_set():
        try:
            await bot.initialize()
            return
        except InvalidToken as exc:
            raise ConfigError("ASEAGI_TELEGRAM_TOKEN", "is not known to Telegram.", "@BotFather shows it.") from exc
        except NetworkError as exc:
            log.warning("Telegram does not answer: %s", exc.message)
            await asyncio.sleep(2)


def main() -> None:
    """Run with the settings of this process."""
    shape = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=settings().log_level, format=shape, force=True)  # instead of the command line's
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it writes addresses, and those hold the token
    logging.getLogger("telegram").setLevel(logging.INFO)  # so does this one, at DEBUG
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    asyncio.run(serve(settings()))


if __name__ == "__main__":
    try:
        main()
    except AseagiError as exc:
        log.error("%s", exc)
        sys.exit(exc.exit_code)
