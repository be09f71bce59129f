"""A rented machine's user in Redis: enough for a real worker's whole chain, and nothing more."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kombu import Connection, Exchange, Message, Queue
from redis import Redis, RedisError
from redis.exceptions import AuthenticationError, NoPermissionError
from rich.console import Console
from rich.table import Table

from aseagi_tasks.errors import ConfigError
from aseagi_tasks.fleet import broker_access
from aseagi_tasks.fleet.broker_access import (
    WORKER_QUEUES,
    give_back,
    let_in,
    rules,
    shut_out,
    unacknowledged_keys,
    users,
)
from tests.chain.test_up import filing
from tests.fleet.conftest import until
from tests.servers.broker import Broker

ROOT = Path(__file__).parents[2]
#: Allowed, and seen only when a worker stops in the middle, waits for the records, or is asked to unsubscribe.
RARE = {"del", "rpush", "hget", "watch", "unwatch", "discard", "expire", "srem"}
RARE |= {"subscribe", "unsubscribe", "punsubscribe"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as one:
        let_in(one.redis, "i-1", "first")
        let_in(one.redis, "i-2", "second")
        yield one


@pytest.fixture
def machine(broker: Broker) -> Redis:
    return Redis.from_url(broker.url_of("i-1", "first"))


def allowed_commands() -> set[str]:
    return set(re.findall(r"\+([a-z]+)", " ".join(rules("i-1"))))


class Watched:
    """Commands by user, from MONITOR."""

    def __init__(self, redis: Redis) -> None:
        self._redis, self._seen, self._users = redis, [], {}  # type: ignore[var-annotated]
        self._monitor = redis.monitor()
        self._monitor.__enter__()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        try:
            for line in self._monitor.listen():
                self._seen.append(
                    (f"{line['client_address']}:{line['client_port']}", line["command"].split()[0].lower())
                )
        except Exception:
            return

    def look(self) -> None:
        """Who is at which address now."""
        self._users.update({one["addr"]: one["user"] for one in self._redis.client_list()})

    def of(self, user: str) -> set[str]:
        return {command for address, command in self._seen if self._users.get(address) == user}


def test_worker_needs_exactly_these_commands_for_a_chain(broker: Broker, tmp_path: Path) -> None:
    broker.redis.set("aseagi:heartbeat", "now")
    watched = Watched(broker.redis)
    environment = {**os.environ, "ASEAGI_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "OMP_THREAD_LIMIT": "1"}
    ours = {**environment, "ASEAGI_BROKER_URL": broker.url}
    theirs = {**environment, "ASEAGI_BROKER_URL": broker.url_of("i-1", "first"), "ASEAGI_INSTANCE": "i-1"}
    command = [sys.executable, "-m", "celery", "-A", "aseagi_tasks"]
    # as the control plane does when it starts: it says which queue is where
    declare = "from aseagi_tasks.celery import app\nwith app.connection_for_write() as c:\n" + (
        "    for queue in app.amqp.queues.values(): queue(c.default_channel).declare()\n"
        "app.send_task('aseagi.control.heartbeat', queue='cpu')"
    )
    subprocess.run([sys.executable, "-c", declare], env=ours, check=True)
    log = tmp_path / "worker.log"
    with log.open("w") as out:
        worker = subprocess.Popen(
            [*command, "worker", "-Q", ",".join(WORKER_QUEUES), "-c", "1", "-n", "reading@i-1",
             "--without-gossip", "--without-mingle", "--loglevel", "INFO"],
            env=theirs, cwd=ROOT, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        path = filing(tmp_path / "order.pdf")
        aseagi = [str(Path(sys.executable).with_name("aseagi")), "process", str(path), "--json"]
        ran = subprocess.Popen(aseagi, env=ours, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while ran.poll() is None:
            watched.look()
        out_, err = ran.communicate()
        assert ran.returncode == 0, err + log.read_text()[-3000:]
        assert json.loads(out_)[0]["status"] == "completed"
        ping = subprocess.run([*command, "inspect", "ping", "-t", "5"], env=ours, capture_output=True, text=True)
        assert "reading@i-1" in ping.stdout
        until(lambda: watched.look() or not broker.redis.exists(unacknowledged_keys("i-1")["unacked_key"]))
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(40)
    refused: Any = broker.redis.execute_command("ACL LOG")
    assert refused == []
    # the control plane's task in a queue of the chain: a worker that does not read `control` does not know it
    assert "unregistered task of type 'aseagi.control.heartbeat'" in log.read_text()
    assert broker.redis.get("aseagi:heartbeat") == b"now"
    used = watched.of("i-1") - {"hello"}
    Redis.from_url(theirs["ASEAGI_BROKER_URL"]).get("aseagi:heartbeat")  # what else it may is the machine's own
    assert used <= allowed_commands()
    assert allowed_commands() - used <= RARE


def test_worker_that_stops_in_the_middle_puts_its_message_back(broker: Broker, machine: Redis) -> None:
    with Connection(broker.url) as control:
        Queue("cpu", Exchange("cpu"), "cpu")(control.default_channel).declare()
        control.Producer().publish({"number": 1}, exchange="cpu", routing_key="cpu")
    options = unacknowledged_keys("i-1")
    with Connection(broker.url_of("i-1", "first"), transport_options=options) as connection:
        taken: list[Message] = []
        queue = Queue("cpu", Exchange("cpu", no_declare=True), "cpu", no_declare=True)
        with connection.Consumer([queue], callbacks=[lambda _body, message: taken.append(message)]):
            connection.drain_events(timeout=10)
        assert broker.redis.hlen(options["unacked_key"]) == 1
        taken[0].requeue()
    assert broker.redis.llen("cpu") == 1


#: What a machine must not be able to do.
TRIED = [
    ("LPUSH", "control", "x"), ("RPUSH", "control\x06\x163", "x"), ("BRPOP", "control", "1"), ("LLEN", "control"),
    ("LRANGE", "cpu", "0", "-1"), ("LPOP", "cpu"), ("DEL", "cpu"), ("RENAME", "cpu", "gpu"),
    ("FLUSHALL",), ("FLUSHDB",), ("CONFIG", "GET", "*"), ("CONFIG", "SET", "maxmemory", "1"), ("KEYS", "*"),
    ("SCAN", "0"), ("EVAL", "return 1", "0"), ("SCRIPT", "LOAD", "return 1"), ("FUNCTION", "LIST"),
    ("SORT", "cpu"), ("DUMP", "cpu"), ("RANDOMKEY",), ("DBSIZE",), ("INFO",), ("MONITOR",),
    ("SHUTDOWN", "NOSAVE"), ("REPLICAOF", "10.0.0.1", "1"), ("SAVE",), ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "USER", "control"),
    ("ACL", "LIST"), ("ACL", "SETUSER", "i-1", "+@all"), ("SELECT", "1"), ("SWAPDB", "0", "1"),
    ("HGETALL", "aseagi:taken:i-1"), ("HGETALL", "aseagi:taken:i-2"), ("HGET", "aseagi:taken:i-2", "x"),
    ("HDEL", "aseagi:taken:i-2", "x"), ("HGETALL", "unacked"), ("HDEL", "unacked", "x"),
    ("SADD", "_kombu.binding.cpu", "x"), ("SADD", "_kombu.binding.control", "x"),
    ("PUBLISH", "/0.celery.pidbox", "x"), ("SUBSCRIBE", "celery-task-meta-x"), ("PSUBSCRIBE", "*"),
    ("SET", "aseagi:heartbeat", "x"), ("HGETALL", "aseagi:waiting"), ("GET", "aseagi:pace:x:turn"),
    ("HGET", "aseagi:fleet:i-2", "leave"), ("HSET", "aseagi:fleet:i-10", "step", "left"), ("GET", "aseagi:fleet:shift"),
    ("SET", "aseagi:told:x", "1"),
    ("GET", "aseagi:enrol:token:x"), ("SET", "aseagi:gateway:token:x", "i-1"), ("LLEN", "reading@i-2.celery.pidbox"),
]  # fmt: skip


def test_everything_else_is_refused(broker: Broker, machine: Redis, capsys: pytest.CaptureFixture[str]) -> None:
    shown = Table("a rented machine tries", "Redis says")
    for tried in TRIED:
        with pytest.raises(RedisError) as refused:
            machine.execute_command(*tried)
        assert isinstance(refused.value, NoPermissionError), tried
        shown.add_row(repr(" ".join(tried))[1:-1], "no permission")
    with capsys.disabled():
        Console(width=120).print("\n", shown)


def test_nobody_without_a_name_or_with_a_wrong_password(broker: Broker) -> None:
    for address in (f"redis://127.0.0.1:{broker.port}", broker.url_of("i-1", "second"), broker.url_of("default", "")):
        with pytest.raises((AuthenticationError, NoPermissionError)):
            Redis.from_url(address).ping()
    assert broker.redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert broker.redis.config_get("appendonly") == {"appendonly": "yes"}
    assert broker.redis.config_get("bind") == {"bind": "127.0.0.1"}


def test_shut_out_at_once_and_what_it_had_taken_goes_back(broker: Broker, machine: Redis) -> None:
    other = Redis.from_url(broker.url_of("i-2", "second"))

    def wait_in_vain() -> None:
        with pytest.raises(RedisError):
            machine.brpop(["gpu"], 60)

    blocked = threading.Thread(target=wait_in_vain)
    blocked.start()
    until(lambda: any(one["user"] == "i-1" and one["cmd"] == "brpop" for one in broker.redis.client_list()))

    def entry(queue: object, priority: object) -> str:
        return json.dumps([{"body": "b", "properties": {"priority": priority}}, "x", queue])

    key = unacknowledged_keys("i-1")["unacked_key"]
    good = {"a": entry("cpu", 0), "b": entry("gpu", 3)}
    bad = [entry("control", 0), entry("cpu", 99), entry(["cpu"], 0), "no json", "[1, 2, 3]", "{}", '["a"]']
    machine2 = Redis.from_url(broker.url_of("i-1", "first"))
    machine2.hset(key, mapping={**good, **{f"bad{number}": text for number, text in enumerate(bad)}})
    assert users(broker.redis) == {"i-1", "i-2"}
    assert shut_out(broker.redis, "i-1")
    blocked.join(10)
    assert not blocked.is_alive()
    with pytest.raises((AuthenticationError, RedisError)):
        machine2.ping()
    assert {one["user"] for one in broker.redis.client_list()} <= {"control", "i-2"}
    assert other.ping()
    assert (broker.redis.llen("cpu"), broker.redis.llen("gpu\x06\x163"), broker.redis.llen("control")) == (1, 1, 0)
    assert not broker.redis.exists(key)
    assert not shut_out(broker.redis, "i-1")


def test_what_was_taken_too_long_ago_goes_back_and_the_rest_stays(broker: Broker, machine: Redis) -> None:
    options, now = unacknowledged_keys("i-1"), time.time()
    entry = json.dumps([{"body": "b", "properties": {}}, "gpu", "gpu"])
    for tag, taken_at in (("old", now - 4000), ("new", now), ("forged", now - 4000)):
        machine.hset(options["unacked_key"], tag, entry if tag != "forged" else entry.replace("gpu", "control"))
        machine.zadd(options["unacked_index_key"], {tag: taken_at})
    assert give_back(broker.redis, "i-1", now - 3600) == 1
    assert give_back(broker.redis, "i-1", now - 3600) == 0
    assert (broker.redis.llen("gpu"), broker.redis.llen("control")) == (1, 0)
    assert (
        broker.redis.hkeys(options["unacked_key"])
        == broker.redis.zrange(options["unacked_index_key"], 0, -1)
        == [b"new"]
    )
    assert broker.redis.exists(options["unacked_mutex_key"])


def test_users_outlive_a_restart(broker: Broker) -> None:
    shut_out(broker.redis, "i-2")
    broker.stop()
    broker.start()
    machine = Redis.from_url(broker.url_of("i-1", "first"))
    machine.lpush("cpu\x06\x163", "x")
    with pytest.raises(NoPermissionError):
        machine.lpush("control", "x")
    assert users(broker.redis) == {"i-1"}


@pytest.mark.parametrize("name", ["", "*", "a b", "i[1]", "a\nuser", "x" * 64, "-x"])
def test_name_that_would_be_a_pattern_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        broker_access.check(name)
