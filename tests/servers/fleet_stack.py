"""A whole installation that rents from the local provider: redis, control worker, clock, and real workers on demand.

Nothing runs that reads documents until the autoscaler rents it: an "instance" is a process of this machine that runs
what a rented machine runs (``aseagi_tasks.doors.rented``), in a session of its own, killed as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.sqlite_fleet import SqliteFleet
from tests.servers.redis import redis_server
from tests.servers.vast import KEY, Machine, Rented, VastServer

CLOCK = """
import sys, time
from aseagi_tasks import control
from kombu.exceptions import OperationalError
while True:
    for name in sys.argv[2:]:
        try:
            getattr(control, name).delay()
        except OperationalError:  # redis is away: the next time
            pass
    time.sleep(float(sys.argv[1]))
"""


class FleetStack:
    """Runs below ``home``; ``with`` starts redis and, if it ``works``, control worker and clock, and ends everything.

    Args:
        ticks: what the clock calls, of ``control.py``. every_s: Beat's quarter of a minute would make tests wait.
        settings: variables beside those that it sets itself.
        server: of the provider.

    Attributes:
        kills: how often the control worker was killed.
        without_row_s: the longest that an instance was there of which the records knew nothing.
    """

    def __init__(
        self,
        home: Path,
        machines: list[Machine],
        *,
        idle_s: float = 4.0,
        works: bool = True,
        ticks: Sequence[str] = ("autoscale", "reap"),
        every_s: float = 1.0,
        settings: Mapping[str, str] | None = None,
        **server: Any,
    ) -> None:
        self.home, self.logs = home, home / "logs"
        self.logs.mkdir(parents=True)
        self.server = VastServer(machines, launcher=self._container, **server)
        self.kills, self.without_row_s = 0, 0.0
        self.killed_at: datetime | None = None
        self._stopping, self._idle_s, self._works = threading.Event(), idle_s, works
        self._ticks, self._every_s, self._settings = ticks, every_s, settings or {}
        self._stack = contextlib.ExitStack()
        self._control: subprocess.Popen[bytes] | None = None
        self._guard = threading.Lock()
        self._strangers: dict[int, float] = {}

    def __enter__(self) -> FleetStack:
        self.redis = self._stack.enter_context(redis_server(self.home, keeps=True))
        self._stack.enter_context(self.server)
        self.environment = {
            **os.environ,
            **{"ASEAGI_HOME": str(self.home), "ASEAGI_BROKER_URL": f"redis+socket://{self.home}/redis.sock"},
            **{"ASEAGI_FLEET": "vast", "ASEAGI_VAST_API_KEY": KEY, "ASEAGI_VAST_URL": self.server.url},
            **{"ASEAGI_FLEET_IMAGE": "aseagi/worker:1", "ASEAGI_FLEET_INSTANCES": "2", "ASEAGI_CPU_WORKERS": "1"},
            **{"ASEAGI_FLEET_IDLE_S": str(self._idle_s), "ASEAGI_FLEET_PRICE_CAPS": "RTX 3090:100"},
            **{"ASEAGI_FLEET_USD_PER_HOUR": "100", "ASEAGI_FLEET_DAILY_BUDGET_USD": "100"},
            **{"ASEAGI_FLEET_MONTHLY_BUDGET_USD": "100", "ASEAGI_FLEET_SLOWEST_S_PER_PAGE": "60"},
            **{"ASEAGI_CLAUDE_THREADS": "2", "ASEAGI_OCR_ENGINE": "tesseract", "ASEAGI_DRAIN_S": "10"},
            **self._settings,
        }
        self.records, self.ledger = (
            SqliteFleet(self.home / "records.sqlite3"),
            SqliteRecords(self.home / "records.sqlite3"),
        )
        self._clock: subprocess.Popen[bytes] | None = None
        if self._works:
            self._start_control()
            self._clock = self._run("clock", [sys.executable, "-c", CLOCK, str(self._every_s), *self._ticks])
        self._watch = threading.Thread(target=self._look_for_strangers, daemon=True)
        self._watch.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._watch.join(10)
        for process in (self._clock, self._control):
            if process is not None:
                self._kill(process)
        self._stack.close()

    # -- what a test does

    def documents(self, count: int, first: int = 0) -> Path:
        """A folder of so many filings of one page, no two the same."""
        folder = self.home / f"papers-{first}"
        folder.mkdir()
        for number in range(first, first + count):
            canvas = Canvas(str(folder / f"{number:04}.pdf"))
            for line, text in enumerate(
                ("SUPERIOR COURT OF CALIFORNIA", f"Case No. 23CV{number:06}", "MOTION TO COMPEL")
            ):
                canvas.drawString(72, 720 - 24 * line, text)
            canvas.save()
        return folder

    def queue(self, folder: Path) -> subprocess.Popen[bytes]:
        """Queue a folder's documents and follow them, as a user would; ends when all have ended."""
        aseagi = str(Path(sys.executable).with_name("aseagi"))
        command = [aseagi, "process", str(folder), "--priority", "low", "--json"]
        with (self.logs / f"{folder.name}.json").open("wb") as said:
            return subprocess.Popen(command, env=self.environment, stdout=said, stderr=subprocess.STDOUT)

    def kill_control(self) -> None:
        """SIGKILL, wherever it is just now; another one is started at once."""
        with self._guard:
            assert self._control is not None
            self._kill(self._control)
            self.kills, self.killed_at = self.kills + 1, datetime.now(UTC)
            self._start_control()

    def restart_redis(self) -> None:
        """It is gone for a moment, with what it had not written to its file."""
        self.redis.shutdown(nosave=True)
        self.redis = self._stack.enter_context(redis_server(self.home, keeps=True))

    def is_over(self) -> bool:
        """All rows are gone, and nothing is billed."""
        return not self.server.alive() and not self.records.instances()

    def until(self, ready: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait; say what is there if it takes too long."""
        deadline = time.monotonic() + within_s
        while not ready():
            assert time.monotonic() < deadline, f"{what}\n{self.report()}"
            time.sleep(0.1)

    def booked(self) -> float:
        """USD in the ledger."""
        return self.ledger.costs(datetime.now(UTC) - timedelta(days=1)).get("gpu", 0.0)

    def reconcile(self) -> None:
        """What beat does once a day: compare the ledger with the provider's charges."""
        code = "from aseagi_tasks.control import reconcile; reconcile()"
        subprocess.run([sys.executable, "-c", code], env=self.environment, check=True, cwd=Path(__file__).parents[2])

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of ``aseagi`` in this installation."""
        aseagi = str(Path(sys.executable).with_name("aseagi"))
        return subprocess.run([aseagi, *arguments], env=self.environment, capture_output=True, text=True, timeout=90)

    def report(self) -> str:
        """What is there, for a test that fails."""
        ticks = [json.dumps(tick.detail) for tick in self.records.ticks(5)]
        rows = [f"{row.instance_id} {row.state} {dict(row.detail)}" for row in self.records.instances()]
        alive = [f"{rented.number} {rented.status} {rented.message}" for rented in self.server.alive()]
        logs = [f"{path.name}: {path.read_text()[-1500:]}" for path in sorted(self.logs.iterdir())]
        return "\n".join([*map(str, (self.ledger.counts(), alive)), *rows, *ticks, *logs])

    # -- inside

    def _container(self, rented: Rented) -> subprocess.Popen[bytes]:
        """What an instance runs, with what it was given and where Redis and storage are."""
        rented.log = self.logs / f"instance-{rented.number}.log"
        own = {"CONTAINER_ID": str(rented.number), "CONTAINER_API_KEY": rented.key}
        own["ASEAGI_SCRATCH"] = str(self.home / f"scratch-{rented.number}")
        given = {**self.environment, **rented.asked["env"], **own, **rented.machine.quirks}
        given["ASEAGI_FLEET"] = "none"
        del given["ASEAGI_VAST_API_KEY"]
        with rented.log.open("ab") as log:
            command = [sys.executable, *rented.asked["args"][1:]]
            return subprocess.Popen(command, env=given, stdout=log, stderr=log, start_new_session=True)

    def _start_control(self) -> None:
        command = [sys.executable, "-m", "celery", "-A", "aseagi_tasks", "worker", "-Q", "control", "-P", "threads"]
        command += ["-c", "1", "-n", f"control{self.kills}@test", "--without-gossip", "--without-mingle"]
        self._control = self._run("control", [*command, "--loglevel", "INFO"])

    def _run(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=Path(__file__).parents[2],
            )

    def _kill(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def _look_for_strangers(self) -> None:
        while not self._stopping.wait(0.2):
            known = {row.instance_id for row in self.records.instances(since=datetime.now(UTC) - timedelta(days=1))}
            strangers = {rented.number for rented in self.server.alive() if rented.label not in known}
            moment = time.monotonic()
            self._strangers = {number: self._strangers.get(number, moment) for number in strangers}
            for since in self._strangers.values():
                self.without_row_s = max(self.without_row_s, moment - since)
