"""A million keys of a bucket beside a million documents of the records: keys a second, and memory, by tens.

    python benchmarks/bulk_scan.py [OBJECTS]

The listing costs nothing, as from memory; SQLite and the lists of what is to be done are real. Nine in ten keys have a
document that was completed, one in a hundred one that failed, the others are new. The scan goes on in steps of eight
seconds, each of which begins with no more than what the one before has saved. (S3 lists a thousand keys in about a
tenth of a second, so that a bucket's own million takes two minutes more.)
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aseagi_tasks.bulk.scanning import scan_on
from aseagi_tasks.stores.bulk_records import Scan
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite_bulk import SqliteBulk
from aseagi_tasks.stores.storage import Stored

RUN, STEP_S = "20261129-000000-000000", 8.0
THEN, NOW = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 29, tzinfo=UTC)
AT = "2026-11-02T00:00:00.000000+00:00"


def key(n: int) -> str:
    """As other tools name files, in boxes of a thousand."""
    return f"raw/boxes/{n // 1000:04}/filing-{n:07}.pdf"


class Listing(FolderStorage):
    """A bucket whose listing costs nothing."""

    objects = 0

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """So many objects."""
        begin = int(after[-11:-4]) + 1 if after else 0
        return (Stored(key(n), 100_000, THEN) for n in range(begin, self.objects))


def fill(records: SqliteBulk, number: int) -> None:
    """Documents and jobs, in no order of their keys."""
    known = [n * 611_953 % number for n in range(number)]
    with records._write("filling") as db:
        db.executemany(
            "INSERT INTO documents (document_id, sha256, key, name, bytes, media_type, created_at, processed, pages)"
            f" VALUES (?, ?, ?, 'n', 100000, 'application/pdf', '{AT}', 'processed/x', 3)",
            ((f"{n:016x}", f"{n:064x}", key(n)) for n in known if n % 10),
        )
        db.executemany(
            "INSERT INTO processing_jobs (job_id, source, priority, status, document_id, created_at, updated_at,"
            f" finished_at) VALUES (?, ?, 'low', ?, ?, '{AT}', '{AT}', '{AT}')",
            (
                (f"j{n}", key(n), "completed" if n % 10 else "error", f"{n:016x}" if n % 10 else None)
                for n in known
                if n % 10 or n % 100 == 0
            ),
        )


def measure(number: int) -> None:
    """Print a line."""
    with tempfile.TemporaryDirectory() as folder:
        records, storage = SqliteBulk(Path(folder) / "records.sqlite3"), Listing(Path(folder) / "bucket")
        fill(records, number)
        storage.objects = number
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun, scan, steps = time.perf_counter(), Scan(), 0
        while not scan.finished:
            until = time.perf_counter() + STEP_S
            scan = Scan.model_validate_json(scan.model_dump_json())
            scan = scan_on(
                *(RUN, "raw/", scan),
                records=records,
                storage=storage,
                failed=False,
                rest_s=60,
                now=NOW + timedelta(days=1),
                enough=lambda until=until: time.perf_counter() >= until,  # type: ignore[misc]
                max_bytes=500_000_000,
            )
            steps += 1
        seconds = time.perf_counter() - begun
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        assert (scan.keys, scan.done, scan.gone) == (number, number - number // 10, 0), scan
        assert scan.todo + scan.failed == number // 10
        print(
            f"{number:>9,} keys: {seconds:6.1f} s in {steps} steps, {number / seconds:7,.0f} keys a second,"
            f" {scan.todo:,} to be done, memory + {grown:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measure(int(sys.argv[2]))
    else:
        most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
        for size in (size for size in (10_000, 100_000, 1_000_000, 10_000_000) if size <= most):
            subprocess.run([sys.executable, __file__, "--only", str(size)], check=True)
