"""Tesseract as a recognizer, in this process.

In the process (tesserocr) and not as a program for each page (pytesseract): DESIGN.md has the measurement.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator, Set
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.documents import Box, Line, Page, Word
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.reading import orientation
from aseagi_tasks.reading.recognizer import NEVER
from aseagi_tasks.reading.upright import Reader, read_upright
from aseagi_tasks.settings import CLEANING, CleaningStep

# Before the library loads: two processes with threads of their own on two cores stall each other for minutes.
os.environ["OMP_THREAD_LIMIT"] = "1"

#: Less sure words and lines are stains, rules and shadows: text is not invented. On the corpus and the samples this
#: takes out 0 of 9,000 true lines and the lines that were read into photographs.
MIN_WORD_CONFIDENCE, MIN_LINE_CONFIDENCE = 0.1, 0.4
#: Tesseract's orientation and script detection is believed from this confidence (its own scale).
MIN_OSD_CONFIDENCE = 2.0
PAGE_TIMEOUT_S = 120

Grey = NDArray[np.uint8]


class Tesseract:
    """Implements ``Recognizer``; each thread has an engine of its own, opened when first used.

    Args:
        languages: Tesseract's names joined by ``+``.
        cleaning: what is done to pages before.
    Raises:
        ConfigError: Tesseract or a language is not installed.
    """

    at_once = 1

    def __init__(self, languages: str, cleaning: Set[CleaningStep] = CLEANING) -> None:
        import tesserocr

        self.languages, self.cleaning = languages, cleaning
        self.data = _data_folder(languages)
        self.engine = f"tesseract {tesserocr.tesseract_version().split()[1]} {languages}"
        self._engines = threading.local()

    def read(self, page: Page, image: Path, stop: Event = NEVER) -> Page:
        """Recognize a page; one on which nothing is found has no lines and no confidence.

        Raises:
            Unreadable: the image is damaged, or it took longer than two minutes. OutOfMemory.
        """
        return read_upright(page, image, Reader("tesseract", self.lines, self.detect, self.cleaning))

    def detect(self, small: Grey, otherwise: int) -> int:
        """Tesseract's own word on which way is up, where its data are there and it is sure of it."""
        import tesserocr

        if not (Path(self.data) / "osd.traineddata").is_file():
            return otherwise
        osd = self._engine(tesserocr.PSM.OSD_ONLY)
        _show(osd, small, orientation.MEASURING_DPI)
        found = osd.DetectOrientationScript()
        if not found or found["orient_conf"] < MIN_OSD_CONFIDENCE:
            return otherwise
        return int(found["orient_deg"]) % 360

    def lines(self, image: Grey, dpi: float) -> tuple[Line, ...]:
        """The lines of a level page, with boxes in its image.

        Raises:
            TimeoutError: it took longer than two minutes. Its argument is the limit in seconds.
        """
        return tuple(self._lines(image, dpi))

    def line(self, image: Grey, dpi: float) -> tuple[str, float]:
        """The text of a picture of one line, and how sure of it; 12 ms."""
        import tesserocr

        api = self._engine(tesserocr.PSM.SINGLE_LINE)
        _show(api, image, dpi)
        text = api.GetUTF8Text().strip()
        confidence = api.MeanTextConf() / 100
        api.Clear()
        return text, confidence

    def _lines(self, image: Grey, dpi: float) -> Iterator[Line]:
        import tesserocr

        api = self._engine(tesserocr.PSM.AUTO)
        _show(api, image, dpi)
        if not api.Recognize(PAGE_TIMEOUT_S * 1000):
            raise TimeoutError(PAGE_TIMEOUT_S)
        level, block, words = tesserocr.RIL.WORD, -1, []
        at = api.GetIterator()
        for found in tesserocr.iterate_level(at, level) if at else ():
            if found.IsAtBeginningOf(tesserocr.RIL.PARA):
                block += 1
            if not found.Empty(level):
                confidence = found.Confidence(level) / 100
                text = found.GetUTF8Text(level).strip()
                if text and confidence >= MIN_WORD_CONFIDENCE:
                    words.append(Word(text, Box(*found.BoundingBox(level)), round(confidence, 4)))
            if found.IsAtFinalElement(tesserocr.RIL.TEXTLINE, level) and words:
                line = _line(words, max(block, 0))
                if line.confidence >= MIN_LINE_CONFIDENCE:
                    yield line
                words = []
        api.Clear()

    def _engine(self, mode: int) -> Any:
        """This thread's engine for a page segmentation mode; opening one costs 0.1 s."""
        import tesserocr

        engines: dict[str, Any] = self._engines.__dict__
        key = f"mode{mode}"
        if key not in engines:
            languages = "osd" if mode == tesserocr.PSM.OSD_ONLY else self.languages
            oem = tesserocr.OEM.DEFAULT if languages == "osd" else tesserocr.OEM.LSTM_ONLY
            try:
                engines[key] = tesserocr.PyTessBaseAPI(path=self.data, lang=languages, psm=mode, oem=oem)
            except RuntimeError as exc:
                raise ConfigError("ASEAGI_OCR_LANGUAGES", f"{languages} cannot be loaded.", _CURE) from exc
        return engines[key]


_CURE = "apt-get install tesseract-ocr tesseract-ocr-eng tesseract-ocr-osd (or: brew install tesseract)."


@cache
def _data_folder(languages: str) -> str:
    """Where the language data lie, as the installed program says."""
    try:
        ran = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, timeout=20, check=False)
    except OSError as exc:
        raise ConfigError("tesseract", "is not installed.", _CURE) from exc
    found = re.search(r'"([^"]+)"', ran.stdout + ran.stderr)
    missing = sorted(set(languages.split("+")) - set(ran.stdout.split()))
    if found is None:
        raise ConfigError("tesseract", "does not say where its language data are.", _CURE)
    if missing:
        packages = " ".join(f"tesseract-ocr-{name.replace('_', '-')}" for name in missing)
        raise ConfigError("ASEAGI_OCR_LANGUAGES", f"{', '.join(missing)} not installed.", f"apt-get install {packages}")
    return found[1]


def _show(api: Any, image: Grey, dpi: float) -> None:
    height, width = image.shape
    api.SetImageBytes(np.ascontiguousarray(image).tobytes(), width, height, 1, width)
    api.SetSourceResolution(round(dpi))


def _line(words: list[Word], block: int) -> Line:
    left, top, right, bottom = zip(*(word.box for word in words), strict=True)
    return Line(
        text=" ".join(word.text for word in words),
        box=Box(min(left), min(top), max(right), max(bottom)),
        confidence=round(sum(word.confidence for word in words) / len(words), 4),
        source="tesseract",
        block=block,
        words=tuple(words),
    )
