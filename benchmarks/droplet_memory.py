"""What the Droplet's programs take of its memory: at rest, and with 100 documents queued.

    python benchmarks/droplet_memory.py [--documents 100] [--settle 20]

Starts `aseagi up --profile droplet` in a home of its own on loopback ports. For each program with its children:
resident memory (RSS), and its share of it where pages are shared (PSS), in MiB. 2 GB is what there is; 600 is the goal.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
MIB = 2**20


def parents() -> dict[int, int]:
    """Process → parent."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    return found


def memory(pid: int) -> tuple[float, float]:
    """RSS and PSS of a process and its children, MiB."""
    family, known = {pid}, parents()
    while more := {child for child, parent in known.items() if parent in family} - family:
        family |= more
    rss = pss = 0.0
    for one in family:
        try:
            rows = dict(line.split(":", 1) for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()[1:])
        except OSError:
            continue
        rss += int(rows["Rss"].split()[0]) * 1024 / MIB
        pss += int(rows["Pss"].split()[0]) * 1024 / MIB
    return rss, pss


@contextmanager
def running(home: Path) -> Iterator[object]:
    """The stack of the profile, without what people type."""
    from tests.chain.conftest import free_port

    os.environ.update({"ASEAGI_HOME": str(home), "ASEAGI_PROFILE": "droplet", "ASEAGI_LISTEN_ADDRESS": "127.0.0.1"})
    os.environ["ASEAGI_MONITOR_OPERATORS"] = "avery:a long password for benchmarks"
    for name in ("HTTP", "HTTPS", "TUNNEL_PUBLIC", "REDIS", "GATEWAY", "MONITOR"):
        os.environ[f"ASEAGI_{name}_PORT"] = str(free_port())
    from aseagi_tasks.doors.stack import Stack
    from aseagi_tasks.settings import settings

    settings.cache_clear()
    stack = Stack(settings())
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


def table(stack: object) -> dict[str, tuple[float, float]]:
    from aseagi_tasks.doors.stack import Stack

    assert isinstance(stack, Stack)
    found = {child.name: memory(child.pid) for child in stack.children() if child.pid}
    assert stack.pid is not None
    whole = memory(stack.pid)
    own = tuple(whole[n] - sum(one[n] for one in found.values()) for n in (0, 1))
    return {**found, "supervisor": (own[0], own[1]), "in all": whole}


def queue(count: int) -> None:
    """Documents as `process` takes them in: rows in the records, messages in the queue."""
    from aseagi_tasks import services
    from aseagi_tasks.tasks import process

    for _ in range(count):
        job_id = str(uuid.uuid4())
        key = f"raw/2026/11/25/{job_id}.pdf"
        services.records().register_job(job_id, key, "normal", "bench")
        process.apply_async(args=[key], task_id=job_id)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--settle", type=float, default=20, help="seconds before each look")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aseagi-memory-") as folder, running(Path(folder)) as stack:
        time.sleep(arguments.settle)
        rest = table(stack)
        queue(arguments.documents)
        time.sleep(arguments.settle)
        loaded = table(stack)
    print(f"{'MiB':12} {'at rest':>17} {f'{arguments.documents} queued':>17}")
    print(f"{'':12} {'RSS':>8} {'PSS':>8} {'RSS':>8} {'PSS':>8}")
    for name, (rss, pss) in rest.items():
        print(f"{name:12} {rss:8.1f} {pss:8.1f} {loaded[name][0]:8.1f} {loaded[name][1]:8.1f}")


if __name__ == "__main__":
    main()
