"""The stack on this machine: redis, one worker per queue group, beat, bot and Flower, supervised by supervisord.

supervisord starts what died again with back-off, stops everything in order, and kills what does not stop in time.
This module writes its configuration, starts and asks it.
"""

from __future__ import annotations

import configparser
import contextlib
import io
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from xmlrpc.client import Error as RpcError
from xmlrpc.client import ServerProxy

import redis

from aseagi_tasks import services
from aseagi_tasks.doors import droplet
from aseagi_tasks.errors import ConfigError, TransientError
from aseagi_tasks.fleet.groups import Group, groups
from aseagi_tasks.settings import Settings

#: The project's top folder: celeryconfig.py and flower/ lie there.
ROOT = Path(__file__).parents[2]
START_TIMEOUT_S = 60.0
#: Others talk to them until they have ended.
_SERVERS = ("redis", "tunnel", "gateway", "web")


class Child(NamedTuple):
    """One supervised process. ``state`` is supervisord's: STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL…"""

    name: str
    state: str
    pid: int
    exit_status: int
    why: str


class Stack:
    """The stack of one ``ASEAGI_HOME``.

    Args:
        settings: of the whole program; children read the same ones from the environment.
        monitor: whether Flower runs too.
    """

    def __init__(self, settings: Settings, *, monitor: bool = True) -> None:
        self.settings = settings
        self.monitor = monitor
        self.run = settings.home / "run"
        self.logs = settings.home / "logs"
        self._process: subprocess.Popen[bytes] | None = None

    # -- asking

    @property
    def is_ours(self) -> bool:
        """Whether this object started the stack; one that was found running is left running."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """The supervisor's process id; None if no stack of this home runs."""
        try:
            return int(self._rpc().supervisor.getPID())  # type: ignore[arg-type]
        except (OSError, RpcError):
            return None

    def children(self) -> list[Child]:
        """The supervised processes; empty if no stack runs."""
        try:
            infos: Any = self._rpc().supervisor.getAllProcessInfo()
        except (OSError, RpcError):
            return []
        return [Child(i["name"], i["statename"], i["pid"], i["exitstatus"], i["spawnerr"]) for i in infos]

    # -- starting and stopping

    def start(self, say: Callable[[str], None] = lambda _text: None) -> None:
        """Start everything and wait until the workers answer.

        Raises:
            ConfigError: a program or a port is missing; a stack of this home runs already.
            TransientError: something did not come up; its log is named.
        """
        if self.pid is not None:
            raise ConfigError("ASEAGI_HOME", f"{self.settings.home} has a running stack.", "`aseagi down` stops it.")
        self._check()
        for folder in (self.run, self.logs, self.settings.scratch_root, self.settings.home / "redis"):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (self.run / "supervisord.conf").write_text(self._configuration())
        self._end_orphans()
        command = [sys.executable, "-m", "supervisor.supervisord", "-n", "-s", "-c", str(self.run / "supervisord.conf")]
        self._process = subprocess.Popen(
            command,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=(self.logs / "supervisord.err").open("wb"),
            start_new_session=True,  # a terminal's Ctrl-C reaches this process only, which then drains the stack
        )
        self._until(lambda: self.pid is not None, "the supervisor", "supervisord.log")
        if self.settings.broker_url is None:
            say("starting redis")
            self._rpc().supervisor.startProcess("redis", False)
            self._until(self._redis_answers, "redis", "redis.log")
        conf = self.settings
        what = "the control plane" if conf.profile == "droplet" else "workers"
        say(f"starting {what}, beat and monitor" if self.monitor else f"starting {what} and beat")
        for name in self._programs():
            if name != "redis":
                self._rpc().supervisor.startProcess(name, False)
        self._until(self._workers_answer, "the workers", "reading.log")
        if self.monitor:
            self._until(
                lambda: _accepts(self.settings.monitor_address, self.settings.monitor_port),
                "the monitor",
                "monitor.log",
            )
        if self.settings.profile == "droplet":
            address = self.settings.listen_address or "127.0.0.1"
            self._until(lambda: _accepts(address, self.settings.https_port), "nginx", "web.log")
            self._until(lambda: _accepts(address, self.settings.tunnel_public_port), "the tunnel", "tunnel.log")

    def stop(self) -> None:
        """Drain and stop everything: clock, monitor and workers together, redis last. Returns when all have left."""
        pid = self.pid
        if pid is None:
            return
        if self.settings.broker_url is None:
            from aseagi_tasks.celery import app

            # results that this process still holds would look for the redis that is gone, for minutes
            app.backend.result_consumer._pubsub = None
        self._end_together()
        self._rpc().supervisor.shutdown()
        deadline = time.monotonic() + self.settings.drain_s + 40
        while time.monotonic() < deadline:
            if self._process is not None:
                if self._process.poll() is not None:
                    return
            elif not _is_alive(pid):
                return
            time.sleep(0.1)
        raise TransientError(f"The supervisor (process {pid}) did not stop; see {self.logs / 'supervisord.log'}.")

    def watch(self, before: dict[str, Child]) -> tuple[dict[str, Child], list[str]]:
        """What happened to the children since ``before``, as sentences, and how they are now."""
        now = {child.name: child for child in self.children()}
        news = []
        for name, child in now.items():
            old = before.get(name)
            if old is None or (old.pid == child.pid and old.state == child.state):
                continue
            if old.pid and child.pid != old.pid and child.state not in ("STOPPING", "STOPPED"):
                again = f"was started again (process {child.pid})" if child.pid else "will be started again"
                news.append(f"{name} died and {again}; see {self.logs / name}.log")
            elif child.state == "FATAL":
                news.append(f"{name} was given up: {child.why}; see {self.logs / name}.log, then `aseagi up` again")
        return now, news

    # -- inside

    def _programs(self) -> dict[str, tuple[int, str]]:
        """Name → (place in the order of starting, command line); stopping goes the other way."""
        conf, celery = self.settings, f"{sys.executable} -m celery -A aseagi_tasks"
        workers = groups(
            owns_model=self._owns_model,
            cpu_workers=conf.cpu_workers,
            ocr_threads=conf.ocr_threads,
            claude_threads=conf.claude_threads,
        )
        if conf.profile == "droplet":
            workers = {}  # rented machines do the work
        # where machines are rented, a long backup must not delay the heartbeat that they live by
        workers["control"] = Group("control", "threads", 4 if conf.profile == "droplet" else 1)
        programs = {
            name: (20, f"{celery} {shlex.join(group.arguments(f'{name}@%%h', conf.log_level))}")
            for name, group in workers.items()
        }
        programs["beat"] = (30, f"{celery} beat --loglevel {conf.log_level} -s {self.run / 'beat'} --pidfile=")
        if conf.telegram_token is not None:
            programs["bot"] = (30, f"{sys.executable} -m aseagi_tasks.doors.bot")
        if self.monitor:
            programs["monitor"] = (30, f"{celery} flower --conf={ROOT / 'flower' / 'flowerconfig.py'}")
        if conf.broker_url is None:
            programs["redis"] = (10, f"{_program('redis-server')} {self.run / 'redis.conf'}")
        if conf.profile == "droplet":
            programs["tunnel"] = (15, f"{_program('stunnel')} {self.run / 'stunnel.conf'}")
            programs["gateway"] = (30, f"{sys.executable} -m aseagi_tasks.doors.gateway")
            programs["web"] = (40, f"{_program('nginx')} -c {self.run / 'nginx.conf'} -e stderr")
            droplet.prepare(conf)
        elif conf.broker_url is None:
            (self.run / "redis.conf").write_text(redis_configuration(conf))
        return programs

    @property
    def _owns_model(self) -> bool:
        """Whether a process of its own reads lines."""
        return services.ocr_engine()[0] != "tesseract"

    def _configuration(self) -> str:
        ini = configparser.RawConfigParser()
        ini["supervisord"] = {
            "logfile": str(self.logs / "supervisord.log"),
            "pidfile": str(self.run / "supervisord.pid"),
            "childlogdir": str(self.logs),
            "minfds": "1024",
            "umask": "077",  # documents are their owner's
        }
        ini["unix_http_server"] = {"file": str(self.run / "supervisor.sock"), "chmod": "0700"}
        ini["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        for name, (priority, command) in self._programs().items():
            ini[f"program:{name}"] = {
                "command": command,
                "priority": str(priority),
                "autostart": "false",
                "autorestart": "true",
                "startsecs": "3",
                "startretries": "20",  # a second longer between each: three and a half minutes in all
                "stopsignal": "TERM",
                "stopwaitsecs": str(self.settings.drain_s + 15),
                "killasgroup": "true",
                "redirect_stderr": "true",
                "stdout_logfile": str(self.logs / f"{name}.log"),
                "stdout_logfile_maxbytes": "10MB",
                "stdout_logfile_backups": "3",
            }
        out = io.StringIO()
        ini.write(out)
        return out.getvalue()

    def _end_together(self) -> None:
        """Tell clock, monitor and workers to end; a shutdown would let each wait until the one before has ended."""
        for child in self.children():
            if child.name not in _SERVERS and child.state in ("RUNNING", "STARTING"):
                with contextlib.suppress(OSError, RpcError):  # it has just ended
                    self._rpc().supervisor.stopProcess(child.name, False)

    def _environment(self) -> dict[str, str]:
        """This process's, with its settings made absolute and one thread per recognizer."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
        ours = {"ASEAGI_HOME": str(self.settings.home), "ASEAGI_PROFILE": self.settings.profile}
        return {**os.environ, **ours, "PYTHONPATH": path, "OMP_THREAD_LIMIT": "1"}

    def _check(self) -> None:
        conf = self.settings
        if conf.broker_url is None:
            _program("redis-server")
        ports = [("MONITOR_PORT", conf.monitor_address)] if self.monitor else []
        if conf.profile == "droplet":
            ports += [(f"{name}_PORT", conf.listen_address) for name in ("HTTP", "HTTPS", "TUNNEL_PUBLIC")]
            ports += [(f"{name}_PORT", "127.0.0.1") for name in ("REDIS", "GATEWAY")]
        for name, address in ports:
            port = getattr(conf, name.lower())
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((address, port))
                except OSError as exc:
                    raise ConfigError(
                        f"ASEAGI_{name}",
                        f"{port} cannot be listened on ({exc.strerror}).",
                        "Set another one, or end what uses it.",
                    ) from exc

    def _end_orphans(self) -> None:
        """A killed supervisor leaves its children: nobody answers on its socket, but redis still holds its own."""
        if self.settings.broker_url is None and self._redis_answers():
            raise ConfigError(
                str(self.settings.redis_socket),
                "is served by a redis whose supervisor is gone.",
                f"End it: `redis-cli -s {self.settings.redis_socket} shutdown`, and the workers beside it.",
            )

    def _rpc(self) -> Any:
        from supervisor.xmlrpc import SupervisorTransport

        transport = SupervisorTransport(None, None, f"unix://{self.run / 'supervisor.sock'}")
        return ServerProxy("http://127.0.0.1", transport=transport)

    def _redis_answers(self) -> bool:
        try:
            address = self.settings.broker.replace("redis+socket://", "unix://", 1)
            return bool(redis.Redis.from_url(address, socket_timeout=2).ping())
        except redis.RedisError:
            return False

    def _workers_answer(self) -> bool:
        from aseagi_tasks.celery import app

        workers = 1 if self.settings.profile == "droplet" else 4 if self._owns_model else 3
        return len(app.control.ping(timeout=0.4, limit=workers)) >= workers

    def _until(self, ready: Callable[[], bool], what: str, log: str) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            given_up = [child.name for child in self.children() if child.state == "FATAL"]
            ended = self._process is not None and self._process.poll() is not None
            if time.monotonic() > deadline or given_up or ended:
                self.stop()
                raise TransientError(f"{what} did not start; see {self.logs / log}.")
            time.sleep(0.05)


def redis_configuration(settings: Settings) -> str:
    """The embedded Redis: a unix socket only, every write on disk within a second, nothing evicted.

    Queues are lists of similar JSON, so all but their ends are kept compressed (``list-compress-depth``): a third of
    the memory per waiting document (benchmarks/overhead.py).
    """
    return (
        f'port 0\nunixsocket "{settings.redis_socket}"\nunixsocketperm 700\ndir "{settings.home / "redis"}"\n'
        'appendonly yes\nsave ""\nlist-compress-depth 1\n'
        f"maxmemory {settings.redis_max_mb}mb\nmaxmemory-policy noeviction\n"
    )


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")
    if path is None:
        package = {"stunnel": "stunnel4", "nginx": "nginx-light"}.get(name, name)
        raise ConfigError(name, "is not installed.", f"apt-get install {package} (or: brew install {name}).")
    return path


def _accepts(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
