"""Lines of text found on pages where they are known: ours beside Tesseract's layout analysis.

    python benchmarks/line_boxes.py

Recall is the share of the true lines (broken at gaps of a quarter of an inch) of which a found line covers more than half, and that
covers more than half of it (IoU > .5, boxes around the ink). Precision is the same the other way. Level pages at 300 dpi.
"""

from __future__ import annotations

import time

import numpy as np
import tesserocr
from known_pages import DPI, KnownPage, born_digital
from numpy.typing import NDArray

from aseagi_tasks.reading.lines import find_lines
from aseagi_tasks.reading.tesseract import _data_folder, _show

Boxes = NDArray[np.int64]


def ours(page: KnownPage) -> Boxes:
    return np.array([line.box for line in find_lines(page.image, DPI)], np.int64).reshape(-1, 4)


def theirs(page: KnownPage, api: tesserocr.PyTessBaseAPI) -> Boxes:
    _show(api, page.image, DPI)
    lines = api.GetTextlines()
    return np.array([(b["x"], b["y"], b["x"] + b["w"], b["y"] + b["h"]) for _, b, *_ in lines], np.int64).reshape(-1, 4)


def tightened(boxes: Boxes, page: KnownPage) -> Boxes:
    """Around the ink in them."""
    out = []
    for left, top, right, bottom in boxes:
        ink = page.image[top:bottom, left:right] < 160
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        if len(rows):
            out.append([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1])
    return np.array(out, np.int64).reshape(-1, 4)


def matched(boxes: Boxes, others: Boxes) -> int:
    """How many of ``boxes`` have one among ``others`` with IoU > .5."""
    if not len(boxes) or not len(others):
        return 0
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area, other = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), (others[:, 2:] - others[:, :2]).prod(axis=1)
    return int((shared / (area[:, None] + other - shared) > 0.5).any(axis=1).sum())


def main() -> None:
    api = tesserocr.PyTessBaseAPI(path=_data_folder("eng"), lang="eng", psm=tesserocr.PSM.AUTO)
    totals = np.zeros((2, 4))
    print(f"{'':20}{'lines':>6}   {'ours: recall  precision':24}{'Tesseract: recall  precision':>30}")
    for page in born_digital():
        row = []
        for engine, find in enumerate((ours, lambda known: theirs(known, api))):
            begun = time.perf_counter()
            found = find(page)
            spent = time.perf_counter() - begun
            found = tightened(found, page)
            hit, right = matched(page.boxes, found), matched(found, page.boxes)
            totals[engine] += (hit, right, len(found), spent)
            row += [hit / max(1, len(page.boxes)), right / max(1, len(found))]
        totals_lines.append(len(page.boxes))
        print(f"{page.name:20}{len(page.boxes):6}{row[0]:16.3f}{row[1]:11.3f}{row[2]:19.3f}{row[3]:11.3f}")
    count, pages = sum(totals_lines), len(totals_lines)
    for name, (hit, right, found, spent) in zip(("ours", "Tesseract"), totals, strict=True):
        print(f"{name:10} recall {hit / count:.3f}  precision {right / found:.3f}  {1000 * spent / pages:.0f} ms a page")


totals_lines: list[int] = []

if __name__ == "__main__":
    main()
