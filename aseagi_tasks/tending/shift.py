"""One at a time: a lock in Redis whose holder says that it lives. A holder that dies is over after ``LEASE_S``."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis import Redis
from redis.exceptions import RedisError

from aseagi_tasks.errors import FleetError

KEY = "aseagi:fleet:shift"
LEASE_S, RENEW_S = 15, 3.0
_IF_MINE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call({}) end return 0"
_RENEW = _IF_MINE.format("'PEXPIRE', KEYS[1], ARGV[2]")
_END = _IF_MINE.format("'DEL', KEYS[1]")


class Shift:
    """The right to act on the fleet, for as long as ``check`` does not raise."""

    def __init__(self, redis: Redis) -> None:
        self._redis, self._token = redis, uuid.uuid4().hex
        self._ended = threading.Event()

    def begin(self) -> bool:
        """Take it, unless another has it."""
        taken = bool(self._redis.set(KEY, self._token, nx=True, ex=LEASE_S))
        if taken:
            threading.Thread(target=self._renew, name="shift", daemon=True).start()
        return taken

    def check(self) -> None:
        """Before anything that is billed or ends something.

        Raises:
            FleetError: another has it by now: this process stood still for longer than ``LEASE_S``.
        """
        if not self._redis.eval(_RENEW, 1, KEY, self._token, str(LEASE_S * 1000)):
            raise FleetError("tending the fleet", "another process has taken over", None)

    def end(self) -> None:
        """Let the next one in."""
        self._ended.set()
        with suppress(RedisError):  # it is over by itself
            self._redis.eval(_END, 1, KEY, self._token)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_S):
            with suppress(RedisError):
                self._redis.eval(_RENEW, 1, KEY, self._token, str(LEASE_S * 1000))


@contextmanager
def shift(redis: Redis, wait_s: float = 0.0) -> Iterator[Shift | None]:
    """The shift, or None if another has it for longer than ``wait_s``."""
    mine, deadline = Shift(redis), time.monotonic() + wait_s
    while not mine.begin():
        if time.monotonic() >= deadline:
            yield None
            return
        time.sleep(0.2)
    try:
        yield mine
    finally:
        mine.end()
