"""Text layers that say something else than their pages show are noticed, and honest ones are believed."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.documents import Reading, Source
from aseagi_tasks.reading.contradiction import SURE, is_suspect
from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.settings import Settings
from aseagi_tasks.stages.analyze import _cautions
from aseagi_tasks.stages.doubt import believe, doubt
from aseagi_tasks.stages.intake import examine
from aseagi_tasks.stages.ocr import ocr
from aseagi_tasks.stages.rasterize import rasterize
from aseagi_tasks.stages.workplace import Workplace
from aseagi_tasks.stores.folder import FolderStorage

SHOWN = (
    "The tenant shall pay the landlord 4,500 dollars each month",
    "beginning on the first day of March and ending a year later",
    "The deposit is returned within thirty days of the end",
    "Neither party may assign this lease to anybody else",
)
SAID = (
    "The landlord forgives the tenant every debt of former years",
    "and takes back the notice that was served in January last",
    "No deposit was ever paid and nothing is to be returned here",
    "Both of them may assign whatever they like to whomever else",
)


@pytest.fixture(scope="module")
def tesseract() -> Tesseract:
    return Tesseract("eng")


def scan_with_text(path: Path, pages: list[tuple[str, ...]], shown: tuple[str, ...] = SHOWN) -> Path:
    """Pictures of pages over invisible text, as scanners that recognize leave them."""
    picture = Image.new("L", (1275, 1650), 255)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=30)
    for row, line in enumerate(shown):
        draw.text((150, 200 + 60 * row), line, 0, font=font)
    canvas = Canvas(str(path), pagesize=(612, 792), invariant=True)
    for lines in pages:
        out = io.BytesIO()
        picture.save(out, "PNG")
        canvas.drawImage(ImageReader(out), 0, 0, 612, 792)
        for row, line in enumerate(lines):
            text = canvas.beginText(72, 792 - (200 + 60 * row + 28) * 72 / 150)
            text.setFont("Helvetica", 13.6)
            text.setTextRenderMode(3)
            text.textLine(line)
            canvas.drawText(text)
        canvas.showPage()
    canvas.save()
    return path


def read(path: Path, tesseract: Tesseract, home: Path) -> Reading:
    """What the stages make of it, on a host that has none of it when recognition begins."""
    storage, settings = FolderStorage(home / "bucket"), Settings(home=home, _env_file=None)  # type: ignore[call-arg]
    storage.upload(path, "raw/a.pdf")
    source: Source = examine(path, path.name, "raw/a.pdf", max_bytes=10**8)
    place = Workplace("job", source, storage, settings)
    reading = doubt(place, place.rasterize(), tesseract.line)
    place = Workplace("job", source, storage, Settings(home=home / "other", _env_file=None))  # type: ignore[call-arg]
    place.ensure_images(reading)
    return believe(place, ocr(reading, place.scratch, tesseract))


def test_text_that_the_page_does_not_show_is_not_read_but_told(tesseract: Tesseract, tmp_path: Path) -> None:
    found = read(scan_with_text(tmp_path / "a.pdf", [SHOWN, SAID]), tesseract, tmp_path)
    honest, other = found.pages
    assert honest.source == "text-layer" and honest.text.split("\n")[0] == SHOWN[0]
    assert other.source == "tesseract"
    assert "4,500 dollars" in other.text and "forgives" not in other.text
    cautions = list(_cautions(found))
    assert {caution.page for caution in cautions} == {2}
    assert len([caution for caution in cautions if caution.kind == "contradicted"]) >= 2
    assert all(caution.box for caution in cautions)
    assert "forgives" not in "".join(caution.message for caution in cautions)


def test_another_amount_among_the_same_words_is_noticed(tesseract: Tesseract, tmp_path: Path) -> None:
    altered = (SHOWN[0].replace("4,500", "1,500"), *SHOWN[1:])
    found = read(scan_with_text(tmp_path / "a.pdf", [altered]), tesseract, tmp_path)
    assert found.pages[0].source == "tesseract" and "4,500" in found.text
    assert [hidden.why for hidden in found.pages[0].hidden] == ["contradicted"]


def test_an_operator_may_have_text_layers_believed(tesseract: Tesseract, tmp_path: Path) -> None:
    path = scan_with_text(tmp_path / "a.pdf", [SAID])
    settings = Settings(home=tmp_path, hidden_text="read", _env_file=None)  # type: ignore[call-arg]
    storage = FolderStorage(tmp_path / "bucket")
    storage.upload(path, "raw/a.pdf")
    place = Workplace("job", examine(path, path.name, "raw/a.pdf", max_bytes=10**8), storage, settings)
    assert "forgives" in doubt(place, place.rasterize(), tesseract.line).text


def test_recognition_that_is_not_sure_doubts_nothing(tesseract: Tesseract, tmp_path: Path) -> None:
    path = scan_with_text(tmp_path / "a.pdf", [SAID])
    with_layers = rasterize(
        *(path, "a.pdf", "application/pdf", tmp_path / "scratch"),
        **{"dpi": 300, "max_pages": 9, "max_page_pixels": 10**8, "timeout_s": 60},  # type: ignore[arg-type]
    )
    pages = with_layers.pages
    assert is_suspect(path, "a.pdf", pages, tesseract.line, timeout_s=60)
    assert not is_suspect(path, "a.pdf", pages, lambda *_: ("something else", SURE - 0.01), timeout_s=60)
