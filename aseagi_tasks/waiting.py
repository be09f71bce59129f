"""What jobs wait for that is not theirs: in Redis, where `status` and the monitor find it when the records are away."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

from redis.exceptions import RedisError

from aseagi_tasks import services
from aseagi_tasks.errors import RecordsUnavailable, TransientError

#: Redis hash: jobs that cannot go on → stage, since when, why, and the class of the error.
_WAITING = "aseagi:waiting"


def note_waiting(job_id: str, stage: str | None, exc: BaseException) -> None:
    """Keep it where `status` finds it: in Redis, since the records may be away."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    value = {"stage": stage or "intake", "since": now, "error": str(exc), "for": type(exc).__name__}
    with suppress(RedisError):
        services.redis().hset(_WAITING, job_id, json.dumps(value))
        services.redis().expire(_WAITING, 7 * 86_400)


def forget_waiting(job_id: str, what: type[TransientError] | None = None) -> None:
    """It goes on; with ``what``, only if it waited for that."""
    with suppress(RedisError):
        if what is not None:
            why = services.redis().hget(_WAITING, job_id)
            if why is None or json.loads(why).get("for") != what.__name__:
                return
        services.redis().hdel(_WAITING, job_id)


def forget_ended(job_ids: Sequence[str]) -> None:
    """They were cancelled where they waited."""
    with suppress(RedisError):
        services.redis().hdel(_WAITING, *job_ids)


def waiting() -> dict[str, dict[str, str]]:
    """Jobs that wait for something that is not theirs: ``{job_id: {stage, since, error, for}}``."""
    try:
        found = services.redis().hgetall(_WAITING)
    except RedisError:
        return {}
    return {str(key, "utf-8"): json.loads(value) for key, value in found.items()}  # type: ignore[arg-type]


def waiting_for_records() -> dict[str, dict[str, str]]:
    """Those that wait for the records. In stage ``record`` the results are done."""
    return {job_id: why for job_id, why in waiting().items() if why.get("for") == RecordsUnavailable.__name__}
