"""How large the worker image is, part by part, without building it.

    python benchmarks/image_size.py [--weights-millions 334]

PyTorch and CUDA: the file lists at the end of the wheels in worker_image/torch.txt, which a few ranged requests read
(no wheel is downloaded), less what worker_image/steps/torch.sh deletes. The checkpoint: its parameters, two bytes each.
The other steps: as measured by `make image-check` (MEASURED below). Megabytes of 10^6 bytes, unpacked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
#: `make image-check`, Debian 12: the clean root, system.sh, packages.sh, code.sh.
MEASURED = {"Debian": 120.1, "system.sh": 199.0, "packages.sh": 448.5, "code.sh": 45.9}
#: What torch.sh deletes; a test holds these to the script.
DELETED = ("torch/include/", "torch/bin/", "torch/share/", "libnvrtc.alt.so", "libtorch_cuda_linalg.so", ".a")


def wheels(listed: Path) -> list[tuple[str, str]]:
    """Name and address of each wheel, as pip finds them for this machine."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps", "-q"]
        command += ["--no-cache-dir", "--only-binary", ":all:", "--report", str(report), "-r", str(listed)]
        environment = {**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": "", "PIP_CONSTRAINT": ""}
        subprocess.run(command, check=True, env=environment)
        found = json.loads(report.read_text())["install"]
    return [(f"{one['metadata']['name']} {one['metadata']['version']}", one["download_info"]["url"]) for one in found]


def size(url: str) -> tuple[float, float, float]:
    """Megabytes packed, unpacked, and of the latter what is deleted."""
    from pip._internal.network.lazy_wheel import LazyZipOverHTTP
    from pip._internal.network.session import PipSession

    session = PipSession()
    session.verify = os.environ.get("PIP_CERT", session.verify)
    with LazyZipOverHTTP(url, session) as remote:
        files = ZipFile(remote).infolist()  # type: ignore[arg-type]
    gone = sum(file.file_size for file in files if is_deleted(file.filename))
    return sum(f.compress_size for f in files) / 1e6, sum(f.file_size for f in files) / 1e6, gone / 1e6


def is_deleted(name: str) -> bool:
    return any(name.startswith(rule) if rule.endswith("/") else rule in Path(name).name for rule in DELETED[:-1]) or (
        name.endswith(DELETED[-1])
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights-millions", type=float, default=334, help="parameters of the checkpoint baked in")
    arguments = parser.parse_args()
    packed = kept = 0.0
    for name, url in sorted(wheels(ROOT / "worker_image" / "torch.txt")):
        zipped, unpacked, gone = size(url)
        packed, kept = packed + zipped, kept + unpacked - gone
        print(f"  {unpacked - gone:8.1f}  {name}" + (f"  ({gone:.1f} deleted)" if gone > 0.05 else ""))
    parts = {**MEASURED, "PyTorch and CUDA": kept, "weights": 2 * arguments.weights_millions}
    print()
    for name, megabytes in parts.items():
        how = "measured" if name in MEASURED else "computed"
        print(f"  {megabytes:8.1f}  {name} ({how})")
    print(f"  {sum(parts.values()):8.1f}  in all; PyTorch and CUDA are {packed:.0f} packed")


if __name__ == "__main__":
    main()
