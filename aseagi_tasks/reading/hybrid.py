"""Tesseract reads all; what it is not sure of, and what it took for no text, TrOCR reads too; the surer one stays."""

from __future__ import annotations

from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.documents import Box, Line, OtherReading, Page
from aseagi_tasks.reading.lines import TextLine, find_lines
from aseagi_tasks.reading.recognizer import NEVER
from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.reading.trocr import TrOCR
from aseagi_tasks.reading.upright import Reader, read_upright

#: Lines of Tesseract with less than this calibrated confidence are read again.
SURE = 0.97
#: Where Tesseract sees no text, there is text only if TrOCR is so sure of it.
SURE_OF_MISSED = 0.9
#: Confidence → share of a line's characters that were right, measured on known pages made unclean
#: (benchmarks/ocr_accuracy.py --calibration prints both tables).
CALIBRATION: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "tesseract": (
        (0.400, 0.759, 0.899, 0.924, 0.945, 0.952, 0.958, 0.962, 0.968),
        (0.400, 0.878, 0.943, 0.969, 0.973, 0.982, 0.991, 0.998, 1.000),
    ),
    "trocr": (
        (0.450, 0.621, 0.855, 0.945, 0.967, 0.977, 0.986, 0.990, 0.995, 0.999, 1.000),
        (0.300, 0.472, 0.591, 0.872, 0.873, 0.920, 0.953, 0.963, 0.978, 0.990, 0.998),
    ),
}

Grey = NDArray[np.uint8]


def calibrated(line: Line) -> float:
    """The share of the line's characters that is likely right, in [0, 1]: comparable between engines."""
    return float(np.interp(line.confidence, *CALIBRATION[line.source]))


class Hybrid:
    """Implements ``Recognizer``."""

    at_once = TrOCR.at_once

    def __init__(self, tesseract: Tesseract, trocr: TrOCR) -> None:
        self.engine = f"hybrid {tesseract.engine}, {trocr.engine}"
        self._tesseract, self._trocr = tesseract, trocr

    def read(self, page: Page, image: Path, stop: Event = NEVER) -> Page:
        """Recognize a page. Raises what either engine does."""

        def lines(level: Grey, dpi: float) -> tuple[Line, ...]:
            first = self._tesseract.lines(level, dpi)
            missed = [line for line in find_lines(level, dpi) if not _is_among(line.box, first)]
            unsure = [line for line in first if calibrated(line) < SURE]
            boxes = [*(_padded(line.box, level) for line in unsure), *(line.box for line in missed)]
            second = self._trocr.read_boxes(level, dpi, boxes, stop)
            again = {id(line): other for line, other in zip(unsure, second, strict=False)}
            found = [_better(line, again.get(id(line))) for line in first]
            for place, line in zip(missed, second[len(unsure) :], strict=True):
                if line is not None and line.confidence >= SURE_OF_MISSED:
                    _insert(found, line, place)
            return tuple(found)

        return read_upright(page, image, Reader("hybrid", lines, self._tesseract.detect, self._tesseract.cleaning))


def _better(line: Line, other: Line | None) -> Line:
    """The surer line, which keeps what the other engine read. Its box and place stay Tesseract's."""
    if other is None or other.text == line.text:
        return line
    if calibrated(other) <= calibrated(line):
        kept = OtherReading(text=other.text, confidence=other.confidence, source=other.source)
        return line.model_copy(update={"other": kept})
    kept = OtherReading(text=line.text, confidence=line.confidence, source=line.source)
    return other.model_copy(update={"block": line.block, "box": line.box, "other": kept})


def _is_among(box: Box, lines: tuple[Line, ...]) -> bool:
    """Whether a third of the box lies within lines that were read."""
    area = (box.right - box.left) * (box.bottom - box.top)
    shared = 0
    for line in lines:
        across = min(box.right, line.box.right) - max(box.left, line.box.left)
        down = min(box.bottom, line.box.bottom) - max(box.top, line.box.top)
        shared += max(0, across) * max(0, down)
    return shared > area / 3


def _padded(box: Box, image: Grey) -> Box:
    """Tesseract's boxes hold the ink closely; the model learned from a little more."""
    pad = max(2, round(0.12 * (box.bottom - box.top)))
    height, width = image.shape
    return Box(
        max(0, box.left - pad), max(0, box.top - pad), min(width, box.right + pad), min(height, box.bottom + pad)
    )


def _insert(lines: list[Line], line: Line, place: TextLine) -> None:
    """Where it is read: before the first line that stands below it, in a paragraph of its own."""
    below = (
        at
        for at, other in enumerate(lines)
        if other.box.top >= place.box.top and min(other.box.right, line.box.right) > max(other.box.left, line.box.left)
    )
    at = next(below, len(lines))
    block = lines[at - 1].block if at else (lines[0].block if lines else 0)
    lines.insert(at, line.model_copy(update={"block": block}))
