"""Life on a rented machine: join, work, leave.

    python -m aseagi_tasks.fleet.instance

Joining goes step by step, each with a time limit: credentials for the bootstrap token, the tunnel, a canary, workers
by queue group, and the word that this machine takes part. A step that fails is reported with the end of the logs, and
the machine asks its watchdog for its end. Afterwards processes that died are started again, the control plane's
heartbeat is passed on to the watchdog, and SIGTERM, or the watchdog's decision, lets what runs finish.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis import Redis, RedisError

from aseagi_tasks.errors import AseagiError, ConfigError, StepFailed, Stopped
from aseagi_tasks.fleet.enrolment import ControlPlane, Credentials, Enrolment
from aseagi_tasks.fleet.groups import Group, groups
from aseagi_tasks.fleet.marks import FOLDER, HEARTBEAT_KEY, Marks
from aseagi_tasks.fleet.tunnel import client_configuration
from aseagi_tasks.fleet.worker import Presence
from aseagi_tasks.settings import Settings, settings

log = logging.getLogger("aseagi.worker")
ROOT = Path(__file__).parents[2]
#: A process that died so often within ten minutes is not started again: the machine is bad.
DEATHS = 5
DEATHS_WITHIN_S = 600.0
#: A worker that has not consumed for so long though the broker answers is stuck, and is started again.
STUCK_S = 180.0
LOG_END_BYTES = 4_000
#: What a worker process does not get from this one's environment.
NOT_FOR_WORKERS = ("ASEAGI_BOOTSTRAP_TOKEN", "ASEAGI_BOOTSTRAP_TOKEN_FILE", "ASEAGI_CONTROL_URL", "CONTAINER_API_KEY")


class TooLong(BaseException):
    """A step's time is over. No Exception, and no TimeoutError: clients would take that for a silent server's."""


class Process:
    """One child, started again when it dies.

    Args:
        command: of the child; holds no secret, since every process of this machine can read it.
    """

    def __init__(self, name: str, command: list[str], environment: dict[str, str], log_file: Path) -> None:
        self.name = name
        self.log_file = log_file
        self.deaths: list[float] = []
        self._command, self._environment = command, environment
        self._process: subprocess.Popen[bytes] | None = None
        self.began = 0.0

    def start(self) -> None:
        """Start it; what it says is added to its log."""
        # should this process be killed, its children end too, and the next one begins with none
        with self.log_file.open("ab") as out:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", *self._command],
                env=self._environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        self.began = time.time()

    def died(self) -> int | None:
        """Its exit status, if it has ended."""
        return None if self._process is None else self._process.poll()

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, if it lives."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)


class Worker:
    """One rented machine.

    Args:
        conf: ``instance_folder`` and ``control_url`` are set.
    """

    def __init__(self, conf: Settings) -> None:
        if conf.instance_folder is None or conf.control_url is None:
            raise ConfigError("ASEAGI_INSTANCE_FOLDER", "or ASEAGI_CONTROL_URL is not set.", "A launch sets both.")
        self.conf, self.folder = conf, conf.instance_folder
        self.marks = Marks(self.folder)
        self.credentials = Credentials(self.folder)
        self.control_plane = ControlPlane(conf.control_url, conf.control_ca_file)
        self.enrolment: Enrolment | None = None
        self.processes: list[Process] = []
        self.seconds: dict[str, float] = {}
        self.seconds_per_page: float | None = None
        self._joining = False
        self._wanted: str | None = None

    def run(self) -> None:
        """Join, work, leave; returns when this machine has nothing more to do."""
        signal.signal(signal.SIGTERM, self._on_sigterm)
        self.marks.make()
        (self.credentials.folder / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            self.join()
            why = self.work()
        except StepFailed as failed:
            log.error("%s", failed)
            why = str(failed)
            self._say(step="failed", why=why)
            self._report("failed", step=failed.args[0], detail=str(failed.args[1]), log=self.log_end())
        except Stopped as stopped:
            why = str(stopped)
        except Exception as exc:  # a full disk, say: better no machine than one that nobody minds
            log.exception("this machine fails")
            why = f"{type(exc).__name__}: {exc}"
            self._report("failed", step="work", detail=why, log=self.log_end())
        else:
            self._say(step="left", why=why)
        log.warning("leaving: %s", why)
        self.drain()
        self._report("left", detail=why)
        self.marks.leave(why)

    # -- joining

    def join(self) -> None:
        """All steps in order.

        Raises:
            StepFailed: with the step and what went wrong.
            Stopped: somebody wants us to leave.
        """
        self._joining = True
        with self._step("enroll"):
            self._enroll()
        with self._step("tunnel"):
            self._open_tunnel()
        with self._step("canary"):
            self._canary()
        with self._step("workers"):
            self._start_workers()
        with self._step("join"):
            self._call_until_heard("joined", seconds=self.seconds, seconds_per_page=self.seconds_per_page)
            self.marks.joined()
        self._joining = False
        log.info("joined after %s", self.seconds)

    def _enroll(self) -> None:
        kept = self.credentials.kept(time.time())  # the container was started again: the token is used up
        if kept is None:
            if self.conf.bootstrap_token is None:
                raise ConfigError("ASEAGI_BOOTSTRAP_TOKEN", "is not set.", "A launch sets it.")
            token = self.conf.bootstrap_token.get_secret_value()
            csr = self.credentials.request(os.environ.get("CONTAINER_ID") or "instance")
            answer = self.control_plane.enroll(token, csr)
            try:
                kept = Enrolment(**{name: answer[name] for name in Enrolment._fields})
            except KeyError as exc:
                raise AseagiError(f"The control plane's answer lacks {exc}.") from exc
            self.credentials.keep(kept, self.conf.tunnel_port)
        self.enrolment = kept

    def _open_tunnel(self) -> None:
        assert self.enrolment is not None
        path = self.credentials.folder / "stunnel.conf"
        path.write_text(
            client_configuration(
                host=self.enrolment.tunnel_host,
                port=self.enrolment.tunnel_port,
                local_port=self.conf.tunnel_port,
                gateway_port=self.conf.gateway_port,
                certificate=self.credentials.certificate,
                key=self.credentials.key,
                ca=self.credentials.ca,
            )
        )
        program = shutil.which("stunnel") or shutil.which("stunnel4")
        if program is None:
            raise ConfigError("stunnel", "is not installed.", "apt-get install stunnel4")
        self._start("tunnel", [program, str(path)])
        said = ""
        while True:
            try:
                self._broker().ping()
                return
            except RedisError as exc:
                if str(exc) != said:
                    log.info("the broker does not answer yet: %s", said := str(exc))
            self._raise_if_dead()
            time.sleep(0.2)

    def _canary(self) -> None:
        """Run what measures this machine; the last line it prints is JSON with ``seconds_per_page``."""
        if self.conf.canary_command is None:
            return
        self._say(step="canary")
        ran = subprocess.run(
            self.conf.canary_command, shell=True, env=self._environment(), cwd=ROOT, capture_output=True, text=True
        )
        self._log_file("canary").write_text(ran.stdout + ran.stderr)
        if ran.returncode:
            raise AseagiError(f"the canary ended with {ran.returncode}")
        try:
            found = json.loads(ran.stdout.strip().splitlines()[-1])
            self.seconds_per_page = float(found["seconds_per_page"])
        except (ValueError, KeyError, TypeError, IndexError) as exc:
            raise AseagiError('the canary did not print {"seconds_per_page": …}') from exc
        if not 0 < self.seconds_per_page < 3600:
            raise AseagiError(f"the canary says {self.seconds_per_page} seconds per page")
        self._say(canary=found)  # judged by the control plane

    def _start_workers(self) -> None:
        """One process per queue group; each has joined the broker when this returns."""
        engine = subprocess.run(
            [sys.executable, "-c", "from aseagi_tasks import services; print(services.ocr_engine()[0])"],
            env=self._environment(), cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        if engine.returncode:
            raise AseagiError(engine.stderr.strip().splitlines()[-1])
        made = groups(
            owns_model=engine.stdout.strip() != "tesseract",
            cpu_workers=self.conf.cpu_workers,
            ocr_threads=self.conf.ocr_threads,
            claude_threads=self.conf.claude_threads,
            queues=self.conf.fleet_queues,
        )
        began = time.time()
        for name, group in made.items():
            self._start(name, self._command(name, group))
        while any(self.marks.consumed(name) < began for name in made):
            self._raise_if_dead()
            time.sleep(0.1)
        assert self.enrolment is not None
        self._say(step="working", nodes=sorted(f"{name}@{self.enrolment.instance}" for name in made))

    def _command(self, name: str, group: Group) -> list[str]:
        assert self.enrolment is not None
        node = f"{name}@{self.enrolment.instance}"
        return [sys.executable, "-m", "celery", "-A", "aseagi_tasks", *group.arguments(node, self.conf.log_level)]

    # -- working

    def work(self) -> str:
        """Until somebody wants this machine to leave; says who and why."""
        pause_s = min(10.0, self.conf.instance_silent_s / 10)
        while True:
            if (why := self._wanted or self.marks.asked()) is not None:
                return why
            if (why := self._mend()) is not None:
                return why
            try:
                beat: Any = self._broker().get(HEARTBEAT_KEY)
                if beat is not None:
                    self.marks.heartbeat(beat.decode())
                self._restart_stuck()
            except RedisError as exc:
                log.warning("the broker does not answer: %s", exc)
            self._sleep(pause_s)

    def _mend(self) -> str | None:
        """Start again what died; why this machine is bad, if it is."""
        for process in self.processes:
            status = process.died()
            if status is None:
                continue
            if status == 0:
                return f"{process.name} was told to stop"
            now = time.time()
            process.deaths = [when for when in process.deaths if when > now - DEATHS_WITHIN_S] + [now]
            log.error("%s ended with %s", process.name, status)
            if len(process.deaths) >= DEATHS:
                self._report("failed", step=process.name, detail=f"ended with {status}", log=self.log_end())
                return f"{process.name} died {DEATHS} times, last with {status}"
            process.start()
        return None

    def _restart_stuck(self) -> None:
        for process in self.processes[1:]:  # the first is the tunnel
            last = max(process.began, self.marks.consumed(process.name))
            if time.time() - last > STUCK_S:
                log.error("%s has not consumed for %g s", process.name, STUCK_S)
                process.end(signal.SIGKILL)

    def drain(self) -> None:
        """Let what runs finish, ``instance_drain_s`` at most; the tunnel goes last."""
        tunnel, workers = self.processes[:1], self.processes[1:]
        for process in workers:
            process.end()
        deadline = time.monotonic() + self.conf.instance_drain_s
        while any(process.died() is None for process in workers) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in workers:
            process.end(signal.SIGKILL)
        for process in tunnel:
            process.end()

    # -- telling

    def log_end(self) -> str:
        """The ends of all logs, without this machine's secrets."""
        parts = []
        for path in sorted((self.credentials.folder / "logs").glob("*.log")):
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - LOG_END_BYTES // 4))
                parts.append(f"== {path.stem}\n{file.read().decode(errors='replace')}")
        text = "\n".join(parts)[-LOG_END_BYTES:]
        for secret in self._secrets():
            text = text.replace(secret, "…")
        return text

    def _secrets(self) -> Iterator[str]:
        if self.conf.bootstrap_token is not None:
            yield self.conf.bootstrap_token.get_secret_value()
        if self.enrolment is not None:
            yield from (self.enrolment.redis_password, self.enrolment.gateway_token)

    def _say(self, **fields: object) -> None:
        """In Redis, where the autoscaler hears it."""
        if self.enrolment is not None:
            try:
                Presence(self._broker()).say(self.enrolment.instance, **fields)
            except (RedisError, OSError) as exc:
                log.warning("%s was not said: %s", sorted(fields), exc)

    def _report(self, state: str, **more: object) -> None:
        """Tell the control plane, or the log if it does not listen."""
        token = self.conf.bootstrap_token
        bearer = self.enrolment.gateway_token if self.enrolment else token.get_secret_value() if token else ""
        try:
            self.control_plane.report(bearer, {"state": state, **more})
        except AseagiError as exc:
            log.error("%s was not heard: %s", state, exc)

    def _call_until_heard(self, state: str, **more: object) -> None:
        assert self.enrolment is not None
        while True:
            try:
                return self.control_plane.report(self.enrolment.gateway_token, {"state": state, **more})
            except AseagiError as exc:
                if exc.exit_code != 4:
                    raise
                log.warning("%s", exc)
                time.sleep(1)

    # -- inside

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        """A step of joining: timed, limited, and its errors named after it."""
        log.info("step %s", name)
        began = time.monotonic()
        signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, self.conf.instance_step_s)
        try:
            yield
        except Stopped:
            raise
        except TooLong as exc:
            raise StepFailed(name, f"took longer than {self.conf.instance_step_s:g} s") from exc
        except Exception as exc:
            raise StepFailed(name, f"{type(exc).__name__}: {exc}") from exc
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        self.seconds[name] = round(time.monotonic() - began, 2)

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        self._wanted = "SIGTERM"
        if self._joining:
            raise Stopped("SIGTERM")

    def _sleep(self, seconds: float) -> None:
        """In short pieces: whoever wants us to leave is heard at once."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._wanted is None:
            time.sleep(min(0.2, seconds))

    def _start(self, name: str, command: list[str]) -> None:
        process = Process(name, command, self._environment(), self._log_file(name))
        self.processes.append(process)
        process.start()

    def _raise_if_dead(self) -> None:
        for process in self.processes:
            if (status := process.died()) is not None:
                raise AseagiError(f"{process.name} ended with {status}")

    def _log_file(self, name: str) -> Path:
        return self.credentials.folder / "logs" / f"{name}.log"

    def _broker(self) -> Redis:
        address = self.credentials.broker_url.read_text()
        return Redis.from_url(address, socket_timeout=10, socket_connect_timeout=5)

    def _given(self) -> dict[str, str]:
        """What enrolling brought for workers."""
        if self.enrolment is None:
            return {}
        names = {
            "ASEAGI_INSTANCE": self.enrolment.instance,
            "ASEAGI_GATEWAY_TOKEN_FILE": str(self.credentials.gateway_token),
        }
        given = {name: value for name, value in self.enrolment.settings.items() if name.startswith("ASEAGI_")}
        return {**given, **names}

    def _environment(self) -> dict[str, str]:
        """A worker's: this process's settings without the bootstrap's, secrets as names of files."""
        mine = {name: value for name, value in os.environ.items() if name not in NOT_FOR_WORKERS}
        return {
            **mine,
            **self._given(),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
            "OMP_THREAD_LIMIT": "1",
            "ASEAGI_BROKER_URL_FILE": str(self.credentials.broker_url),
        }


def _too_long(_number: int, _frame: object) -> None:
    raise TooLong


def main() -> None:
    """Join, work and leave with this process's settings."""
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        worker = Worker(settings())
    except ConfigError as exc:  # no later try will go better
        log.error("%s", exc)
        marks = Marks(Path(os.environ.get("ASEAGI_INSTANCE_FOLDER") or FOLDER))
        marks.make()
        marks.leave(str(exc))
    else:
        worker.run()


if __name__ == "__main__":
    main()
