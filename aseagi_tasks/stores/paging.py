"""Going through jobs by a moment of theirs, some at a time, whatever is added meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Protocol

from aseagi_tasks.stores.records import Job


class _Ask(Protocol):
    def __call__(self, since: datetime, until: datetime, *, limit: int, offset: int) -> list[Job]: ...


def batches(
    ask: _Ask, since: datetime, until: datetime, moment: Callable[[Job], datetime | None], limit: int
) -> Iterator[list[Job]]:
    """Batches of the jobs from ``since`` on and before ``until``, none twice.

    Args:
        ask: ``Records.jobs_between`` or ``jobs_ended``.
        moment: by which they come: the one that ``ask`` looks at.
        limit: of a batch.
    """
    offset = 0
    while batch := ask(since, until, limit=limit, offset=offset):
        yield batch
        # the next batch begins at the last moment of this one, behind those of the same moment
        last = moment(batch[-1])
        assert last is not None  # it was found by it
        same = sum(moment(job) == last for job in batch)
        since, offset = last, same + (offset if last == since else 0)
