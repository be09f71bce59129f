"""A page image turned upright, straightened and cleaned, read, and its boxes taken back to the page.

What every recognizer does around its reading.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.documents import Box, Line, Page, TextSource
from aseagi_tasks.errors import OutOfMemory, Unreadable
from aseagi_tasks.reading import cleaning, orientation
from aseagi_tasks.settings import CleaningStep

#: A page whose posture is in doubt and whose words are less sure than this is read the other way up too.
UNSURE = 0.75

Grey = NDArray[np.uint8]
#: Level page image, dpi → lines with boxes in that image.
ReadLines = Callable[[Grey, float], tuple[Line, ...]]
#: Page at ``orientation.MEASURING_DPI``, the rotation that was measured → the rotation that is believed.
Detect = Callable[[Grey, int], int]


class Reader(NamedTuple):
    """What reads a page once it is upright.

    Attributes:
        source: what the page is said to be read by.
        lines: reads a level page.
        detect: asked where the measured posture is in doubt.
        cleaning: the steps that are done before, each only where the page wants it.
    """

    source: TextSource
    lines: ReadLines
    detect: Detect
    cleaning: Set[CleaningStep]


def read_upright(page: Page, image: Path, reader: Reader) -> Page:
    """Read a page, whichever way up it is.

    Args:
        page: the unread page. image: grey 8-bit, of its size.
    Returns:
        The page as ``Recognizer.read`` returns it.
    Raises:
        Unreadable: the image is damaged, or the reader took too long (TimeoutError). OutOfMemory.
        Whatever else the reader raises.
    """
    grey = cv2.imread(str(image), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise Unreadable(f"Page {page.number}", "its image is damaged")
    try:
        return _read(page, grey.astype(np.uint8, copy=False), reader)
    except TimeoutError as exc:
        raise Unreadable(f"Page {page.number}", f"its recognition took longer than {exc.args[0]} s") from exc
    except (MemoryError, cv2.error) as exc:
        raise OutOfMemory(f"page {page.number} ({page.width_px} x {page.height_px} pixels)") from exc


def _read(page: Page, grey: Grey, reader: Reader) -> Page:
    small = _at_measuring_dpi(grey, page.dpi)
    posture = orientation.measure(small)
    certain = posture.certain_axis and posture.certain_end
    rotation = posture.rotation if certain else reader.detect(small, posture.rotation)
    best = _turned(page, grey, rotation, posture, reader)
    if not certain and 0 < (best.confidence or 0) < UNSURE:
        # read head down, text gives unsure words: the surer of both is right
        other = _turned(page, grey, (rotation + 180) % 360, posture, reader)
        best = max(best, other, key=lambda one: sum(line.confidence * len(line.text) for line in one.lines))
    return best


def _at_measuring_dpi(grey: Grey, dpi: float) -> Grey:
    shrink = min(1.0, orientation.MEASURING_DPI / dpi)
    return cv2.resize(grey, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _turned(page: Page, grey: Grey, rotation: int, posture: orientation.Posture, reader: Reader) -> Page:
    """The page as read after a turn; half a turn keeps the skew, a quarter has none that was measured."""
    skew = posture.skew if rotation % 180 == posture.rotation % 180 else 0.0
    upright = cleaning.turn(grey, rotation)
    steps = reader.cleaning
    flat, to_picture = cleaning.flatten(upright) if "flatten" in steps else (upright, np.eye(3))
    if flat is not upright:
        skew = orientation.measure(_at_measuring_dpi(flat, page.dpi)).skew
    clean, to_flat = cleaning.straighten(flat, skew if "straighten" in steps else 0.0)
    for step in ("even", "despeckle", "rules"):
        if step in steps:
            clean = cleaning.STEPS[step](clean, page.dpi)
    height, width = upright.shape
    back = to_picture @ to_flat
    lines = tuple(_moved_line(line, back, width, height) for line in reader.lines(clean, page.dpi))
    weights = [(line.confidence, max(1, len(line.words) or len(line.text.split()))) for line in lines]
    return page.model_copy(
        update={
            "source": reader.source,
            "rotation": rotation,
            "skew": round(skew, 2),
            "width_px": upright.shape[1],
            "height_px": upright.shape[0],
            "lines": lines,
            "confidence": round(sum(c * n for c, n in weights) / sum(n for _, n in weights), 4) if weights else None,
        }
    )


def _moved_line(line: Line, back: NDArray[np.float64], width: int, height: int) -> Line:
    """A line with its boxes on the upright page."""
    if np.array_equal(back, np.eye(3)):
        return line
    words = tuple(word._replace(box=_moved(word.box, back, width, height)) for word in line.words)
    if words:
        left, top, right, bottom = zip(*(word.box for word in words), strict=True)
        box = Box(min(left), min(top), max(right), max(bottom))
    else:
        box = _moved(line.box, back, width, height)
    return line.model_copy(update={"box": box, "words": words})


def _moved(box: Box, back: NDArray[np.float64], width: int, height: int) -> Box:
    """A box of the straightened page as the box around it on the upright page."""
    left, top, right, bottom = box
    corners = np.array([[left, top, 1], [right, top, 1], [left, bottom, 1], [right, bottom, 1]], np.float64)
    across, down, scale = back @ corners.T
    across, down = across / scale, down / scale
    return Box(
        int(np.clip(round(across.min()), 0, width - 1)),
        int(np.clip(round(down.min()), 0, height - 1)),
        int(np.clip(round(across.max()), 1, width)),
        int(np.clip(round(down.max()), 1, height)),
    )
