"""Lines of text found on pages where they are known: ours beside Tesseract's layout analysis.

    python benchmarks/line_boxes.py

Recall is the share of the true lines (broken at gaps of a quarter of an inch) that a found line meets with an
intersection over union above one half, boxes around the ink; precision the same the other way. Level pages at 300 dpi.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import tesserocr

sys.path.insert(0, str(Path(__file__).parents[1]))
from aseagi_tasks.reading.lines import find_lines
from aseagi_tasks.reading.tesseract import _data_folder, _show
from tests.known_pages import DPI, Boxes, KnownPage, born_digital, matched, tightened


def ours(page: KnownPage) -> Boxes:
    return np.array([line.box for line in find_lines(page.image, DPI)], np.int64).reshape(-1, 4)


def theirs(page: KnownPage, api: tesserocr.PyTessBaseAPI) -> Boxes:
    _show(api, page.image, DPI)
    lines = api.GetTextlines()
    return np.array([(b["x"], b["y"], b["x"] + b["w"], b["y"] + b["h"]) for _, b, *_ in lines], np.int64).reshape(-1, 4)


def main() -> None:
    api = tesserocr.PyTessBaseAPI(path=_data_folder("eng"), lang="eng", psm=tesserocr.PSM.AUTO)
    totals, pages, count = np.zeros((2, 4)), 0, 0
    print(f"{'':20}{'lines':>6}   {'ours: recall  precision':24}{'Tesseract: recall  precision':>30}")
    for page in born_digital():
        row = []
        for engine, find in enumerate((ours, lambda known: theirs(known, api))):
            begun = time.perf_counter()
            found = find(page)
            spent = time.perf_counter() - begun
            found = tightened(found, page.image)
            hit, right = matched(page.boxes, found), matched(found, page.boxes)
            totals[engine] += (hit, right, len(found), spent)
            row += [hit / max(1, len(page.boxes)), right / max(1, len(found))]
        pages, count = pages + 1, count + len(page.boxes)
        print(f"{page.name:20}{len(page.boxes):6}{row[0]:16.3f}{row[1]:11.3f}{row[2]:19.3f}{row[3]:11.3f}")
    for name, (hit, right, found, spent) in zip(("ours", "Tesseract"), totals, strict=True):
        print(
            f"{name:10} recall {hit / count:.3f}  precision {right / found:.3f}  {1000 * spent / pages:.0f} ms a page"
        )


if __name__ == "__main__":
    main()
