"""What is on a page, judged from a small grey image of it: ink or none, and whether a text layer accounts for it.

Ink is what is darker than the paper around it. The paper's level at a point is the brightest within a quarter of an
inch, so shadows, tinted paper and large dark areas are no ink; pages that are mostly dark are inverted first. Pages are
looked at at ``INK_DPI``, where 6 point letters still have 5 pixels; sizes here are in inches.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

#: Resolution at which pages are judged.
INK_DPI = 100.0
#: Ink is this many grey levels below the paper. Shine-through and light watermarks stay above: a letter on the back of
#: the sheet takes 10 to 45 levels away.
CONTRAST = 50
#: Some pixel of a letter is at least this far below the paper; no pixel of a stain or of shine-through is.
LETTER_CONTRAST = 70
#: Lightest less darkest pixel of a word that can be seen.
VISIBLE_CONTRAST = 30
#: A text layer must account for all but this share of what looks like lines of text. Seals and logos with lettering are
#: 5 % of the ink of a court's letter at most, a scan under a filing stamp is 90 % and more.
UNREAD_SHARE = 0.2
#: The same where a text layer accounts for little (``SPARSE_SQIN`` of ink): it may be a filing stamp on a scanned page.
SPARSE_UNREAD_SHARE = 0.05
#: Square inches of ink; about 25 words of 11 point type.
SPARSE_SQIN = 0.3
#: Less than this is no text: some four letters.
UNREAD_MIN_SQIN = 0.005

_PAPER_IN = 0.25
_BAR_IN, _BARRED = (
    0.09,
    0.6,
)  # wide and high at least, wider than the strokes of letters; share of a word that is under it
_LETTER_MIN_IN = 0.045  # lower case of 6.5 point type
_LETTER_MAX_IN = 2.0
_LINE_MAX_IN = 0.6  # 43 point type
_GAP_IN = 0.12  # between the words of a line
_RULE_IN = 0.45  # longer straight strokes are rules, frames and bar codes
_STROKE_IN = 0.03  # wide; streaks and scratches are not wider
_HOLE_IN = (0.17, 0.45)  # punch holes are 1/4 inch or 6 mm
_PAD_IN = 0.03  # boxes of words follow the font's own measures, which are often a little small
_COARSE = 4  # the paper's level changes slowly: found at a quarter of the resolution, in 0.5 ms instead of 1.3

_PGM = re.compile(rb"P5\n(\d+) (\d+)\n255\n")

Grey = NDArray[np.uint8]
Mask = NDArray[np.uint8]  # 0 or 1
Boxes = NDArray[np.float64]  # n x 4: left, top, right, bottom in pixels


class Account(NamedTuple):
    """How much of a page's ink lies under its text layer, in square inches.

    Attributes:
        visible: per word, whether anything can be seen where it stands.
        barred: per word, whether it is under something opaque of another shade than the paper.
        covered: ink under visible words.
        lines: ink elsewhere that looks like lines of text; 0 if there is too little ink elsewhere to matter.
        other: ink elsewhere that is neither that nor rules nor specks: drawings, seals, signatures; 0 likewise.
    """

    visible: NDArray[np.bool_]
    barred: NDArray[np.bool_]
    covered: float
    lines: float
    other: float

    @property
    def is_complete(self) -> bool:
        """Whether nothing is lost by taking the text layer for the page's text."""
        if not self.visible.any():
            return False
        if self.lines > max(UNREAD_MIN_SQIN, _tolerated(self.covered) * (self.covered + self.lines)):
            return False
        # Handwriting is not lines: a layer that is a small part of the ink does not stand for the page either way.
        return self.lines + self.other <= 4 * self.covered + UNREAD_MIN_SQIN


def read_pgm(path: Path) -> Grey:
    """A PGM file, as poppler and this package write it, as an array (h x w).

    Raises:
        OSError: it is none, or not complete.
    """
    with path.open("rb") as file:
        header = _PGM.fullmatch(file.readline() + file.readline() + file.readline())
        if header is None:
            raise OSError(f"{path.name} is no grey image")
        width, height = map(int, header.groups())
        pixels = np.fromfile(file, np.uint8)
    if pixels.size != width * height:
        raise OSError(f"{path.name} is not complete")
    return pixels.reshape(height, width)


def shrink(grey: Grey, dpi: float) -> tuple[Grey, float]:
    """A page image at ``INK_DPI`` for the judgements below, with its dpi; a smaller one is left as it is."""
    scale = INK_DPI / dpi
    if scale >= 1:
        return grey, dpi
    size = (max(1, round(grey.shape[1] * scale)), max(1, round(grey.shape[0] * scale)))
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8), INK_DPI


def account(grey: Grey, words: Boxes, dpi: float) -> Account:
    """Compare the ink under a text layer's words with the ink on the page.

    Args:
        grey: the page at about ``INK_DPI``.
        words: boxes in pixels of ``grey``.
    """
    height, width = grey.shape
    edges = np.rint(np.clip(words, 0, [width, height, width, height])).astype(np.int64)
    barred = _barred(grey, edges, dpi)
    visible = _visible(grey, edges) & ~barred

    ink = (_darkness(grey, dpi) >= CONTRAST).view(np.uint8)
    rest = ink.copy()
    pad = max(1, round(_PAD_IN * dpi))
    for left, top, right, bottom in edges[visible].tolist():
        rest[max(0, top - pad) : bottom + pad, max(0, left - pad) : right + pad] = 0
    total, left_over = cv2.countNonZero(ink), cv2.countNonZero(rest)
    covered = (total - left_over) / dpi**2
    # Most born-digital pages have nothing else that could matter, and are spared 8 ms.
    matters = left_over / dpi**2 > max(UNREAD_MIN_SQIN, _tolerated(covered) * total / dpi**2)
    lines, other = _sort_out(rest, dpi) if matters else (0, 0)
    return Account(visible, barred, covered, lines / dpi**2, other / dpi**2)


def is_blank(grey: Grey, dpi: float) -> bool:
    """Whether there is no letter on a page, not even a page number; dust, holes, shadows and shine-through are none.

    Args:
        grey: the page at about ``INK_DPI``.
    """
    darkness = _darkness(grey, dpi)
    ink = (darkness >= CONTRAST).view(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    if count == 1:
        return True
    left, top, wide, tall, area = stats[1:].T
    w, h = wide / dpi, tall / dpi
    longer, shorter = np.maximum(w, h), np.minimum(w, h)
    sized = (h >= _LETTER_MIN_IN) & (longer <= _LETTER_MAX_IN)
    rule = (longer > _RULE_IN) & (shorter < longer / 8)  # or a scratch, at a slight angle
    round_and_full = (shorter > 0.8 * longer) & (area > 0.6 * wide * tall)
    hole = (shorter >= _HOLE_IN[0]) & (longer <= _HOLE_IN[1]) & round_and_full
    at_edge = (left == 0) | (top == 0) | (left + wide == grey.shape[1]) | (top + tall == grey.shape[0])
    letters = sized & ~rule & ~hole & ~at_edge & ~_in_streak(left / dpi, w)
    for index in np.flatnonzero(letters)[:1000]:
        x, y, right, bottom = left[index], top[index], left[index] + wide[index], top[index] + tall[index]
        own = labels[y:bottom, x:right] == index + 1
        if int(darkness[y:bottom, x:right][own].max()) >= LETTER_CONTRAST:
            return False
    return True


def is_bare(grey: Grey, words: Boxes) -> bool:
    """Whether a page is of one shade but for its words: never so on scanned paper.

    Args:
        words: boxes in pixels of ``grey``.
    """
    page = grey.copy()
    height, width = grey.shape
    for left, top, right, bottom in np.rint(np.clip(words, 0, [width, height, width, height])).astype(int).tolist():
        page[max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3] = grey[0, 0]
    return int(page.max()) - int(page.min()) <= 2  # poppler leaves 254 where it could not decode a picture


def _tolerated(covered: float) -> float:
    """Share of the ink in lines that a text layer may leave out."""
    return SPARSE_UNREAD_SHARE if covered < SPARSE_SQIN else UNREAD_SHARE


def _darkness(grey: Grey, dpi: float) -> Grey:
    """Grey levels by which each pixel is darker than the paper around it."""
    if np.median(grey[::8, ::8]) < 96:
        grey = np.asarray(255 - grey, np.uint8)
    side = max(3, round(_PAPER_IN * dpi / _COARSE)) | 1
    coarse = cv2.dilate(grey, np.ones((_COARSE, _COARSE), np.uint8))[::_COARSE, ::_COARSE]
    paper = cv2.morphologyEx(coarse, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    paper = cv2.resize(paper, (grey.shape[1], grey.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.subtract(paper, grey), np.uint8)


def _visible(grey: Grey, edges: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Per box, whether there is any contrast in it: white on white and black under black bars have none."""
    contrast = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    summed = cv2.integral((contrast >= VISIBLE_CONTRAST).view(np.uint8))
    left, top, right, bottom = edges.T
    return np.asarray(summed[bottom, right] - summed[top, right] - summed[bottom, left] + summed[top, left] > 0)


def _barred(grey: Grey, edges: NDArray[np.int64], dpi: float) -> NDArray[np.bool_]:
    """Per box, whether most of it is under something of one shade that is not the paper's.

    Shaded cells and white words on black are of two shades where there are words, and therefore none.
    """
    paper = int(np.median(grey[::8, ::8]))
    contrast = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    plain = (cv2.absdiff(grey, np.full_like(grey, paper)) >= CONTRAST) & (contrast < VISIBLE_CONTRAST)
    if not plain.any():
        return np.zeros(len(edges), bool)
    side = max(3, round(_BAR_IN * dpi))
    solid = cv2.morphologyEx(plain.view(np.uint8), cv2.MORPH_OPEN, np.ones((side, side), np.uint8))
    summed = cv2.integral(solid)
    left, top, right, bottom = edges.T
    under = summed[bottom, right] - summed[top, right] - summed[bottom, left] + summed[top, left]
    area = (right - left) * (bottom - top)
    return np.asarray((area > 0) & (under >= _BARRED * area))


def _sort_out(rest: Mask, dpi: float) -> tuple[int, int]:
    """Pixels of ink that lie in lines of text, whether across the page or along it, and of other ink."""
    long = max(2, round(_RULE_IN * dpi))
    across = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((1, long), np.uint8))
    along = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((long, 1), np.uint8))
    rules = cv2.dilate(cv2.bitwise_or(across, along), np.ones((3, 3), np.uint8))
    rest = np.asarray(cv2.bitwise_and(rest, 1 - rules), np.uint8)
    if cv2.countNonZero(rest) <= UNREAD_MIN_SQIN * dpi**2:  # pleading paper, forms, tables: spares 7 ms
        return 0, 0
    return max(_lines(rest, dpi, sideways) for sideways in (False, True))


def _lines(rest: Mask, dpi: float, sideways: bool) -> tuple[int, int]:
    gap = max(3, round(_GAP_IN * dpi))
    joined = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones((gap, 1) if sideways else (1, gap), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    ink = np.bincount(labels[rest > 0], minlength=count)
    w, h = stats[:, 2] / dpi, stats[:, 3] / dpi
    if sideways:
        w, h = h, w
    filled = ink / (stats[:, 2] * stats[:, 3])
    text = (h >= _LETTER_MIN_IN) & (h <= _LINE_MAX_IN) & (w >= 1.5 * h) & (filled > 0.08) & (filled < 0.75)
    speck = np.maximum(w, h) < _LETTER_MIN_IN
    text[0], speck[0] = False, True  # the paper
    return int(ink[text].sum()), int(ink[~text & ~speck].sum())


def _in_streak(left: NDArray[np.float64], wide: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Thin parts above one another: the broken line that dirt on a feeder's glass draws down a page."""
    thin = wide <= _STROKE_IN
    column = np.rint((left + wide / 2) / _STROKE_IN).astype(np.int64)
    counts = np.bincount(column[thin], minlength=int(column.max(initial=0)) + 2)
    near = counts[column] + counts[column + 1] + np.where(column > 0, counts[column - 1], 0)
    return np.asarray(thin & (near >= 3))
