"""A Redis of a test's own, on a unix socket."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as NoConnection


@contextmanager
def redis_server(folder: Path, *, keeps: bool = False) -> Iterator[Redis]:
    """Runs below ``folder`` (socket ``redis.sock``) until the block ends.

    Args:
        keeps: what it has in files, so that the next one there has it again.
    """
    program = shutil.which("redis-server")
    assert program is not None
    socket = folder / "redis.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""]
    server = subprocess.Popen([*command, "--appendonly", "yes" if keeps else "no"], stdout=subprocess.DEVNULL)
    try:
        client = Redis(unix_socket_path=str(socket))
        for _ in range(500):
            try:
                client.ping()
                break
            except (NoConnection, BusyLoadingError):
                time.sleep(0.02)
        yield client
    finally:
        server.terminate()
        server.wait()
