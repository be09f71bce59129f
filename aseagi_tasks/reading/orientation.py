"""How the text lies on a page: sideways or not, which end up, how skewed. Measured, not recognized.

All of it comes from the bounding boxes of the page's glyphs (connected components of the right size) at 150 dpi:

1. Characters of a line stand on one line, so at the right angle their lower edges crowd into few rows. The angle, and
   whether rows or columns, is where the histogram of the edges is sharpest.
2. In Latin, Greek and Cyrillic text more characters rise above the x-height than hang below the baseline, so upright
   text has a sharper lower edge than upper edge. Capitals have no such difference: then this says that it cannot tell.

10-25 ms a page against about 500 for Tesseract's own orientation and script detection.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

#: Resolution at which pages are measured: glyphs of 6 point type are still apart, 300 dpi would cost 4 times as much.
MEASURING_DPI = 150.0
#: Lines that rise or fall more than this are not found; hand-fed scanners and phones stay within 5.
MAX_SKEW = 10.0
#: Fewer glyphs than this (a stamp, a page number) say nothing reliable about the page.
MIN_GLYPHS = 20

#: Rows are sharper than columns, or columns than rows, by 2.3-25 times on pages of text; on maps and photos by less.
CERTAIN_AXIS = 2.0
#: Lower edges over upper edges: 1.3-1.8 on upright pages of text, .59-.83 upside down, 1.0 on forms in capitals.
CERTAIN_END = (0.87, 1.15)

Grey = NDArray[np.uint8]
Boxes = NDArray[np.float64]


class Posture(NamedTuple):
    """How the text lies on a page.

    Attributes:
        sideways: lines run up or down the page.
        upside_down: after turning a sideways page by 90 degrees clockwise, if it is one.
        skew: degrees by which lines rise (positive: counter-clockwise), after those turns.
        certain_axis, certain_end: whether ``sideways`` and ``upside_down`` are beyond doubt.
    """

    sideways: bool
    upside_down: bool
    skew: float
    certain_axis: bool
    certain_end: bool

    @property
    def rotation(self) -> int:
        """Degrees clockwise by which the page must be turned to be upright."""
        return 90 * self.sideways + 180 * self.upside_down


#: Too few glyphs to tell; a page is taken to be upright.
UNKNOWN = Posture(False, False, 0.0, True, True)


def glyphs(grey: Grey) -> Boxes:
    """Bounding boxes of what may be characters.

    Args:
        grey: page at about ``MEASURING_DPI``, dark on light, height x width.
    Returns:
        n x 4: left, top, right, bottom (exclusive) in pixels of ``grey``. Rules, pictures and specks are left out.
    """
    # Local threshold: a shadow over half the page must not hide its glyphs. 31 px is twice a 12 point letter's height.
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 31, 20)
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8, ltype=cv2.CV_32S)
    left, top, width, height = (stats[1:, i].astype(np.float64) for i in range(4))
    area = stats[1:, cv2.CC_STAT_AREA]
    longer, shorter = np.maximum(width, height), np.minimum(width, height)
    kept = (longer >= 5) & (longer <= 120) & (shorter >= 2) & (longer <= 8 * shorter) & (area >= 0.12 * width * height)
    boxes = np.stack([left, top, left + width, top + height], axis=1)[kept]
    if len(boxes) < MIN_GLYPHS:
        return boxes
    size = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    typical = np.median(size)
    return boxes[(size >= 0.4 * typical) & (size <= 4 * typical)]


def _sharpness(
    along: NDArray[np.float64], across: NDArray[np.float64], angles: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How sharply edges crowd into lines, for each angle by which lines may rise.

    Args:
        along: n positions along the lines, in pixels.
        across: n positions of the edges across the lines, in pixels.
        angles: degrees.
    Returns:
        Per angle the mean number of edges that share an edge's pixel row, over what chance would give (1 = no lines).
    """
    rows = across[None, :] + np.tan(np.radians(angles))[:, None] * along[None, :]
    rows -= rows.min()
    bins = int(rows.max()) + 2
    index = rows.astype(np.int64) + (np.arange(len(angles)) * bins)[:, None]
    counts = np.bincount(index.ravel(), minlength=bins * len(angles)).reshape(len(angles), bins).astype(np.float64)
    counts = counts + np.roll(counts, 1, axis=1)  # an edge between two rows belongs to both
    spread = np.ptp(across) + 2
    sharpness: NDArray[np.float64] = (counts**2).sum(axis=1) * spread / (4.0 * len(across) ** 2)
    return sharpness


class _Axis(NamedTuple):
    skew: float
    lower: float  # sharpness of the lower edges
    upper: float


def _axis(boxes: Boxes) -> _Axis:
    """Best angle for boxes whose lines run from left to right, and how sharp both edges are there."""
    centre = (boxes[:, 0] + boxes[:, 2]) / 2
    upper, lower = boxes[:, 1], boxes[:, 3]

    def best(angles: NDArray[np.float64]) -> float:
        both = _sharpness(centre, lower, angles) + _sharpness(centre, upper, angles)
        return float(angles[int(np.argmax(both))])

    coarse = best(np.arange(-MAX_SKEW, MAX_SKEW + 0.01, 0.2))
    fine = best(coarse + np.arange(-0.2, 0.21, 0.04))
    at = np.array([fine])
    return _Axis(fine, float(_sharpness(centre, lower, at)[0]), float(_sharpness(centre, upper, at)[0]))


def turn(boxes: Boxes, height: float) -> Boxes:
    """The boxes after the page (``height`` pixels high) was turned by 90 degrees clockwise."""
    return np.stack([height - boxes[:, 3], boxes[:, 0], height - boxes[:, 1], boxes[:, 2]], axis=1)


def measure(grey: Grey) -> Posture:
    """How the text lies on a page.

    Args:
        grey: page at about ``MEASURING_DPI``, dark on light, height x width.
    """
    boxes = glyphs(grey)
    if len(boxes) < MIN_GLYPHS:
        return UNKNOWN
    level, turned = _axis(boxes), _axis(turn(boxes, grey.shape[0]))
    sharper = (turned.lower + turned.upper) / (level.lower + level.upper)
    sideways = sharper > 1
    axis = turned if sideways else level
    ends = axis.lower / axis.upper
    return Posture(
        sideways=sideways,
        upside_down=ends < CERTAIN_END[0],
        skew=axis.skew,
        certain_axis=not 1 / CERTAIN_AXIS < sharper < CERTAIN_AXIS,
        certain_end=not CERTAIN_END[0] <= ends <= CERTAIN_END[1],
    )
