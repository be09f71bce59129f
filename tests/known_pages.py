"""Pages of which the text, and where each line stands, is known: born-digital pages, rendered and then made unclean.

From the samples and, where it lies beside the project, the corpus.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.reading import textlayer
from aseagi_tasks.samples import make_samples, read_truth
from aseagi_tasks.samples.scanning import Scan, photograph, scan

ROOT = Path(__file__).parents[1]
CORPUS = Path(os.environ.get("CORPUS", ROOT.parent / "shared" / "corpus")) / "court"
#: of the corpus, with the pages whose text layer says all that is printed on them
FILINGS = {
    "ca1_00117684624.pdf": 3,
    "ca2_1-1.pdf": 2,
    "ca3_003112692106.pdf": 2,
    "ca6_1-3.pdf": 1,
    "missouri.pdf": 3,
    "vector-pdf.pdf": 4,
}
DPI = 300
#: Ways in which ``degraded`` makes a page unclean.
HOWS = ("clean", "noise", "blur", "skew", "fax", "photo")
Grey = NDArray[np.uint8]
Boxes = NDArray[np.int64]  # n x 4: left, top, right, bottom


class KnownPage(NamedTuple):
    """A born-digital page: its picture at 300 dpi, its lines, and their boxes around the ink, broken at wide gaps."""

    name: str
    image: Grey
    lines: list[str]
    boxes: Boxes


def born_digital(*, corpus: bool = True) -> Iterator[KnownPage]:
    """Pages of the samples' and the corpus' text layers."""
    with TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        make_samples(samples)
        for path in sorted(samples.glob("*.pdf")):
            kinds = [page.kind for page in read_truth(path).pages]
            yield from _pages(path, [n for n, kind in enumerate(kinds, 1) if kind == "text-layer"][:3])
    for name, last in FILINGS.items():
        if corpus and (CORPUS / name).is_file():
            yield from _pages(CORPUS / name, list(range(1, last + 1)))


def _pages(path: Path, numbers: list[int]) -> Iterator[KnownPage]:
    with TemporaryDirectory() as folder:
        layer = Path(folder) / "layer"
        subprocess.run(["pdftotext", "-bbox-layout", path, layer], check=True)
        pages = list(textlayer.read(layer))
        for number in numbers:
            target = Path(folder) / "page"
            asked = ["pdftoppm", "-gray", "-r", str(DPI), "-f", str(number), "-l", str(number), "-singlefile"]
            subprocess.run([*asked, path, target], check=True)
            image = cv2.imread(f"{target}.pgm", cv2.IMREAD_GRAYSCALE)
            assert image is not None
            page = pages[number - 1]
            boxes = list(_line_boxes(page, image.astype(np.uint8)))
            lines = [" ".join(page.words[span.start : span.stop]) for span in page.lines]
            name = f"{path.stem[:14]} p{number}"
            yield KnownPage(name, image.astype(np.uint8), lines, np.array(boxes, np.int64).reshape(-1, 4))


def _line_boxes(page: textlayer.TextPage, image: Grey) -> Iterator[list[int]]:
    """The boxes around the ink of each line, broken where a gap is wider than a quarter of an inch, and only there.

    pdftotext breaks justified lines at smaller gaps. A pleading's line numbers are lines of their own.
    """
    lines: list[list[NDArray[np.float64]]] = []
    numbers: list[list[NDArray[np.float64]]] = []
    for at in np.argsort(page.boxes[:, 0], kind="stable"):
        box = page.boxes[at]
        if page.words[at].isdigit() and len(page.words[at]) <= 2 and box[0] < 100:
            numbers.append([box])
            continue
        for line in lines:
            last = line[-1]
            shared = min(last[3], box[3]) - max(last[1], box[1])
            if shared > 0.5 * min(last[3] - last[1], box[3] - box[1]) and box[0] - last[2] <= 18:
                line.append(box)
                break
        else:
            lines.append([box])
    lines += numbers
    for line in lines:
        part = np.array(line)
        left, top = (part[:, :2].min(axis=0) * DPI / 72).astype(int).clip(0)
        right, bottom = (part[:, 2:].max(axis=0) * DPI / 72).astype(int)
        for found in tightened(np.array([[left, top, right, bottom]]), image).tolist():
            if found[3] - found[1] > 8:
                yield found


def degraded(page: Grey, how: str) -> tuple[Grey, float]:
    """The page as it comes back from a scanner, a fax or a telephone, and its dpi.

    Args:
        how: one of ``HOWS``.
    """
    rng = np.random.default_rng(11)
    if how == "clean":
        return page, DPI
    if how == "photo":
        picture = photograph(np.repeat(page[:, :, None], 3, axis=2), rng)
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        return grey.astype(np.uint8), DPI * grey.shape[1] * 0.86 / page.shape[1]
    scans = {
        "noise": Scan(dpi=200, noise=22.0, specks=6.0),
        "blur": Scan(dpi=150, blur=1.1),
        "skew": Scan(dpi=200, skew=2.3, edge=True),
        "fax": Scan(dpi=200, mode="bitonal", specks=4.0, streaks=2, blur=0.8),
    }
    chosen = scans[how]
    by = chosen.dpi / DPI
    small = cv2.resize(page, None, fx=by, fy=by, interpolation=cv2.INTER_AREA).astype(np.uint8)
    return scan(small, chosen, rng), float(chosen.dpi)


def matched(boxes: Boxes, others: Boxes) -> int:
    """How many of ``boxes`` have one among ``others`` with an intersection over union above one half."""
    if not len(boxes) or not len(others):
        return 0
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    area, other = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1), (others[:, 2:] - others[:, :2]).prod(axis=1)
    return int((shared / (area[:, None] + other - shared) > 0.5).any(axis=1).sum())


def tightened(boxes: Boxes, image: Grey) -> Boxes:
    """The boxes around the ink in boxes; those without ink are left out."""
    out = []
    for left, top, right, bottom in boxes:
        ink = image[top:bottom, left:right] < 160
        rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
        if len(rows):
            out.append([left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1])
    return np.array(out, np.int64).reshape(-1, 4)
