"""`aseagi up --profile droplet`: the control plane with real redis, stunnel and nginx, on loopback addresses."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.chain.conftest import ASEAGI, WAIT_S, Up, free_port, processes_of, until
from tests.chain.test_up import filing

#: Stands for the address that the world sees; everything else is on 127.0.0.1.
WORLD = "127.0.0.2"
PEOPLE = "avery:a long password for tests"
PORTS = ("HTTP", "HTTPS", "TUNNEL_PUBLIC", "REDIS", "GATEWAY", "MONITOR")


class Droplet(Up):
    """A running stack of that profile."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.ports = {name: free_port() for name in PORTS}
        given = {f"ASEAGI_{name}_PORT": str(port) for name, port in self.ports.items()}
        (home / "operators").write_text(PEOPLE)
        super().__init__(
            home,
            "--profile",
            "droplet",
            **{
                **given,
                "ASEAGI_LISTEN_ADDRESS": WORLD,
                "ASEAGI_MONITOR_OPERATORS_FILE": str(home / "operators"),
                "ASEAGI_INSTANCE_SILENT_S": "30",  # so that a sign of life is given every second
                **settings,
            },
        )
        # other commands on this machine find the profile in its environment file
        self.environment["ASEAGI_PROFILE"] = "droplet"

    def get(self, path: str, who: str | None = None, scheme: str = "https") -> tuple[int, dict[str, str], str]:
        """Status, headers and body, as the world gets them; redirections are not followed."""
        port = self.ports[scheme.upper()]
        request = urllib.request.Request(f"{scheme}://{WORLD}:{port}{path}", headers={"Host": f"localhost:{port}"})
        if who:
            request.add_header("Authorization", "Basic " + base64.b64encode(who.encode()).decode())
        context = ssl.create_default_context(cafile=str(self.home / "tls" / "fullchain.pem"))
        context.check_hostname = False  # the name is localhost, the address another
        opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), Straight())
        try:
            with opener.open(request, timeout=20) as answer:
                return answer.status, dict(answer.headers), answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, dict(exc.headers), exc.read().decode()


class Straight(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        return None


@pytest.fixture(scope="module")
def droplet() -> Iterator[Droplet]:
    with (
        TemporaryDirectory(prefix="aseagi-droplet-", ignore_cleanup_errors=True) as folder,
        Droplet(Path(folder)) as one,
    ):
        yield one


def listening(one: Droplet) -> set[tuple[str, int]]:
    """Addresses on which the stack's processes listen, told by parent: nginx writes over its environment."""
    family = {child.pid for child in one.stack.children() if child.pid}
    parents = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    inodes = set()
    for pid in family:
        with contextlib.suppress(OSError):
            links = [os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()]  # noqa: PTH115  (not a path)
            inodes |= {link[8:-1] for link in links if link.startswith("socket:[")}
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state, inode = (line.split()[place] for place in (1, 3, 9))
        if state == "0A" and inode in inodes:
            address, port = local.split(":")
            found.add((socket.inet_ntoa(bytes.fromhex(address)[::-1]), int(port, 16)))
    return found


def test_world_sees_three_ports_only(droplet: Droplet) -> None:
    ports = droplet.ports
    found = listening(droplet)
    assert {port for address, port in found if address != "127.0.0.1"} == {
        ports["HTTP"],
        ports["HTTPS"],
        ports["TUNNEL_PUBLIC"],
    }
    assert {(WORLD, ports["HTTPS"]), ("127.0.0.1", ports["REDIS"]), ("127.0.0.1", ports["MONITOR"])} <= found


def test_monitor_wants_a_password_over_tls(droplet: Droplet) -> None:
    status, headers, _body = droplet.get("/workers")
    assert status == 401
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert droplet.get("/workers", "avery:wrong")[0] == 401
    assert droplet.get("/workers", PEOPLE)[0] == 200
    status, headers, _body = droplet.get("/workers?secret=hunter2", scheme="http")
    assert (status, headers["Location"]) == (301, f"https://localhost:{droplet.ports['HTTPS']}/workers?secret=hunter2")
    until(lambda: "/workers 401" in (droplet.home / "logs" / "web.log").read_text(), lambda: "")
    assert "hunter2" not in (droplet.home / "logs" / "web.log").read_text()


def test_certbot_is_served_without_tls(droplet: Droplet) -> None:
    folder = droplet.home / "acme" / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token").write_text("proof")
    (droplet.home / "acme" / ".well-known").chmod(0o755)
    assert droplet.get("/.well-known/acme-challenge/token", scheme="http")[2] == "proof"
    assert droplet.get("/.well-known/acme-challenge/../../secrets/broker_url", scheme="http")[0] in (301, 400)


def test_who_guesses_tokens_is_slowed_down(droplet: Droplet) -> None:
    assert droplet.get("/enroll")[0] == 403  # POST only
    # 20 at once, then one every two seconds
    context = ssl.create_default_context(cafile=str(droplet.home / "tls" / "fullchain.pem"))
    context.check_hostname = False
    statuses: list[int] = []
    while 429 not in statuses:
        assert len(statuses) < 2_000
        request = urllib.request.Request(f"https://{WORLD}:{droplet.ports['HTTPS']}/enroll", b"{}", method="POST")
        try:
            urllib.request.urlopen(request, timeout=20, context=context)
        except urllib.error.HTTPError as exc:
            statuses.append(exc.code)


def test_redis_wants_a_login_and_the_tunnel_a_certificate(droplet: Droplet) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=droplet.ports["REDIS"], retry=Retry(NoBackoff(), 0)).ping()
    ca = ssl.create_default_context(cafile=str(droplet.home / "ca" / "ca.pem"))
    with (
        socket.create_connection((WORLD, droplet.ports["TUNNEL_PUBLIC"]), timeout=20) as plain,
        ca.wrap_socket(plain, server_hostname="droplet") as nobody,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        nobody.sendall(b"PING\r\n")
        if nobody.recv(100) == b"":
            raise ConnectionError
    made = json.loads(droplet.run("ca", "issue", "somebody", "--json").stdout)
    ca.load_cert_chain(made["certificate"], made["key"])
    with (
        socket.create_connection((WORLD, droplet.ports["TUNNEL_PUBLIC"]), timeout=20) as plain,
        ca.wrap_socket(plain, server_hostname="droplet") as tunnel,
    ):
        tunnel.sendall(b"PING\r\n")
        assert tunnel.recv(100).startswith(b"-NOAUTH")


def test_documents_wait_for_rented_machines_and_outlive_a_restart(droplet: Droplet, tmp_path: Path) -> None:
    from aseagi_tasks.fleet.marks import HEARTBEAT_KEY

    command = subprocess.Popen(
        [*ASEAGI, "process", str(filing(tmp_path / "order.pdf"))],
        env=droplet.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    broker = redis.Redis.from_url((droplet.home / "secrets" / "broker_url").read_text())
    try:
        until(lambda: waiting(broker) == 1, lambda: droplet.said)
    finally:
        command.kill()
        command.wait()
    until(lambda: broker.exists(HEARTBEAT_KEY) == 1, lambda: (droplet.home / "logs" / "control.log").read_text())
    assert broker.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    login = (droplet.home / "secrets" / "broker_url").read_text()
    assert oct((droplet.home / "secrets" / "broker_url").stat().st_mode)[-3:] == "600"

    droplet.__exit__()
    until(lambda: processes_of(droplet.home) == [], lambda: "\n".join(processes_of(droplet.home)))
    again = Droplet.__new__(Droplet)
    again.ports = droplet.ports
    Up.__init__(again, droplet.home, "--profile", "droplet", **aseagi_settings(droplet))
    with again:
        assert (droplet.home / "secrets" / "broker_url").read_text() == login
        assert waiting(broker) == 1


def waiting(broker: redis.Redis) -> int:
    names = broker.keys("cpu*")
    assert isinstance(names, list)
    return sum(int(broker.llen(name)) for name in names if broker.type(name) == b"list")  # type: ignore[arg-type]


def aseagi_settings(droplet: Droplet) -> dict[str, str]:
    own = ("ASEAGI_HOME", "ASEAGI_MONITOR_PORT", "ASEAGI_PROFILE")
    return {n: v for n, v in droplet.environment.items() if n.startswith("ASEAGI_") and n not in own}


@pytest.mark.parametrize(("people", "said"), [("", "ASEAGI_MONITOR_OPERATORS"), ("avery:short", "12 characters")])
def test_monitor_without_a_good_password_is_not_put_before_the_world(people: str, said: str, tmp_path: Path) -> None:
    environment = {**os.environ, "ASEAGI_HOME": str(tmp_path / "h"), "ASEAGI_MONITOR_OPERATORS": people}
    environment |= {f"ASEAGI_{name}_PORT": str(free_port()) for name in PORTS}
    command = [*ASEAGI, "up", "--profile", "droplet"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=WAIT_S)
    assert ran.returncode == 5
    assert re.search(said, ran.stderr)
    assert "avery" not in ran.stderr
