"""Recognition of real scans against what is known to stand on them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.stages.fetch import identify
from aseagi_tasks.stages.ocr import ocr
from aseagi_tasks.stages.rasterize import rasterize
from tests.accuracy import cer

pytestmark = pytest.mark.corpus


def read(path: Path, scratch: Path) -> str:
    reading = rasterize(
        path,
        path.name,
        identify(path, path.name),
        scratch,
        dpi=300,
        max_pages=2000,
        max_page_pixels=40_000_000,
        timeout_s=60,
    )
    return ocr(reading, scratch, Tesseract("eng")).text


def first_pages(path: Path, last: int) -> str:
    return subprocess.run(
        ["pdftotext", "-l", str(last), str(path), "-"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize(
    ("file", "bound"),
    [
        ("image-pdf.pdf", 0.005),
        ("linn.pdf", 0.012),
        ("ccitt.pdf", 0.012),
        ("jbig2.pdf", 0.012),
        ("skew.pdf", 0.015),
        ("rotated_skew.pdf", 0.015),
    ],
)
def test_character_error_rate(
    corpus: Path, tmp_path: Path, file: str, bound: float, capsys: pytest.CaptureFixture[str]
) -> None:
    court = corpus / "court"
    truth = first_pages(court / "vector-pdf.pdf", 2) if file == "image-pdf.pdf" else (court / "linn.txt").read_text()
    found = cer(truth, read(court / file, tmp_path))
    with capsys.disabled():
        print(f"\n  {file:18} character error rate {found:.2%} (at most {bound:.1%})", end="")
    assert found <= bound
