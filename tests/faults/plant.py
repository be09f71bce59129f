"""A stack that can be broken at every joint: redis behind a proxy, workers that are told what to die of, beat."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis
from PIL import Image, ImageDraw, ImageFont
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.documents import FINAL, Priority, Source
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.records import Job
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.servers.proxy import Proxy

ROOT = Path(__file__).parents[2]
ORDERS, PRICE_USD = "sabotage", 0.01
WAIT_S = int(os.environ.get("FAULTS_WAIT_S", "90"))
#: Seconds in tests what are tens of seconds in use.
QUICK = {"ASEAGI_LEASE_S": "2", "ASEAGI_REAP_EVERY_S": "0.3", "ASEAGI_BROKER_TIMEOUT_S": "2", "ASEAGI_DRAIN_S": "2"}


def until(ready: Callable[[], Any], what: Callable[[], object], wait_s: float = WAIT_S) -> None:
    """Wait for what others do; fails after a bound."""
    deadline = time.monotonic() + wait_s
    while not ready():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


class Plant:
    """One home, its redis, workers and beat. ``with``: starts redis; ends everything.

    Args:
        settings: environment variables beside ``QUICK``.
    """

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.redis_port = int(probe.getsockname()[1])
        self.proxy = Proxy(self.redis_port)
        self.environment = {
            **os.environ,
            **QUICK,
            "ASEAGI_HOME": str(home),
            "ASEAGI_BROKER_URL": f"redis://127.0.0.1:{self.proxy.port}/0",
            "OMP_THREAD_LIMIT": "1",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        for folder in ("logs", "redis", ORDERS):
            (home / folder).mkdir(parents=True, exist_ok=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.redis: subprocess.Popen[bytes] | None = None
        self.records = SqliteRecords(home / "records.sqlite3")
        self.bucket = FolderStorage(home / "aseagi-documents")
        self.client = redis.Redis(port=self.redis_port, socket_timeout=5)

    def __enter__(self) -> Plant:
        self.start_redis()
        return self

    def __exit__(self, *_exc: object) -> None:
        for process in self.processes.values():
            kill_all(process)
        self.stop_redis(signal.SIGKILL)
        self.proxy.close()

    # -- redis

    def start_redis(self) -> None:
        command = ["redis-server", "--port", str(self.redis_port), "--dir", str(self.home / "redis"), "--save", ""]
        self.redis = subprocess.Popen(
            [*command, "--appendonly", "yes", "--bind", "127.0.0.1"], stdout=subprocess.DEVNULL
        )
        until(self.answers, lambda: "redis")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def stop_redis(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.redis is not None:
            self.redis.send_signal(how)
            self.redis.wait()
            self.redis = None

    def wipe_redis(self) -> None:
        """It comes back, and knows nothing."""
        self.stop_redis(signal.SIGKILL)
        shutil.rmtree(self.home / "redis")
        (self.home / "redis").mkdir()
        self.start_redis()

    # -- processes

    def worker(self, name: str = "all", *, queues: str = "cpu,gpu,claude,control", arguments: str = "-c 2") -> None:
        """A worker of this name; with beat in it if it is called ``all`` or ``control``."""
        beat = ["-B", "-s", str(self.home / f"beat-{name}")] if name in ("all", "control") else []
        self.celery(
            name,
            *["worker", "-n", f"{name}@test", "-Q", queues, "-I", "tests.faults.sabotage", "--loglevel", "INFO"],
            *["--without-gossip", "--without-mingle", *beat, *arguments.split()],
        )

    def celery(self, name: str, *arguments: str) -> None:
        """Any program of Celery's, in a process group of its own; its log is appended to."""
        with (self.home / "logs" / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "aseagi_tasks", *arguments],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def lose(self, name: str) -> None:
        """A worker and all of its processes are gone at once, as a machine is."""
        kill_all(self.processes[name])

    def children(self, name: str) -> list[int]:
        """Processes of a worker's pool."""
        tasks = Path(f"/proc/{self.processes[name].pid}/task")
        with suppress(OSError):
            return [int(pid) for task in tasks.iterdir() for pid in (task / "children").read_text().split()]
        return []

    def log(self, name: str = "all") -> str:
        return (self.home / "logs" / f"{name}.log").read_text(errors="replace")

    def is_ready(self, name: str = "all") -> bool:
        return f"{name}@test ready." in self.log(name)

    # -- orders

    def order(self, name: str, text: str = "") -> None:
        (self.home / ORDERS / name).write_text(text)

    def done(self, name: str) -> bool:
        return any((self.home / ORDERS).glob(f"done-{name}-*"))

    def end_order(self, name: str) -> None:
        (self.home / ORDERS / name).unlink(missing_ok=True)

    # -- documents

    def submit(self, path: Path, priority: Priority = "normal") -> str:
        """Register a document and its job, as a door does that died before it queued it."""
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        key = f"raw/2026/11/25/{sha256[:16]}{path.suffix}"
        media_type: Any = "application/pdf" if path.suffix == ".pdf" else "image/png"
        source = Source(key=key, name=path.name, sha256=sha256, bytes=path.stat().st_size, media_type=media_type)
        self.bucket.upload(path, key)
        job_id = str(uuid.uuid4())
        self.records.register_job(job_id, key, priority, "test")
        self.records.register_document(job_id, source, datetime.now(UTC))
        return job_id

    def job(self, job_id: str) -> Job:
        return self.records.job(job_id)

    def wait_for(self, ids: Iterable[str], wait_s: float = WAIT_S) -> None:
        """Until these jobs have ended."""
        left = set(ids)

        def ended() -> bool:
            left.difference_update([job_id for job_id in left if self.job(job_id).status in FINAL])
            return not left

        until(ended, lambda: [self.job(job_id) for job_id in left], wait_s)

    def events(self, job_id: str, kind: str) -> list[str | None]:
        """Stages of a job's events of this kind."""
        return [event.stage for event in self.records.events(job_id) if event.kind == kind]


def kill_all(process: subprocess.Popen[bytes]) -> None:
    """A process and those that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def filing(folder: Path, name: str) -> Path:
    """A one-page born-digital filing like no other."""
    path = folder / f"{name}.pdf"
    canvas = Canvas(str(path), invariant=True)
    words = ["UNITED STATES DISTRICT COURT", "NORTHERN DISTRICT OF CALIFORNIA", "", "ACORN LLC, Plaintiff,", "v."]
    words += ["BIRCH INC., Defendant.", f"Case No. 3:24-cv-{uuid.uuid4().int % 100000:05d}", "", "MOTION TO DISMISS"]
    for number, line in enumerate([*words, "", f"Reference {uuid.uuid4()}"]):
        canvas.drawString(72, 720 - 20 * number, line)
    canvas.save()
    return path


def scan(folder: Path, name: str) -> Path:
    """A small picture of a few lines, which takes recognition."""
    path = folder / f"{name}.png"
    page = Image.new("L", (1200, 500), 255)
    draw = ImageDraw.Draw(page)
    for row, text in enumerate(("SUPERIOR COURT", "Declaration of the Petitioner", str(uuid.uuid4()))):
        draw.text((80, 80 + 110 * row), text, 0, ImageFont.load_default(44))
    page.save(path, dpi=(200, 200))
    return path
