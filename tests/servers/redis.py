"""A Redis of a test's own, on a unix socket."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as NoConnection


@contextmanager
def redis_server(folder: Path) -> Iterator[Redis]:
    """Runs below ``folder`` (socket ``redis.sock``) until the block ends."""
    program = shutil.which("redis-server")
    assert program is not None
    socket = folder / "redis.sock"
    server = subprocess.Popen(
        [program, "--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    try:
        client = Redis(unix_socket_path=str(socket))
        for _ in range(500):
            try:
                client.ping()
                break
            except NoConnection:
                time.sleep(0.02)
        yield client
    finally:
        server.terminate()
        server.wait()
