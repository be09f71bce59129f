"""The image's Dockerfile and scripts, as far as they can be judged without running them."""

from __future__ import annotations

import ast
import fnmatch
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.image.dockerfile import ROOT, environment, stages

IMAGE = ROOT / "worker_image"
SCRIPTS = sorted(
    path
    for folder in (ROOT / "worker_image", ROOT / "droplet", ROOT / ".ci", ROOT)
    for path in (folder.rglob("*") if folder != ROOT else folder.glob("*.sh"))
    if path.is_file() and path.read_bytes()[:64].splitlines()[:1] in ([b"#!/bin/sh"], [b"#!/usr/bin/env bash"])
)


def program(name: str) -> str:
    """Of the development tools, which pip brings."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or name


def pins(path: Path) -> dict[str, str]:
    return {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in re.findall(r"^([\w.-]+)==(\S+)$", path.read_text(), re.MULTILINE)
    }


def test_dockerfile_passes_its_linter() -> None:
    ran = subprocess.run([program("hadolint"), str(IMAGE / "Dockerfile")], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_script_passes_its_linter_and_can_be_run(script: Path) -> None:
    ran = subprocess.run([program("shellcheck"), "--severity=warning", str(script)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout
    assert os.access(script, os.X_OK)


def test_what_the_image_copies_is_there_and_sent_to_the_builder() -> None:
    ignore = (ROOT / ".dockerignore").read_text().split()
    kept = [line[1:] for line in ignore if line.startswith("!")]
    assert ignore[0] == "*"
    for stage in stages():
        for copy in stage.copies:
            for source in copy.sources:
                if copy.stage:
                    assert copy.stage in {one.name for one in stages()}
                    continue
                assert (ROOT / source).exists(), source
                assert any(fnmatch.fnmatch(source, f"{top}*") for top in kept), f"{source} is in .dockerignore"


def test_every_script_that_the_image_runs_was_copied_before() -> None:
    for stage in stages():
        there = {source: copy.target for copy in stage.copies for source in copy.sources}
        names = {f"{target.rstrip('/')}/{Path(source).name}" for source, target in there.items()}
        names |= {
            f"/opt/steps/{Path(source).name}" for one in stages() for copy in one.copies for source in copy.sources
        }
        for instruction, rest in stage.steps:
            if instruction in ("RUN", "ENTRYPOINT"):
                assert re.findall(r"/opt/[\w/.]+\.sh", rest)[0] in names


def test_a_change_of_code_changes_the_last_layers_only() -> None:
    steps = [rest for instruction, rest in stages()[-1].steps if instruction in ("COPY", "RUN")]
    code = next(place for place, rest in enumerate(steps) if "aseagi_tasks" in rest)
    small = ("models", "celeryconfig.py", "aseagi_tasks", "pid1.sh", "code.sh")
    assert all(any(name in rest for name in small) for rest in steps[code - 2 :])
    assert not any("aseagi_tasks" in rest or "constraints" in rest for rest in steps[: code - 2])


def test_pins_are_those_that_were_tested() -> None:
    tested = pins(ROOT / "constraints.txt")
    assert pins(IMAGE / "packages.txt").items() <= tested.items()
    assert pins(IMAGE / "torch.txt")["torch"] == tested["torch"]


def test_image_has_every_package_that_a_worker_imports() -> None:
    """All modules below `doors`, less what only makes samples or runs on the control plane."""
    stores = {
        "backup.py",
        "bucket.py",
        "drill.py",
        "migrations.py",
        "transfer.py",
        "s3.py",
        "supabase.py",
        "supabase_api.py",
        "tokens.py",
    }
    wanted: dict[str, str] = {}
    for path in (ROOT / "aseagi_tasks").rglob("*.py"):
        inside = path.relative_to(ROOT / "aseagi_tasks")
        if inside.parts[0] in ("doors", "samples", "reports", "tending") or inside.name in stores:
            continue
        if inside.name.startswith("supabase") or inside.name == "heic.py":  # the gateway takes pictures in
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                wanted |= {alias.name.split(".")[0]: str(inside) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                wanted[node.module.split(".")[0]] = str(inside)
    there = pins(IMAGE / "packages.txt").keys() | pins(IMAGE / "torch.txt").keys()
    distributions = packages_distributions()
    missing = {
        name: where
        for name, where in wanted.items()
        if name not in sys.stdlib_module_names | {"aseagi_tasks", "celeryconfig", "beat_schedule"}
        and not {re.sub(r"[-_.]+", "-", one).lower() for one in distributions.get(name, [name])} & there
    }
    assert missing == {}


def test_environment_names_settings_that_exist() -> None:
    from aseagi_tasks.settings import PREFIX, Settings

    given = environment()
    for name in given:
        assert not name.startswith(PREFIX) or name.removeprefix(PREFIX).lower() in Settings.model_fields
    assert given["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility"


def test_checkpoint_in_half_the_bytes_reads_the_same(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    from aseagi_tasks.reading.line_model import LineModel

    script, model = IMAGE / "steps" / "weights.py", ROOT / "models" / "lines"
    subprocess.run([sys.executable, str(script), str(model), str(tmp_path)], check=True, capture_output=True)
    assert not list(tmp_path.glob("*.bin"))
    line = Image.new("L", (900, 48), 255)
    font = ImageFont.truetype("LiberationSerif-Regular.ttf", 34)
    ImageDraw.Draw(line).text((8, 4), "The motion to compel is granted.", fill=0, font=font)
    texts = []
    for folder in (model, tmp_path):
        lines = LineModel(str(folder))
        texts.append(" ".join(read.text for read in lines.read(lines.cut(np.asarray(line)))))
    assert texts[0] == texts[1]
    assert "motion" in texts[0]


def test_size_is_computed_without_what_is_deleted() -> None:
    from benchmarks.image_size import DELETED, is_deleted

    script = (IMAGE / "steps" / "torch.sh").read_text()
    for rule in DELETED:
        assert rule.rstrip("/").replace("torch/", "$site/torch/", 1) in script or rule in script, rule
    assert is_deleted("torch/include/ATen/ATen.h")
    assert is_deleted("nvidia/cu13/lib/libnvrtc.alt.so.13")
    assert not is_deleted("torch/lib/libtorch_cuda.so")
