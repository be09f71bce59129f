"""Pages of which the text, and where each line stands, is known: born-digital pages, rendered and then made unclean.

From the samples and, where it lies beside the project, the corpus. No benchmark by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
from aseagi_tasks.reading import textlayer
from aseagi_tasks.samples import make_samples, read_truth
from aseagi_tasks.samples.scanning import Scan, photograph, scan

CORPUS = Path(os.environ.get("ASEAGI_CORPUS", ROOT.parent / "shared" / "corpus")) / "court"
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

Grey = NDArray[np.uint8]


class KnownPage(NamedTuple):
    """A born-digital page: its picture at 300 dpi, its text, and its lines' boxes (n x 4, around their ink)."""

    name: str
    image: Grey
    text: str
    boxes: NDArray[np.int64]


def born_digital() -> Iterator[KnownPage]:
    """Pages of the samples' and the corpus' text layers."""
    with TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        make_samples(samples)
        for path in sorted(samples.glob("*.pdf")):
            kinds = [page.kind for page in read_truth(path).pages]
            yield from _pages(path, [n for n, kind in enumerate(kinds, 1) if kind == "text-layer"][:3])
    for name, last in FILINGS.items():
        if (CORPUS / name).is_file():
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
            text = "\n".join(" ".join(page.words[s.start : s.stop]) for s in page.lines)
            yield KnownPage(f"{path.stem[:14]} p{number}", image.astype(np.uint8), text, np.array(boxes).reshape(-1, 4))


def _line_boxes(page: textlayer.TextPage, image: Grey) -> Iterator[list[int]]:
    """The boxes around the ink of each line, broken where a gap is wider than a quarter of an inch."""
    for span in page.lines:
        boxes = page.boxes[span.start : span.stop]
        cuts = [0, *(np.flatnonzero(boxes[1:, 0] - boxes[:-1, 2] > 18) + 1).tolist(), len(boxes)]
        for start, stop in zip(cuts, cuts[1:], strict=False):
            part = boxes[start:stop]
            left, top = (part[:, :2].min(axis=0) * DPI / 72).astype(int).clip(0)
            right, bottom = (part[:, 2:].max(axis=0) * DPI / 72).astype(int)
            ink = image[top:bottom, left:right] < 160
            rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
            if len(rows) > 8:
                yield [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]


def degraded(page: Grey, how: str) -> tuple[Grey, float]:
    """The page as it comes back from a scanner, a fax or a telephone, and its dpi.

    Args:
        how: ``clean``, ``noise``, ``blur``, ``skew``, ``fax`` or ``photo``.
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


HOWS = ("clean", "noise", "blur", "skew", "fax", "photo")
