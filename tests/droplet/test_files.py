"""The Droplet's deployment files: what they name exists, and installing twice is installing once."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from aseagi_tasks.doors import droplet
from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.fleet.tunnel import SYSCTLS
from aseagi_tasks.settings import PREFIX, SECRETS, Settings, load
from tests.image.test_files import program

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "droplet" / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
HOME = "/var/lib/aseagi"
#: Service of compose → program of the stack without Docker.
SAME = {name: name for name in ("redis", "tunnel", "control", "beat", "monitor", "gateway")}


def test_compose_has_all_that_the_droplet_runs() -> None:
    wanted = {"redis", "tunnel", "control", "beat", "monitor", "bot", "gateway", "nginx", "certbot", "configure"}
    assert set(SERVICES) == wanted
    for name, service in SERVICES.items():
        assert service["network_mode"] == "host", name
        assert "ports" not in service, name
        assert service["restart"] == ("no" if name == "configure" else "unless-stopped")
        assert service.get("mem_limit") or name == "configure", name
        assert service["logging"]["options"]["max-size"] == "10m", name


def test_compose_runs_what_the_stack_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = Settings(home=tmp_path, profile="droplet", monitor_operators="avery:a long password for tests")
    stack = Stack(conf)
    stack.run.mkdir()
    programs = {name: command for name, (_order, command) in stack._programs().items()}
    for service, name in SAME.items():
        ours = programs[name].replace("%%", "%").replace(str(tmp_path), HOME).replace(str(ROOT), "/opt/aseagi")
        words = shlex.split(ours)
        words = (
            words[2:] if words[1:3] == ["-m", "celery"] else [re.sub(r"[\d.]+$", "", Path(words[0]).name), *words[1:]]
        )
        assert shlex.split(SERVICES[service]["command"]) == words, service


def test_modules_that_compose_runs_exist() -> None:
    for name, service in SERVICES.items():
        command = service.get("command", "")
        for module in re.findall(r"python -m ([\w.]+)", command):
            if name == "bot" and not find_spec(module):
                pytest.skip(f"{module} is not part of this version")
            assert find_spec(module), module


def test_limits_leave_room_in_two_gigabytes() -> None:
    at_rest = [name for name, service in SERVICES.items() if name not in ("bot", "configure")]
    assert {name for name in at_rest if not SERVICES[name].get("mem_limit")} == set()


@pytest.mark.parametrize("path", sorted((ROOT / "droplet").glob("*Dockerfile")), ids=lambda path: path.name)
def test_dockerfile_passes_its_linter_and_copies_what_is_there(path: Path) -> None:
    ran = subprocess.run([program("hadolint"), str(path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    for sources in re.findall(r"^COPY (.+) \S+$", path.read_text(), re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())


def test_settings_of_the_droplet_are_settings_and_secrets_are_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = (ROOT / "droplet" / "etc" / "aseagi.env").read_text()
    given = dict(re.findall(r"^(ASEAGI_\w+)=(.*)$", text, re.MULTILINE))
    assert not {f"{PREFIX}{name.upper()}" for name in SECRETS} & set(given)
    for name in ("ASEAGI_PUBLIC_NAME", "ASEAGI_S3_ACCESS_KEY_ID", "ASEAGI_SUPABASE_URL"):
        given[name] = "https://example.com" if name.endswith("URL") else "example.com"
    for name, value in given.items():
        if name.endswith("_FILE"):
            (tmp_path / Path(value).name).write_text("avery:a long password for tests")
            value = str(tmp_path / Path(value).name)
        monkeypatch.setenv(name, value)
    conf = load(Path("/nonexistent"))
    assert conf.profile == "droplet"
    assert str(conf.home) == HOME


def test_kernel_is_told_what_the_tunnel_wants() -> None:
    text = (ROOT / "droplet" / "etc" / "60-aseagi.conf").read_text()
    assert dict(re.findall(r"^([\w.]+) = (\S+)$", text, re.MULTILINE)) == SYSCTLS


def test_unit_starts_what_was_installed() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "droplet" / "aseagi.service")
    assert unit["Service"]["WorkingDirectory"] == "/opt/aseagi/droplet"
    assert "compose up" in unit["Service"]["ExecStart"]
    assert unit["Install"]["WantedBy"] == "multi-user.target"
    json.loads((ROOT / "droplet" / "etc" / "daemon.json").read_text())


def test_nginx_takes_its_configuration(tmp_path: Path) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    conf = Settings(home=tmp_path, profile="droplet", monitor_operators="avery:a long password for tests")
    droplet.prepare(conf)
    path = tmp_path / "run" / "nginx.conf"
    assert "${" not in re.sub(r"^\s*#.*$", "", path.read_text(), flags=re.MULTILINE)
    ran = subprocess.run(["nginx", "-t", "-c", str(path)], capture_output=True, text=True)
    assert "syntax is ok" in ran.stderr, ran.stderr
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    droplet.prepare(conf)
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


#: Stands for Ubuntu's programs: says what was asked of it, and remembers.
PROGRAM = """#!/bin/sh
echo "$(basename "$0") $*" >> "$STATE/asked"
case "$(basename "$0") $*" in
    "dpkg-query "*) grep -qx "$4" "$STATE/packages" 2>/dev/null && printf 'install ok installed' ;;
    "apt-get install "*) for word; do echo "$word" >> "$STATE/packages"; done ;;
    "ufw status") cat "$STATE/ufw" 2>/dev/null ;;
    "ufw allow "*) echo "$2                   ALLOW       Anywhere" >> "$STATE/ufw" ;;
    "ufw --force enable") echo 'Status: active' >> "$STATE/ufw" ;;
    "fallocate "*) touch "$3" ;;
esac
exit 0
"""


class Host:
    """A root in which `install` runs, with stand-ins for what Ubuntu brings."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = folder, folder / "state"
        for name in ("bin", "state", "etc/apt/apt.conf.d", "etc/systemd/system", "opt/aseagi.new"):
            (folder / name).mkdir(parents=True)
        for name in ("dpkg-query", "apt-get", "ufw", "systemctl", "docker", "fallocate", "mkswap", "swapon", "sysctl"):
            (folder / "bin" / name).write_text(PROGRAM)
            (folder / "bin" / name).chmod(0o755)
        (folder / "etc/fstab").touch()
        shutil.copytree(ROOT / "droplet", folder / "opt/aseagi.new/droplet")
        script = folder / "opt/aseagi.new/droplet/install"
        # the same script, on this folder in place of /
        text = re.sub(r"(?<![\w.])/(etc|var|opt|swapfile)\b", rf"{folder}/\1", script.read_text())
        script.write_text(text)
        env = folder / "opt/aseagi.new/droplet/etc/aseagi.env"
        env.write_text(env.read_text().replace("=/etc", f"={folder}/etc").replace("=/var", f"={folder}/var"))

    def install(self) -> str:
        where = "opt/aseagi.new" if (self.folder / "opt/aseagi.new").exists() else "opt/aseagi"
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        ran = subprocess.run(
            ["sh", str(self.folder / where / "droplet/install")],
            env={"PATH": path, "STATE": str(self.state)}, capture_output=True, text=True,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def asked(self) -> list[str]:
        lines = (self.state / "asked").read_text().splitlines()
        (self.state / "asked").unlink()
        return lines


def test_installing_twice_is_installing_once(tmp_path: Path) -> None:
    host = Host(tmp_path)
    said = host.install()
    asked = host.asked()
    assert "Before it starts" in said
    assert [line for line in asked if line.startswith("ufw allow")] == [
        "ufw allow OpenSSH", "ufw allow 80/tcp", "ufw allow 443/tcp", "ufw allow 6380/tcp"
    ]  # fmt: skip
    assert asked.index("ufw allow OpenSSH") < asked.index("ufw --force enable")
    assert any(line.startswith("apt-get install") and "docker-compose-v2" in line for line in asked)
    assert not any("aseagi.service" in line and "restart" in line for line in asked)
    etc = tmp_path / "etc/aseagi"
    people = (etc / "secrets/monitor_operators").read_text()
    assert re.fullmatch(r"operator:[0-9a-f]{36}\n", people)
    assert people.split(":")[1].strip() not in said
    assert oct((etc / "secrets/monitor_operators").stat().st_mode)[-3:] == "600"

    # a person fills in what is asked for
    env = etc / "aseagi.env"
    env.write_text(env.read_text().replace("ASEAGI_PUBLIC_NAME=", "ASEAGI_PUBLIC_NAME=aseagi.example.com"))
    for file in re.findall(r"_FILE=(\S+)", env.read_text()):
        if not Path(file).exists():
            Path(file).write_text("hunter2\n")
    host.install()
    asked = host.asked()
    assert "systemctl restart aseagi.service" in asked
    assert not any(line.startswith(("apt-get", "ufw allow", "ufw --force", "mkswap")) for line in asked)

    files = {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()}
    host.install()
    again = host.asked()
    assert not any(line.startswith(("apt-get", "ufw allow", "mkswap", "systemctl daemon-reload")) for line in again)
    assert files == {path: path.read_bytes() for path in etc.rglob("*") if path.is_file()}
    assert (tmp_path / "etc/fstab").read_text().count("swap") == 2  # one line with the word twice
