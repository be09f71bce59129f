"""The searchable copy: what was read can be found where it stands, and the page looks as before."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
from pikepdf import Array, Dictionary, Name
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.documents import Box, Line, Page, Reading, Word
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


def blank(path: Path, content: bytes = b"", **given: Any) -> None:
    """A PDF of one letter page, with its attributes and content."""
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(612, 792))
    for key, value in given.items():
        pdf.pages[0].obj[f"/{key}"] = value
    pdf.pages[0].obj.Contents = pdf.make_stream(content)
    pdf.save(path)


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
        assert box == pytest.approx(word.box, abs=1)
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


@pytest.mark.parametrize(
    "content",
    [
        b"q q 2 0 0 2 50 50 cm",
        b"Q Q 2 0 0 2 50 50 cm",
        b"0 0 10 10 re W n",
        b"q BT",
        b"q 1 0 0 1 0 0 cm (unfinished",
        b"q BI /W 9 /H 9 /BPC 8 /CS /G ID x",
    ],
)
def test_what_a_page_leaves_behind_does_not_move_the_text(tmp_path: Path, content: bytes) -> None:
    blank(tmp_path / "a.pdf", content)
    reading = Reading(engine="t", pages=(page(850, 1100, WORDS),))
    assert searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    for (_, box), word in zip(found_words(tmp_path / "b.pdf", DPI / 72), WORDS, strict=True):
        assert box == pytest.approx(word.box, abs=1)


@pytest.mark.parametrize(
    "attributes",
    [
        {"CropBox": Array([-100, -100, 700, 900])},
        {"MediaBox": Array([612, 792, 0, 0])},
        {"UserUnit": 2},
        {"Rotate": 45},
    ],
)
def test_boxes_are_taken_as_the_renderer_takes_them(tmp_path: Path, attributes: dict[str, Any]) -> None:
    blank(tmp_path / "a.pdf", **attributes)
    reading = Reading(engine="t", pages=(page(850, 1100, WORDS),))
    assert searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    assert found_words(tmp_path / "b.pdf", DPI / 72)[0][1] == pytest.approx(WORDS[0].box, abs=1)


def test_what_a_page_inherits_stays_its_own(tmp_path: Path) -> None:
    blank(tmp_path / "a.pdf", b"BT /F 20 Tf 100 100 Td (Kept) Tj ET")
    with pikepdf.open(tmp_path / "a.pdf", allow_overwriting_input=True) as pdf:
        above, own = pdf.Root.Pages, pdf.pages[0].obj
        above.Rotate, above.MediaBox = 90, own.MediaBox
        font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
        above.Resources = Dictionary(Font=Dictionary(F=font))
        for key in ("/MediaBox", "/Resources"):
            if key in own:
                del own[key]
        pdf.save(tmp_path / "a.pdf")
    reading = Reading(engine="t", pages=(page(1100, 850, WORDS),))
    assert searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    found = dict(found_words(tmp_path / "b.pdf", DPI / 72))
    assert set(found) == {"Kept", "Hello", "Wörld"}
    assert found["Hello"] == pytest.approx(WORDS[0].box, abs=1)


def test_only_recognized_lines_are_added_and_every_word_of_them(tmp_path: Path) -> None:
    """Words may have characters that their line's text has not, and characters that are none."""
    blank(tmp_path / "a.pdf")
    recognized = page(850, 1100, [Word("a\x00\x0cb", Box(10, 10, 60, 30), 0.9), *WORDS]).lines[0]
    printed = Line(text="Stamp", box=Box(10, 100, 90, 120), confidence=1, source="text-layer")
    read = page(850, 1100, WORDS).model_copy(
        update={"lines": (printed, recognized.model_copy(update={"text": "Hello"}))}
    )
    reading = Reading(engine="t", pages=(read,))
    assert searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    assert [text for text, _ in found_words(tmp_path / "b.pdf", 1)] == ["a", "b", "Hello", "Wörld"]


def test_words_that_overlap_stay_two_words_of_one_line(tmp_path: Path) -> None:
    blank(tmp_path / "a.pdf")
    words = [Word("abc", Box(10, 10, 60, 30), 0.9), Word("xyz", Box(50, 10, 90, 30), 0.9)]
    reading = Reading(engine="t", pages=(page(850, 1100, words),))
    searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    assert plain(tmp_path / "b.pdf") == ["abc xyz"]


def plain(path: Path) -> list[str]:
    """Lines of text in the order in which pdftotext finds them."""
    out = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True).stdout
    return [line for line in out.replace("\f", "\n").split("\n") if line]


def skewed(degrees: float) -> Page:
    """A page of text that rises, with boxes as recognition has them: around the words as they lie."""
    text = "It is hereby ordered that the motion of the defendant to dismiss the complaint is denied in all respects"
    slope, lines = np.tan(np.radians(degrees)), []
    for number in range(15):
        words, left = [], 150
        for part in text.split()[number % 7 :]:
            wide = 19 * len(part)
            middle = 400 + 60 * number - (left + wide / 2 - 1200) * slope
            half = (40 + wide * abs(slope)) / 2
            words.append(Word(part, Box(left, round(middle - half), left + wide, round(middle + half)), 0.9))
            left += wide + 14
        tops, bottoms = [word.box.top for word in words], [word.box.bottom for word in words]
        line = page(1, 1, words).lines[0]
        lines.append(line.model_copy(update={"box": Box(150, min(tops), left - 14, max(bottoms))}))
    read = page(2550, 3300, WORDS)
    return read.model_copy(update={"lines": tuple(lines), "skew": degrees, "dpi": 300.0})


@pytest.mark.parametrize("degrees", [0, 0.4, 1, 3, -2])
def test_lines_of_a_skewed_page_stay_whole_and_in_order(tmp_path: Path, degrees: float) -> None:
    blank(tmp_path / "a.pdf")
    read = skewed(degrees)
    searchable_pdf(tmp_path / "a.pdf", "application/pdf", Reading(engine="t", pages=(read,)), tmp_path / "b.pdf")
    assert plain(tmp_path / "b.pdf") == [line.text for line in read.lines]
    if abs(degrees) < 0.5:  # what a feeder does: every word is marked where it stands
        words = [word for line in read.lines for word in line.words]
        for (_, box), word in zip(found_words(tmp_path / "b.pdf", 300 / 72), words, strict=True):
            assert (box[1] + box[3]) / 2 == pytest.approx((word.box.top + word.box.bottom) / 2, abs=4)


def test_page_of_text_adds_less_than_five_kilobytes(tmp_path: Path) -> None:
    blank(tmp_path / "a.pdf")
    reading = Reading(engine="t", pages=(skewed(0.4),))
    searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "b.pdf")
    assert (tmp_path / "b.pdf").stat().st_size - (tmp_path / "a.pdf").stat().st_size < 5000


def test_searchable_copy_of_a_searchable_copy_keeps_both_texts(tmp_path: Path) -> None:
    blank(tmp_path / "a.pdf")
    other = [Word("Żółw", Box(120, 400, 180, 420), 0.9)]
    for source, target, words in (("a.pdf", "b.pdf", WORDS), ("b.pdf", "c.pdf", other)):
        reading = Reading(engine="t", pages=(page(850, 1100, words),))
        assert searchable_pdf(tmp_path / source, "application/pdf", reading, tmp_path / target)
    assert {text for text, _ in found_words(tmp_path / "c.pdf", 1)} == {"Hello", "Wörld", "Żółw"}


def test_full_disk_is_no_broken_original(tmp_path: Path) -> None:
    blank(tmp_path / "a.pdf")
    reading = Reading(engine="t", pages=(page(850, 1100, WORDS),))
    with pytest.raises(OSError):
        searchable_pdf(tmp_path / "a.pdf", "application/pdf", reading, tmp_path / "missing" / "b.pdf")
