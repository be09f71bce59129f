"""Text layers that say something else than their pages show: found by reading a few lines of them, cheaply.

A line of the first and one of the last page are rendered and read. Where one of them is not what the text layer says,
no page's text layer is believed: all are recognized, and held against it line by line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from aseagi_tasks.analysis.evidence import fold, skeleton
from aseagi_tasks.documents import HiddenText, Line, Page
from aseagi_tasks.reading import ink
from aseagi_tasks.reading.ink import Grey
from aseagi_tasks.reading.poppler import strip

#: One line of each of so many pages is read: the first and the last.
SAMPLE_PAGES = 2
#: At this resolution Tesseract has .98 of a line's letters at least (48 lines of 10 born-digital samples and filings).
SAMPLE_DPI = 150.0
#: Lines with fewer letters say too little.
MIN_LETTERS = 12
#: What is less alike is other text; what recognition is less sure of decides nothing, and of figures still less.
ALIKE, SURE, SURE_OF_FIGURES = 0.75, 0.80, 0.92
_PAD_IN = 0.03

#: One line's picture and its resolution to its text and confidence.
ReadLine = Callable[[Grey, float], tuple[str, float]]


def is_suspect(path: Path, name: str, pages: Sequence[Page], read_line: ReadLine, *, timeout_s: float) -> bool:
    """Whether a line of a sample is not what its text layer says.

    Args:
        path: the PDF.
        pages: with text layers.
    Raises:
        Unreadable: a page could not be rendered.
    """
    sample = [(page, line) for page in _spread(pages) if (line := _telling(page))]
    if not sample:
        return False
    with TemporaryDirectory(dir=path.parent) as folder:
        for page, line in sample:
            box, out = _around(line, page), Path(folder) / str(page.number)
            image = strip(path, name, page.number, box, out, dpi=SAMPLE_DPI, timeout_s=timeout_s)
            text, confidence = read_line(_framed(ink.read_pgm(image)), SAMPLE_DPI)
            if confidence >= SURE and (_is_other(line.text, text) or _has_other_figures(line.text, text)):
                return True
    return False


def settled(layer: Page, seen: Page) -> Page:
    """The page as it is to be believed.

    Args:
        layer: with its text layer's lines.
        seen: as it was recognized.
    Returns:
        The text layer's page where recognition reads the same; else the recognized one, and what it contradicts.
    """
    wrong = tuple(_contradicted(layer, seen))
    if not wrong:
        return layer
    hidden = tuple(HiddenText(text=line.text, box=line.box, why="contradicted") for line in wrong)
    return seen.model_copy(update={"hidden": (*layer.hidden, *hidden)})


def _spread(pages: Sequence[Page]) -> list[Page]:
    places = {at * (len(pages) - 1) // max(1, SAMPLE_PAGES - 1) for at in range(SAMPLE_PAGES)} if pages else set()
    return [pages[at] for at in sorted(places)]


def _telling(page: Page) -> Line | None:
    """A line that is long enough, with figures if there is one; which, its text decides, and nobody who wrote it."""
    long = [line for line in page.lines if sum(map(str.isalnum, line.text)) >= MIN_LETTERS and _is_level(line)]
    figures = [line for line in long if sum(map(str.isdigit, line.text)) >= 3]
    whole = hashlib.sha256(page.text.encode()).digest()
    chosen = figures or long
    return chosen[int.from_bytes(whole[:4], "big") % len(chosen)] if chosen else None


def _is_level(line: Line) -> bool:
    return line.box.right - line.box.left > 2 * (line.box.bottom - line.box.top)


def _around(line: Line, page: Page) -> tuple[int, int, int, int]:
    """Where a line is, with something around it, in pixels at ``SAMPLE_DPI``."""
    scale, pad = SAMPLE_DPI / page.dpi, round(_PAD_IN * SAMPLE_DPI)
    left, top, right, bottom = (round(edge * scale) for edge in line.box)
    width, height = round(page.width_px * scale), round(page.height_px * scale)
    return max(0, left - 2 * pad), max(0, top - pad), min(width, right + 2 * pad), min(height, bottom + pad)


def _framed(strip_image: Grey) -> Grey:
    return np.ascontiguousarray(np.pad(strip_image, 10, constant_values=255))


def _contradicted(layer: Page, seen: Page) -> Iterator[Line]:
    """Lines of the text layer in whose place recognition is sure of other words."""
    scale = layer.dpi / seen.dpi
    words = [word for line in seen.lines for word in line.words]
    for line in layer.lines:
        left, top, right, bottom = line.box
        there = [
            word
            for word in words
            if top <= (word.box.top + word.box.bottom) / 2 * scale <= bottom
            and left - 5 <= (word.box.left + word.box.right) / 2 * scale <= right + 5
        ]
        if not there or sum(map(str.isalnum, line.text)) < MIN_LETTERS / 2:
            continue
        text, confidence = " ".join(word.text for word in there), sum(word.confidence for word in there) / len(there)
        if (confidence >= SURE and _is_other(line.text, text)) or (
            _has_other_figures(line.text, text)
            and all(word.confidence >= SURE_OF_FIGURES for word in there if any(map(str.isdigit, word.text)))
        ):
            yield line


def _is_other(one: str, other: str) -> bool:
    bones = skeleton(fold(one)), skeleton(fold(other))
    return SequenceMatcher(None, *bones, autojunk=False).ratio() < ALIKE


def _has_other_figures(one: str, other: str) -> bool:
    """Whether as many figures stand in both, and one is another."""
    figures = [re.findall(r"\d[\d.,:/-]*\d", text) for text in (one, other)]
    return len(figures[0]) == len(figures[1]) and any(
        skeleton(fold(a)) != skeleton(fold(b)) for a, b in zip(*figures, strict=True)
    )
