"""The whole chain beside OCRmyPDF, on the same files, on this machine.

    python benchmarks/pipeline.py [FOLDER] [--rounds 3]

Ours: redis, workers with two processes, the six stages, all files handed in at once. Beside it, turn by turn:
``ocrmypdf --skip-text --jobs 2`` on each file (installed for this into .venv-bench). Files are parted by what our
records say of their pages: born digital, or images. Prints documents and pages per minute, the ratio, and where the
chain's time goes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parent / "shared" / "corpus" / "court"
OCRMYPDF = "ocrmypdf==17.13.0"
SUFFIXES = {".pdf", ".png", ".jpg", ".tif"}


class Kind(NamedTuple):
    """Files whose pages are all alike."""

    name: str
    files: list[Path]
    pages: int
    goal: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=CORPUS, help="documents; default: the corpus")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        sys.exit(f"no documents at {arguments.folder}; name a folder that has some")
    ocrmypdf = install()
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as home:
        os.environ |= {"ASEAGI_HOME": home, "ASEAGI_CPU_WORKERS": "2", "ASEAGI_LOG_LEVEL": "WARNING"}
        from aseagi_tasks.doors.stack import Stack
        from aseagi_tasks.settings import settings

        stack = Stack(settings(), monitor=False)
        stack.start()
        try:
            compare(arguments.folder, arguments.rounds, ocrmypdf)
        finally:
            stack.stop()


def install() -> Path:
    """OCRmyPDF in an environment of its own."""
    program = ROOT / ".venv-bench" / "bin" / "ocrmypdf"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", ROOT / ".venv-bench"], check=True)
        subprocess.run([program.with_name("pip"), "install", "-q", OCRMYPDF], check=True)
    return program


def compare(folder: Path, rounds: int, ocrmypdf: Path) -> None:
    files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    kinds = part(files)
    seconds: dict[str, list[tuple[float, float]]] = {kind.name: [] for kind in kinds}
    shares: Counter[str] = Counter()
    for _ in range(rounds):
        for kind in kinds:
            mine, stages = ours(kind.files)
            shares.update(stages)
            seconds[kind.name].append((mine, theirs(kind.files, ocrmypdf)))
    for kind in kinds:
        a, b = (statistics.median(column) for column in zip(*seconds[kind.name], strict=True))
        ratios = [y / x for x, y in seconds[kind.name]]
        count = len(kind.files)
        print(f"{kind.name}: {count} documents, {kind.pages} pages, {rounds} rounds")
        print(f"  ours      {60 * count / a:7.1f} documents/min {60 * kind.pages / a:8.1f} pages/min")
        print(f"  ocrmypdf  {60 * count / b:7.1f} documents/min {60 * kind.pages / b:8.1f} pages/min")
        print(
            f"  ratio     {statistics.median(ratios):7.2f}  ({min(ratios):.2f}-{max(ratios):.2f}; goal >= {kind.goal})"
        )
    total = sum(shares.values())
    print("where the chain's time goes: " + ", ".join(f"{name} {share / total:.0%}" for name, share in shares.items()))


def part(files: list[Path]) -> list[Kind]:
    """Process everything once (which also warms both sides' files) and sort the files by their pages."""
    from aseagi_tasks import services

    parted: dict[bool, list[tuple[Path, int]]] = {True: [], False: []}
    for path, result in zip(files, finish(files), strict=True):
        sources = set(result["text_sources"]) - {"blank"}
        if len(sources) == 1:  # a file of both kinds would blur both figures
            parted["text-layer" in sources].append((path, result["pages"]))
    assert services.records().counts()["error"] == 0
    names = {True: ("born digital", 5.0), False: ("images", 1.5)}
    return [
        Kind(names[digital][0], [path for path, _ in found], sum(pages for _, pages in found), names[digital][1])
        for digital, found in parted.items()
        if found
    ]


def ours(files: list[Path]) -> tuple[float, Counter[str]]:
    """Seconds until the last is published, and seconds by stage."""
    from aseagi_tasks import services

    began = time.perf_counter()
    results = finish(files)
    seconds = time.perf_counter() - began
    stages: Counter[str] = Counter()
    for result in results:
        for event in services.records().events(result["job_id"]):
            if event.kind == "finished" and event.stage:
                stages[event.stage] += event.seconds or 0
    return seconds, stages


def finish(files: list[Path]) -> list[dict]:  # type: ignore[type-arg]
    from aseagi_tasks.celery import app
    from aseagi_tasks.tasks import submit

    ids = [str(uuid.uuid4()) for _ in files]
    for path, job_id in zip(files, ids, strict=True):
        submit(path, priority="normal", requested_by="bench", job_id=job_id, again=True)
    return [app.AsyncResult(job_id).get(timeout=900) for job_id in ids]


def theirs(files: list[Path], ocrmypdf: Path) -> float:
    """Seconds for OCRmyPDF on each file in turn, two jobs each."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for path in files:
            source = path
            command = [ocrmypdf, "--skip-text", "--jobs", "2", "--quiet"]
            if path.suffix != ".pdf":
                command += ["--image-dpi", "300"]
                source = Path(folder) / f"opaque{path.suffix}"
                if not opaque(path, source):
                    shutil.copy(path, source)
            done = subprocess.run([*command, source, Path(folder) / "out.pdf"], capture_output=True, text=True)
            if done.returncode:
                print(f"  ocrmypdf left {path.name} with {done.returncode}: {done.stderr.strip().splitlines()[-1]}")
    return time.perf_counter() - began


def opaque(path: Path, target: Path) -> bool:
    """OCRmyPDF refuses images with transparency: give it a flat copy."""
    from PIL import Image

    with Image.open(path) as image:
        if image.mode not in ("RGBA", "LA"):
            return False
        image.convert("RGB").save(target)
    return True


if __name__ == "__main__":
    main()
