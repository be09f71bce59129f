"""Lines of many documents in one batch: threads hand in their lines and wait, one thread owns the device.

1. A round takes lines from each document that waits in turn, one at a time, up to a few batches' worth: a page of one
   document is not behind the five hundred of another.
2. A round's lines are sorted and batched by size, each batch of one size only and within the budget: what a line reads
   like does not depend on whose lines it was read with.
3. Out of memory halves the budget, for good, and does the batch again. Any other error halves the batch until the line
   that causes it is alone: only its document fails.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from threading import Event
from typing import Generic, TypeVar

from aseagi_tasks.errors import Cancelled, OutOfMemory

T = TypeVar("T")  # a line
R = TypeVar("R")  # its text

#: How long an idle device waits for more lines before it begins with those it has.
WAIT_S = 0.004
#: Batches in a round: more sort better, fewer answer sooner.
ROUND = 4

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Request(Generic[T, R]):
    """Lines of one page, and what became of them."""

    lines: Sequence[T]
    stop: Event
    results: dict[int, R] = field(default_factory=dict)
    error: BaseException | None = None
    done: Event = field(default_factory=Event)


class Batcher(Generic[T, R]):
    """Runs ``work`` on batches of lines, whoever they belong to.

    Args:
        work: a batch, all of one size → a result for each. Called from one thread only.
        size: what a line takes of the budget.
        budget: the largest number of lines of a batch times their size.
        is_oom: whether an error means that the batch was too large.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R]],
        *,
        size: Callable[[T], int],
        budget: int,
        is_oom: Callable[[BaseException], bool] = lambda error: isinstance(error, MemoryError),
    ) -> None:
        self._work, self._size, self._is_oom = work, size, is_oom
        self.budget = budget
        self.busy_s = 0.0
        self._waiting: dict[Event, deque[tuple[_Request[T, R], int]]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def read(self, lines: Sequence[T], stop: Event) -> list[R]:
        """Results in the order of the lines; waits for them.

        Args:
            stop: the document's own. Once set, its lines that were not begun are dropped.
        Raises:
            Cancelled: ``stop`` was set. OutOfMemory: one line alone is too large. Whatever ``work`` raises for a line.
        """
        if not lines:
            return []
        request = _Request[T, R](lines, stop)
        with self._changed:
            if self._thread is None or not self._thread.is_alive():  # also after a fork
                self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
                self._thread.start()
            queue = self._waiting.setdefault(stop, deque())
            queue.extend((request, at) for at in range(len(lines)))
            self._changed.notify()
        while not request.done.wait(0.2):
            if stop.is_set():
                request.error = Cancelled("the document")
                break
            if not self._thread.is_alive():
                raise RuntimeError("the thread that reads lines has ended; its log says why")
        if request.error is not None:
            raise request.error
        return [request.results[at] for at in range(len(lines))]

    def _run(self) -> None:
        while True:
            taken = self._round()
            begun = time.monotonic()
            taken.sort(key=lambda one: self._size(one[0].lines[one[1]]))
            while taken:
                # the widest first: if a budget is too large, it shows at once
                self._batch([taken.pop() for _ in range(self._fitting(taken))][::-1])
            self.busy_s += time.monotonic() - begun

    def _round(self) -> list[tuple[_Request[T, R], int]]:
        """Waits for lines, and takes from each document in turn."""
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            if self._waiting_size() < self.budget:
                self._changed.wait(WAIT_S)
            taken: list[tuple[_Request[T, R], int]] = []
            room = ROUND * self.budget
            while self._waiting and room > 0:
                for stop, queue in list(self._waiting.items()):
                    while queue:
                        request, at = queue.popleft()
                        if stop.is_set():
                            request.error = Cancelled("the document")
                            request.done.set()
                        elif request.error is None:
                            taken.append((request, at))
                            room -= self._size(request.lines[at])
                            break
                    if not queue:
                        del self._waiting[stop]
            return taken

    def _waiting_size(self) -> int:
        return sum(self._size(request.lines[at]) for queue in self._waiting.values() for request, at in queue)

    def _fitting(self, taken: list[tuple[_Request[T, R], int]]) -> int:
        """How many of the widest lines make a batch; ``taken`` is sorted, the widest last."""
        sizes = (self._size(request.lines[at]) for request, at in reversed(taken))
        widest = next(sizes)
        alike = 1 + sum(1 for _ in takewhile(lambda size: size == widest, sizes))
        return max(1, min(alike, self.budget // max(1, widest)))

    def _batch(self, batch: list[tuple[_Request[T, R], int]]) -> None:
        batch = [(request, at) for request, at in batch if request.error is None and not request.stop.is_set()]
        if not batch:
            return
        try:
            results = self._work([request.lines[at] for request, at in batch])
        except Exception as error:
            memory = self._is_oom(error)
            if len(batch) == 1:
                request = batch[0][0]
                request.error = OutOfMemory("one line of text") if memory else error
                request.done.set()
                return
            if memory:
                self.budget = max(1, self.budget // 2)
                log.warning(
                    "A batch of %d lines did not fit into memory; the budget is now %d.", len(batch), self.budget
                )
            middle = len(batch) // 2
            self._batch(batch[:middle])
            self._batch(batch[middle:])
            return
        for (request, at), result in zip(batch, results, strict=True):
            request.results[at] = result
            if len(request.results) == len(request.lines):
                request.done.set()
