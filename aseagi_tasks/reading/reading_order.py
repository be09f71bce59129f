"""In which order a page's lines are read, and which of them are a paragraph.

A line comes before one that is below it, and a column before the next one. What stands side by side is columns
only if a gap goes on through several rows and both sides are as wide as running text, or if one side is a pleading's
line numbers; otherwise it is rows of a form or a table, read across.
"""

from __future__ import annotations

import heapq
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

#: Spaces of a justified line are up to so many times its height.
_JUSTIFIED = 1.9
#: A gap that goes on through so many rows, with sides so wide, parts columns.
_COLUMN_ROWS, COLUMN_IN = 4, 1.2
#: A side that is no wider is line numbers.
_NUMBERS_IN = 0.4
#: Lines further apart than so many line heights, and than half again the usual, are other paragraphs.
_PARAGRAPH = 0.75

Boxes = NDArray[np.int64]  # n x 4: left, top, right, bottom


def in_reading_order(lines: Boxes, dpi: float) -> list[tuple[NDArray[np.int64], int]]:
    """The lines in reading order, each with its paragraph; what a wide space had parted is one line again."""
    rows = _rows(lines, dpi)
    boxes = np.array([[*lines[row, :2].min(axis=0), *lines[row, 2:].max(axis=0)] for row in rows], np.int64)
    order = _ordered(boxes)
    usual, block = usual_height(lines), 0
    gaps = boxes[order[1:], 1] - boxes[order[:-1], 3]
    close = gaps[(gaps > -usual) & (gaps < 4 * usual)]
    spacing = float(np.median(close)) if len(close) else 0.0
    found = []
    for before, at in pairwise([-1, *order]):
        if before >= 0:
            above, below = boxes[before], boxes[at]
            apart = below[1] - above[3] > max(_PARAGRAPH * usual, 1.5 * spacing)
            aside = below[0] >= above[2] or below[2] <= above[0] or below[1] < above[1] - usual
            block += bool(apart or aside)
        found += [(line, block) for line in _closed(lines[rows[at]])]
    return found


def _closed(row: Boxes) -> list[NDArray[np.int64]]:
    """Neighbours of a row joined where the space between them is that of a justified line."""
    joined = [row[0]]
    for line in row[1:]:
        tall = max(line[3] - line[1], joined[-1][3] - joined[-1][1])
        if line[0] - joined[-1][2] <= _JUSTIFIED * tall:
            joined[-1] = around(joined[-1], line)
        else:
            joined.append(line)
    return joined


def _rows(lines: Boxes, dpi: float) -> list[list[int]]:
    """Lines side by side that are read across, from left to right; columns stay apart."""
    left, _, right, _ = lines.T
    level = side_by_side(lines)
    beside = level & ~parted_columns(lines, level, dpi)
    # only neighbours are linked: what lies between two is linked to both or parts them
    for a, b in zip(*np.nonzero(beside), strict=True):
        if right[a] <= left[b]:
            between = level[a] & level[b] & (left >= right[a]) & (right <= left[b])
            if between.any():
                beside[a, b] = beside[b, a] = False
    rows = groups(beside)
    return [sorted(row, key=lambda at: int(left[at])) for row in rows]


def parted_columns(lines: Boxes, level: NDArray[np.bool_], dpi: float) -> NDArray[np.bool_]:
    """Which pairs of lines on one level belong to different columns."""
    left, _, right, _ = lines.T
    wide = right - left
    parted = np.zeros_like(level)
    pairs = [(a, b) for a, b in zip(*np.nonzero(level), strict=True) if right[a] <= left[b]]
    gaps = np.array([(right[a], left[b]) for a, b in pairs]).reshape(-1, 2)
    for (a, b), (start, end) in zip(pairs, gaps, strict=True):
        # rows in which the same gap is open
        common = np.minimum(end, gaps[:, 1]) - np.maximum(start, gaps[:, 0])
        same = [pairs[at] for at in np.flatnonzero(common >= min(0.08 * dpi, end - start))]
        lefts = {x for x, _ in same}
        rights = {y for _, y in same}
        if min(len(lefts), len(rights)) < _COLUMN_ROWS:
            continue
        width_left, width_right = np.median(wide[list(lefts)]), np.median(wide[list(rights)])
        columns = min(width_left, width_right) >= COLUMN_IN * dpi
        numbers = min(wide[a], wide[b]) <= _NUMBERS_IN * dpi and (
            (width_left <= _NUMBERS_IN * dpi and _straight(right[list(lefts)], left[list(lefts)], dpi))
            or (width_right <= _NUMBERS_IN * dpi and _straight(right[list(rights)], left[list(rights)], dpi))
        )
        if columns or (numbers and max(width_left, width_right) >= COLUMN_IN * dpi):
            parted[a, b] = parted[b, a] = True
    return parted


def _straight(right: NDArray[np.int64], left: NDArray[np.int64], dpi: float) -> bool:
    """Whether narrow lines stand exactly below each other, on their left or on their right."""
    return bool(min(np.ptp(right), np.ptp(left)) < 0.12 * dpi)


def _ordered(boxes: Boxes) -> list[int]:
    """Above before below where they overlap across; left before right where nothing spans both between them.

    Source: T. Breuel, "High performance document layout analysis" (2003), section on reading order.
    """
    left, top, right, bottom = boxes.T
    count = len(boxes)
    middle = (top + bottom) / 2
    overlap = (np.minimum(right[:, None], right) - np.maximum(left[:, None], left)) > 0
    before = overlap & (middle[:, None] < middle)
    beside = ~overlap & (right[:, None] <= left)
    for a, b in zip(*np.nonzero(beside), strict=True):
        low, high = sorted((middle[a], middle[b]))
        between = (middle > low) & (middle < high) & overlap[a] & overlap[b]
        before[a, b] = not between.any()
    waiting = before.sum(axis=0)
    ready = [(int(top[at]), int(left[at]), at) for at in range(count) if not waiting[at]]
    heapq.heapify(ready)
    order: list[int] = []
    placed = np.zeros(count, bool)
    while len(order) < count:
        if not ready:  # two that each come before the other: the upper one goes first
            rest = np.flatnonzero(~placed)
            at = int(rest[np.lexsort((left[rest], top[rest]))[0]])
        else:
            at = heapq.heappop(ready)[2]
        if placed[at]:
            continue
        placed[at] = True
        order.append(at)
        for after in np.flatnonzero(before[at] & ~placed):
            waiting[after] -= 1
            if not waiting[after]:
                heapq.heappush(ready, (int(top[after]), int(left[after]), int(after)))
    return order


def side_by_side(lines: Boxes) -> NDArray[np.bool_]:
    """Which pairs of lines stand side by side."""
    left, top, right, bottom = lines.T
    tall = bottom - top
    shared = np.minimum(bottom[:, None], bottom) - np.maximum(top[:, None], top)
    return (shared >= 0.5 * np.minimum(tall[:, None], tall)) & ((right[:, None] <= left) | (right <= left[:, None]))


def groups(linked: NDArray[np.bool_]) -> list[list[int]]:
    """Connected parts of a symmetric relation."""
    parent = list(range(len(linked)))

    def root(at: int) -> int:
        while parent[at] != at:
            parent[at] = parent[parent[at]]
            at = parent[at]
        return at

    for a, b in zip(*np.nonzero(np.triu(linked, 1)), strict=True):
        parent[root(int(a))] = root(int(b))
    found: dict[int, list[int]] = {}
    for at in range(len(linked)):
        found.setdefault(root(at), []).append(at)
    return list(found.values())


def around(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The box around two boxes."""
    return np.array([min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])], np.int64)


def usual_height(lines: Boxes) -> float:
    """The median height of lines."""
    return float(np.median(lines[:, 3] - lines[:, 1]))
