"""The searchable copy: what was read can be found where it stands, and the page looks as before."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pikepdf
import pytest
from pikepdf import Array, Name
from PIL import Image, ImageDraw
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.documents import Box, Line, MediaType, Page, Reading, Word
from aseagi_tasks.reading.searchable import searchable_pdf

DPI = 100


def page(wide: int, high: int, words: list[Word], rotation: int = 0, number: int = 1) -> Page:
    line = Line(
        text=" ".join(word.text for word in words),
        box=Box(words[0].box.left, words[0].box.top, words[-1].box.right, words[0].box.bottom),
        confidence=0.9,
        source="tesseract",
        words=tuple(words),
    )
    return Page(
        number=number, width_px=wide, height_px=high, dpi=DPI, rotation=rotation, source="tesseract", lines=(line,)
    )


def found_words(path: Path, scale: float) -> list[tuple[str, tuple[float, ...]]]:
    """Words and boxes of the first page as a viewer shows it, in pixels."""
    out = subprocess.run(
        ["pdftotext", "-bbox", "-cropbox", str(path), "-"], capture_output=True, text=True, check=True
    ).stdout
    pattern = r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*?)</word>'
    return [(m[5], tuple(float(m[n]) * scale for n in range(1, 5))) for m in re.finditer(pattern, out)]


def empty(path: Path) -> None:
    """One page with nothing on it."""
    canvas = Canvas(str(path), invariant=True)
    canvas.showPage()
    canvas.save()


def rendered(path: Path) -> bytes:
    return subprocess.run(["pdftoppm", "-r", "50", "-cropbox", str(path)], capture_output=True, check=True).stdout


def sound(path: Path) -> None:
    subprocess.run(["qpdf", "--check", str(path)], check=True, capture_output=True)


WORDS = [Word("Hello", Box(120, 200, 180, 220), 0.9), Word("Wörld", Box(195, 200, 260, 220), 0.9)]


@pytest.mark.parametrize("added", [0, 90, 180, 270])
@pytest.mark.parametrize("own", [0, 90, 180, 270])
def test_words_stand_where_they_were_read(tmp_path: Path, own: int, added: int) -> None:
    """Whatever the page's rotation, origin and crop box; pixels are of the page as it is shown in the end."""
    canvas = Canvas(str(tmp_path / "a.pdf"), pagesize=(400, 600))
    canvas.rect(60, 60, 100, 50, fill=1)
    canvas.showPage()
    canvas.save()
    with pikepdf.open(tmp_path / "a.pdf", allow_overwriting_input=True) as pdf:
        pdf.pages[0].obj.MediaBox = Array([-10, 20, 390, 620])
        pdf.pages[0].obj.CropBox = Array([10, 50, 370, 600])
        pdf.pages[0].obj.Rotate = own
        pdf.save(tmp_path / "a.pdf")
    wide, high = 360 * DPI / 72, 550 * DPI / 72
    if (own + added) % 180:
        wide, high = high, wide
    reading = Reading(engine="t", pages=(page(round(wide), round(high), WORDS, added),))
    assert searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    sound(tmp_path / "b.pdf")
    found = found_words(tmp_path / "b.pdf", DPI / 72)
    assert [text for text, _ in found] == ["Hello", "Wörld"]
    for (_, box), word in zip(found, WORDS, strict=True):
        assert box[0] == pytest.approx(word.box.left, abs=3)
        assert box[2] == pytest.approx(word.box.right, abs=3)
        assert word.box.top - 6 <= box[1] <= box[3] <= word.box.bottom + 6
    with pikepdf.open(tmp_path / "b.pdf") as pdf:
        assert pdf.pages[0].obj.Rotate == (own + added) % 360


def test_page_looks_as_before_and_its_content_is_kept(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "a.pdf"))
    canvas.drawString(100, 700, "Printed")
    canvas.rotate(30)  # a matrix that the page leaves behind
    canvas.rect(300, 300, 50, 50, fill=1)
    canvas.save()
    reading = Reading(engine="t", pages=(page(827, 1169, WORDS),))
    assert searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    assert rendered(tmp_path / "a.pdf") == rendered(tmp_path / "b.pdf")
    assert {"Printed", "Hello", "Wörld"} <= {text for text, _ in found_words(tmp_path / "b.pdf", 1)}


def test_document_that_needs_no_text_is_copied_byte_by_byte(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "a.pdf"))
    canvas.drawString(100, 700, "Printed")
    canvas.save()
    read = page(827, 1169, WORDS).model_copy(update={"source": "text-layer"})
    searchable_pdf(tmp_path / "a.pdf", "application/pdf", Reading(engine="t", pages=(read,)), tmp_path / "b.pdf")
    assert (tmp_path / "a.pdf").read_bytes() == (tmp_path / "b.pdf").read_bytes()


def test_any_character_can_be_found(tmp_path: Path) -> None:
    empty(tmp_path / "a.pdf")
    text = "§ ¶ “quoted” – Čeština Ελληνικά Русский 日本語 𝔘"
    words, left = [], 50
    for part in text.split():
        words.append(Word(part, Box(left, 200, left + 12 * len(part), 220), 0.9))
        left += 12 * len(part) + 10
    reading = Reading(engine="t", pages=(page(827, 1169, words),))
    searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    assert " ".join(word for word, _ in found_words(tmp_path / "b.pdf", 1)) == text


def test_more_characters_than_one_font_holds(tmp_path: Path) -> None:
    empty(tmp_path / "a.pdf")
    text = "".join(chr(code) for code in range(0x4E00, 0x4E00 + 600))
    reading = Reading(engine="t", pages=(page(827, 1169, [Word(text, Box(10, 200, 800, 220), 0.9)]),))
    searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    assert "".join(word for word, _ in found_words(tmp_path / "b.pdf", 1)) == text


def test_same_input_gives_same_bytes(tmp_path: Path) -> None:
    empty(tmp_path / "a.pdf")
    reading = Reading(engine="t", pages=(page(827, 1169, WORDS),))
    for name in ("b.pdf", "c.pdf"):
        searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / name)
    assert (tmp_path / "b.pdf").read_bytes() == (tmp_path / "c.pdf").read_bytes()


def test_line_without_words_is_laid_over_its_box(tmp_path: Path) -> None:
    empty(tmp_path / "a.pdf")
    read = page(827, 1169, [Word("two words", Box(100, 200, 300, 230), 0.9)])
    bare = read.model_copy(update={"lines": (read.lines[0].model_copy(update={"words": ()}),)})
    searchable_pdf(tmp_path / "a.pdf", "application/pdf", Reading(engine="t", pages=(bare,)), tmp_path / "b.pdf")
    found = found_words(tmp_path / "b.pdf", DPI / 72)
    assert [text for text, _ in found] == ["two", "words"]
    assert found[-1][1][2] == pytest.approx(300, abs=3)


@pytest.mark.parametrize(
    ("mode", "suffix", "media_type"),
    [
        ("RGB", "jpg", "image/jpeg"),
        ("CMYK", "jpg", "image/jpeg"),
        ("L", "jpg", "image/jpeg"),
        ("RGBA", "png", "image/png"),
        ("LA", "png", "image/png"),
        ("P", "png", "image/png"),
        ("I;16", "png", "image/png"),
        ("1", "tif", "image/tiff"),
        ("RGB", "tif", "image/tiff"),
    ],
)
def test_image_becomes_a_page_of_its_size(tmp_path: Path, mode: str, suffix: str, media_type: MediaType) -> None:
    image = Image.new("L", (500, 700), 255)
    ImageDraw.Draw(image).rectangle((50, 100, 200, 300), fill=0)
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    path = tmp_path / f"source.{suffix}"
    image.save(path, **({"compression": "group4"} if mode == "1" else {}))
    assert searchable_pdf(path, media_type, Reading(engine="t", pages=(page(500, 700, WORDS),)), tmp_path / "b.pdf")
    sound(tmp_path / "b.pdf")
    with pikepdf.open(tmp_path / "b.pdf") as pdf:
        assert [float(value) for value in pdf.pages[0].mediabox] == pytest.approx([0, 0, 360, 504], abs=0.5)
    assert [text for text, _ in found_words(tmp_path / "b.pdf", 1)] == ["Hello", "Wörld"]
    if suffix == "jpg":  # the JPEG's own bytes, not encoded again
        scan = path.read_bytes()
        assert scan[-2000:-10] in (tmp_path / "b.pdf").read_bytes()


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photograph_is_shown_as_it_was_held(tmp_path: Path, orientation: int) -> None:
    image = Image.new("RGB", (500, 700), "white")
    exif = Image.Exif()
    exif[274] = orientation
    image.save(tmp_path / "source.jpg", exif=exif)
    wide, high = (700, 500) if orientation in (6, 8) else (500, 700)
    reading = Reading(engine="t", pages=(page(wide, high, WORDS),))
    assert searchable_pdf(tmp_path / "source.jpg", "image/jpeg", reading, tmp_path / "b.pdf")
    found = found_words(tmp_path / "b.pdf", DPI / 72)
    assert [text for text, _ in found] == ["Hello", "Wörld"]
    assert found[0][1][0] == pytest.approx(120, abs=3)


def test_frames_become_pages(tmp_path: Path) -> None:
    frames = [Image.new("1", (500, 700), 1), Image.new("L", (700, 500), 255), Image.new("RGB", (500, 700), "white")]
    frames[0].save(tmp_path / "source.tif", save_all=True, append_images=frames[1:])
    pages = (page(500, 700, WORDS), page(700, 500, WORDS, number=2), page(500, 700, WORDS, number=3))
    assert searchable_pdf(tmp_path / "source.tif", "image/tiff", Reading(engine="t", pages=pages), tmp_path / "b.pdf")
    with pikepdf.open(tmp_path / "b.pdf") as pdf:
        assert [round(float(one.mediabox[2])) for one in pdf.pages] == [360, 504, 360]


def test_locked_with_an_empty_password_is_unlocked(tmp_path: Path) -> None:
    empty(tmp_path / "a.pdf")
    with pikepdf.open(tmp_path / "a.pdf") as pdf:
        pdf.save(tmp_path / "locked.pdf", encryption=pikepdf.Encryption(owner="secret", user=""))
    reading = Reading(engine="t", pages=(page(827, 1169, WORDS),))
    assert searchable_pdf(tmp_path / "locked.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    with pikepdf.open(tmp_path / "b.pdf") as pdf:
        assert not pdf.is_encrypted


def test_original_that_cannot_be_taken_apart_is_published_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7 nothing that a library could open")
    reading = Reading(engine="t", pages=(page(827, 1169, WORDS),))
    assert not searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    assert (tmp_path / "b.pdf").read_bytes() == (tmp_path / "a.pdf").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "b.pdf"]


def test_resources_that_pages_share_stay_shared_and_whole(tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "a.pdf"))
    for number in range(3):
        canvas.drawString(100, 700, f"page {number}")
        canvas.showPage()
    canvas.save()
    with pikepdf.open(tmp_path / "a.pdf", allow_overwriting_input=True) as pdf:
        shared = pdf.make_indirect(pdf.pages[0].obj.Resources)
        for one in pdf.pages:
            one.obj.Resources = shared
        pdf.save(tmp_path / "a.pdf")
    pages = tuple(page(827, 1169, WORDS, number=n) for n in (1, 2, 3))
    assert searchable_pdf(tmp_path / "a.pdf", "application/pdf", Reading(engine="t", pages=pages), tmp_path / "b.pdf")
    sound(tmp_path / "b.pdf")
    assert [text for text, _ in found_words(tmp_path / "b.pdf", 1)].count("Hello") == 3
    with pikepdf.open(tmp_path / "b.pdf") as pdf:
        assert Name.Font in pdf.pages[0].obj.Resources
