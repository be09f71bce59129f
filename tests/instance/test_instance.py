"""A rented machine from its token to its end: real PID 1, stunnel, redis and worker processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aseagi_tasks.fleet.groups import groups
from aseagi_tasks.fleet.health import health
from tests.chain.conftest import free_port
from tests.chain.test_up import filing
from tests.instance import control_plane
from tests.instance.conftest import ROOT, Landlord, Machine, until
from tests.instance.control_plane import ControlPlane

WORKER = "-m aseagi_tasks.fleet.instance"
SECRETS = (control_plane.TOKEN, control_plane.PASSWORD, control_plane.GATEWAY_TOKEN)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    folder = tmp_path / "droplet"
    folder.mkdir()
    one = ControlPlane(folder)
    yield one
    one.close()


@pytest.fixture
def rented(tmp_path: Path, landlord: Landlord, plane: ControlPlane) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []
    folder = tmp_path / "instance"
    folder.mkdir()

    def rent(**environment: str) -> Machine:
        given = {
            "WORKER_COMMAND": f"{sys.executable} {WORKER}",
            "ASEAGI_CONTROL_URL": plane.url,
            "ASEAGI_BOOTSTRAP_TOKEN": control_plane.TOKEN,
            "ASEAGI_TUNNEL_PORT": str(free_port()),
            "ASEAGI_GATEWAY_PORT": str(free_port()),
            "ASEAGI_HOME": str(tmp_path / "home"),
            "ASEAGI_CPU_WORKERS": "1",
            "ASEAGI_INSTANCE_STEP_S": "60",
            "ASEAGI_INSTANCE_DRAIN_S": "10",
        }
        made.append(Machine(folder, landlord, **{**given, **environment}))
        made[-1].start()
        return made[-1]

    yield rent
    for one in made:
        one.stop()


def words(machine: Machine, plane: ControlPlane) -> Callable[[], str]:
    def said() -> str:
        logs = sorted((machine.folder / "worker" / "logs").glob("*.log"))
        return "\n".join([machine.said, str(plane.reports), *(path.read_text()[-3000:] for path in logs)])

    return said


def test_machine_joins_works_and_leaves_with_the_tunnel(
    rented: Callable[..., Machine], plane: ControlPlane, landlord: Landlord, tmp_path: Path
) -> None:
    plane.answers = [503]  # the control plane is restarting
    plane.beats()
    one = rented(
        ASEAGI_INSTANCE_SILENT_S="3",
        ASEAGI_CANARY_COMMAND="""echo reading; echo '{"seconds_per_page": 0.25}'""",
        ASEAGI_OCR_ENGINE="trocr",
        ASEAGI_TROCR_MODEL=str(ROOT / "models" / "lines"),
    )
    said = words(one, plane)
    until(lambda: "joined" in plane.states(), said)
    (joined,) = plane.reports
    assert joined["seconds_per_page"] == 0.25
    assert list(joined["seconds"]) == ["enroll", "tunnel", "canary", "workers"]
    assert joined["bearer"] == f"Bearer {control_plane.GATEWAY_TOKEN}"
    found = health(one.folder, time.time())
    assert set(found) == {"tunnel and broker", "gpu", "analysis", "lines", "reading"}
    assert set(found.values()) == {"ok"}

    # a document goes through the tunnel
    path = filing(tmp_path / "order.pdf")
    environment = {**one.environment, "ASEAGI_BROKER_URL": f"redis://127.0.0.1:{plane.redis_port}/0"}
    del environment["ASEAGI_INSTANCE_FOLDER"]
    command = subprocess.Popen(
        [str(Path(sys.executable).with_name("aseagi")), "process", str(path), "--json"],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, err = command.communicate()
    assert command.returncode == 0, err + said()
    assert '"completed"' in out

    # nothing secret where other processes of this machine can read it, nor in a log
    shown = said() + one.said
    for pid in one.pids(""):
        shown += Path(f"/proc/{pid}/cmdline").read_bytes().decode()
    for secret in (*SECRETS, "a-key-for-one-instance"):
        assert secret not in shown.replace(str(plane.reports), "")
    for child in one.pids("-P threads -c 4", "-P prefork -c 1"):
        passed_on = Path(f"/proc/{child}/environ").read_bytes().decode()
        assert not any(secret in passed_on for secret in (*SECRETS, "a-key-for-one-instance"))

    # the tunnel is gone: the control plane's word does not come through, and the machine ends itself
    plane.cut_tunnel()
    until(lambda: landlord.asked, said)
    assert "silent" in one.leaving
    until(lambda: "left" in plane.states(), said)
    until(lambda: one.pids(WORKER, "-P threads -c 4") == [], said)
    assert health(one.folder, time.time())["machine"].startswith("leaves: the control plane has been silent")


@pytest.mark.parametrize(
    ("step", "environment", "detail"),
    [
        ("enroll", {"ASEAGI_BOOTSTRAP_TOKEN": "of another launch"}, "used up"),
        ("enroll", {"ASEAGI_CONTROL_URL": "silent", "ASEAGI_INSTANCE_STEP_S": "1"}, "longer than 1 s"),
        ("canary", {"ASEAGI_CANARY_COMMAND": "echo too slow; exit 3"}, "ended with 3"),
        ("canary", {"ASEAGI_CANARY_COMMAND": "echo nothing"}, "did not print"),
        # its time is over: said to it here, so that a slow machine's other steps have theirs
        ("canary", {"ASEAGI_CANARY_COMMAND": "kill -ALRM $PPID; sleep 60"}, "longer than 60 s"),
    ],
)
def test_step_that_fails_is_reported_and_ends_the_machine(
    step: str,
    environment: dict[str, str],
    detail: str,
    rented: Callable[..., Machine],
    plane: ControlPlane,
    landlord: Landlord,
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))  # it is called, and never answers
    if environment.get("ASEAGI_CONTROL_URL") == "silent":
        environment = {**environment, "ASEAGI_CONTROL_URL": f"http://127.0.0.1:{silent.getsockname()[1]}"}
    one = rented(**environment)
    said = words(one, plane)
    until(lambda: f"Step {step} failed" in one.said, said)
    silent.close()
    until(lambda: landlord.asked, said)
    assert f"Step {step} failed" in one.leaving
    assert detail in one.leaving
    if environment.get("ASEAGI_CONTROL_URL") is None:
        assert plane.states() == ["failed", "left"]
        failed = plane.reports[0]
        assert failed["step"] == step
        assert detail in failed["detail"]
        if step == "canary" and "slow" in environment["ASEAGI_CANARY_COMMAND"]:
            assert "too slow" in failed["log"]


def test_machine_with_a_wrong_setting_ends_at_once(rented: Callable[..., Machine], landlord: Landlord) -> None:
    one = rented(ASEAGI_DPI="9")
    until(lambda: landlord.asked, lambda: one.said)
    assert "ASEAGI_DPI" in one.leaving


def test_tunnel_that_does_not_open_is_reported_with_the_end_of_its_log(
    rented: Callable[..., Machine], plane: ControlPlane, landlord: Landlord
) -> None:
    plane.cut_tunnel()
    one = rented()
    log = one.folder / "worker" / "logs" / "tunnel.log"
    until(lambda: log.exists() and "onnection refused" in log.read_text(), words(one, plane))
    os.kill(one.pids(WORKER)[0], signal.SIGALRM)  # the step's time is over
    until(lambda: landlord.asked, words(one, plane))
    failed = plane.reports[0]
    assert (failed["state"], failed["step"]) == ("failed", "tunnel")
    assert "onnection refused" in failed["log"]
    assert not any(secret in json.dumps({**failed, "bearer": ""}) for secret in SECRETS)


def test_restarted_container_joins_without_a_second_token_and_sigterm_lets_work_finish(
    rented: Callable[..., Machine], plane: ControlPlane, landlord: Landlord, tmp_path: Path
) -> None:
    one = rented(ASEAGI_FLEET_QUEUES="cpu")  # one worker process, which is enough to see it
    said = words(one, plane)
    until(lambda: "joined" in plane.states(), said)
    one.stop()
    one.start()
    until(lambda: plane.states().count("joined") == 2, said)
    assert len(plane.enrolled) == 1

    # a worker that dies is started again
    until(lambda: one.pids("-P prefork -c 1"), said)
    before = set(one.pids("-P prefork -c 1"))
    os.kill(min(before), signal.SIGKILL)
    until(lambda: set(one.pids("-P prefork -c 1")) - before, said)

    # so is all, if what minds it is killed, and nothing is there twice
    (parent,) = one.pids(WORKER)
    os.kill(parent, signal.SIGKILL)
    until(lambda: plane.states().count("joined") == 3, said)
    until(lambda: len(one.pids("-P prefork -c 1")) == 2, said)  # itself and its child

    (first,) = one.pids("pid1.sh")[-1:]
    os.kill(first, signal.SIGTERM)
    until(lambda: landlord.asked, said)
    assert plane.reports[-1]["state"] == "left"
    assert "SIGTERM" in one.leaving
    assert one.pids("-P prefork -c 1") == []


def test_sigterm_ends_a_machine_that_is_joining(
    rented: Callable[..., Machine], plane: ControlPlane, landlord: Landlord
) -> None:
    one = rented(ASEAGI_CANARY_COMMAND="sleep 61")
    said = words(one, plane)
    until(lambda: one.pids("sleep 61"), said)
    (first,) = one.pids("pid1.sh")[-1:]
    os.kill(first, signal.SIGTERM)
    until(lambda: landlord.asked, said)
    assert "SIGTERM" in one.leaving
    assert plane.states() == ["left"]


def test_groups_share_all_queues_out() -> None:
    for owns_model in (True, False):
        made = groups(owns_model=owns_model, cpu_workers=3, ocr_threads=8, claude_threads=4)
        queues = [queue for group in made.values() for queue in group.queues.split(",")]
        assert sorted(queues) == ["claude", "cpu", "gpu"]
    assert "-c 3" in " ".join(made["reading"].arguments("reading@%h", "INFO"))
