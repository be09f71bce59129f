"""Text layers as pdftotext reports them: order, boxes, and what is no text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pikepdf
import pytest
from pikepdf import Dictionary, Name

from aseagi_tasks.reading import textlayer
from aseagi_tasks.reading.poppler import Pdf
from aseagi_tasks.reading.textlayer import TextPage

Reader = Callable[..., list[TextPage]]

#: A character map that gives the glyphs from 32 to 126 wrong characters.
WRONG_MAP = """/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /W def /CMapType 2 def
1 begincodespacerange <00> <ff> endcodespacerange 1 beginbfrange <20> <7e> {to} endbfrange
endcmap CMapName currentdict /CMap defineresource pop end end"""


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    def read(*pages: bytes, mapped_to: str = "") -> list[TextPage]:
        """Pages of these content streams in Helvetica; ``mapped_to`` is what its character map gives."""
        pdf = pikepdf.new()
        font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica, Encoding=Name.WinAnsiEncoding)
        if mapped_to:
            font.ToUnicode = pdf.make_stream(WRONG_MAP.format(to=mapped_to).encode())
        for content in pages:
            resources = Dictionary(Font=Dictionary(F=font))
            page = Dictionary(Type=Name.Page, MediaBox=[0, 0, 612, 792], Resources=resources)
            page.Contents = pdf.make_stream(content)
            pdf.pages.append(pikepdf.Page(page))
        pdf.save(tmp_path / "given.pdf")
        Pdf(tmp_path / "given.pdf", "given.pdf", max_pages=99, timeout_s=60).write_text(tmp_path / "text")
        return list(textlayer.read(tmp_path / "text"))

    return read


def text(x: float, y: float, words: str, size: float = 12) -> bytes:
    escaped = words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
    return f"BT /F {size} Tf {x} {y} Td ({escaped}) Tj ET\n".encode("cp1252")


def lines(page: TextPage) -> list[str]:
    return [line.text for line in page.to_lines(1, 612, 792, np.ones(len(page.words), bool))]


def test_words_come_with_their_boxes(read: Reader) -> None:
    page = read(text(100, 700, "Motion denied."))[0]
    assert page.words == ["Motion", "denied."]
    line = page.to_lines(300 / 72, 2550, 3300, np.array([True, True]))[0]
    assert line.text == "Motion denied."
    assert [word.confidence for word in line.words] == [1.0, 1.0]
    assert line.confidence == 1.0
    assert line.box.left == pytest.approx(100 * 300 / 72, abs=2)
    assert line.box.top < (792 - 700) * 300 / 72 < line.box.bottom
    assert (line.box.left, line.box.right) == (line.words[0].box.left, line.words[1].box.right)
    assert line.source == "text-layer"


def test_words_that_cannot_be_seen_come_apart_from_the_lines(read: Reader) -> None:
    page = read(text(100, 700, "Motion of John Doe is denied.") + text(100, 600, "Granted"))[0]
    seen = np.array([True, True, False, False, True, True, False])
    covered = np.array([False, False, True, True, False, False, False])
    assert [line.text for line in page.to_lines(1, 612, 792, seen)] == ["Motion of is denied."]
    hidden = page.hidden(1, 612, 792, seen, covered)
    assert [(words.text, words.why) for words in hidden] == [("John Doe", "covered"), ("Granted", "invisible")]
    whole = page.to_lines(1, 612, 792, np.ones(7, bool))[0].box
    assert whole.left < hidden[0].box.left < hidden[0].box.right < whole.right


def test_columns_are_read_one_after_the_other(read: Reader) -> None:
    left = [f"left column line {n} of the text" for n in range(10)]
    right = [f"right column line {n} of the text" for n in range(10)]
    rows = b"".join(
        text(60, 700 - 14 * n, a) + text(330, 700 - 14 * n, b) for n, (a, b) in enumerate(zip(left, right, strict=True))
    )
    page = read(rows)[0]
    assert lines(page) == left + right
    blocks = [line.block for line in page.to_lines(1, 612, 792, np.ones(len(page.words), bool))]
    assert blocks == sorted(blocks)
    assert blocks[0] != blocks[-1]


def test_pages_keep_their_places(read: Reader) -> None:
    pages = read(text(72, 700, "One"), b"", text(72, 700, "Three"))
    assert [page.words for page in pages] == [["One"], [], ["Three"]]


def test_markup_in_a_document_stays_text(read: Reader) -> None:
    words = "</word></page><page> a&b &lt; &amp;amp; \"q\" 'r' <word"
    assert " ".join(read(text(72, 700, words))[0].words) == words


def test_control_characters_are_not_kept(read: Reader) -> None:
    page = read(b"BT /F 12 Tf 72 700 Td <43006C1B61150369> Tj ET", mapped_to="")[0]
    assert all(line.isprintable() for line in lines(page))


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("plain", "plain"),
        ("non\u00adbreaking", "non-breaking"),
        ("\uf0b7", "•"),
        ("a\x00b\x07c", "abc"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("\ud800x", "x"),
        ("na\u00efve", "na\u00efve"),
        ("\u200b", ""),
    ],
)
def test_clean_keeps_what_can_be_seen(given: str, kept: str) -> None:
    assert textlayer.clean(given) == kept


def test_words_of_nothing_make_no_line() -> None:
    page = TextPage(["\u200b", "\x00"], np.zeros((2, 4)), [textlayer.Span(0, 0, 2)])
    assert page.to_lines(1, 100, 100, np.ones(2, bool)) == ()


def test_boxes_are_cut_at_the_page() -> None:
    page = TextPage(["a"], np.array([[-50.0, -1e12, 1e12, 4.0]]), [textlayer.Span(0, 0, 1)])
    assert page.to_lines(1, 100, 100, np.ones(1, bool))[0].box == (0, 0, 100, 4)
    page = TextPage(["a"], np.array([[500.0, 500.0, 600.0, 600.0]]), [textlayer.Span(0, 0, 1)])
    assert page.to_lines(1, 100, 100, np.ones(1, bool))[0].box == (99, 99, 100, 100)


SENTENCE = (
    "The defendants moved to dismiss the complaint for failure to state a claim upon which relief can be granted."
)


@pytest.mark.parametrize(
    "mapped_to", ["<E020>", "<0001>", "<2200>", "<F0000>", f"[{'<FFFD>' * 95}]", f"[{'<0000>' * 95}]"]
)
def test_a_broken_font_makes_garbage(mapped_to: str, read: Reader) -> None:
    page = read(text(40, 700, SENTENCE, 10), mapped_to=mapped_to)[0]
    assert page.words == [] or page.is_garbage


@pytest.mark.parametrize(
    "words",
    [
        SENTENCE,
        "Page 3",
        "Introduction ........................................ 1",
        "Name: ______________________ Date: ____/____/______ $ 1,234.56 (12.5%)",
        "\u2022 \u2022 \u2022 First point of three",
        "§§ 1983, 1985(3); 42 U.S.C. § 1988 & Fed. R. Civ. P. 12(b)(6)",
        "* * * * *",
        ") ) ) ) ) ) Case No. 20-cv-1",
    ],
)
def test_what_lawyers_write_is_no_garbage(words: str, read: Reader) -> None:
    assert not read(text(40, 700, words, 9))[0].is_garbage


def test_other_scripts_are_no_garbage() -> None:
    for words in ("Требование о предоставлении документов", "訴状 原告 被告 請求の趣旨", "طلب إلى المحكمة العليا"):
        assert not TextPage(words.split(), np.zeros((9, 4)), []).is_garbage


@pytest.mark.parametrize(
    ("cosine", "sine", "y"), [(0.7, 0.7, 300), (0.87, 0.5, 300), (0.5, 0.87, 150), (0.7, -0.7, 700)]
)
def test_diagonal_watermarks_are_left_out(cosine: float, sine: float, y: float, read: Reader) -> None:
    drawn = f"BT {cosine} {sine} {-sine} {cosine} 100 {y} Tm /F 60 Tf (CONFIDENTIAL) Tj ET\n".encode()
    for content in (drawn + text(72, 750, "Motion denied."), text(72, 750, "Motion denied.") + drawn):
        page = read(content)[0]
        assert lines(page) == ["Motion denied."]
        assert page.words == ["Motion", "denied."]
        assert len(page.boxes) == 2


def test_large_letters_side_by_side_are_kept(read: Reader) -> None:
    letters = b"".join(text(72 + 150 * n, 500 - 2 * n, letter, 60) for n, letter in enumerate("ABC"))
    assert sorted("".join(lines(read(letters)[0]))) == ["A", "B", "C"]
