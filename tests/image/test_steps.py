"""The image's steps in a clean Debian root, in the Dockerfile's order, and a machine that joins from there.

Minutes, root and the package registries: `make image-check`. PyTorch is the one of this environment (its CUDA wheels
are gigabytes); the step that installs it runs on the smallest of NVIDIA's packages.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chain.conftest import free_port
from tests.image.dockerfile import ROOT, environment, stages
from tests.instance.conftest import Landlord, can_unshare, until
from tests.instance.control_plane import TOKEN, ControlPlane

pytestmark = [
    pytest.mark.image,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not can_unshare() or not shutil.which("debootstrap"), reason="needs root and debootstrap"),
]
MEGABYTE = 1_000_000
SMALL = "nvidia-cuda-runtime"
SITE = "opt/venv/lib/python3.11/site-packages"


def megabytes(*folders: Path) -> float:
    command = ["du", "-sxcb", *(f"--exclude={one}" for one in ("*/site-packages/torch*", "*/site-packages/functorch"))]
    out = subprocess.run([*command, *map(str, folders)], capture_output=True, text=True).stdout
    return int(out.splitlines()[-1].split()[0]) / MEGABYTE


class Root:
    """A folder to chroot into, with this machine's name servers, certificates and registries' settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sizes: dict[str, float] = {}
        self._mounted: list[Path] = []
        subprocess.run(["debootstrap", "--variant=minbase", "bookworm", str(folder)], check=True, capture_output=True)
        shutil.rmtree(folder / "var/cache/apt/archives")
        shutil.rmtree(folder / "var/lib/apt/lists")
        self.count("Debian")
        for name in ("proc", "dev", "sys"):
            (folder / name).mkdir(exist_ok=True)
            self.mount(Path("/", name), folder / name)
        for name in ("etc/resolv.conf", "etc/hosts"):
            if (source := Path("/", name)).exists():
                shutil.copy(source, folder / name)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", folder / "etc/this-machine.crt")
        for path in Path("/etc/apt/apt.conf.d").glob("*"):
            if "http" in (text := path.read_text()).lower() or "proxy" in text.lower():
                shutil.copy(path, folder / "etc/apt/apt.conf.d" / path.name)

    def mount(self, source: Path, target: Path) -> None:
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "--rbind", "--make-rslave", str(source), str(target)], check=True)
        self._mounted.append(target)

    def run(self, *command: str, **variables: str) -> str:
        passed_on = {name: value for name, value in os.environ.items() if "proxy" in name.lower()}
        given = {
            "PATH": environment()["PATH"],
            "HOME": "/root",
            "PIP_CERT": "/etc/this-machine.crt",
            **passed_on,
            **variables,
        }
        ran = subprocess.run(
            ["chroot", str(self.folder), *command],
            env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=1200,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-4000:]
        return ran.stdout

    def copy(self, sources: list[str], target: str) -> None:
        to = self.folder / target.lstrip("/")
        for source in sources:
            path = ROOT / source
            if path.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
                shutil.copytree(path, to, dirs_exist_ok=True, ignore=ignored)
            else:
                to.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, to / path.name)

    def count(self, what: str) -> None:
        """How much the last step added."""
        self.sizes[what] = megabytes(self.folder) - sum(self.sizes.values())

    def close(self) -> None:
        for target in reversed(self._mounted):
            subprocess.run(["umount", "--recursive", "--lazy", str(target)], check=True)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Root]:
    """A root in which every COPY and RUN of the Dockerfile was done."""
    one = Root(tmp_path_factory.mktemp("image") / "root")
    try:
        build(one)
        print("\nmegabytes that each step added (PyTorch aside):")
        for what, size in one.sizes.items():
            print(f"  {size:8.1f}  {what}")
        yield one
    finally:
        one.close()
        shutil.rmtree(one.folder)


def build(root: Root) -> None:
    machine, weights, last = stages()
    for stage in (machine, weights, last):
        for instruction, rest in stage.steps:
            if instruction == "COPY" and not rest.startswith("--from"):
                *sources, target = rest.split()
                root.copy(sources, target)
            elif instruction == "RUN":
                step(root, stage.name, rest)


def step(root: Root, stage: str, command: str) -> None:
    words = [word.strip('"').replace("${MODEL}", "/opt/aseagi/models/lines") for word in command.split()]
    name = Path(words[0]).name
    if name == "torch.sh":
        listed = (root.folder / words[1].lstrip("/")).read_text().splitlines()
        small = [line for line in listed if line.startswith(SMALL)]
        (root.folder / "opt/steps/small.txt").write_text("\n".join(small))
        root.run(words[0], "/opt/steps/small.txt")
        assert (root.folder / SITE / "nvidia").is_dir()
        root.count(f"torch.sh, of which {SMALL} only")
        return
    if name == "packages.sh" and stage == "weights":
        return  # the same list is installed in the last stage
    if name == "weights.sh":
        return  # done when packages and PyTorch are there: below
    root.run(*words)
    root.count(name)
    if name == "packages.sh":
        ours = Path(sysconfig.get_path("purelib"))
        for package in ("torch", "torchgen", "functorch"):
            if (ours / package).is_dir():
                root.mount(ours / package, root.folder / SITE / package)
        for info in ours.glob("torch-*.dist-info"):  # transformers asks for PyTorch's version
            root.mount(info, root.folder / SITE / info.name)
        root.copy(["models"], "/opt/aseagi/models")
        root.run("/opt/steps/weights.sh", "/opt/aseagi/models/lines", "/opt/weights")
        root.count("weights.sh, of models/lines")


def test_worker_is_unprivileged_and_joins_from_the_image(root: Root, tmp_path: Path) -> None:
    folder = tmp_path / "droplet"
    folder.mkdir()
    plane, landlord = ControlPlane(folder), Landlord()
    variables = {
        **environment(),
        "CONTAINER_ID": "4242",
        "CONTAINER_API_KEY": "a-key-for-one-instance",
        "ASEAGI_VAST_URL": landlord.url,
        "ASEAGI_CONTROL_URL": plane.url,
        "ASEAGI_BOOTSTRAP_TOKEN": TOKEN,
        "ASEAGI_TUNNEL_PORT": str(free_port()),
        "ASEAGI_CPU_WORKERS": "1",
        "ASEAGI_OCR_ENGINE": "trocr",
        "ASEAGI_INSTANCE_DRAIN_S": "10",
    }
    (entry,) = [rest for instruction, rest in stages()[-1].steps if instruction == "ENTRYPOINT"]
    (check,) = [rest for instruction, rest in stages()[-1].steps if instruction == "HEALTHCHECK"]
    log = tmp_path / "said.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["unshare", "--pid", "--fork", "--kill-child", "chroot", str(root.folder), entry.strip('[]" ')],
            env=variables, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        plane.beat()
        until(lambda: plane.reports, lambda: log.read_text())
        assert plane.states() == ["joined"], plane.reports
        healthy = root.run(*check.partition("CMD ")[2].replace('"', "").strip("[]").split(", "), **variables)
        assert '"lines": "ok"' in healthy

        users = {}
        for found in Path("/proc").glob("[0-9]*"):
            try:
                command = (found / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                ours = (found / "root").resolve() == root.folder.resolve()
                uid = found.stat().st_uid
                secret = b"a-key-for-one-instance" in (found / "environ").read_bytes()
            except OSError:
                continue
            if ours and ("aseagi" in command or "stunnel" in command):
                users[command] = (uid, secret)
        workers = {command: got for command, got in users.items() if "worker " in command or "stunnel" in command}
        assert len(workers) >= 4
        assert all(uid >= 100 and not secret for uid, secret in workers.values()), users
        assert any("watchdog" in command and got == (0, True) for command, got in users.items())
    finally:
        process.kill()
        process.wait()
        plane.close()
        landlord.close()


def test_release_changes_megabytes_only(root: Root) -> None:
    changed = megabytes(root.folder / "opt/aseagi")
    print(f"\n  {changed:8.1f}  a release at most (code, its .pyc files, models/lines)")
    assert changed < 200
    assert root.sizes["system.sh"] + root.sizes["packages.sh"] < 1_200


def test_nothing_of_the_build_stays(root: Root) -> None:
    for rest in ("var/lib/apt/lists", "tmp/hub", "root/.cache", "usr/share/doc"):
        path = root.folder / rest
        assert not path.exists() or not list(path.iterdir()), rest
