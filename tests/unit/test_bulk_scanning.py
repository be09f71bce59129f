"""What a scan finds to be done, and that it finds the same whoever interrupts it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from aseagi_tasks import keys
from aseagi_tasks.bulk import scanning
from aseagi_tasks.bulk.scanning import judge, scan_on, todo
from aseagi_tasks.documents import Source
from aseagi_tasks.errors import NotFound, StorageUnavailable
from aseagi_tasks.stores.bulk_records import Known, Scan
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.sqlite_bulk import SqliteBulk
from aseagi_tasks.stores.storage import Stored

RUN = "20261129-200000-abcdef"
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
FRESH = Scan()


class Office:
    """A bucket in a folder with its records, an hour ago."""

    def __init__(self, folder: Path) -> None:
        self.storage = FolderStorage(folder / "bucket")
        self.records = SqliteRecords(folder / "records.sqlite3")
        self.bulk = SqliteBulk(folder / "records.sqlite3")

    def put(self, key: str, size: int = 10, *, age: timedelta = HOUR) -> None:
        self.storage.put(key, b"x" * size)
        at = (NOW - age).timestamp()
        os.utime(self.storage.root / key, (at, at))

    def job(self, key: str, end: str | None, *, source: str | None = None) -> str:
        """A job on a key that has ended so; with ``source`` it was requested by that."""
        job_id = f"job-{random.getrandbits(64):x}"
        self.records.register_job(job_id, source or key, "low", "me")
        if end == "completed":
            sha256 = f"{random.getrandbits(256):064x}"
            if source is not None:
                sha256 = key.rpartition("/")[2].partition(".")[0] + sha256[16:]
            found = Source(key=key, name="a.pdf", sha256=sha256, bytes=10, media_type="application/pdf")
            document = self.records.register_document(job_id, found, NOW - HOUR)
            self.records.complete(job_id, document.model_copy(update={"processed": "processed/x", "pages": 1}), "")
        elif end == "error":
            self.records.fail(job_id, "fetch", "Unreadable", "No.")
        elif end == "cancelled":
            self.records.cancel(job_id)
        return job_id

    def scan(self, scan: Scan = FRESH, *, enough: Callable[[], bool] = lambda: False, failed: bool = False) -> Scan:
        return scan_on(
            *(RUN, "raw/", scan),
            **{"records": self.bulk, "storage": self.storage, "failed": failed, "rest_s": 60, "now": NOW},  # type: ignore[arg-type]
            enough=enough,
            max_bytes=1_000,
        )

    def todo(self, scan: Scan) -> list[str]:
        return [one.key for part in range(1, scan.parts + 1) for one in todo(self.storage, RUN, part)]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "BATCH", 7)
    monkeypatch.setattr(scanning, "PART", 5)


def fill(office: Office, count: int = 60) -> list[str]:
    """Objects of every fate, in no order; the keys that are to be done."""
    wanted = []
    rng = random.Random(11)
    for n in rng.sample(range(1000), count):
        key = f"raw/{n % 7}/{n:03}{'-ä' if n % 5 == 0 else ''}.pdf"
        kind = rng.choice(("new", "new", "new", "completed", "error", "open", "unrested", "empty", "cancelled"))
        office.put(key, 0 if kind == "empty" else 10, age=timedelta(0) if kind == "unrested" else HOUR)
        if kind in ("completed", "error", "cancelled", "open"):
            office.job(key, None if kind == "open" else kind)
        if kind in ("new", "cancelled"):
            wanted.append(key)
    return sorted(wanted, key=str.encode)


def test_each_object_has_one_fate(office: Office) -> None:
    for name in ("new.pdf", "Scan.JPG", "no-ending", "ends.0001", "long.pdf"):
        office.put(f"raw/{name}", 2_000 if name == "long.pdf" else 10)
    for name in ("notes.txt", "Thumbs.db", "._new.pdf", "~$letter.pdf", "new.pdf.part", "empty.pdf"):
        office.put(f"raw/x/{name}", 0 if name == "empty.pdf" else 10)
    office.put("raw/late.pdf", age=timedelta(seconds=5))
    for end in ("completed", "error", "cancelled", None):
        office.put(f"raw/{end}.pdf")
        office.job(f"raw/{end}.pdf", end)
    office.job("raw/gone.pdf", "completed")
    office.job("raw/never.pdf", "error")
    office.put("other/x.pdf")
    scan = office.scan()
    assert scan == Scan(
        **{"keys": 16, "bytes": 14 * 10 + 2_000, "todo": 5, "todo_bytes": 50, "done": 1, "failed": 1, "open": 1},
        **{"unrested": 1, "refused": 7, "gone": 1, "behind": "raw/x/~$letter.pdf", "parts": 1, "finished": True},
    )
    assert office.todo(scan) == [f"raw/{n}" for n in ("Scan.JPG", "cancelled.pdf", "ends.0001", "new.pdf", "no-ending")]
    again = office.scan(failed=True)
    assert (again.todo, again.failed) == (6, 0) and "raw/error.pdf" in office.todo(again)
    assert office.scan(scan) == scan, "what is finished stays so"
    with pytest.raises(NotFound):
        todo(office.storage, RUN, 2)


def test_original_at_intake_is_known_by_its_hash_whatever_the_clocks_say(office: Office) -> None:
    mine, altered = "raw/2026/11/29/0123456789abcdef.pdf", "raw/2026/11/29/fedcba9876543210.pdf"
    for key in (mine, altered):
        office.job(key, "completed", source="/home/me/a.pdf")
        office.put(key, 10 if key == mine else 11, age=-HOUR)
    scan = office.scan()
    assert (scan.done, scan.unrested) == (1, 1)


def test_modified_since_is_to_be_done_again() -> None:
    def fate(modified: datetime, known: Known | None, *, failed: bool = False) -> str:
        there = Stored("raw/a.pdf", 10, modified)
        return judge(there, known, failed=failed, rest_s=60, now=NOW, max_bytes=100)

    before, after = NOW - 3 * HOUR, NOW - HOUR
    at = NOW - 2 * HOUR
    done = Known(status="completed", created_at=at, completed_as_of=at)
    again = Known(status="error", created_at=at, completed_as_of=at)
    error = Known(status="error", created_at=at)
    assert [fate(before, one) for one in (done, again, error, None)] == ["done", "done", "failed", "todo"]
    assert [fate(after, one) for one in (done, again, error, None)] == ["todo"] * 4
    assert fate(before, error, failed=True) == "todo"
    assert fate(NOW, done) == "unrested"
    ahead = NOW + timedelta(days=700)  # it kept a wrong clock's time
    assert [fate(ahead, one) for one in (done, error, None)] == ["done", "failed", "todo"]
    assert fate(after, Known(status="queued", created_at=at)) == "open"


@pytest.mark.usefixtures("small")
def test_scan_that_is_interrupted_anywhere_finds_the_same(office: Office) -> None:
    wanted = fill(office)
    whole = office.scan()
    assert office.todo(whole) == wanted and whole.todo == len(wanted) > 25
    counted = (whole.done, whole.failed, whole.open, whole.unrested, whole.refused, whole.todo)
    assert sum(counted) == whole.keys == 60 and 0 not in counted
    assert whole.parts == -(-len(wanted) // 5)
    for seed in range(6):
        office.storage.delete_all(f"bulk/{RUN}/")
        rng, scan, steps = random.Random(seed), Scan(), 0
        while not scan.finished:
            steps += 1
            on = office.scan(scan, enough=lambda rng=rng: rng.random() < 0.6)  # type: ignore[misc]
            if rng.random() < 0.7:  # else it was killed before that was saved
                scan = on
        assert scan == whole and office.todo(scan) == wanted
        assert steps > 2


@pytest.mark.usefixtures("small")
def test_scan_that_breaks_between_parts_goes_on(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = fill(office)
    put, writes = FolderStorage.put, iter(range(1, 1_000))

    def breaks(self: FolderStorage, key: str, body: bytes) -> None:
        if next(writes) % 3 == 0:
            raise StorageUnavailable("writing", "as told")
        put(self, key, body)

    monkeypatch.setattr(FolderStorage, "put", breaks)
    scan, broken = Scan(), 0
    while not scan.finished:
        try:
            scan = office.scan(scan, enough=lambda: True)
        except StorageUnavailable:
            broken += 1
    assert broken > 1 and office.todo(scan) == wanted


class Listing(FolderStorage):
    """A bucket of so many objects, of which only the listing is asked."""

    objects = 30_000

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        begin = int(after[4:-4]) + 1 if after else 0
        return (Stored(f"{prefix}{n:09}.pdf", 1, NOW - HOUR) for n in range(begin, self.objects))


def test_scan_has_a_thousand_keys_in_memory(tmp_path: Path) -> None:
    import tracemalloc

    office, used = Office(tmp_path), []
    office.storage = Listing(tmp_path / "bucket")
    for Listing.objects in (2_000, 12_000):
        tracemalloc.start()
        scan = office.scan()
        used.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert scan.todo == Listing.objects and scan.parts == Listing.objects / 1_000
    assert used[1] < used[0] + 500_000


def test_names_that_no_record_can_keep_are_refused(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.put("raw/a.pdf")
    (office.storage.root / os.fsdecode(b"raw/\xe9t\xe9.pdf")).write_bytes(b"x")
    scan = office.scan()
    assert (scan.todo, scan.refused, scan.behind) == (1, 1, "raw/a.pdf")
    monkeypatch.setattr(office.storage, "list", lambda *_: iter([Stored(f"raw/{n}.pdf", 1, NOW - HOUR) for n in "a\0"]))
    assert office.scan() == scan.model_copy(update={"bytes": 2, "todo_bytes": 1})
    scan.model_dump_json()
    assert keys.bulk(RUN, 1) == f"bulk/{RUN}/todo-00001.jsonl"
