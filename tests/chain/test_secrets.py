"""After a full run no secret is in a log, a process list, an environment, a message, a result or a page of Flower."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import redis

from aseagi_tasks.settings import PREFIX, SECRETS
from tests.chain.conftest import ASEAGI, WAIT_S
from tests.chain.test_droplet import Droplet
from tests.chain.test_up import filing
from tests.contract.conftest import s3_endpoint  # noqa: F401  (a fixture)
from tests.contract.test_analyst import ANSWER
from tests.contract.test_storage import s3
from tests.servers.anthropic import KEY, AnthropicServer
from tests.servers.telegram import TOKEN, TelegramServer

#: What each secret is here; the broker's is made by the stack, the operators' is the monitor's.
VALUES = {
    name: f"hunter2-{name.replace('_', '-')}"
    for name in SECRETS
    if name != "broker_url" and not name.startswith("monitor_")
}
VALUES["anthropic_api_key"], VALUES["telegram_token"] = KEY, TOKEN
VALUES["s3_secret_access_key"] = "hunter2/spaces+secret"
OPERATOR = "avery:hunter2-of-the-monitor"


@pytest.fixture
def droplet(s3_endpoint: str) -> Iterator[Droplet]:  # noqa: F811
    with (
        TemporaryDirectory(prefix="aseagi-secrets-", ignore_cleanup_errors=True) as folder,
        AnthropicServer(lambda _body: ANSWER) as claude,
        TelegramServer() as telegram,
    ):
        home = Path(folder)
        (home / "given").mkdir()
        for name, value in VALUES.items():
            (home / "given" / name).write_text(value)
        (home / "given" / "operators").write_text(OPERATOR)
        settings = {f"{PREFIX}{name.upper()}_FILE": str(home / "given" / name) for name in VALUES}
        settings |= {
            "ASEAGI_MONITOR_OPERATORS_FILE": str(home / "given" / "operators"),
            "ASEAGI_STORAGE": "s3",
            "ASEAGI_BUCKET": s3(s3_endpoint).bucket,
            "ASEAGI_S3_ENDPOINT_URL": s3_endpoint,
            "ASEAGI_S3_ACCESS_KEY_ID": "test",
            "ASEAGI_ANALYST": "claude",
            "ASEAGI_ANTHROPIC_BASE_URL": claude.url,
            "ASEAGI_TELEGRAM_BASE_URL": telegram.url,
            "ASEAGI_LOG_LEVEL": "DEBUG",
        }
        with Droplet(home, **settings) as one:
            yield one


def test_no_secret_is_seen_after_a_full_run(droplet: Droplet, tmp_path: Path) -> None:
    login = (droplet.home / "secrets" / "broker_url").read_text()
    secrets = {**VALUES, "monitor": OPERATOR.partition(":")[2], "redis": login.partition("control:")[2].split("@")[0]}
    log = droplet.home / "logs" / "worker.log"
    with log.open("wb") as out:
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "aseagi_tasks", "worker", "--loglevel", "DEBUG", "-n", "one@here",
             "-Q", "cpu,gpu,claude", "-P", "threads", "-c", "2"],
            env=droplet.environment, stdout=out, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[2],
        )  # fmt: skip
    try:
        good, bad = filing(tmp_path / "order.pdf"), tmp_path / "broken.pdf"
        bad.write_bytes(b"%PDF-1.4 nothing follows")
        ran = [
            subprocess.run(
                [*ASEAGI, "process", str(path), "--json"],
                env=droplet.environment, capture_output=True, text=True, timeout=WAIT_S,
            )
            for path in (good, bad)
        ]  # fmt: skip
        assert '"completed"' in ran[0].stdout, ran[0].stderr + log.read_text()[-3000:]
        assert ran[1].returncode == 3
        assert droplet.run("users", "add", "1", "--role", "operator").returncode == 0
        doctor = droplet.run("doctor")
        assert doctor.returncode == 0, doctor.stdout
        assert "control@" in doctor.stdout
        looked = {
            **{f"output of aseagi {n}": one.stdout + one.stderr for n, one in enumerate(ran)},
            **processes(droplet, worker.pid),
            **pages(droplet),
            **in_redis(login),
            **files(droplet.home),
            "aseagi doctor": doctor.stdout + doctor.stderr,
        }
    finally:
        worker.terminate()
        worker.wait(WAIT_S)
    looked["the worker's log"] = log.read_text()
    found = [f"{name} in {where}" for where, text in looked.items() for name, value in secrets.items() if value in text]
    encoded = base64.b64encode(OPERATOR.encode()).decode()
    found += [f"the monitor's login in {where}" for where, text in looked.items() if encoded in text]
    assert found == []
    # and all of it was looked at
    assert any("aseagi.ocr" in text for where, text in looked.items() if where.startswith("page"))
    assert any(where.startswith("redis celery-task-meta") for where in looked)
    assert sum(where.startswith("process") for where in looked) >= 7
    assert "aseagi.analyze" in looked["the worker's log"]


def processes(droplet: Droplet, *more: int) -> dict[str, str]:
    """What `ps` shows of each, and its environment."""
    pid = droplet.stack.pid
    assert pid is not None
    pids = {child.pid for child in droplet.stack.children()} | {pid, droplet.process.pid, *more}
    return {
        f"{part} of process {pid}": Path(f"/proc/{pid}/{part}").read_bytes().decode(errors="replace")
        for pid in pids
        for part in ("cmdline", "environ")
    } | {f"process {pid}": "" for pid in pids}


def pages(droplet: Droplet) -> dict[str, str]:
    """Flower's, as an operator gets them."""
    base = f"http://127.0.0.1:{droplet.ports['MONITOR']}"

    def get(path: str) -> str:
        login = base64.b64encode(OPERATOR.encode()).decode()
        request = urllib.request.Request(base + path, headers={"Authorization": f"Basic {login}"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as exc:
            return str(exc.read().decode())

    query = "draw=1&start=0&length=50&search[value]=&order[0][column]=0&order[0][dir]=asc&columns[0][data]=name"
    table = get(f"/tasks/datatable?{query}")
    ids = [row["uuid"] for row in json.loads(table)["data"]]
    workers = json.loads(get("/workers?json=1"))["data"]
    paths = ["/", "/workers", "/tasks", "/broker", "/api/workers?refresh=1", "/api/tasks", "/metrics"]
    paths += [f"/task/{one}" for one in ids] + [f"/worker/{one['hostname']}" for one in workers]
    assert len(ids) >= 6
    return {f"page {path}": get(path) for path in paths} | {"page datatable": table}


def in_redis(login: str) -> dict[str, str]:
    """Every key: queues, what workers have in hand, results."""
    broker: Any = redis.Redis.from_url(login)
    read = {
        b"string": broker.get,
        b"hash": broker.hgetall,
        b"list": lambda key: broker.lrange(key, 0, -1),
        b"set": broker.smembers,
        b"zset": lambda key: broker.zrange(key, 0, -1, withscores=True),
    }
    return {f"redis {key.decode()}": str(read[broker.type(key)](key)) for key in broker.keys("*")}


def files(home: Path) -> dict[str, str]:
    """All that lies in the home, but what holds secrets on purpose, readable by nobody else."""
    found = {}
    for path in home.rglob("*"):
        inside = path.relative_to(home).as_posix()
        if path.is_file() and not inside.startswith(("given/", "secrets/")):
            found[inside] = path.read_bytes().decode("latin-1")
    return found
