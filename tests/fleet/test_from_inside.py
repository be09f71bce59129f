"""A Droplet and two rented machines in network namespaces: who gets in, and what one can do from inside."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from aseagi_tasks import keys
from aseagi_tasks.fleet.authority import Authority
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.chain.conftest import free_port
from tests.fleet.conftest import Ended, Tunnel, program, until
from tests.fleet.test_gateway import Cloud
from tests.servers.broker import Broker
from tests.servers.network import Network

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)
DROPLET = "10.77.1.1"
#: Prints what comes back through two ports: Redis, gateway.
ASK = r"""
import socket, sys
for port, asked in zip(sys.argv[1:], (b"PING\r\n", b"GET /health HTTP/1.0\r\n\r\n")):
    try:
        with socket.create_connection(("127.0.0.1", int(port)), timeout=20) as connection:
            connection.sendall(asked)
            print(connection.recv(100))
    except OSError:
        print(b"")
"""


class Site:
    """The Droplet's programs in its namespace, and what a machine's are started with."""

    def __init__(self, home: Path, network: Network) -> None:
        self.home, self.network = home, network
        self.prefix = tuple(network.inside(network.droplet, ()))
        self.broker = Broker(home, self.prefix)
        self.gateway_port, self.https_port = free_port(), free_port()
        self.cloud = Cloud(home)
        self.cloud.records = SqliteRecords(home / "records.sqlite3")
        self.cloud.bucket = FolderStorage(home / "aseagi-documents")
        self.broker.start()
        self.tunnel = Tunnel(home, self.broker.port, self.gateway_port, host=DROPLET, prefix=self.prefix)
        self.environment = {
            **os.environ, "ASEAGI_HOME": str(home), "PYTHONPATH": str(ROOT), "ASEAGI_BROKER_URL": self.broker.url,
            "ASEAGI_GATEWAY_PORT": str(self.gateway_port), "ASEAGI_PUBLIC_NAME": DROPLET,
            "ASEAGI_TUNNEL_PUBLIC_PORT": str(self.tunnel.port), "ASEAGI_ANTHROPIC_API_KEY": "sk-ant-secret",
            "ASEAGI_GATEWAY_CLAUDE_USD": "0.000001",
        }  # fmt: skip
        gateway = [*self.prefix, sys.executable, "-m", "aseagi_tasks.doors.gateway"]
        self.gateway = Ended(gateway, home / "gateway.log", self.environment)
        # what nginx does before it, on the Droplet
        conf = f"foreground = yes\npid =\nsyslog = no\n[https]\naccept = {self.https_port}\n"
        conf += f"connect = 127.0.0.1:{self.gateway_port}\ncert = {home}/ca/droplet.pem\nkey = {home}/ca/droplet.key\n"
        (home / "https.conf").write_text(conf)
        self.https = Ended([*self.prefix, program(), str(home / "https.conf")], home / "https.log")
        self.etc = Path("/etc/netns") / network.instances[0]
        self.etc.mkdir(parents=True)
        (self.etc / "hosts").write_text(f"127.0.0.1 localhost\n{DROPLET} droplet\n")
        until(lambda: "listens on" in self.gateway.said, lambda: self.gateway.said)

    def run(self, *command: str) -> str:
        """As the control plane, on the Droplet."""
        aseagi = str(Path(sys.executable).with_name("aseagi"))
        ran = subprocess.run(
            [*self.prefix, aseagi, *command], env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def inside(self, number: int, *arguments: str, **environment: str) -> str:
        """Run our script on a machine."""
        prefix = self.network.inside(self.network.instances[number - 1], ())
        script = ["-c", ASK] if arguments[0] == "ask" else ["-m", "tests.fleet.from_inside", arguments[0]]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASEAGI_")}
        ran = subprocess.run(
            [*prefix, sys.executable, *script, *arguments[1:]], cwd=ROOT,
            env={**inherited, **environment}, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr + self.gateway.said
        return ran.stdout.strip()

    def close(self) -> None:
        for one in (self.https, self.gateway):
            one.kill()
        self.tunnel.close()
        self.broker.stop()
        shutil.rmtree(self.etc, ignore_errors=True)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Network(2) as network:
        one = Site(tmp_path, network)
        yield one
        one.close()


def test_who_gets_in_and_what_can_be_done_from_inside(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, document = site.cloud.job("mine")
    other, others = site.cloud.job("others")
    site.cloud.records.give_job(other, "i-2", 9)
    site.cloud.records.start_lease(other, "w of i-2", 600)
    result = f"{keys.processed(others.document_id, others.created_at.date())}/ocr.txt"
    for key in (result, keys.cache(other, "ocr.json"), "backups/2026/11/25/records.dump"):
        site.cloud.bucket.put(key, b"secret")
    theirs = {
        "job": other, "document": others.document_id, "key": others.key, "own_key": document.key, "result": result,
        "cache": keys.cache(other, "ocr.json"),
    }  # fmt: skip
    ports = {"REDIS_PORT": str(free_port()), "GATEWAY_PORT": str(free_port())}
    folder = tmp_path / "machine"
    found = json.loads(
        site.inside(
            1, str(folder), TOKEN=site.run("ca", "invite", "i-1"), PLANE=f"https://droplet:{site.https_port}",
            PLANE_CA=str(tmp_path / "ca" / "ca.pem"), OTHERS=json.dumps(theirs), JOB=mine, DROPLET=DROPLET,
            DROPLET_REDIS=str(site.broker.port), DROPLET_GATEWAY=str(site.gateway_port), OTHER=str(tmp_path / "thief"),
            **ports,
        )
    )  # fmt: skip
    shown = Table("from inside an enrolled machine", "must", "came of it")
    for what, may, came in found:
        shown.add_row(what, "work" if may else "fail", came)
    assert [what for what, may, came in found if may != (came == "done")] == []
    assert len(found) > 35

    # the second machine, with everything but a certificate of its own that is valid
    foreign = Authority(tmp_path / "foreign")
    foreign.create(NOW)
    good, stranger = site.tunnel.issued("good"), folder / "worker"
    kinds = {
        "no certificate": (None, None),
        "a foreign certificate": foreign.issue("i-2", "client", NOW),
        "an expired certificate": site.tunnel.ca.issue("old", "client", NOW - timedelta(days=2)),
        "another machine's certificate": (stranger / "certificate.pem", good[1]),
        "a revoked certificate": (stranger / "certificate.pem", stranger / "key.pem"),
    }
    assert json.loads(site.run("ca", "dismiss", "i-1", "--json"))["dismissed"]
    until(lambda: site.tunnel.server.said.count("Configuration successful") == 2)
    prefix = tuple(site.network.inside(site.network.instances[1], ()))
    for kind, (certificate, key) in kinds.items():
        one = site.tunnel.client("second", certificate, key, host="10.77.2.1", prefix=prefix)
        came = site.inside(2, "ask", str(one.redis), str(one.gateway)).splitlines()
        one.end.kill()
        (tmp_path / "second.log").unlink()
        shown.add_row(f"[bold]with {kind}[/bold]", "fail", "nothing" if came == ["b''", "b''"] else str(came))
        assert came == ["b''", "b''"], kind
    valid = site.tunnel.client("third", *good, host="10.77.2.1", prefix=prefix)
    redis, gateway = site.inside(2, "ask", str(valid.redis), str(valid.gateway)).splitlines()
    assert "NOAUTH" in redis  # a certificate alone opens nothing
    assert "200 OK" in gateway
    with capsys.disabled():
        Console(width=150).print("\n", shown)

    # what the first had forged came back into no queue
    asked = [*site.prefix, "redis-cli", "--no-auth-warning", "-u", site.broker.url, "LLEN", "control"]
    assert subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "0"
    assert "sk-ant-secret" not in site.gateway.said
