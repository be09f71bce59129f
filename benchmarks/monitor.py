"""The monitor's pages over many documents in PostgreSQL, and its memory after many task events.

    python benchmarks/monitor.py [--documents 1000000] [--events 100000]   # --documents 0: the memory only

A real stack with its records in PostgreSQL (through a server that speaks PostgREST) processes two samples; then each
page is asked for in turn over HTTP. Prints p50 and p95 per page; goal: p95 of 200 ms. Loading takes most of the time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
import urllib.request
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from aseagi_tasks.samples import make_samples
from benchmarks.search import fill_postgres, queries
from tests.chain.conftest import Up
from tests.servers.cloud import SECRET, Cloud
from tests.servers.postgres import Postgres
from tests.servers.postgrest import PostgrestServer

ROUNDS = 25
#: Pages that the list is turned before it is measured far down.
TURNED = 40


def memory_mb(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def ask(base: str, path: str) -> float:
    """Milliseconds until a page is here."""
    began = time.perf_counter()
    with urllib.request.urlopen(base + path, timeout=60) as answer:
        answer.read()
    return 1_000 * (time.perf_counter() - began)


def pages(base: str, count: int) -> dict[str, str]:
    """Names and addresses of what is measured."""
    hits = json.loads(urllib.request.urlopen(f"{base}/api/v1/documents").read())["hits"]
    real = next(hit["document"]["document_id"] for hit in hits if hit["document"]["name"] == "01-motion.pdf")
    after = None
    for _ in range(TURNED):
        more = f"&after={after}" if after else ""
        after = json.loads(urllib.request.urlopen(f"{base}/api/v1/documents?limit=200{more}").read())["after"]
    asked = queries(count)
    return {
        "documents": "/documents",
        f"documents, {TURNED * 200:,} further down": f"/documents?after={after}",
        "filter: case number": f"/documents?case_number={quote(asked['case number'])}",
        "filter: type and date": "/documents?document_type=order&dated_since=2024-01-01",
        **{f"search: {name}": f"/documents?q={quote(query)}" for name, query in asked.items()},
        "document": f"/documents/{real}",
        "document, page 2": f"/documents/{real}?page=2",
        "picture of a page": f"/documents/{real}/pages/1.jpg",
        "jobs": "/jobs",
        "costs": "/costs",
    }


def send_events(count: int, first: int) -> None:
    """Events as workers send them: received, started, succeeded."""
    from aseagi_tasks.celery import app

    with app.connection() as connection, app.events.Dispatcher(connection, hostname="bench@here") as dispatcher:
        for number in range(first, first + count // 3):
            ident = str(uuid.UUID(int=number))
            dispatcher.send("task-received", uuid=ident, name="aseagi.ocr", args="['x']", kwargs="{}")
            dispatcher.send("task-started", uuid=ident)
            dispatcher.send("task-succeeded", uuid=ident, result="'x'", runtime=0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=100_000)
    given = parser.parse_args()
    if not given.documents:
        with TemporaryDirectory(prefix="aseagi-bench-", ignore_cleanup_errors=True) as folder, Up(Path(folder)) as up:
            remember(up, given.events)
        return
    tuning = ("shared_buffers=2GB", "max_wal_size=8GB", "jit=off", "max_connections=200")
    with (
        TemporaryDirectory(prefix="aseagi-bench-", ignore_cleanup_errors=True) as folder,
        Postgres(("fsync=off", "full_page_writes=off", "listen_addresses=", *tuning)) as server,
    ):
        cloud, home = Cloud(server), Path(folder)
        name = server.create(cloud.template)
        taken = fill_postgres(server.url(name), given.documents)
        print(f"{given.documents:,} documents loaded and indexed in {taken:,.0f} s")
        make_samples(home / "samples")
        with PostgrestServer(server.url(name), SECRET) as api:
            settings = {
                "ASEAGI_RECORDS": "supabase",
                "ASEAGI_SUPABASE_URL": api.url,
                "ASEAGI_SUPABASE_KEY": api.token("service_role"),
            }
            files = [str(home / "samples" / one) for one in ("01-motion.pdf", "02-order.pdf")]
            with Up(home, *files, **settings) as up:
                base = f"http://127.0.0.1:{up.port}"
                measure(base, pages(base, given.documents))
                remember(up, given.events)


def remember(up: Up, events: int) -> None:
    """Print the monitor's memory as events come in by the stack's own queue."""
    monitor = next(child.pid for child in up.stack.children() if child.name == "monitor")
    os.environ["ASEAGI_HOME"] = str(up.home)
    before = memory_mb(monitor)
    for part in range(1, 7):
        send_events(events // 6, events // 6 * (part - 1))
        while abs(memory_mb(monitor) - (now := memory_mb(monitor))) > 0.5 or is_busy(monitor):
            time.sleep(1)
        print(f"monitor after {part * events // 6:,} events: {now:.0f} MB (at first {before:.0f})")


def is_busy(pid: int) -> bool:
    """Whether a process computes: what was sent is not taken in yet."""

    def ticks() -> int:
        return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))

    before = ticks()
    time.sleep(1)
    return ticks() - before > 20


def measure(base: str, asked: dict[str, str]) -> None:
    found: dict[str, list[float]] = {name: [] for name in asked}
    for path in asked.values():
        ask(base, path)
    for _ in range(ROUNDS):
        for name, path in asked.items():
            found[name].append(ask(base, path))
    print(f"\n{'page':44}{'p50 ms':>10}{'p95 ms':>10}")
    for name, taken in found.items():
        print(f"{name:44}{statistics.median(taken):10.1f}{np.percentile(taken, 95):10.1f}")
    every = [ms for taken in found.values() for ms in taken]
    print(f"{'all':44}{statistics.median(every):10.1f}{np.percentile(every, 95):10.1f}   goal: p95 of 200 ms")


if __name__ == "__main__":
    main()
