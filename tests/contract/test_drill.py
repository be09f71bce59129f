"""The manifest says what was there, and the drill says whether a backup would bring it back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sqlite3
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from aseagi_tasks import control, housekeeping, keys, services
from aseagi_tasks.documents import Source
from aseagi_tasks.errors import BackupDamaged, NotFound
from aseagi_tasks.settings import settings
from aseagi_tasks.stores import manifest
from aseagi_tasks.stores.backup import list_backups
from aseagi_tasks.stores.drill import drill
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.storage import Storage, Stored
from tests.servers.cloud import Project

NOW = datetime(2026, 11, 25, 3, 50, tzinfo=UTC)


class Archive:
    """Records and a bucket that belong together, and the services that find them."""

    def __init__(self, home: Path, records: Records, source: Path | str) -> None:
        self.home, self.records, self.source = home, records, source
        self.storage: Storage = FolderStorage(home / "bucket")
        self.told: list[str] = []

    def add(self, name: str) -> Source:
        """A document with its set of results."""
        body = f"the bytes of {name}".encode()
        sha256 = hashlib.sha256(body).hexdigest()
        source = Source(
            key=f"raw/in/{name}.pdf", name=name, sha256=sha256, bytes=len(body), media_type="application/pdf"
        )
        self.storage.put(source.key, body)
        self.records.register_job(name, source.key, "normal", None)
        document = self.records.register_document(name, source, NOW)
        folder = f"processed/{document.document_id}"
        self.storage.put(f"{folder}/ocr.txt", body)
        files = {"ocr.txt": {"sha256": sha256}}
        self.storage.put(f"{folder}/metadata.json", json.dumps({"files": files}).encode())
        self.records.complete(name, document.model_copy(update={"processed": folder, "pages": 1}), name)
        return source

    def drill(self) -> list[str]:
        """What a drill finds."""
        return list(self.hold().found)

    def hold(self):  # type: ignore[no-untyped-def]
        held = drill(self.source, self.storage, self.home / "scratch", datetime.now(UTC), sample=50)
        assert list((self.home / "scratch").iterdir()) == []
        return held


@pytest.fixture(params=["sqlite", "supabase"])
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    if request.param == "sqlite":
        path = tmp_path / "records.sqlite3"
        made = Archive(tmp_path, SqliteRecords(path), path)
    else:
        project: Project = request.getfixturevalue("project")
        made = Archive(tmp_path, project.records(), project.url)
    conf = settings().model_copy(update={"scratch": tmp_path / "scratch"})
    for module in (housekeeping, control):
        monkeypatch.setattr(module, "settings", lambda: conf)
    monkeypatch.setattr(services, "records", lambda: made.records)
    monkeypatch.setattr(services, "storage", lambda: made.storage)
    monkeypatch.setattr(services, "records_source", lambda: made.source)
    monkeypatch.setattr(services, "tell_once", lambda key, message, **_: made.told.append(message))

    class Told:
        def tell(self, message: str) -> None:
            made.told.append(message)

    monkeypatch.setattr(services, "notifier", Told)
    yield made


embedded = pytest.mark.parametrize("archive", ["sqlite"], indirect=True)


def test_backup_holds_and_says_what_came_since(archive: Archive) -> None:
    for name in ("motion", "order", "größe 文書"):
        archive.add(name)
    archive.storage.put("cache/x/ocr.json", b"comes and goes")
    made = housekeeping.back_up()
    assert (made["objects"], made["gone"], made["removed"]) == (10, 0, 0), "three sets of three, and the backup"
    archive.add("letter")
    held = archive.hold()
    assert held.found == () and (held.looked_at, held.objects) == (6, 10)
    assert (held.rows["documents"], held.rows["processing_jobs"]) == (3, 3)
    assert held.lost is not None and held.lost["documents"] == held.lost["processing_jobs"] == 1
    assert control.restore_drill()["found"] == [] and archive.told == []
    if isinstance(archive.source, str):
        with psycopg.connect(archive.source) as db:
            assert db.execute("SELECT datname FROM pg_database WHERE datname LIKE 'aseagi_drill%'").fetchall() == []


def test_what_is_damaged_after_the_backup_is_named_by_the_drill(archive: Archive) -> None:
    original, gone, _ = (archive.add(name) for name in ("motion", "order", "letter"))
    housekeeping.back_up()
    archive.storage.put(original.key, b"other bytes")
    archive.storage.delete(gone.key)
    archive.storage.put(f"processed/{gone.document_id}/ocr.txt", b"other text")
    assert sorted(archive.drill()) == [
        f"processed/{gone.document_id}/ocr.txt is not what was published",
        f"{original.key} is not the original that was taken in",
        f"{gone.key} was there when the manifest was made, and is gone",
    ]
    control.restore_drill()
    assert "is gone" in archive.told[-1]


def test_original_that_is_gone_is_told_and_known_again_when_it_comes_back(archive: Archive) -> None:
    source = archive.add("motion")
    body = archive.storage.get(source.key)
    archive.storage.delete(source.key)
    assert housekeeping.back_up()["gone"] == 1
    assert source.key in archive.told[-1]
    (one,) = housekeeping.gone()
    assert (one.document_id, one.key, one.why) == (source.document_id, source.key, "missing")
    assert archive.drill() == [], "it was known to be gone"
    archive.storage.put(source.key, b"something else")
    assert [one.key for one in housekeeping.gone()] == [source.key], "other bytes under its key are another document"
    assert archive.records.document(source.document_id).processed is not None
    archive.storage.put(source.key, body)
    assert list(housekeeping.gone()) == []


def test_copy_or_manifest_that_was_altered_is_refused(archive: Archive) -> None:
    archive.add("motion")
    with pytest.raises(NotFound, match="aseagi backup"):
        archive.drill()
    made = housekeeping.back_up()
    whole = archive.storage.get(made["key"])
    archive.storage.put(made["key"], whole[:-100])
    with pytest.raises(BackupDamaged, match="cut or altered"):
        archive.drill()
    with pytest.raises(BackupDamaged):
        control.restore_drill()
    assert "The restore drill failed" in archive.told[-1]
    archive.storage.put(made["key"], whole)
    listed = gzip.decompress(archive.storage.get(made["manifest"]))
    for broken, why in ((listed.replace(b"motion", b"lotion"), "altered"), (listed[:200], "not complete")):
        archive.storage.put(made["manifest"], gzip.compress(broken))
        with pytest.raises(BackupDamaged, match=why):
            archive.drill()
    archive.storage.put(made["manifest"], gzip.compress(listed)[:-30])
    with pytest.raises(BackupDamaged, match="cannot be read"):
        archive.drill()
    archive.storage.delete(made["manifest"])
    assert "was not finished" in archive.drill()[0]


@embedded
def test_backup_that_says_less_than_was_there_is_noticed(archive: Archive) -> None:
    archive.add("motion")
    archive.add("order")
    made = housekeeping.back_up()
    copy = archive.home / "copy"
    archive.storage.download(made["key"], copy)
    with closing(sqlite3.connect(copy, isolation_level=None)) as db:
        db.execute("DELETE FROM processing_events")
    archive.storage.upload(copy, made["key"])
    about = {"key": made["key"], "tables": dict.fromkeys(("documents", "processing_jobs"), 2)}
    about |= {"bytes": copy.stat().st_size, "sha256": hashlib.sha256(copy.read_bytes()).hexdigest()}
    archive.storage.delete("raw/in/order.pdf")
    nobody = SqliteRecords(archive.home / "nobody.sqlite3")
    manifest.write(archive.storage, nobody, made["manifest"], archive.home / "scratch", NOW, about)
    assert any("documents have no original in the manifest, raw/in/order.pdf" in said for said in archive.drill())
    about["tables"] = {**about["tables"], "processing_events": 4}
    manifest.write(archive.storage, nobody, made["manifest"], archive.home / "scratch", NOW, about)
    assert "table processing_events has 0 rows, and 4 were backed up" in archive.drill()


@embedded
def test_scratch_that_a_killed_drill_left_is_cleaned(archive: Archive) -> None:
    for name in ("drill-dead", "manifest-dead.sqlite3", "dead-records-1.sqlite3"):
        path = archive.home / "scratch" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x") if "." in name else path.mkdir()
        os.utime(path, (1, 1))
    assert housekeeping.clean_scratch(datetime.now(UTC) - timedelta(days=1)) == 3


@pytest.mark.parametrize("archive", ["supabase"], indirect=True)
def test_scratch_database_that_a_killed_drill_left_goes_and_a_running_ones_stays(archive: Archive) -> None:
    archive.add("motion")
    housekeeping.back_up()
    now = datetime.now(UTC)
    dead, alive = (f"aseagi_drill_{now - timedelta(hours=ago):%Y%m%d%H%M%S}_x" for ago in (7, 1))
    with psycopg.connect(str(archive.source), autocommit=True) as db:
        for name in (dead, alive):
            db.execute(f"CREATE DATABASE {name}")
        assert archive.drill() == []
        found = db.execute("SELECT datname FROM pg_database WHERE datname LIKE 'aseagi_drill%'").fetchall()
        db.execute(f"DROP DATABASE {alive}")
    assert found == [(alive,)]


@embedded
def test_two_backups_at_once_are_two_or_one_and_whole(archive: Archive) -> None:
    from concurrent.futures import ThreadPoolExecutor

    archive.add("motion")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: housekeeping.back_up(), range(4)))
    assert 1 <= len(list_backups(archive.storage)) <= 4
    assert archive.drill() == []


class Listing(FolderStorage):
    """A bucket of so many objects, as its listing shows them."""

    objects = 20_000

    def list(self, prefix: str) -> Iterator[Stored]:
        return (Stored(f"raw/{n:09}.pdf", n, NOW, f"{n:032x}") for n in range(self.objects))


def test_manifest_of_many_takes_no_memory_for_each(tmp_path: Path) -> None:
    records, storage = SqliteRecords(tmp_path / "records.sqlite3"), Listing(tmp_path / "bucket")
    used = []
    for Listing.objects in (2_000, 30_000):
        tracemalloc.start()
        totals, _ = manifest.write(storage, records, "backups/m.jsonl.gz", tmp_path / "scratch", NOW, {})
        used.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert totals.objects == Listing.objects
    storage.download("backups/m.jsonl.gz", tmp_path / "m")
    assert manifest.read(tmp_path / "m", "m") == totals
    assert sum(1 for _ in manifest.lines(tmp_path / "m")) == 30_000
    assert used[1] < used[0] + 3_000_000, "5,000 objects at a time, whatever there are"


def test_key_beside_a_backup() -> None:
    assert keys.manifest(keys.backup(NOW, "dump")) == "backups/2026/11/25/manifest-20261125T035000Z.jsonl.gz"
