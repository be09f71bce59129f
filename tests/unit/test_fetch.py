"""What a file is, and that the bytes on this host are those that were registered."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from aseagi_tasks.documents import MediaType, Source
from aseagi_tasks.errors import Altered, NotADocument, NotFound, TooLarge
from aseagi_tasks.stages.fetch import digest, fetch, identify
from aseagi_tasks.stores.folder import FolderStorage

BODY = b"%PDF-1.7\n" + bytes(range(256)) * 5000
KEY = "raw/2026/11/23/0123456789abcdef.pdf"


class CountingStorage(FolderStorage):
    downloads = 0

    def download(self, key: str, path: Path) -> None:
        self.downloads += 1
        super().download(key, path)


@pytest.fixture
def storage(tmp_path: Path) -> CountingStorage:
    storage = CountingStorage(tmp_path / "bucket")
    storage.put(KEY, BODY)
    return storage


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def source(body: bytes = BODY, key: str = KEY, name: str = "motion.pdf") -> Source:
    sha256 = hashlib.sha256(body).hexdigest()
    return Source(key=key, name=name, sha256=sha256, bytes=len(body), media_type="application/pdf")


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("L", (40, 30), 200).save(out, kind)
    return out.getvalue()


def packed(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, "application/vnd.oasis.opendocument.text" if name == "mimetype" else "x")
    return out.getvalue()


def tarred() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.pdf"))
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (BODY, "application/pdf"),
        (b"\xef\xbb\xbf" + BODY, "application/pdf"),
        (b"\r\n\x00 @PJL JOB\r\n" + BODY, "application/pdf"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\n\r\n" + BODY, "application/pdf"),
        (picture("PNG"), "image/png"),
        (picture("JPEG"), "image/jpeg"),
        (picture("TIFF"), "image/tiff"),
        (b"MM\x00\x2a\x00\x00\x00\x08", "image/tiff"),
        (b"II+\x00\x08\x00\x00\x00", "image/tiff"),
    ],
)
@pytest.mark.parametrize("name", ["a.pdf", "scan.txt", "-rf", "..", "Zeugnis – Kopie (2).PNG"])
def test_documents_are_known_by_their_content(content: bytes, media_type: MediaType, name: str, tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(content)
    assert identify(path, name) == media_type


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "empty"),
        (bytes(5000), "zeros"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"\xef\xbb\xbf\n  <HTML><head>", "web page"),
        (b"<!doctype html><p>the magic bytes of a PDF are %PDF-1.4", "web page"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?><note/>", "XML"),
        ("Sehr geehrte Damen und Herren, das Büro ist geschlossen. ".encode() * 60, "plain text"),
        (b"\xff\xfeD\x00e\x00a\x00r\x00", "plain text"),
        (b"From: a@example.org\r\nSubject: your filing\r\n\r\nHello", "e-mail"),
        (packed("[Content_Types].xml", "word/document.xml"), "Word"),
        (packed("[Content_Types].xml", "xl/workbook.xml"), "Excel"),
        (packed("mimetype", "content.xml"), "OpenDocument"),
        (packed("a.pdf", "b.pdf"), "ZIP"),
        (b"PK\x03\x04 broken", "ZIP"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "old Office"),
        (b"{\\rtf1\\ansi hello}", "RTF"),
        (b"%!PS-Adobe-3.0\n", "PostScript"),
        (tarred(), "tar"),
        (b"\x1f\x8b\x08\x00" + bytes(20), "gzip"),
        (picture("GIF"), "GIF"),
        (picture("BMP"), "BMP"),
        (picture("WEBP"), "WebP"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00", "film"),
        (bytes(range(128, 256)) * 20, "unknown"),
    ],
)
def test_other_files_are_refused_by_what_they_are(content: bytes, what: str, tmp_path: Path) -> None:
    path = tmp_path / "given.pdf"
    path.write_bytes(content)
    with pytest.raises(NotADocument) as refused:
        identify(path, "given.pdf")
    assert what in str(refused.value)
    assert str(refused.value).startswith("given.pdf is not a document")


def test_digest_is_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(BODY)
    assert digest(path) == (hashlib.sha256(BODY).hexdigest(), len(BODY))


def test_fetch_brings_the_registered_bytes(storage: CountingStorage, scratch: Path) -> None:
    path = fetch(storage, source(), scratch, max_bytes=10_000_000)
    assert path == scratch / "source.pdf"
    assert path.read_bytes() == BODY
    assert [entry.name for entry in scratch.iterdir()] == ["source.pdf"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "-o.pdf", "a b\n.pdf", "срок.pdf", ""])
def test_a_document_s_name_is_nobody_s_path(name: str, storage: CountingStorage, scratch: Path) -> None:
    assert fetch(storage, source(name=name), scratch, max_bytes=10_000_000) == scratch / "source.pdf"


def test_a_file_that_is_there_is_not_fetched_again(storage: CountingStorage, scratch: Path) -> None:
    for _ in range(3):
        fetch(storage, source(), scratch, max_bytes=10_000_000)
    assert storage.downloads == 1


@pytest.mark.parametrize("there", [BODY[:-1], BODY[:-1] + b"x", b""])
def test_a_wrong_file_that_is_there_is_replaced(there: bytes, storage: CountingStorage, scratch: Path) -> None:
    (scratch / "source.pdf").write_bytes(there)
    assert fetch(storage, source(), scratch, max_bytes=10_000_000).read_bytes() == BODY


@pytest.mark.parametrize("stored", [BODY[:-1] + b"x", BODY + b"x"])
def test_other_bytes_than_registered_are_refused(stored: bytes, storage: CountingStorage, scratch: Path) -> None:
    storage.put(KEY, stored)
    with pytest.raises(Altered) as refused:
        fetch(storage, source(), scratch, max_bytes=10_000_000)
    assert "motion.pdf" in str(refused.value)
    assert KEY in str(refused.value)
    assert not list(scratch.iterdir())


def test_a_large_object_is_refused_before_it_is_fetched(storage: CountingStorage, scratch: Path) -> None:
    with pytest.raises(TooLarge) as refused:
        fetch(storage, source(), scratch, max_bytes=1000)
    assert "ASEAGI_MAX_BYTES" in str(refused.value)
    assert storage.downloads == 0


def test_a_missing_object_is_not_found(storage: CountingStorage, scratch: Path) -> None:
    with pytest.raises(NotFound):
        fetch(storage, source(key="raw/2026/11/23/fedcba9876543210.pdf"), scratch, max_bytes=10_000_000)
