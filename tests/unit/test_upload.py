"""Publishing: a whole set or none, metadata last, the same bytes again."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks import keys
from aseagi_tasks.analysis.schema import Analysis, Fact
from aseagi_tasks.documents import Box, Line, Page, Reading, Source
from aseagi_tasks.errors import NotFound, StorageUnavailable
from aseagi_tasks.settings import Settings
from aseagi_tasks.stages.upload import Metadata, publish
from aseagi_tasks.stages.workplace import Workplace
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords

FOLDER = "processed/2026/11/23"


class Watched(FolderStorage):
    """A folder that tells what is written to it, and fails where it is told to."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.calls: list[str] = []
        self.broken = ""

    def _note(self, verb: str, key: str) -> None:
        if key.startswith("processed/"):
            self.calls.append(f"{verb} {key.rsplit('/', 1)[-1]}")
        if self.broken and key.endswith(self.broken):
            raise StorageUnavailable("writing", "as told")

    def put(self, key: str, body: bytes) -> None:
        self._note("put", key)
        super().put(key, body)

    def upload(self, path: Path, key: str) -> None:
        self._note("put", key)
        super().upload(path, key)

    def delete(self, key: str) -> None:
        self._note("delete", key)
        super().delete(key)


@pytest.fixture
def storage(tmp_path: Path) -> Watched:
    return Watched(tmp_path / "bucket")


@pytest.fixture
def records(tmp_path: Path) -> SqliteRecords:
    return SqliteRecords(tmp_path / "records.sqlite3")


@pytest.fixture
def place(tmp_path: Path, storage: Watched, records: SqliteRecords) -> Workplace:
    """A job whose earlier stages are done: one scanned page, one fact."""
    path = tmp_path / "scan.pdf"
    canvas = Canvas(str(path), invariant=True)
    canvas.showPage()
    canvas.save()
    body = path.read_bytes()
    sha256 = hashlib.sha256(body).hexdigest()
    source = Source(key="raw/scan.pdf", name="scan.pdf", sha256=sha256, bytes=len(body), media_type="application/pdf")
    storage.put(source.key, body)
    records.register_job("job", source.key, "normal", None)
    records.register_document("job", source, datetime(2026, 11, 23, tzinfo=UTC))
    for stage, seconds in (("fetch", 0.5), ("ocr", 2.0), ("ocr", 1.0)):
        detail = {"instance": "4711"} if stage == "ocr" else {}
        records.end_stage("job", stage, seconds, "reading@here", detail)  # type: ignore[arg-type]
    made = Workplace("job", source, storage, Settings(home=tmp_path))
    line = Line(text="Order", box=Box(100, 100, 200, 130), confidence=0.9, source="tesseract")
    page = Page(number=1, width_px=2480, height_px=3508, dpi=300, source="tesseract", confidence=0.9, lines=(line,))
    made.save("ocr.json", Reading(engine="tesseract 5", pages=(page,)))
    made.save("analysis.json", Analysis(analyst="rules", document_type=Fact(value="order", status="supported")))
    storage.put(keys.cache("job", "thumbnail.jpg"), b"jpeg")
    return made


def folder(place: Workplace) -> str:
    return f"{FOLDER}/{place.source.document_id}"


def published(storage: Watched, place: Workplace) -> dict[str, bytes]:
    return {there.key.rsplit("/", 1)[-1]: storage.get(there.key) for there in storage.list(f"{folder(place)}/")}


def test_set_is_whole_and_metadata_is_written_last(place: Workplace, storage: Watched, records: SqliteRecords) -> None:
    metadata = publish(place, records)
    files = published(storage, place)
    assert tuple(sorted(files)) == tuple(sorted(keys.PUBLISHED))
    assert storage.calls == ["delete metadata.json", *(f"put {name}" for name in keys.PUBLISHED)]
    assert Metadata.model_validate_json(files["metadata.json"]) == metadata
    for name, entry in metadata.files.items():
        assert (entry.bytes, entry.sha256) == (len(files[name]), hashlib.sha256(files[name]).hexdigest())
    assert files["ocr.txt"] == b"Order"
    assert json.loads(files["analysis.json"])["document_type"]["value"] == "order"


def test_metadata_says_where_pages_and_seconds_come_from(place: Workplace, records: SqliteRecords) -> None:
    metadata = publish(place, records)
    assert [(page.number, page.source, page.confidence) for page in metadata.pages] == [(1, "tesseract", 0.9)]
    assert metadata.stages["ocr"].seconds == 3.0  # slices are added up
    assert metadata.stages["fetch"].worker == "reading@here"
    assert [metadata.stages[stage].instance for stage in ("fetch", "ocr")] == [None, "4711"]
    assert (metadata.engine, metadata.analyst, metadata.source_key) == ("tesseract 5", "rules", "raw/scan.pdf")


def test_again_gives_the_same_bytes(place: Workplace, storage: Watched, records: SqliteRecords) -> None:
    publish(place, records)
    before = published(storage, place)
    publish(place, records)
    assert published(storage, place) == before


@pytest.mark.parametrize("broken", ["ocr.txt", "thumbnail.jpg", "searchable.pdf", "processed/metadata.json"])
def test_failure_in_the_middle_leaves_no_complete_set(
    place: Workplace, storage: Watched, records: SqliteRecords, broken: str
) -> None:
    publish(place, records)
    storage.broken = broken.replace("processed/", f"{place.source.document_id}/")
    with pytest.raises(StorageUnavailable):
        publish(place, records)
    storage.broken = ""
    if "metadata" not in broken:  # where even its removal failed, nothing was changed
        assert storage.stat(f"{folder(place)}/metadata.json") is None
    publish(place, records)
    assert set(published(storage, place)) == set(keys.PUBLISHED)


@pytest.mark.parametrize("missing", ["ocr.json", "analysis.json", "thumbnail.jpg"])
def test_missing_piece_is_named(place: Workplace, storage: Watched, records: SqliteRecords, missing: str) -> None:
    storage.delete(keys.cache("job", missing))
    with pytest.raises(NotFound, match=missing):
        publish(place, records)
    assert published(storage, place) == {}


def test_picture_that_cannot_be_taken_apart_is_published_without_a_searchable_copy(
    place: Workplace, storage: Watched, records: SqliteRecords
) -> None:
    body = b"\xff\xd8\xff no picture"
    sha256 = hashlib.sha256(body).hexdigest()
    source = Source(key="raw/a.jpg", name="a.jpg", sha256=sha256, bytes=len(body), media_type="image/jpeg")
    storage.put(source.key, body)
    records.register_job("other", source.key, "normal", None)
    records.register_document("other", source, datetime(2026, 11, 23, tzinfo=UTC))
    other = Workplace("other", source, storage, place.settings)
    for name in ("ocr.json", "analysis.json", "thumbnail.jpg"):
        storage.put(keys.cache("other", name), storage.get(keys.cache("job", name)))
    metadata = publish(other, records)
    assert set(published(storage, other)) == {*metadata.files, "metadata.json"}
    assert "searchable.pdf" not in metadata.files
