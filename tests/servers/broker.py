"""The Droplet's Redis: its own configuration, with users."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from redis import Redis, RedisError

from aseagi_tasks.doors.droplet import redis_configuration
from aseagi_tasks.settings import Settings
from tests.chain.conftest import free_port

PASSWORD = "password-of-the-control-plane"


class Broker:
    """``with Broker(folder) as broker``. ``redis`` is the control plane's client.

    Args:
        prefix: of the command line, to run it in a namespace; the port is then that namespace's.
    """

    def __init__(self, folder: Path, prefix: Sequence[str] = ()) -> None:
        self.home, self.port, self._prefix = folder, free_port(), prefix
        self.url = self.url_of("control", PASSWORD)
        self.redis = Redis.from_url(self.url)
        (folder / "redis").mkdir(parents=True, exist_ok=True)
        (folder / "redis" / "users.acl").write_text(f"user default off\nuser control on >{PASSWORD} ~* &* +@all\n")
        (folder / "redis.conf").write_text(redis_configuration(Settings(home=folder, redis_port=self.port)))

    def url_of(self, user: str, password: str) -> str:
        return f"redis://{user}:{password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [*self._prefix, shutil.which("redis-server") or "redis-server", str(self.home / "redis.conf")]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self._prefix:
            try:
                self.redis.ping()
                return
            except RedisError:
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
