"""Run on a rented machine: enroll as it does, then try everything that it must not be able to do.

python -m tests.fleet.from_inside FOLDER    settings in the environment; prints JSON: what was tried, what came
python -m tests.fleet.from_inside ask REDIS GATEWAY    prints what comes back through two ports
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from kombu import Connection, Exchange, Queue
from redis import Redis

from aseagi_tasks import keys
from aseagi_tasks.analysis.claude import ClaudeAnalyst
from aseagi_tasks.analysis.service import Service
from aseagi_tasks.fleet.broker_access import unacknowledged_keys
from aseagi_tasks.fleet.enrolment import ControlPlane, Credentials, Enrolment
from aseagi_tasks.fleet.tunnel import client_configuration
from aseagi_tasks.stores.gateway import Gateway, GatewayStorage, gateway_records
from tests.contract.test_analyst import ORDER, reading

NOW = datetime.now(UTC)


def main(folder: Path) -> None:
    others, job = json.loads(os.environ["OTHERS"]), os.environ["JOB"]
    credentials = Credentials(folder)
    token = os.environ["TOKEN"]
    plane = ControlPlane(os.environ["PLANE"], Path(os.environ["PLANE_CA"]))
    answered = plane.enroll(token, credentials.request("x"))
    given = Enrolment(**{name: answered[name] for name in Enrolment._fields})
    redis_port, gateway_port = int(os.environ["REDIS_PORT"]), int(os.environ["GATEWAY_PORT"])
    credentials.keep(given, redis_port)
    text = client_configuration(
        host=given.tunnel_host, port=given.tunnel_port, local_port=redis_port, gateway_port=gateway_port,
        certificate=credentials.certificate, key=credentials.key, ca=credentials.ca,
    )  # fmt: skip
    (folder / "stunnel.conf").write_text(text)
    tunnel = subprocess.Popen([shutil.which("stunnel") or "", str(folder / "stunnel.conf")], stderr=subprocess.DEVNULL)
    try:
        redis = Redis.from_url(credentials.broker_url.read_text(), socket_timeout=10)
        deadline = time.monotonic() + 20
        while True:
            try:
                redis.ping()
                break
            except Exception:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        print(json.dumps(list(tried(given, redis, others, job, gateway_port))))
    finally:
        tunnel.kill()
        tunnel.wait()


def tried(given: Enrolment, redis: Redis, others: dict[str, str], job: str, gateway_port: int) -> Any:
    """What was tried, whether it must work, and what came of it."""
    url = f"http://127.0.0.1:{gateway_port}"
    gateway = Gateway(url, given.gateway_token, timeout_s=10)
    records, storage = gateway_records(gateway), GatewayStorage(gateway)

    def put_a_control_task() -> None:
        with Connection(given_url(redis)) as connection:
            queue = Queue("control", Exchange("control", no_declare=True), "control", no_declare=True)
            body = {"task": "aseagi.control.backup"}
            connection.Producer().publish(body, exchange=queue.exchange, routing_key="control")

    def get(path: str) -> None:
        headers = {"Authorization": f"Bearer {given.gateway_token}"}
        httpx.get(f"{url}{path}", headers=headers).raise_for_status()

    def ask_claude() -> None:
        ClaudeAnalyst(Service(given.gateway_token, url), "claude-haiku-5-5").analyze(reading(ORDER), "order.pdf")

    def enroll_again() -> None:
        another = Credentials(Path(os.environ["OTHER"])).request("y")
        ControlPlane(os.environ["PLANE"], Path(os.environ["PLANE_CA"])).enroll(os.environ["TOKEN"], another)

    def connect(port: int) -> None:
        socket.create_connection((os.environ["DROPLET"], port), timeout=3).close()

    def forge_taken() -> None:
        # its own hash may hold anything; what is read back from it is checked when the machine is dismissed
        entry = json.dumps([{"body": "x", "properties": {}}, "control", "control"])
        redis.hset(unacknowledged_keys(given.instance)["unacked_key"], "forged", entry)

    def command(*words: str) -> Callable[[], Any]:
        return lambda: redis.execute_command(*words)

    attempts: list[tuple[str, bool, Callable[[], Any]]] = [
        ("take its own job", True, lambda: records.begin_stage(job, "fetch", "w")),
        ("sign an address for its own original", True, lambda: storage.url_get(others["own_key"], 60)),
        ("keep what it has taken", True, forge_taken),
        ("read another job's row", False, lambda: records.job(others["job"])),
        ("take another's job that is under way", False, lambda: records.begin_stage(others["job"], "fetch", "w")),
        ("read another document's row", False, lambda: records.document(others["document"])),
        ("list all jobs", False, lambda: records.jobs()),
        ("search all texts", False, lambda: records.search("secret")),
        ("end another's job", False, lambda: records.fail(others["job"], "ocr", "X", "x")),
        ("end another machine's leases", False, lambda: records.drop_leases("reading@i-2/", died=True)),
        ("let jobs in", False, lambda: records.admit(1_000, 60)),
        ("say what another machine does", False, command("SET", "aseagi:fleet:i-2:reading@i-2", "{}")),
        ("register a job of its own", False, lambda: records.register_job("new", others["key"], "high", None)),
        ("read another's original", False, lambda: storage.url_get(others["key"], 60)),
        ("read another's cache", False, lambda: storage.url_get(others["cache"], 60)),
        ("read another's results", False, lambda: storage.url_get(others["result"], 60)),
        ("write another's results", False, lambda: storage.url_put(others["result"], 60)),
        ("overwrite its own original", False, lambda: storage.url_put(others["own_key"], 60)),
        ("list the bucket", False, lambda: list(storage.list(""))),
        ("read a backup of the records", False, lambda: storage.url_get("backups/2026/11/25/records.dump", 60)),
        ("put a task into `control`", False, put_a_control_task),
        ("remote control of workers", False, command("PUBLISH", "/0.celery.pidbox", "{}")),
        ("lead a queue elsewhere", False, command("SADD", "_kombu.binding.cpu", "x")),
        *[(" ".join(words), False, command(*words)) for words in (
            ("FLUSHALL",), ("CONFIG", "GET", "*"), ("KEYS", "*"), ("SCAN", "0"), ("EVAL", "return 1", "0"),
            ("HGETALL", "aseagi:taken:i-2"), ("LRANGE", "cpu", "0", "-1"), ("GET", "aseagi:gateway:x"),
            ("ACL", "LIST"), ("MONITOR",), ("SHUTDOWN",), ("REPLICAOF", "10.77.1.2", "6379"))],
        ("read the authority's key", False, lambda: get("/ca/ca.key")),
        ("climb out of the gateway", False, lambda: get("/..%2f..%2fca/ca.key")),
        ("read the key as an object", False, lambda: storage.url_get("../ca/ca.key", 60)),
        ("Claude beyond its cap", False, ask_claude),
        ("leave a request of another's job for a batch", False,
         lambda: storage.put(keys.batch_request(f"{others['job']}_p1-1"), b"{}")),
        ("leave what is no question of ours for a batch", False,
         lambda: storage.put(keys.batch_request(f"{job}_p1-1"), b'{"params": {"model": "claude-opus-5-5"}}')),
        ("enroll again with its token", False, enroll_again),
        ("Redis beside the tunnel", False, lambda: connect(int(os.environ["DROPLET_REDIS"]))),
        ("the gateway beside the tunnel", False, lambda: connect(int(os.environ["DROPLET_GATEWAY"]))),
    ]  # fmt: skip
    for what, may, call in attempts:
        try:
            call()
            yield what, may, "done"
        except Exception as exc:
            said = str(exc) or type(exc).__name__
            yield what, may, f"refused: {said.splitlines()[0][:80]}"


def given_url(redis: Redis) -> str:
    """The address that this client uses."""
    known = redis.connection_pool.connection_kwargs
    return f"redis://{known['username']}:{known['password']}@127.0.0.1:{known['port']}/0"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
