"""Documents whose lines TrOCR reads, many at once in one process that is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from PIL import Image, ImageDraw, ImageFont
from reportlab.pdfbase.pdfmetrics import getFont

from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.reading.trocr import TrOCR
from aseagi_tasks.samples.fonts import find_fonts
from aseagi_tasks.stages.fetch import identify
from aseagi_tasks.stages.ocr import ocr
from aseagi_tasks.stages.rasterize import rasterize
from aseagi_tasks.stores.folder import FolderStorage
from tests.accuracy import cer
from tests.chain.conftest import ASEAGI, WAIT_S, Up, processes_of, until

SMALL = Path(__file__).parents[2] / "models" / "lines"
COUNT = 30


def text_of(number: int) -> list[str]:
    """What stands on the letter: as many lines as make documents of different lengths."""
    things = ["a lamp", "two chairs", "the dog", "one piano", "her books", "his tools", "a boat", "four plates"]
    return [
        "SUPERIOR COURT OF CALIFORNIA",
        f"Case No. FL-2024-{1873 + 17 * number:06d}",
        f"Declaration number {number + 1} of the Petitioner",
        *(f"{at + 1}. On May {at + 1}, 2024, I gave {things[(number + at) % 8]} back." for at in range(number % 9)),
        f"Dated: June {number + 1}, 2024",
    ]


def scanned(folder: Path, number: int) -> Path:
    """A letter as a picture: nothing but recognition gives its text."""
    font = ImageFont.truetype(getFont(find_fonts().name("serif")).face.filename, 44)
    page = Image.new("L", (2550, 1700), 255)
    pen = ImageDraw.Draw(page)
    for at, line in enumerate(text_of(number)):
        pen.text((300, 150 + 110 * at), line, font=font, fill=0)
    path = folder / f"letter-{number:02d}.png"
    page.save(path, dpi=(300, 300))
    return path


def alone(path: Path, scratch: Path, recognizer: TrOCR) -> str:
    """The document's text when nothing else is read."""
    limits = {"dpi": 300, "max_pages": 10, "max_page_pixels": 40_000_000, "timeout_s": 60}
    reading = rasterize(path, path.name, identify(path, path.name), scratch, **limits)  # type: ignore[arg-type]
    return ocr(reading, scratch, recognizer).text


@pytest.fixture
def up() -> Iterator[Up]:
    with (
        TemporaryDirectory(prefix="aseagi-up-", ignore_cleanup_errors=True) as folder,
        Up(Path(folder), ASEAGI_OCR_ENGINE="trocr", ASEAGI_TROCR_MODEL=str(SMALL)) as one,
    ):
        yield one


def test_thirty_at_once_and_the_reader_killed(up: Up, tmp_path: Path) -> None:
    paths = [scanned(tmp_path, number) for number in range(COUNT)]
    command = [*ASEAGI, "process", *map(str, paths), "--json"]
    with (tmp_path / "results").open("wb") as results:
        running = subprocess.Popen(command, env=up.environment, stdout=results, stderr=subprocess.DEVNULL)

        def reader() -> int:
            return next((child.pid for child in up.stack.children() if child.name == "lines"), 0)

        def read() -> int:
            log = up.home / "logs" / "lines.log"
            return log.read_text().count("aseagi.ocr") if log.exists() else 0

        # some have been read, many are being read
        until(lambda: read() >= COUNT + 3 or running.poll() is not None, lambda: up.said)
        assert running.poll() is None, "all were read before the reader could be killed"
        victim = reader()
        os.kill(victim, signal.SIGKILL)
        assert running.wait(4 * WAIT_S) == 0, (tmp_path / "results").read_text() + up.said
    assert reader() not in (0, victim)

    documents = {document["name"]: document for document in json.loads((tmp_path / "results").read_text())}
    recognizer = TrOCR(str(SMALL), Tesseract("eng").detect)
    assert len(documents) == COUNT
    for number, path in enumerate(paths):
        document = documents[path.name]
        assert document["status"] == "completed"
        text = FolderStorage(up.home / "aseagi-documents").get(document["keys"]["ocr.txt"]).decode()
        scratch = tmp_path / f"scratch-{number}"
        scratch.mkdir()
        assert text == alone(path, scratch, recognizer)
        assert cer("\n".join(text_of(number)), text) <= 0.05
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(WAIT_S) == 0, up.said
    assert processes_of(up.home) == []
