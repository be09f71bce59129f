"""What a rented machine may do in the Droplet's Redis: a user of its own, with the commands and keys that Celery needs.

The rules were found by letting real workers run (tests/fleet/test_broker_access.py holds them to be enough and no
more). A machine may take from and put into the three queues of the chain. It has no script, no SCAN and no KEYS, so
that it meets jobs only by taking their messages; it can neither put a message into ``control`` nor say what leads
there, nor send remote control commands; and it can neither read nor acknowledge what another machine has taken.

    aseagi:taken:ID[:index]   what instance ID has taken and not yet done; of nobody else
    aseagi:taken:ID:mutex     always held, so that its workers never look for what was taken too long ago: the control
                              plane puts that back, and everything when the machine is dismissed
"""

from __future__ import annotations

import json
import re
from typing import Any

from redis import Redis

from aseagi_tasks.errors import ConfigError

#: Queues that rented machines read, and put the next stage into. ``control`` is the Droplet's alone.
WORKER_QUEUES = ("cpu", "gpu", "claude")
#: What parts queue and priority in the keys of Celery's transport.
_PRIORITY = "\x06\x16"
_INSTANCE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")


def check(instance_id: str) -> str:
    """The id itself, if it can stand in a rule's pattern.

    Raises:
        ConfigError: it has other characters than letters, digits, ``.``, ``_`` and ``-``.
    """
    if not _INSTANCE.match(instance_id):
        raise ConfigError(f"The instance id {instance_id!r}", "cannot be a user's.", "Letters, digits, . _ - only.")
    return instance_id


def unacknowledged_keys(instance_id: str) -> dict[str, str]:
    """Celery's transport options: where an instance keeps what it has taken and not yet done."""
    stem = f"aseagi:taken:{check(instance_id)}"
    return {"unacked_key": stem, "unacked_index_key": f"{stem}:index", "unacked_mutex_key": f"{stem}:mutex"}


def rules(instance_id: str) -> list[str]:
    """The user's rules, for ACL SETUSER: one selector for each thing that it does."""
    taken, said = unacknowledged_keys(instance_id), f"aseagi:fleet:{instance_id}"
    queues = " ".join(f"~{queue} ~{queue}{_PRIORITY}*" for queue in WORKER_QUEUES)
    bindings = " ".join(f"%R~_kombu.binding.{name}" for name in (*WORKER_QUEUES, "reply.celery.pidbox"))
    return [
        "resetkeys", "resetchannels", "clearselectors", "-@all",
        "+ping", "+multi", "+exec", "+discard", "+unwatch",
        f"(+brpop +lpush +rpush {queues})",
        f"(+hset +hget +hdel +watch ~{taken['unacked_key']})",
        f"(+zadd +zrem ~{taken['unacked_index_key']})",
        f"(+set ~{taken['unacked_mutex_key']})",
        f"(+smembers {bindings})",
        # remote control: it hears commands and answers them, and cannot give any
        "(+sadd +srem ~_kombu.binding.celery.pidbox ~_kombu.binding_permanent.celery.pidbox)",
        f"(+llen +del ~*@{instance_id}.celery.pidbox ~*@{instance_id}.celery.pidbox{_PRIORITY}*)",
        "(+subscribe +psubscribe +unsubscribe +punsubscribe &/0.celery.pidbox)",
        "(+lpush ~*.reply.celery.pidbox)",
        # results by their ids, which nobody guesses; events for the monitor
        "(+get +setex ~celery-task-meta-*)",
        "(+publish &celery-task-meta-* &/0.celeryev/*)",
        "(+get %R~aseagi:heartbeat)",
        "(+hset +hget +hdel +expire ~aseagi:waiting)",
        # what it says of itself, and whether it is to leave
        f"(+hset +hget +expire +set ~{said} ~{said}:*)",
    ]  # fmt: skip


def let_in(redis: Redis, instance_id: str, password: str) -> None:
    """Make the instance's user, or give it another password; kept across a restart of Redis.

    Args:
        redis: as the control plane.
    """
    redis.set(unacknowledged_keys(instance_id)["unacked_mutex_key"], "the control plane puts back")
    arguments = ("reset", "on", f">{password}", *rules(instance_id))
    redis.execute_command("ACL SETUSER", check(instance_id), *arguments)
    redis.execute_command("ACL SAVE")


def shut_out(redis: Redis, instance_id: str) -> bool:
    """Remove the user, which ends its connections, and those that have not said who they are; what it had taken goes
    back into its queues.

    Returns:
        False if there was none.
    """
    gone = redis.execute_command("ACL DELUSER", check(instance_id))
    redis.execute_command("CLIENT KILL", "USER", "default")  # honest ones dial again
    redis.execute_command("ACL SAVE")
    give_back(redis, instance_id)
    return bool(gone)


def give_back(redis: Redis, instance_id: str, before: float | None = None) -> int:
    """Put what an instance had taken back to the front of its queues; how many messages.

    It wrote these entries itself, so nothing but the queues of the chain is believed.

    Args:
        before: only what was taken earlier, in seconds since the epoch; None for everything, which ends its keys.
    """
    keys = unacknowledged_keys(instance_id)
    taken, index = keys["unacked_key"], keys["unacked_index_key"]
    entries: Any
    if before is None:
        entries = redis.hgetall(taken)
    else:
        tags: Any = redis.zrangebyscore(index, "-inf", before)
        entries = {tag: entry for tag in tags if (entry := redis.hget(taken, tag)) is not None}
    count = 0
    with redis.pipeline() as pipe:
        for tag, entry in entries.items():
            pipe.hdel(taken, tag)
            pipe.zrem(index, tag)
            if (message := _message(entry)) is not None:
                pipe.rpush(*message)
                count += 1
        if before is None:
            pipe.delete(*keys.values())
        pipe.execute()
    return count


def _message(entry: bytes) -> tuple[str, str] | None:
    """The list of a queue and the message in it, of what an instance had taken; None if it is nothing of the chain."""
    try:
        message, _exchange, queue = json.loads(entry)
        priority = int(message["properties"].get("priority") or 0)
        message["properties"]["redelivered"] = True
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if queue not in WORKER_QUEUES or not 0 <= priority <= 8:
        return None
    return f"{queue}{_PRIORITY}{priority}" if priority else queue, json.dumps(message)


def users(redis: Redis) -> set[str]:
    """Instances that are let in."""
    listed: Any = redis.acl_users()
    return set(listed) - {"default", "control"}
