"""What is on the paper: which ink looks like writing, and whether a text layer accounts for it.

Works on a small grey image of the page (long edge about 1,100 px, 100 dpi for a letter page): at that size a printed
letter is 5-12 px high and one page takes 3 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

#: Long edge of the small image in pixels.
LONG_EDGE_PX = 1100
#: Ink is at least so much darker than the paper around it, in grey levels. Text that shines through from the back
#: of a sheet is 10-25 below, a pencil stroke 60, print 150.
CONTRAST = 45
#: A component of writing is so high, in pixels: from a 5 pt x-height to 40 pt capitals.
MIN_HEIGHT, MAX_HEIGHT = 4, 60
#: Writing that the text layer leaves out: more than this share of all is more than a logo or a signature …
UNCOVERED_SHARE = 0.25
#: … and more than this many pixels of ink are more than a word or two.
UNCOVERED_INK = 400

cv2.setNumThreads(1)  # several worker processes share the cores

Rectangle = tuple[float, float, float, float]
Grey = NDArray[np.uint8]


class Ink(NamedTuple):
    """Ink that looks like writing.

    Attributes:
        pieces: connected pieces of it: letters, or words whose letters touch.
        pixels: their ink.
        covered: the part of ``pixels`` that lies in the given boxes.
        filled: share of the boxes in which there is any ink (1 if there are no boxes).
    """

    pieces: int
    pixels: int
    covered: int
    filled: float

    @property
    def blank(self) -> bool:
        """Nothing on the page looks like writing."""
        return self.pieces == 0

    @property
    def accounted_for(self) -> bool:
        """The boxes account for the page: hardly any writing lies outside, and most boxes have ink in them."""
        uncovered = self.pixels - self.covered
        return self.filled >= 0.5 and (uncovered <= UNCOVERED_INK or uncovered / self.pixels <= UNCOVERED_SHARE)


def measure(image: Grey, boxes: Sequence[Rectangle] = ()) -> Ink:
    """Look at a page.

    Args:
        image: grey, ``uint8``, height by width, long edge about ``LONG_EDGE_PX``.
        boxes: the text layer's words: left, top, right, bottom in pixels of ``image``.
    """
    ink = find_ink(image)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    writing = _writing(stats, image.shape[1], image.shape[0])
    mask = np.zeros(image.shape, np.uint8)
    filled = 0
    for left, top, right, bottom in boxes:
        # a pixel more on each side: the box is of the font, the ink of the renderer
        box = (slice(max(0, int(top) - 1), int(bottom) + 2), slice(max(0, int(left) - 1), int(right) + 2))
        mask[box] = 1
        filled += bool(ink[box].any())
    per_piece = np.bincount(labels[mask.astype(bool)], minlength=count)
    area = stats[:, cv2.CC_STAT_AREA]
    return Ink(
        pieces=_legible(stats[writing]),
        pixels=int(area[writing].sum()),
        covered=int(per_piece[writing].sum()),
        filled=filled / len(boxes) if boxes else 1.0,
    )


def find_ink(image: Grey) -> Grey:
    """1 where the page is darker than the paper around by ``CONTRAST``: shadows and tinted paper are no ink."""
    paper = cv2.blur(cv2.dilate(image, np.ones((15, 15), np.uint8)), (31, 31))
    return (cv2.subtract(paper, image) > CONTRAST).astype(np.uint8)


def _writing(stats: NDArray[np.int32], page_width: int, page_height: int) -> NDArray[np.bool_]:
    """Which components may be letters or words: not specks, rules, frames, blots, or shadows at the edge."""
    left, top, width, height, area = (stats[:, column] for column in range(5))
    long, short = np.maximum(width, height), np.minimum(width, height)
    fill = area / np.maximum(width * height, 1)
    rule = (long > 12 * short) | ((short <= 3) & (long > 25))
    blot = (short > 12) & (fill > 0.65)
    edge = (left <= 1) | (top <= 1) | (left + width >= page_width - 1) | (top + height >= page_height - 1)
    sized = (height >= MIN_HEIGHT) & (height <= MAX_HEIGHT) & (width <= page_width // 2) & (area >= 6)
    found: NDArray[np.bool_] = sized & ~rule & ~blot & ~edge
    found[0] = False  # the paper
    return found


def _legible(stats: NDArray[np.int32]) -> int:
    """How many of them are as large as a letter of 7 points: dust is smaller, and a lone full stop says nothing."""
    height, area = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_AREA]
    return int(((height >= 6) & (area >= 10)).sum())
