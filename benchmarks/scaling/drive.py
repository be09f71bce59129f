"""Documents through redis, workers, clock and control, with stages that only take time; all others wait as rows."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.droplet_memory import memory
from benchmarks.scaling.rows import fill_sqlite

ROOT = Path(__file__).parents[2]
#: Seconds that a stage takes on average.
SECONDS = {"fetch": 0.05, "rasterize": 0.3, "ocr": 2.0, "analyze": 0.3, "upload": 0.1, "record": 0.02}
TEXT = "the court grants the motion to compel further responses and denies the request for sanctions " * 25
THREADS = 100


def work(self: Any, place: Any, job: Any, *_options: str) -> dict[str, Any]:
    """Any stage: takes its time; the last one completes the job with facts and a page of text."""
    from aseagi_tasks import services

    time.sleep(random.expovariate(1 / SECONDS[self.stage]))
    if self.stage == "rasterize":
        return {"pages": 3, "unread": 2}
    if self.stage == "record":
        records = services.records()
        document = records.document(place.source.document_id)
        facts = {"processed": f"processed/2026/11/25/{document.document_id}", "pages": 3, "document_type": "motion"}
        facts |= {
            "case_number": "23CV998417",
            "title": "Motion to Compel",
            "parties": ("Avery Pellworth", "Wexmoor LLC"),
        }
        records.complete(place.job_id, document.model_copy(update=facts), TEXT)
        return {"job_id": place.job_id, "status": "completed", **facts}
    return {}


def worker() -> None:
    """A worker of the project's own tasks with such stages."""
    from aseagi_tasks import tasks
    from aseagi_tasks.celery import app
    from aseagi_tasks.documents import STAGES

    assert tasks.app is app
    for stage in STAGES:
        app.tasks[f"aseagi.{stage}"].work = staticmethod(work)
    arguments = [
        "worker",
        "-n",
        f"simulated-{os.getpid()}@scale",
        "-Q",
        "cpu,gpu,claude",
        "-P",
        "threads",
        "-c",
        str(THREADS),
    ]
    app.worker_main([*arguments, "--loglevel", "ERROR", "--without-gossip", "--without-mingle"])


@contextmanager
def stack(home: Path) -> Iterator[dict[str, subprocess.Popen[bytes]]]:
    """Redis, two workers, control worker and clock, ended afterwards."""
    from aseagi_tasks.doors.stack import redis_configuration
    from aseagi_tasks.settings import settings

    for folder in (settings().redis_socket.parent, home / "redis"):
        folder.mkdir(parents=True)
    (home / "redis.conf").write_text(redis_configuration(settings()))
    celery = [sys.executable, "-m", "celery", "-A", "aseagi_tasks"]
    control = ["worker", "-Q", "control", "-P", "threads", "-c", "1", "-n", "control@scale", "--loglevel", "ERROR"]
    program = shutil.which("redis-server")
    assert program is not None
    commands = {
        "redis": [program, str(home / "redis.conf")],
        "control": [*celery, *control],
        "beat": [*celery, "beat", "-s", str(home / "beat"), "--pidfile=", "--loglevel", "ERROR"],
        **{f"worker{n}": [sys.executable, str(ROOT / "benchmarks" / "scale.py"), "worker"] for n in (1, 2)},
    }
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            running[name] = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while name == "redis" and not settings().redis_socket.exists():
                time.sleep(0.05)
        yield running
    finally:
        for process in reversed(running.values()):
            process.kill()
            process.wait()


def drive(home: Path, documents: int, seconds: float) -> dict[str, float]:
    """So many documents wait, and go through for so long; what was seen, the first ten seconds left out."""
    os.environ |= {"ASEAGI_HOME": str(home), "ASEAGI_LOG_LEVEL": "ERROR"}
    from redis import Redis

    from aseagi_tasks.settings import settings
    from aseagi_tasks.stores.sqlite import SqliteRecords
    from aseagi_tasks.stores.sqlite_fleet import SqliteFleet

    settings.cache_clear()
    fill_sqlite(settings().records_file, documents, "waiting", live=0)
    records, fleet = SqliteRecords(settings().records_file), SqliteFleet(settings().records_file)
    with stack(home) as running:
        client = Redis(unix_socket_path=str(settings().redis_socket))
        deadline = time.monotonic() + 60
        while not records.counts()["completed"]:
            assert time.monotonic() < deadline, records.counts()
            time.sleep(0.5)
        time.sleep(10)
        before, calls, began = (
            records.counts()["completed"],
            client.info()["total_commands_processed"],
            time.monotonic(),
        )
        used = client.info("memory")["used_memory_dataset"]
        waiting: list[int] = []
        while time.monotonic() - began < seconds and records.counts()["completed"] < documents - 200:
            time.sleep(2)
            waiting.append(sum(client.llen(key) for key in client.keys("[cg][plp]*") if client.type(key) == b"list"))
        took, after = time.monotonic() - began, records.counts()["completed"]
        through, info = max(1, after - before), client.info()
        asked = time.perf_counter()
        fleet.demand()
        demand_ms = 1_000 * (time.perf_counter() - asked)
        return {
            "through": after,
            "per second": through / took,
            "in redis, longest queue": max(waiting, default=0),
            "redis commands per document": (info["total_commands_processed"] - calls) / through,
            "redis bytes kept per document": (info["used_memory_dataset"] - used) / through,
            "redis, MB": info["used_memory"] / 1e6,
            "control, MB": memory(running["control"].pid)[0],
            "beat, MB": memory(running["beat"].pid)[0],
            "what is open, ms": demand_ms,
            "errors": records.counts()["error"],
        }
