"""A million objects written down, and a manifest of them checked: seconds and memory, by tens.

.venv/bin/python benchmarks/manifest.py [OBJECTS]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from aseagi_tasks.stores import manifest
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.storage import Stored

NOW = datetime(2026, 11, 25, tzinfo=UTC)


class Listing(FolderStorage):
    """A bucket whose listing costs nothing."""

    objects = 0

    def list(self, prefix: str) -> Iterator[Stored]:
        """So many objects."""
        return (Stored(f"raw/2026/11/25/{n:016x}.pdf", 100, NOW, f"{n:032x}") for n in range(self.objects))


def documents(records: SqliteRecords, number: int) -> None:
    """Rows of the originals of half of them."""
    with records._write("filling") as db:
        db.executemany(
            "INSERT INTO documents (document_id, sha256, key, name, bytes, media_type, created_at)"
            " VALUES (?, ?, ?, 'n', 100, 'application/pdf', '2026-11-25T00:00:00.000000+00:00')",
            ((f"{n:016x}", f"{n:064x}", f"raw/2026/11/25/{n:016x}.pdf") for n in range(0, number, 2)),
        )


def measure(number: int) -> None:
    """Print a line."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        records, storage = SqliteRecords(home / "records.sqlite3"), Listing(home / "bucket")
        documents(records, number)
        storage.objects = number
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.perf_counter()
        totals, _ = manifest.write(storage, records, "backups/m.jsonl.gz", home / "scratch", NOW, {})
        written = time.perf_counter() - begun
        size = (home / "bucket" / "backups/m.jsonl.gz").stat().st_size
        begun = time.perf_counter()
        assert manifest.read(home / "bucket" / "backups/m.jsonl.gz", "m") == totals
        read = time.perf_counter() - begun
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        said = f"{number:>9,} objects: written in {written:.1f} s, checked in {read:.1f} s, {size / 1e6:.1f} MB"
        print(f"{said}, {grown:.0f} MiB of memory more", flush=True)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(int(sys.argv[2]))
    else:
        most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
        for number in (most // 100, most // 10, most):  # each in a process of its own: memory is not given back
            subprocess.run([sys.executable, __file__, "--one", str(number)], check=True)
