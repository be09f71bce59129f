"""Telephones' pictures: HEIC as JPEG, several photographs as one PDF, the same bytes each time."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pikepdf
import pytest
from PIL import Image

from aseagi_tasks.errors import NotADocument, TooLarge, Unreadable
from aseagi_tasks.reading.embedding import bound_together
from aseagi_tasks.stages.heic import is_heic, to_jpeg
from aseagi_tasks.stages.intake import take_in
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.chain.telegram_papers import photograph


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    (tmp_path / "IMG_7.HEIC").write_bytes(photograph("A LETTER", form="HEIF"))
    return tmp_path / "IMG_7.HEIC"


def test_heic_is_told_by_its_bytes_and_becomes_the_same_jpeg_each_time(heic: Path, tmp_path: Path) -> None:
    assert is_heic(heic) and not is_heic(Path(__file__)) and not is_heic(tmp_path / "nothing")
    for name in ("a.jpg", "b.jpg"):
        to_jpeg(heic, tmp_path / name, "IMG_7.HEIC", max_bytes=10**8)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()
    with Image.open(tmp_path / "a.jpg") as picture:
        assert (picture.format, picture.size) == ("JPEG", (960, 1280))


def test_a_damaged_or_too_large_one_says_so(heic: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.heic").write_bytes(heic.read_bytes()[:300])
    with pytest.raises(Unreadable, match=r"torn\.heic"):
        to_jpeg(tmp_path / "torn.heic", tmp_path / "x.jpg", "torn.heic", max_bytes=10**8)
    with pytest.raises(TooLarge):
        to_jpeg(heic, tmp_path / "x.jpg", "IMG_7.HEIC", max_bytes=100)


def test_every_door_takes_heic_in_as_one_document(heic: Path, tmp_path: Path) -> None:
    storage, records = FolderStorage(tmp_path / "bucket"), SqliteRecords(tmp_path / "r.sqlite3")
    first, again = (take_in(heic, storage, records, today=date(2026, 11, 25), max_bytes=10**8) for _ in range(2))
    assert first == again
    assert (first.media_type, first.name) == ("image/jpeg", "IMG_7.HEIC")
    assert first.key == f"raw/2026/11/25/{first.document_id}.jpg"
    (tmp_path / "x.avif").write_bytes(b"\0\0\0\x1cftypavif" + bytes(40))
    with pytest.raises(NotADocument):
        take_in(tmp_path / "x.avif", storage, records, today=date(2026, 11, 25), max_bytes=10**8)


def test_photographs_become_the_pages_of_one_pdf_upright_and_in_order(tmp_path: Path) -> None:
    sizes = [(900, 1200), (1200, 900), (900, 1200)]
    paths = []
    for at, size in enumerate(sizes):
        picture = Image.new("RGB", size, (40 * at, 0, 0))
        exif = picture.getexif()
        exif[274] = 6 if at == 2 else 1  # the third lies on its side
        paths.append(tmp_path / f"{at}.jpg")
        picture.save(paths[-1], "JPEG", exif=exif)
    bound_together(paths, tmp_path / "a.pdf")
    bound_together(paths, tmp_path / "b.pdf")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()
    with pikepdf.open(tmp_path / "a.pdf") as pdf:
        boxes = [[round(float(edge)) for edge in page.mediabox[2:]] for page in pdf.pages]
        pictures = [bytes(page.get_images()["/Im"].read_raw_bytes()) for page in pdf.pages]
    assert boxes == [[594, 792], [792, 594], [792, 594]]
    assert pictures == [path.read_bytes() for path in paths]
