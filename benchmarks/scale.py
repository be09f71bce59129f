"""What a million documents take of records, queue and control, and what breaks first.

    python benchmarks/scale.py rows [--sizes 1000 10000 100000 1000000] [--states waiting collected done] [--stores postgres sqlite]
    python benchmarks/scale.py run [--documents 10000] [--through 2000]

`rows` fills records with so many documents as a run leaves them, and measures what is asked of them: milliseconds in the
middle, * where a table is read from end to end. `run` sends documents through redis, workers, clock and control with
stages that only take time, while the others wait: memory, rows, ticks and queue lengths as it goes. Loading takes most of the time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.scaling.asks import Asked, ask_postgres, ask_sqlite
from benchmarks.scaling.rows import STATES, TABLES, bytes_postgres, fill_postgres, fill_sqlite
from tests.servers.cloud import Cloud
from tests.servers.postgres import Postgres

SIZES = (1_000, 10_000, 100_000, 1_000_000)
#: A server of 2 GB keeps no more in memory.
TUNING = ("fsync=off", "full_page_writes=off", "listen_addresses=", "shared_buffers=512MB", "max_wal_size=8GB", "jit=off")


def rows(sizes: list[int], states: list[str], stores: list[str]) -> None:
    if "postgres" in stores:
        with Postgres(TUNING) as server:
            cloud = Cloud(server)
            for state in states:
                found = {}
                for size in sizes:
                    name = server.create(cloud.template)
                    seconds = fill_postgres(server.url(name), size, state)  # type: ignore[arg-type]
                    found[size] = ask_postgres(server.url(name))
                    print(f"Postgres, {size:,} {state}: filled in {seconds:.0f} s; {_sizes(bytes_postgres(server.url(name)))}", flush=True)
                    server.drop(name)
                show(f"Postgres, {state}", found)
    if "sqlite" in stores:
        for state in states:
            found = {}
            for size in sizes:
                with TemporaryDirectory(prefix="aseagi-scale-") as folder:
                    path = Path(folder) / "records.sqlite3"
                    seconds = fill_sqlite(path, size, state)  # type: ignore[arg-type]
                    print(f"SQLite, {size:,} {state}: filled in {seconds:.0f} s; {path.stat().st_size / 1e6:,.1f} MB", flush=True)
                    found[size] = ask_sqlite(path)
            show(f"SQLite, {state}", found)


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
    parts = parser.add_subparsers(dest="part", required=True)
    part = parts.add_parser("rows")
    part.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    part.add_argument("--states", nargs="+", choices=STATES, default=STATES)
    part.add_argument("--stores", nargs="+", choices=("postgres", "sqlite"), default=("postgres", "sqlite"))
    given = parser.parse_args()
    if given.part == "rows":
        rows(given.sizes, given.states, given.stores)


if __name__ == "__main__":
    main()
