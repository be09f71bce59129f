"""A Droplet and two rented machines, each in a network of its own: enrolment by nginx, the rest through the tunnel.

The Droplet runs `aseagi up --profile droplet`, the machines PID 1 of the image; documents go through both. Afterwards
everything that a machine holds, in memory and on disk, is searched for what it must not have.
`make machines-check`; DOCUMENTS=50 in the environment sends that many through.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from reportlab.pdfgen.canvas import Canvas

from tests.chain.conftest import ASEAGI
from tests.instance.conftest import ROOT, can_unshare
from tests.servers.network import Network

pytestmark = [pytest.mark.machines, pytest.mark.skipif(not can_unshare(), reason="needs root")]
WAIT_S = 120.0
BUCKET = "two-machines"
SECRETS = {
    "s3_secret_access_key": "hunter2-spaces",
    "supabase_jwt_secret": "hunter2-jwt",
    "anthropic_api_key": "hunter2-ant",
}
VAST_KEY = "hunter2-account"
#: The Droplet's address on the first wire; the second machine has a route to it. (moto takes a name for a bucket's.)
DROPLET = "10.77.1.1"
INVITE = "from aseagi_tasks import services; import sys; print(services.invitations().invite(sys.argv[1]))"


def until(ready: Any, said: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < deadline, said()
        time.sleep(0.1)


class Site:
    """One namespace, what runs in it and what it said."""

    def __init__(self, namespace: str, folder: Path, **environment: str) -> None:
        self.namespace, self.folder = namespace, folder
        folder.mkdir()
        self.etc = Path("/etc/netns") / namespace
        self.etc.mkdir(parents=True)
        (self.etc / "hosts").write_text(f"127.0.0.1 localhost\n{DROPLET} droplet.test\n")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ASEAGI_")}
        self.environment = {**inherited, "PYTHONPATH": str(ROOT), "OMP_THREAD_LIMIT": "1", **environment}
        self.log = folder / "said.log"
        self._open: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []

    def start(self, *command: str) -> None:
        out = self.log.open("ab")
        process = subprocess.Popen(
            Network.inside(self.namespace, command),
            env=self.environment, stdout=out, stderr=out, cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        self._open.append((process, out))

    def run(self, *command: str, timeout_s: float = WAIT_S) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            Network.inside(self.namespace, command),
            env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip

    def pids(self) -> list[int]:
        ran = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, text=True)
        return [int(pid) for pid in ran.stdout.split()]

    def said(self) -> str:
        logs = [self.log, *sorted(self.folder.rglob("logs/*.log"))]
        return "\n".join(f"== {path}\n{path.read_text(errors='replace')[-2500:]}" for path in logs if path.exists())

    def close(self, wait_s: float = 15.0) -> None:
        """Ctrl-C, and after a while an end to all that is left; a machine's PID 1 never ends by itself."""
        for process, _out in self._open:
            process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + wait_s
        while self.pids() and time.monotonic() < deadline:
            time.sleep(0.1)
        for pid in self.pids():  # all are of this test's own namespace
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process, out in self._open:
            process.wait()
            out.close()
        shutil.rmtree(self.etc)


@pytest.fixture
def network() -> Iterator[Network]:
    with Network(2) as one:
        second = ["ip", "-n", one.instances[1], "route", "add", DROPLET, "via", "10.77.2.1"]
        subprocess.run(second, check=True)
        yield one


@pytest.fixture
def droplet(network: Network, tmp_path: Path) -> Iterator[Site]:
    home = tmp_path / "droplet"
    given = {f"ASEAGI_{name.upper()}_FILE": str(tmp_path / name) for name in SECRETS}
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(value)
    (tmp_path / "people").write_text("avery:a long password for tests")
    site = Site(
        network.droplet, home,
        ASEAGI_HOME=str(home), ASEAGI_PROFILE="droplet", ASEAGI_PUBLIC_NAME="droplet.test", ASEAGI_ANALYST="rules",
        ASEAGI_MONITOR_OPERATORS_FILE=str(tmp_path / "people"), ASEAGI_STORAGE="s3", ASEAGI_BUCKET=BUCKET,
        ASEAGI_S3_ENDPOINT_URL=f"http://{DROPLET}:9000", ASEAGI_S3_ACCESS_KEY_ID="test", **given,
    )  # fmt: skip
    try:
        site.start(sys.executable, "-m", "moto.server", "-H", "0.0.0.0", "-p", "9000")
        until(lambda: site.run(*ASEAGI, "setup-bucket").returncode == 0, site.said)
        site.start(*ASEAGI, "up")
        until(lambda: "Tunnel" in site.log.read_text(), site.said)
        yield site
    finally:
        site.close()


@pytest.fixture
def machines(network: Network, droplet: Site, tmp_path: Path) -> Iterator[list[Site]]:
    made: list[Site] = []
    try:
        for number, namespace in enumerate(network.instances, 1):
            token = droplet.run(sys.executable, "-c", INVITE, f"i-{number}")
            assert token.returncode == 0, token.stderr
            folder = tmp_path / f"machine-{number}"
            site = Site(
                namespace, folder,
                PYTHON=sys.executable, CONTAINER_ID=str(number), CONTAINER_API_KEY=f"of-instance-{number}",
                ASEAGI_INSTANCE_FOLDER=str(folder / "instance"), ASEAGI_HOME=str(folder / "home"),
                ASEAGI_CONTROL_URL="https://droplet.test", ASEAGI_VAST_URL="http://127.0.0.1:9",
                ASEAGI_CONTROL_CA_FILE=str(droplet.folder / "tls" / "fullchain.pem"), ASEAGI_CPU_WORKERS="1",
                ASEAGI_BOOTSTRAP_TOKEN=token.stdout.strip(), ASEAGI_OCR_ENGINE="tesseract",
            )  # fmt: skip
            made.append(site)
            own = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
            site.start(*own, str(ROOT / "worker_image" / "pid1.sh"))
        for site in made:
            until((site.folder / "instance/marks/joined").exists, lambda: said(droplet, *made))
        yield made
    finally:
        for site in made:
            site.close(wait_s=0)


def said(*sites: Site) -> str:
    return "\n".join(site.said() for site in sites)


def filing(path: Path, number: int) -> Path:
    canvas = Canvas(str(path), invariant=True)
    canvas.drawString(72, 720, "ORDER GRANTING MOTION TO COMPEL")
    canvas.drawString(72, 680, f"Case No. 3:24-cv-{number:05}")
    canvas.drawString(72, 640, "Dated: May 6, 2024")
    canvas.save()
    return path


def test_documents_go_through_two_machines_that_hold_no_lasting_secret(
    droplet: Site, machines: list[Site], tmp_path: Path
) -> None:
    count = int(os.environ.get("DOCUMENTS", "20"))
    paths = [str(filing(tmp_path / f"order-{number}.pdf", number)) for number in range(count)]
    began = time.monotonic()
    ran = droplet.run(*ASEAGI, "process", *paths, "--json", timeout_s=WAIT_S + 10 * count)
    assert ran.returncode == 0, ran.stderr + said(droplet, *machines)
    print(f"\n{count} documents in {time.monotonic() - began:.1f} s")
    results = [json.loads(line) for line in ran.stdout.splitlines()] if "\n{" in ran.stdout else json.loads(ran.stdout)
    numbers = {result["facts"]["case_number"] for result in results}
    assert numbers == {f"3:24-cv-{number:05}" for number in range(count)}

    # both had a part in it
    done = {
        site: (site.folder / "instance/worker/logs/reading.log").read_text().count("succeeded") for site in machines
    }
    assert all(done.values()), done

    # both hear the control plane, and are well
    for site in machines:
        until((site.folder / "instance/marks/heartbeat").exists, lambda: said(droplet, *machines))
        health = site.run(sys.executable, "-m", "aseagi_tasks.fleet.health")
        assert health.returncode == 0, health.stdout

    # and neither holds anything that outlives it or reaches beyond it
    login = (droplet.folder / "secrets" / "broker_url").read_text()
    forbidden = {**SECRETS, "control plane's login": login.partition("control:")[2].split("@")[0], "account": VAST_KEY}
    forbidden["authority's key"] = (droplet.folder / "ca" / "ca.key").read_text().splitlines()[1]
    for site in machines:
        held = {f"environment of {pid}": environment(pid) for pid in site.pids()}
        held |= {str(path): path.read_bytes() for path in site.folder.rglob("*") if path.is_file()}
        found = [
            f"{name} in {where}"
            for where, text in held.items()
            for name, value in forbidden.items()
            if value.encode() in text
        ]
        assert found == []
        assert len(held) > 10
        for pid in site.pids():
            if (
                b"fleet.watchdog" not in command(pid)
                and b"pid1.sh" not in command(pid)
                and b"unshare" not in command(pid)
            ):
                assert b"of-instance-" not in environment(pid), command(pid)


def environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
