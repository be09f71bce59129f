"""What every part of the bot works with."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from aseagi_tasks.doors.bot.post import Post
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage

if TYPE_CHECKING:
    from aseagi_tasks.doors.bot.answers import Answers

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Desk:
    """One bot's."""

    post: Post
    records: Records
    storage: Storage
    answers: Answers


async def run(call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do what blocks (records, storage, queue) in a thread, so that the bot goes on meanwhile."""
    return await asyncio.to_thread(functools.partial(call, *args, **kwargs))
