"""A Droplet's end of the tunnel, and ends of rented machines."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aseagi_tasks.fleet.authority import Authority
from aseagi_tasks.fleet.tunnel import SERVER_NAME, client_configuration, server_configuration
from tests.chain.conftest import free_port

WAIT_S = 30.0


def until(ready: Callable[[], object], what: Callable[[], str] = lambda: "", wait_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + wait_s
    while not ready():
        assert time.monotonic() < deadline, what()
        time.sleep(0.02)


class Ended:
    """A program that is ended by the process id that was started."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self.command, self.log, self.environment = command, log, environment
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


class Tunnel:
    """The Droplet's stunnel before two ports of the loopback."""

    def __init__(
        self,
        folder: Path,
        redis_port: int,
        gateway_port: int,
        host: str = "127.0.0.1",
        prefix: tuple[str, ...] = (),
        change: Callable[[str], str] = lambda text: text,
    ) -> None:
        """``change`` is done to the configurations of both ends."""
        self.folder, self.host, self.port, self._change = folder, host, free_port(), change
        self.ca = Authority(folder / "ca")
        if not self.ca.exists:
            self.ca.create(datetime.now(UTC))
        self.ca.issue(SERVER_NAME, "server", datetime.now(UTC))
        self.pid = folder / "run" / "tunnel.pid"
        self.pid.parent.mkdir(exist_ok=True)
        text = server_configuration(
            host="" if prefix else host, port=self.port, redis_port=redis_port, gateway_port=gateway_port,
            folder=self.ca.folder, pid=self.pid,
        )  # fmt: skip
        (folder / "server.conf").write_text(change(text))
        self._ends: list[Ended] = []
        self.server = self._run([*prefix, program(), str(folder / "server.conf")], "server")
        until(self.pid.exists, lambda: self.server.said)

    def client(
        self,
        name: str,
        certificate: Path | None,
        key: Path | None,
        *,
        ca: Path | None = None,
        host: str | None = None,
        prefix: tuple[str, ...] = (),
    ) -> Client:
        """An instance's stunnel with these files; without a certificate, it shows none."""
        ports = free_port(), free_port()
        text = client_configuration(
            host=host or self.host, port=self.port, local_port=ports[0], gateway_port=ports[1],
            certificate=certificate or Path("none"), key=key or Path("none"), ca=ca or self.ca.certificate,
        )  # fmt: skip
        if certificate is None:
            text = "\n".join(line for line in text.splitlines() if not line.startswith(("cert =", "key ="))) + "\n"
        path = self.folder / f"{name}.conf"
        path.write_text(self._change(text))
        end = self._run([*prefix, program(), str(path)], name)
        until(lambda: "Configuration successful" in end.said or end.process.poll() is not None, lambda: end.said)
        return Client(end, *ports)

    def issued(self, name: str) -> tuple[Path, Path]:
        return self.ca.issue(name, "client", datetime.now(UTC))

    def _run(self, command: list[str], name: str) -> Ended:
        self._ends.append(Ended(command, self.folder / f"{name}.log"))
        return self._ends[-1]

    def close(self) -> None:
        for end in self._ends:
            end.kill()


class Client:
    """``redis`` and ``gateway``: ports of the loopback that lead through the tunnel."""

    def __init__(self, end: Ended, redis: int, gateway: int) -> None:
        self.end, self.redis, self.gateway = end, redis, gateway


def program() -> str:
    found = shutil.which("stunnel") or shutil.which("stunnel4")
    if found is None:
        pytest.skip("stunnel is not installed")
    return found


def answer(port: int, text: bytes = b"hello") -> bytes:
    """What comes back from a port; nothing where it is closed before an answer."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(text)
            return connection.recv(100)
    except OSError:
        return b""


@pytest.fixture
def echo() -> Iterator[Callable[[bytes], int]]:
    """Servers on loopback that answer with their name and what they got."""
    servers: list[socket.socket] = []

    def serve(server: socket.socket, name: bytes) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(connection, name), daemon=True).start()

    def talk(connection: socket.socket, name: bytes) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(name + data)

    def make(name: bytes) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        servers.append(server)
        threading.Thread(target=serve, args=(server, name), daemon=True).start()
        return int(server.getsockname()[1])

    yield make
    for server in servers:
        server.close()
