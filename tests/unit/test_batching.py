"""Lines of many documents in one batch: what is shared, and what is not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from aseagi_tasks.errors import Cancelled, OutOfMemory
from aseagi_tasks.reading.batching import ROUND, Batcher

WAIT_S = 20


class Device:
    """Reads "lines" that are numbers (their size) with a name; keeps what it was given."""

    def __init__(self, *, largest: int = 10**9) -> None:
        self.batches: list[list[tuple[str, int]]] = []
        self.largest, self.gate, self.begun = largest, Event(), Event()
        self.gate.set()

    def read(self, lines: Sequence[tuple[str, int]]) -> list[str]:
        self.begun.set()
        assert self.gate.wait(WAIT_S)
        if len(lines) * max(size for _, size in lines) > self.largest:
            raise MemoryError
        if any(name == "bad" for name, _ in lines):
            raise ValueError("no picture")
        self.batches.append(list(lines))
        return [f"{name}{size}" for name, size in lines]

    def batcher(self, budget: int) -> Batcher[tuple[str, int], str]:
        return Batcher(self.read, size=lambda line: line[1], budget=budget)


def lines(name: str, count: int) -> list[tuple[str, int]]:
    return [(name, 1 + 7 * at % 40) for at in range(count)]


def test_each_document_gets_its_own_lines_in_their_order() -> None:
    device = Device()
    batcher = device.batcher(200)
    with ThreadPoolExecutor(12) as pool:
        asked = {name: pool.submit(batcher.read, lines(name, 50), Event()) for name in "abcdefghijkl"}
        for name, answer in asked.items():
            assert answer.result(WAIT_S) == [f"{name}{size}" for _, size in lines(name, 50)]
    assert any(len({name for name, _ in batch}) > 1 for batch in device.batches), "documents share batches"
    for batch in device.batches:
        assert len(batch) * max(size for _, size in batch) <= 200
        assert batch == sorted(batch, key=lambda line: line[1])
    assert batcher.read([], Event()) == []


def test_a_page_is_not_behind_five_hundred() -> None:
    device = Device()
    device.gate.clear()
    batcher = device.batcher(100)
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(batcher.read, [("long", 10)] * 5000, Event())
        assert device.begun.wait(WAIT_S)
        short = pool.submit(batcher.read, [("short", 10)] * 20, Event())
        until(lambda: len(batcher._waiting) == 2)
        device.gate.set()
        assert len(short.result(WAIT_S)) == 20 and len(long.result(WAIT_S)) == 5000
    order = [name for batch in device.batches for name, _ in batch]
    # after the round that was under way, one that holds as many lines of either
    last = len(order) - order[::-1].index("short")
    assert order.index("short") >= ROUND * 10 and last <= 2 * ROUND * 10


def test_out_of_memory_halves_the_budget_and_reads_again() -> None:
    device = Device(largest=60)
    batcher = device.batcher(400)
    assert batcher.read(lines("a", 60), Event()) == [f"a{size}" for _, size in lines("a", 60)]
    assert batcher.budget <= 100
    with ThreadPoolExecutor(2) as pool:
        huge = pool.submit(batcher.read, [("huge", 61)], Event())
        fine = pool.submit(batcher.read, lines("fine", 30), Event())
        with pytest.raises(OutOfMemory):
            huge.result(WAIT_S)
        assert len(fine.result(WAIT_S)) == 30


def test_a_bad_line_fails_its_own_document_only() -> None:
    device = Device()
    device.gate.clear()
    batcher = device.batcher(10_000)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(batcher.read, lines("first", 3), Event())
        assert device.begun.wait(WAIT_S)
        good = [pool.submit(batcher.read, lines(name, 40), Event()) for name in "xy"]
        bad = pool.submit(batcher.read, [*lines("z", 5), ("bad", 4), *lines("z", 5)], Event())
        until(lambda: len(batcher._waiting) == 3)
        device.gate.set()
        with pytest.raises(ValueError, match="no picture"):
            bad.result(WAIT_S)
        assert [len(answer.result(WAIT_S)) for answer in (first, *good)] == [3, 40, 40]


def test_a_cancelled_document_leaves_the_queue() -> None:
    device = Device()
    device.gate.clear()
    batcher = device.batcher(100)
    stop = Event()
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(batcher.read, [("long", 10)] * 5000, stop)
        assert device.begun.wait(WAIT_S)
        other = pool.submit(batcher.read, [("other", 10)] * 20, Event())
        until(lambda: len(batcher._waiting) == 2)
        stop.set()
        device.gate.set()
        with pytest.raises(Cancelled):
            long.result(WAIT_S)
        assert len(other.result(WAIT_S)) == 20
    assert sum(name == "long" for batch in device.batches for name, _ in batch) <= 10, "at most what was under way"


def until(ready: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(WAIT_S * 100):
        if ready():
            return
        pause.wait(0.01)
    raise AssertionError("it did not come about")
