"""Searchable copies of real scans: every word is found where it was read, and the pages look as before."""

from __future__ import annotations

import html
import re
import subprocess
from pathlib import Path

import pikepdf
import pytest

from aseagi_tasks.documents import Page
from aseagi_tasks.reading.searchable import searchable_pdf
from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.stages.fetch import identify
from aseagi_tasks.stages.ocr import ocr
from aseagi_tasks.stages.rasterize import rasterize
from tests.accuracy import cer

pytestmark = pytest.mark.corpus

_WORD = re.compile(r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)">(.*?)</word>')


def pdftotext(path: Path, page: Page, *options: str) -> str:
    number = str(page.number)
    args = ["pdftotext", "-cropbox", "-f", number, "-l", number, *options, str(path), "-"]
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def rendered(path: Path) -> bytes:
    return subprocess.run(["pdftoppm", "-gray", "-r", "40", str(path)], capture_output=True, check=True).stdout


def misplaced(path: Path, page: Page) -> list[str]:
    """Words that are not found, or not within 2 points of where they begin and end on their line."""
    found: dict[str, list[tuple[float, float]]] = {}
    for left, _, right, _, text in _WORD.findall(pdftotext(path, page, "-bbox")):
        found.setdefault(html.unescape(text), []).append((float(left), float(right)))
    scale = 72 / page.dpi
    return [
        word.text
        for line in page.lines
        for word in line.words
        if not any(
            abs(left - word.box.left * scale) < 2 and abs(right - word.box.right * scale) < 2
            for left, right in found.get(word.text, ())
        )
    ]


@pytest.mark.parametrize(
    "name",
    ["image-pdf.pdf", "linn.pdf", "jbig2.pdf", "skew.pdf", "rotated_skew.pdf", "typewriter.png", "baiona_cmyk.jpg"],
)
def test_what_was_read_is_found_where_it_stands(
    corpus: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = corpus / "court" / name, tmp_path / "searchable.pdf"
    media_type = identify(path, name)
    pages = rasterize(
        path, name, media_type, tmp_path, dpi=300, max_pages=2000, max_page_pixels=40_000_000, timeout_s=60
    )
    reading = ocr(pages, tmp_path, Tesseract("eng"))
    assert searchable_pdf(path, media_type, reading, out)

    with pikepdf.open(out) as pdf:
        assert len(pdf.pages) == len(reading.pages)
    for page in reading.pages:
        words = sum(len(line.words) for line in page.lines)
        assert len(misplaced(out, page)) <= words // 100  # at most 1 in 700: it overlaps its neighbour
        assert cer(page.text, pdftotext(out, page, "-raw")) < 0.02  # in reading order, with spaces between the words
    if media_type == "application/pdf":
        added = (out.stat().st_size - path.stat().st_size) / len(reading.pages)
        with capsys.disabled():
            print(f"\n  {name:18} {added:6,.0f} bytes a page added", end="")
        assert added < 10_000  # 730 words on a page at most
        if not any(page.rotation for page in reading.pages):
            assert rendered(out) == rendered(path)
