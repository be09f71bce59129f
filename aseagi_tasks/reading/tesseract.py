"""Tesseract as a recognizer: turned upright, straightened, cleaned where it pays, read in this process.

In the process (tesserocr) and not as a program for each page (pytesseract): DESIGN.md has the measurement.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.documents import Box, Line, Page, Word
from aseagi_tasks.errors import ConfigError, OutOfMemory, Unreadable
from aseagi_tasks.reading import cleaning, orientation

# Before the library loads: two processes with threads of their own on two cores stall each other for minutes.
os.environ["OMP_THREAD_LIMIT"] = "1"

#: Less sure words and lines are stains, rules and shadows: text is not invented. On the corpus and the samples this
#: takes out 0 of 9,000 true lines and the lines that were read into photographs.
MIN_WORD_CONFIDENCE, MIN_LINE_CONFIDENCE = 0.1, 0.4
#: Tesseract's orientation and script detection is believed from this confidence (its own scale).
MIN_OSD_CONFIDENCE = 2.0
#: A page whose posture is in doubt and whose words are less sure than this is read the other way up too.
UNSURE = 0.75
PAGE_TIMEOUT_S = 120

Grey = NDArray[np.uint8]


class Tesseract:
    """Implements ``Recognizer``; each thread has an engine of its own, opened when first used.

    Args:
        languages: Tesseract's names joined by ``+``.
    Raises:
        ConfigError: Tesseract or a language is not installed.
    """

    def __init__(self, languages: str) -> None:
        import tesserocr

        self.languages = languages
        self.data = _data_folder(languages)
        self.engine = f"tesseract {tesserocr.tesseract_version().split()[1]} {languages}"
        self._engines = threading.local()

    def read(self, page: Page, image: Path) -> Page:
        """Recognize a page; one on which nothing is found has no lines and no confidence.

        Raises:
            Unreadable: the image is damaged, or it took longer than two minutes. OutOfMemory.
        """
        grey = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
        if grey is None:
            raise Unreadable(f"Page {page.number}", "its image is damaged")
        try:
            return self._read(page, grey.astype(np.uint8, copy=False))
        except (MemoryError, cv2.error) as exc:
            raise OutOfMemory(f"page {page.number} ({page.width_px} x {page.height_px} pixels)") from exc

    def _read(self, page: Page, grey: Grey) -> Page:
        shrink = min(1.0, orientation.MEASURING_DPI / page.dpi)
        small = cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        posture = orientation.measure(small)
        rotation = posture.rotation
        if not (posture.certain_axis and posture.certain_end):
            rotation = self._detected(small, rotation)
        best = self._turned(page, grey, rotation, posture)
        if not (posture.certain_axis and posture.certain_end) and 0 < (best.confidence or 0) < UNSURE:
            # read head down, text gives unsure words: the surer of both is right
            other = self._turned(page, grey, (rotation + 180) % 360, posture)
            best = max(best, other, key=lambda one: sum(word.confidence for line in one.lines for word in line.words))
        return best

    def _turned(self, page: Page, grey: Grey, rotation: int, posture: orientation.Posture) -> Page:
        """The page as read after a turn; half a turn keeps the skew, a quarter has none that was measured."""
        skew = posture.skew if rotation % 180 == posture.rotation % 180 else 0.0
        upright = cleaning.turn(grey, rotation)
        level, back = cleaning.straighten(upright, skew)
        lines = tuple(self._lines(cleaning.without_rules(cleaning.even_paper(level, page.dpi), page.dpi), page, back))
        words = [word.confidence for line in lines for word in line.words]
        return page.model_copy(
            update={
                "source": "tesseract",
                "rotation": rotation,
                "skew": round(skew, 2),
                "width_px": upright.shape[1],
                "height_px": upright.shape[0],
                "lines": lines,
                "confidence": round(sum(words) / len(words), 4) if words else None,
            }
        )

    def _detected(self, small: Grey, otherwise: int) -> int:
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

    def _lines(self, image: Grey, page: Page, back: NDArray[np.float64]) -> Iterator[Line]:
        import tesserocr

        api = self._engine(tesserocr.PSM.AUTO)
        _show(api, image, page.dpi)
        if not api.Recognize(PAGE_TIMEOUT_S * 1000):
            raise Unreadable(f"Page {page.number}", f"recognition took longer than {PAGE_TIMEOUT_S} s")
        level, block, words = tesserocr.RIL.WORD, -1, []
        at = api.GetIterator()
        height, width = image.shape
        for found in tesserocr.iterate_level(at, level) if at else ():
            if found.IsAtBeginningOf(tesserocr.RIL.PARA):
                block += 1
            if not found.Empty(level):
                confidence = found.Confidence(level) / 100
                text = found.GetUTF8Text(level).strip()
                if text and confidence >= MIN_WORD_CONFIDENCE:
                    box = _moved(found.BoundingBox(level), back, width, height)
                    words.append(Word(text, box, round(confidence, 4)))
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


def _moved(box: tuple[int, int, int, int], back: NDArray[np.float64], width: int, height: int) -> Box:
    """A box of the straightened page as the box around it on the upright page."""
    left, top, right, bottom = box
    corners = np.array([[left, top, 1], [right, top, 1], [left, bottom, 1], [right, bottom, 1]], np.float64)
    across, down = back @ corners.T
    return Box(
        int(np.clip(round(across.min()), 0, width - 1)),
        int(np.clip(round(down.min()), 0, height - 1)),
        int(np.clip(round(across.max()), 1, width)),
        int(np.clip(round(down.max()), 1, height)),
    )


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
