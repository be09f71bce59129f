"""Where the lines of text are on a level page, and in which order they are read.

On a copy at 150 dpi: ink by an adaptive threshold, rules and blots away, letters closed into words, words linked into
lines, lines ordered. Sizes are in glyphs (the median height of what looks like a letter) or inches. DESIGN.md has the
measurements beside Tesseract's layout analysis.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.documents import Box
from aseagi_tasks.reading.cleaning import STREAK_IN, narrow, streaks
from aseagi_tasks.reading.reading_order import (
    COLUMN_IN,
    around,
    groups,
    in_reading_order,
    parted_columns,
    side_by_side,
    usual_height,
)

LINES_DPI = 150.0
#: Darker than the mean of the surrounding 0.2 inch by so many grey levels is ink.
_CONTRAST, _AROUND = 15, 31
#: More noise (standard deviation, grey levels) is smoothed first.
_NOISY = 4.0
#: No stroke of a letter is wider; what is darker than this share of the paper and wider is no ink.
_STROKE_IN, _DARK = 0.14, 0.72
_RULE_IN, _TALLEST_IN, _SHORTEST_IN = 0.25, 0.6, 0.035
#: In glyphs: letters of a word, words of a line, the gap that may part columns.
_IN_WORD, _IN_LINE = 1.1, 2.6
#: A line taller than so many usual lines is looked at for a valley to split it at.
_TALL = 1.7

Grey = NDArray[np.uint8]
Boxes = NDArray[np.int64]  # n x 4: left, top, right, bottom


class TextLine(NamedTuple):
    """A line's box in pixels of the image that was given, and the number of its paragraph, from 0."""

    box: Box
    block: int


def find_lines(image: Grey, dpi: float) -> list[TextLine]:
    """The lines of a level page, in reading order; none on a page without text.

    Args:
        image: grey, dark on light.
        dpi: of the image.
    """
    shrink = min(1.0, LINES_DPI / dpi)
    small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    scale = dpi * shrink
    ink = _letters(small.astype(np.uint8, copy=False), scale)
    words, glyph = _words(ink, scale)
    if not len(words):
        return []
    lines = _parted_at_gutters(_swallowed(_linked(words, glyph)), words, scale)
    lines = np.array([part for line in lines for part in _split(ink, line, usual_height(lines))], np.int64)
    lines = lines[_has_letters(ink, lines, scale)]
    if not len(lines):
        return []
    height, width = image.shape
    found = []
    for line, block in in_reading_order(lines, scale):
        left, top, right, bottom = (line / shrink).round().astype(int)
        pad = max(2, round(0.12 * (bottom - top)))
        box = Box(
            max(0, int(left) - pad),
            max(0, int(top) - pad),
            min(width, int(right) + pad),
            min(height, int(bottom) + pad),
        )
        found.append(TextLine(box, block))
    return found


def _letters(small: Grey, dpi: float) -> Grey:
    """0 or 1: ink without rules, frames, streaks, pictures and specks."""
    noise = _noise(small)
    if noise > _NOISY:
        small = cv2.GaussianBlur(small, (0, 0), 1.0).astype(np.uint8, copy=False)
    contrast = max(_CONTRAST, 2 * noise)
    ink = cv2.adaptiveThreshold(small, 1, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, _AROUND, contrast)
    ink = _without_streaks(ink.astype(np.uint8, copy=False), dpi)
    long = round(_RULE_IN * dpi)
    # a rule that is not quite level has steps
    across = cv2.morphologyEx(cv2.dilate(ink, np.ones((3, 1), np.uint8)), cv2.MORPH_OPEN, np.ones((1, long), np.uint8))
    down = cv2.morphologyEx(cv2.dilate(ink, np.ones((1, 3), np.uint8)), cv2.MORPH_OPEN, np.ones((long, 1), np.uint8))
    ink = cv2.subtract(ink, np.maximum(np.maximum(across, down), _edges(small, dpi)))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    wide, tall, area = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_AREA]
    keep = (tall <= _TALLEST_IN * dpi) & (wide <= 4 * dpi) & (area >= 4)
    # what fills its box and is larger than a letter is a blot or the edge of a picture
    keep &= ~((area > 0.9 * wide * tall) & (np.minimum(wide, tall) > 0.1 * dpi))
    keep[0] = False
    if count < 2:
        return np.zeros_like(ink)
    # what is much smaller than a letter belongs to one that it is near, or is dirt
    letters = tall[keep & (tall >= _SHORTEST_IN * dpi)]
    usual = float(np.median(letters)) if len(letters) else _SHORTEST_IN * dpi
    large = keep & (np.maximum(wide, tall) >= 0.45 * usual)
    near = cv2.dilate(
        large.astype(np.uint8)[labels], np.ones((2 * round(0.4 * usual) + 1, 2 * round(0.6 * usual) + 1), np.uint8)
    )
    at_letter = np.bincount(labels[near > 0], minlength=count) > 0
    return (large | (keep & at_letter)).astype(np.uint8)[labels]


def _edges(small: Grey, dpi: float) -> Grey:
    """0 or 1: shadows and black areas that come in from the edge of the picture."""
    stroke = round(_STROKE_IN * dpi)
    paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((stroke, stroke), np.uint8))
    dark = (paper < _DARK * np.median(paper)).astype(np.uint8)
    _, labels = cv2.connectedComponents(dark)
    edge = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    touching = np.zeros(int(labels.max()) + 1, np.uint8)
    touching[edge] = 1
    touching[0] = 0
    return cv2.dilate(touching[labels], np.ones((stroke // 2, stroke // 2), np.uint8)).astype(np.uint8, copy=False)


def _noise(small: Grey) -> float:
    """Standard deviation of the picture's noise in grey levels.

    Source: J. Immerkær, "Fast noise variance estimation" (1996); the median, so that letters do not count.
    """
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    return float(np.median(np.abs(cv2.filter2D(small, cv2.CV_32F, kernel)))) / 6 / 0.6745


def _without_streaks(ink: Grey, dpi: float) -> Grey:
    """Ink without streaks, also where they cross letters: there they would tie lines together."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    thin = (stats[:, cv2.CC_STAT_WIDTH] <= STREAK_IN * dpi) & (stats[:, cv2.CC_STAT_HEIGHT] >= _SHORTEST_IN * dpi)
    thin[0] = False
    columns = streaks(ink, thin[labels].astype(np.uint8), dpi)
    return cv2.subtract(ink, narrow(ink, dpi) * columns).astype(np.uint8, copy=False) if columns.any() else ink


def _words(ink: Grey, dpi: float) -> tuple[Boxes, float]:
    """Boxes of words, and the median height of a glyph."""
    _, _, glyphs, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    tall = glyphs[1:, cv2.CC_STAT_HEIGHT]
    tall = tall[(tall >= _SHORTEST_IN * dpi) & (tall <= 0.4 * dpi)]
    if not len(tall):
        return np.zeros((0, 4), np.int64), 0.0
    glyph = float(np.median(tall))
    kernel = np.ones((1, max(3, round(_IN_WORD * glyph))), np.uint8)
    closed = cv2.morphologyEx(cv2.copyMakeBorder(ink, 0, 0, 40, 40, cv2.BORDER_CONSTANT), cv2.MORPH_CLOSE, kernel)
    _, _, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(closed[:, 40:-40]), connectivity=8)
    boxes = stats[1:, :4].astype(np.int64)
    boxes[:, 2:] += boxes[:, :2]
    return boxes, glyph


def _linked(words: Boxes, glyph: float) -> Boxes:
    """Words side by side joined into lines; dots, accents and dashes to the line that they stand in."""
    tall = words[:, 3] - words[:, 1]
    body = words[tall >= 0.55 * glyph]
    marks = words[tall < 0.55 * glyph]
    lines = _joined(body, glyph, 0.5)
    for mark in marks:
        if not len(lines):
            break
        middle = (mark[1] + mark[3]) / 2
        across = np.maximum(0, np.maximum(lines[:, 0] - mark[2], mark[0] - lines[:, 2]))
        down = np.maximum(0, np.maximum(lines[:, 1] - middle, middle - lines[:, 3]))
        near = (across <= 1.3 * glyph) & (down <= 0.35 * glyph)
        if near.any():
            at = int(np.argmin(np.where(near, across + 3 * down, np.inf)))
            lines[at] = around(lines[at], mark)
    return _joined(lines, glyph, 0.5)


def _joined(boxes: Boxes, glyph: float, overlap: float) -> Boxes:
    """Boxes that overlap vertically and are no further apart than words, joined until nothing changes."""
    while len(boxes) > 1:
        left, top, right, bottom = boxes.T
        tall = bottom - top
        shared = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
        apart = np.maximum(left[:, None], left) - np.minimum(right[:, None], right)
        lower = np.minimum(tall[:, None], tall)
        like = np.maximum(tall[:, None], tall) <= 2.5 * lower
        reach = np.minimum(_IN_LINE * glyph, 1.5 * np.maximum(tall[:, None], tall))
        linked = (shared >= overlap * lower) & (apart <= reach) & like
        parts = groups(linked)
        if len(parts) == len(boxes):
            return boxes
        boxes = np.array([[*boxes[g, :2].min(axis=0), *boxes[g, 2:].max(axis=0)] for g in parts], np.int64)
    return boxes


def _swallowed(lines: Boxes) -> Boxes:
    """Lines without those that lie within another: dots and accents of large letters."""
    area = (lines[:, 2:] - lines[:, :2]).prod(axis=1)
    low, high = np.maximum(lines[:, None, :2], lines[:, :2]), np.minimum(lines[:, None, 2:], lines[:, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    inside = (shared > 0.7 * area[:, None]) & (area[:, None] < area)
    return lines[~inside.any(axis=1)]


def _parted_at_gutters(lines: Boxes, words: Boxes, dpi: float) -> Boxes:
    """Lines cut where they run across a gutter that other lines keep: its gap may be no wider than between words."""
    level = side_by_side(lines)
    parted = parted_columns(lines, level, dpi)
    starts = np.unique(
        [lines[b] for a, b in zip(*np.nonzero(parted), strict=True) if lines[a, 2] <= lines[b, 0]], axis=0
    )
    if not len(starts):
        return lines
    out = []
    for line in lines:
        left, top, right, bottom = line
        middle = (words[:, 1] + words[:, 3]) / 2
        own = words[(words[:, 0] >= left) & (words[:, 2] <= right) & (middle >= top) & (middle <= bottom)]
        own = own[np.argsort(own[:, 0])]
        near = np.abs(starts[:, 1] - top) < 4 * (bottom - top)
        at = left
        for one, other in pairwise(own):
            begins = (np.abs(starts[near, 0] - other[0]) <= 0.04 * dpi).sum() >= 2
            if begins and other[0] - one[2] >= 0.05 * dpi and one[2] - at > COLUMN_IN * dpi < right - other[0]:
                out.append(np.array([at, top, one[2], bottom], np.int64))
                at = other[0]
        out.append(np.array([at, top, right, bottom], np.int64))
    return np.array(out, np.int64)


def _split(ink: Grey, line: NDArray[np.int64], usual: float) -> list[NDArray[np.int64]]:
    """A line as tall as two is cut where there is least ink between them, if there is little; else it stays."""
    left, top, right, bottom = line
    tall = bottom - top
    if tall < _TALL * usual or right - left < 2 * tall:
        return [line]
    rows = ink[top:bottom, left:right].sum(axis=1).astype(float)
    edge = max(1, int(0.6 * usual))
    inner = rows[edge : tall - edge]
    if not len(inner) or inner.min() > 0.25 * rows.mean():
        return [line]
    cut = top + edge + int(np.argmin(inner))
    upper, lower = np.array([left, top, right, cut]), np.array([left, cut, right, bottom])
    return [*_split(ink, _tight(ink, upper), usual), *_split(ink, _tight(ink, lower), usual)]


def _tight(ink: Grey, box: NDArray[np.int64]) -> NDArray[np.int64]:
    """The box around the ink in a box."""
    left, top, right, bottom = box
    inside = ink[top:bottom, left:right]
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return box
    return np.array([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1], np.int64)


def _has_letters(ink: Grey, lines: Boxes, dpi: float) -> NDArray[np.bool_]:
    """Lines tall enough to be read, and with ink in them."""
    tall = lines[:, 3] - lines[:, 1]
    filled = np.array([ink[t:b, l:r].mean() if b > t and r > l else 0 for l, t, r, b in lines])  # noqa: E741
    return (tall >= _SHORTEST_IN * dpi) & (filled > 0.02)
