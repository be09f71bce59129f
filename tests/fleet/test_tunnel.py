"""The tunnel between real stunnels: who comes through, and what happens to a connection that nobody cuts."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aseagi_tasks.fleet.authority import Authority
from aseagi_tasks.fleet.tunnel import SYSCTLS, reload
from tests.chain.conftest import free_port
from tests.fleet.conftest import Tunnel, answer, until
from tests.servers.network import Network

NOW = datetime.now(UTC)
#: What the design allows for a connection whose other end is gone without a word.
HALF_OPEN_S = 30.0


@pytest.fixture
def tunnel(tmp_path: Path, echo: Callable[[bytes], int]) -> Iterator[Tunnel]:
    one = Tunnel(tmp_path, echo(b"redis "), echo(b"gateway "))
    yield one
    one.close()


def foreign(tmp_path: Path) -> tuple[Path, Path]:
    other = Authority(tmp_path / "another")
    other.create(NOW)
    return other.issue("i-1", "client", NOW)


def test_redis_and_gateway_come_through_one_port(tunnel: Tunnel) -> None:
    one = tunnel.client("i-1", *tunnel.issued("i-1"))
    assert answer(one.redis) == b"redis hello"
    assert answer(one.gateway) == b"gateway hello"


@pytest.mark.parametrize("kind", ["none", "foreign", "expired", "revoked", "stolen", "server"])
def test_who_has_no_valid_certificate_gets_nothing(tunnel: Tunnel, kind: str, tmp_path: Path) -> None:
    mine, other = tunnel.issued("mine"), tunnel.issued("other")
    files: tuple[Path | None, Path | None] = {
        "none": (None, None),
        "foreign": foreign(tmp_path) if kind == "foreign" else mine,
        "expired": tunnel.ca.issue("old", "client", NOW - timedelta(days=2)),
        "revoked": mine,
        "stolen": (other[0], mine[1]),  # another's certificate: it was never secret, its key is
        "server": (tunnel.ca.folder / "droplet.pem", tunnel.ca.folder / "droplet.key"),
    }[kind]
    if kind == "revoked":
        tunnel.ca.revoke("mine", NOW)
        assert reload(tunnel.pid)
        until(
            lambda: (
                "Reading configuration" in tunnel.server.said
                and tunnel.server.said.count("Configuration successful") == 2
            )
        )
    one = tunnel.client("bad", *files)
    assert answer(one.redis) == answer(one.gateway) == b""
    good = tunnel.client("good", *other)
    until(lambda: answer(good.redis) == b"redis hello")


def test_client_does_not_talk_to_another_droplet(tunnel: Tunnel, tmp_path: Path) -> None:
    other = Authority(tmp_path / "another")
    other.create(NOW)
    one = tunnel.client("i-1", *tunnel.issued("i-1"), ca=other.certificate)
    assert answer(one.redis) == b""


def test_revocation_shuts_out_at_once_and_disturbs_nobody(tunnel: Tunnel) -> None:
    bad, good = tunnel.client("bad", *tunnel.issued("bad")), tunnel.client("good", *tunnel.issued("good"))
    assert answer(bad.redis) == b"redis hello"
    with socket.create_connection(("127.0.0.1", good.redis), timeout=10) as kept:
        kept.sendall(b"1")
        assert kept.recv(100) == b"redis 1"
        tunnel.ca.revoke("bad", NOW)
        assert reload(tunnel.pid)
        until(lambda: answer(bad.redis) == b"")
        assert answer(bad.gateway) == b""
        kept.sendall(b"2")
        assert kept.recv(100) == b"redis 2"
    until(lambda: answer(good.redis) == b"redis hello")  # stunnel listens anew when it reads anew


def test_older_protocols_are_refused(tunnel: Tunnel) -> None:
    certificate, key = tunnel.issued("i-1")
    for version, passes in (("-tls1_2", False), ("-tls1_3", True)):
        ran = subprocess.run(
            ["openssl", "s_client", version, "-connect", f"127.0.0.1:{tunnel.port}", "-cert", str(certificate),
             "-key", str(key), "-CAfile", str(tunnel.ca.certificate)],
            input=b"", capture_output=True, timeout=20,
        )  # fmt: skip
        assert (b"Cipher is TLS_" in ran.stdout) == passes


def test_tunnel_that_was_cut_is_there_again(tunnel: Tunnel) -> None:
    one = tunnel.client("i-1", *tunnel.issued("i-1"))
    assert answer(one.redis) == b"redis hello"
    tunnel.server.kill()
    assert answer(one.redis) == b""
    assert not reload(tunnel.pid)
    tunnel.server.start()
    until(lambda: answer(one.redis) == b"redis hello", lambda: tunnel.server.said)


FROM_INSIDE = """
import socket, sys, time
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
s.sendall(b"hello")
print(s.recv(100), flush=True)
sys.stdin.readline()
began = time.monotonic()
try:
    s.recv(100)
except TimeoutError:
    sys.exit("nobody noticed")
except OSError:
    pass
print(time.monotonic() - began, flush=True)
"""
#: Accepts one connection, answers, and says when it ended.
SERVE = """
import socket, sys, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("listens", flush=True)
s, _ = server.accept()
s.sendall(b"redis " + s.recv(100))
s.settimeout(120)
try:
    s.recv(100)
except TimeoutError:
    sys.exit("nobody noticed")
except OSError:
    pass
print("ended", flush=True)
"""


def shorter(text: str) -> str:
    """A configuration whose keep-alive gives up after two seconds and not after 25."""
    for name, value, short in (("IDLE", 10, 1), ("INTVL", 5, 1), ("CNT", 3, 1)):
        assert f"TCP_KEEP{name}={value}\n" in text
        text = text.replace(f"TCP_KEEP{name}={value}\n", f"TCP_KEEP{name}={short}\n")
    return text


def test_half_open_connection_is_noticed_on_both_sides(tmp_path: Path) -> None:
    notice_half_open(tmp_path, dict.fromkeys(SYSCTLS, "1"), shorter)


@pytest.mark.machines
def test_half_open_connection_is_noticed_within_half_a_minute(tmp_path: Path) -> None:
    noticed_s = notice_half_open(tmp_path, SYSCTLS, lambda text: text)
    print(f"\nnoticed after {noticed_s[0]:.1f} s by the machine, {noticed_s[1]:.1f} s by the Droplet")
    assert max(noticed_s) < HALF_OPEN_S


def notice_half_open(tmp_path: Path, sysctls: dict[str, str], change: Callable[[str], str]) -> tuple[float, float]:
    """Seconds until machine and Droplet notice that what is between them is gone."""
    with Network(1) as network:
        droplet, machine = (tuple(network.inside(name, ())) for name in (network.droplet, network.instances[0]))
        for name, value in sysctls.items():
            subprocess.run([*droplet, "sysctl", "-qw", f"{name}={value}"], check=True)
        port = free_port()
        serve = subprocess.Popen([*droplet, sys.executable, "-c", SERVE, str(port)], stdout=subprocess.PIPE, text=True)
        tunnel = Tunnel(tmp_path, port, port, host="10.77.1.1", prefix=droplet, change=change)
        client = None
        try:
            assert serve.stdout is not None
            assert serve.stdout.readline() == "listens\n"
            one = tunnel.client("i-1", *tunnel.issued("i-1"), prefix=machine)
            client = subprocess.Popen(
                [*machine, sys.executable, "-c", FROM_INSIDE, str(one.redis)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            assert client.stdout is not None
            assert client.stdin is not None
            assert client.stdout.readline() == "b'redis hello'\n"
            network.freeze(1)
            began = time.monotonic()
            client.stdin.write("\n")
            client.stdin.flush()
            noticed_s = float(client.stdout.readline())
            assert serve.stdout.readline() == "ended\n"
            return noticed_s, time.monotonic() - began
        finally:
            tunnel.close()
            for process in (serve, client):
                if process is not None:
                    process.kill()
                    process.communicate()
