"""One rhythm for all processes: a service's turns and pauses, kept in Redis and not by each worker for itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from redis import Redis

from aseagi_tasks.errors import RateLimited

#: Turn: the caller's is the later of now, the end of a pause, and one interval after the turn before. Redis's clock
#: counts, since hosts' clocks differ. Answers microseconds until the turn; one later than ARGV[2] away is not taken.
_TAKE = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local turn = math.max(now, tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(redis.call('GET', KEYS[2]) or 0))
local wait = turn - now
if wait <= tonumber(ARGV[2]) then
    local next = turn + tonumber(ARGV[1])
    redis.call('SET', KEYS[1], string.format('%d', next), 'PX', math.floor((next - now) / 1000) + 60000)
end
return wait
"""
_HOLD = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local until_ = math.max(now + tonumber(ARGV[1]), tonumber(redis.call('GET', KEYS[1]) or 0))
redis.call('SET', KEYS[1], string.format('%d', until_), 'PX', math.floor((until_ - now) / 1000) + 1000)
return until_ - now
"""
_LEFT = """
local n = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
if n > tonumber(ARGV[2]) then
    redis.call('DECRBY', KEYS[1], ARGV[1])
    return -1
end
return tonumber(ARGV[2]) - n
"""


class Pace:
    """Turns at one service, shared by every process that has this Redis.

    Args:
        redis: where the rhythm is kept; after a wipe it starts anew.
        name: of the service or endpoint, e.g. ``vast:create``.
    """

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self._turn, self._held, self._counted = (f"aseagi:pace:{name}:{what}" for what in ("turn", "held", "count"))

    def take(self, interval_s: float, *, within_s: float = math.inf) -> float:
        """Take the next turn, ``interval_s`` after the one before and after any pause.

        Args:
            within_s: a turn that is further away is not taken.
        Returns:
            Seconds until the turn: the caller sleeps so long. More than ``within_s``: none was taken.
        """
        limit = int(min(within_s, 1e9) * 1e6)
        wait = self._redis.eval(_TAKE, 2, self._turn, self._held, str(int(interval_s * 1e6)), str(limit))
        return max(0.0, float(wait) / 1e6)  # type: ignore[arg-type]

    def hold(self, seconds: float) -> float:
        """Nobody's turn comes for so long: the service said so. A longer pause that is there stays.

        Returns:
            Seconds until the pause ends.
        """
        return float(self._redis.eval(_HOLD, 1, self._held, str(int(seconds * 1e6)))) / 1e6  # type: ignore[arg-type]

    def count(self, day: str, limit: int, number: int = 1) -> int:
        """Take ``number`` from a day's quota.

        Args:
            day: the quota's day, e.g. ``2026-11-25``.
        Returns:
            How many are left after it; -1: there were not enough, and none was taken.
        """
        return int(self._redis.eval(_LEFT, 1, f"{self._counted}:{day}", str(number), str(limit), "172800"))  # type: ignore[arg-type]


class ServiceRhythm:
    """A service's endpoints, each with its turns, for a client that waits for them.

    Args:
        service: its name in Redis and in errors.
        within_s: a turn that is further away is not waited for.
        daily: endpoint → calls in a UTC day.
    """

    def __init__(
        self,
        redis: Redis,
        service: str,
        *,
        within_s: float = 15.0,
        daily: Mapping[str, int] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._redis, self._service, self._within_s = redis, service, within_s
        self._daily, self._sleep = dict(daily or {}), sleep

    def turn(self, endpoint: str, interval_s: float) -> None:
        """Wait for this endpoint's next turn.

        Raises:
            RateLimited: it is further away than ``within_s``, or the day's calls are used up.
        """
        pace = Pace(self._redis, f"{self._service}:{endpoint}")
        if endpoint in self._daily:
            now = datetime.now(UTC)
            if pace.count(now.date().isoformat(), self._daily[endpoint]) < 0:
                left = 86_400 - (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
                raise RateLimited(f"{self._service} ({endpoint})", left)
        wait = pace.take(interval_s, within_s=self._within_s)
        if wait > self._within_s:
            raise RateLimited(f"{self._service} ({endpoint})", wait)
        self._sleep(wait)

    def hold(self, endpoint: str, seconds: float) -> None:
        """Nobody's turn comes for so long."""
        Pace(self._redis, f"{self._service}:{endpoint}").hold(seconds)
