"""What a million documents take of records, queue and control, and what breaks first.

    python benchmarks/scale.py rows [--sizes 1000 …] [--states waiting collected done] [--stores postgres sqlite]
    python benchmarks/scale.py run [--sizes 10000 …] [--seconds 40]
    python benchmarks/scale.py              # both, up to 100,000

`rows` fills records with so many documents as a run leaves them, and measures what is asked of them: milliseconds in
the middle, * where a table is read from end to end.

`run` sends documents through redis, workers, clock and control with stages that only take time, while the others wait
as rows (SQLite). A million takes a minute to load, and two in Postgres with events and costs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scaling.asks import Asked, ask_postgres, ask_sqlite
from benchmarks.scaling.drive import drive, worker
from benchmarks.scaling.rows import STATES, bytes_postgres, fill_postgres, fill_sqlite
from tests.servers.cloud import Cloud
from tests.servers.postgres import Postgres

SIZES = (1_000, 10_000, 100_000, 1_000_000)
#: A server of 2 GB keeps no more in memory.
TUNING = (
    "fsync=off",
    "full_page_writes=off",
    "listen_addresses=",
    "shared_buffers=512MB",
    "max_wal_size=8GB",
    "jit=off",
)


def rows(sizes: Sequence[int], states: Sequence[str], stores: Sequence[str]) -> None:
    if "postgres" in stores:
        with Postgres(TUNING) as server:
            cloud = Cloud(server)
            for state in states:
                found = {}
                for size in sizes:
                    name = server.create(cloud.template)
                    seconds = fill_postgres(server.url(name), size, state)  # type: ignore[arg-type]
                    found[size] = ask_postgres(server.url(name))
                    print(f"Postgres, {size:,} {state}: filled in {seconds:.0f} s", flush=True)
                    print(f"  {_sizes(bytes_postgres(server.url(name)))}", flush=True)
                    server.drop(name)
                show(f"Postgres, {state}", found)
    if "sqlite" in stores:
        for state in states:
            found = {}
            for size in sizes:
                with TemporaryDirectory(prefix="aseagi-scale-") as folder:
                    path = Path(folder) / "records.sqlite3"
                    seconds = fill_sqlite(path, size, state)  # type: ignore[arg-type]
                    print(
                        f"SQLite, {size:,} {state}: filled in {seconds:.0f} s; {path.stat().st_size / 1e6:,.1f} MB",
                        flush=True,
                    )
                    found[size] = ask_sqlite(path)
            show(f"SQLite, {state}", found)


def run(sizes: Sequence[int], seconds: float) -> None:
    found = {}
    for size in sizes:
        with TemporaryDirectory(prefix="aseagi-scale-", ignore_cleanup_errors=True) as folder:
            found[size] = drive(Path(folder), size, seconds)
    print(f"{'documents that wait':32}" + "".join(f"{size:>13,}" for size in found))
    for name in next(iter(found.values())):
        print(f"{name:32}" + "".join(f"{seen[name]:>13,.1f}" for seen in found.values()))


def _sizes(found: dict[str, tuple[int, int]]) -> str:
    return ", ".join(
        f"{table} {size / 1e6:,.1f} MB ({size / max(1, count):,.0f} bytes a row)"
        for table, (count, size) in found.items()
        if count
    )


def show(title: str, found: dict[int, dict[str, Asked]]) -> None:
    """Milliseconds by ask and size."""
    print(f"\n{title + ', ms':32}" + "".join(f"{size:>13,}" for size in found))
    for name in next(iter(found.values())):
        cells = [f"{asked[name].ms:.2f}{'*' if asked[name].scans else ' '}" for asked in found.values()]
        print(f"{name:32}" + "".join(f"{cell:>13}" for cell in cells))
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part")
    part = parts.add_parser("rows")
    part.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    part.add_argument("--states", nargs="+", choices=STATES, default=STATES)
    part.add_argument("--stores", nargs="+", choices=("postgres", "sqlite"), default=("postgres", "sqlite"))
    part = parts.add_parser("run")
    part.add_argument("--sizes", type=int, nargs="+", default=SIZES[1:])
    part.add_argument("--seconds", type=float, default=40, help="for each size, after ten that do not count")
    parts.add_parser("worker")
    given = parser.parse_args()
    if given.part is None:
        rows(SIZES[:3], STATES, ("postgres", "sqlite"))
        run(SIZES[1:3], 40)
    if given.part == "worker":
        worker()
    if given.part == "run":
        run(given.sizes, given.seconds)
    if given.part == "rows":
        rows(given.sizes, given.states, given.stores)


if __name__ == "__main__":
    main()
