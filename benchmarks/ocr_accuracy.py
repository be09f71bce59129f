"""Character and word error rates of each engine, beside plain `tesseract`, on pages whose text is known.

    python benchmarks/ocr_accuracy.py [--model models/lines] [--engines tesseract,trocr,hybrid] [--calibration]
    python benchmarks/ocr_accuracy.py --steps [--engines tesseract,trocr]

Pages: born-digital court filings and samples, rendered at 300 dpi and made unclean (noise, blur, skew, fax, telephone),
and, where the corpus is, its scans with known text. Every engine sees the same pixels; the rates are edits over the
length of the truth, summed over all pages, whichever order the lines were read in (a pleading's line numbers, a form's
boxes and a caption's halves have no one order). Goal: ours at most 0.7 of plain Tesseract's over all.
`--calibration` prints, for each engine, how right its lines were by how sure it was. `--steps` prints, in place of all
this, what each step of cleaning is worth: the error without it over the error with all.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Set
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, get_args

import cv2
import numpy as np
from rapidfuzz.distance import Levenshtein
from rapidfuzz.fuzz import partial_ratio_alignment

sys.path.insert(0, str(Path(__file__).parents[1]))
from aseagi_tasks.documents import Line, Page
from aseagi_tasks.reading.hybrid import Hybrid
from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.reading.trocr import TrOCR
from aseagi_tasks.settings import CLEANING, CleaningStep
from tests.accuracy import fold, order_free_edits
from tests.known_pages import CORPUS, DPI, HOWS, ROOT, Grey, born_digital, degraded

SCANS = ("linn.pdf", "ccitt.pdf", "jbig2.pdf", "skew.pdf", "rotated_skew.pdf", "image-pdf.pdf")


class Paper(NamedTuple):
    """A picture of a page, and what stands on it."""

    name: str
    kind: str
    image: Grey
    dpi: float
    lines: list[str]


def papers() -> Iterator[Paper]:
    """One or two pages of each document in each way, then the corpus' scans."""
    for page in born_digital():
        if page.name.endswith((" p1", " p2")) and len(page.lines) > 8:
            for how in HOWS:
                image, dpi = degraded(page.image, how)
                yield Paper(page.name, how, image, dpi, page.lines)
    for name in SCANS:
        if (CORPUS / name).is_file():
            yield from scans(CORPUS / name)


def scans(path: Path) -> Iterator[Paper]:
    """The pages of a scan whose text is known, as one paper each."""
    with TemporaryDirectory() as folder:
        subprocess.run(["pdftoppm", "-gray", "-r", str(DPI), path, Path(folder) / "p"], check=True)
        for number, file in enumerate(sorted(Path(folder).glob("*.pgm")), 1):
            if path.name == "image-pdf.pdf":
                command = ["pdftotext", "-f", str(number), "-l", str(number), CORPUS / "vector-pdf.pdf", "-"]
                truth = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            else:
                truth = (CORPUS / "linn.txt").read_text()
            image = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
            assert image is not None
            yield Paper(path.name, "scan", image.astype(np.uint8), DPI, truth.splitlines())


def plain(paper: Paper, file: Path) -> tuple[str, list[Line]]:
    """What a user would run instead."""
    command = ["tesseract", str(file), "-", "--dpi", str(round(paper.dpi))]
    ran = subprocess.run(
        command, capture_output=True, text=True, env={"OMP_THREAD_LIMIT": "1", "PATH": "/usr/bin:/bin"}
    )
    return ran.stdout, []


def by(engine: Tesseract | TrOCR | Hybrid) -> Callable[[Paper, Path], tuple[str, list[Line]]]:
    """One of our engines."""

    def read(paper: Paper, file: Path) -> tuple[str, list[Line]]:
        height, width = paper.image.shape
        page = engine.read(Page(number=1, width_px=width, height_px=height, dpi=paper.dpi), file)
        return page.text, list(page.lines)

    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "models" / "lines"))
    parser.add_argument("--engines", default="tesseract,trocr,hybrid")
    parser.add_argument("--calibration", action="store_true")
    parser.add_argument("--steps", action="store_true")
    arguments = parser.parse_args()
    names = arguments.engines.split(",")
    if arguments.steps:
        steps(arguments.model, names)
        return
    ours = engines_with(arguments.model, CLEANING)
    engines = {"plain": plain} | {name: by(ours[name]) for name in names}

    edits: dict[tuple[str, str], np.ndarray] = defaultdict(lambda: np.zeros(4))
    spent: dict[str, float] = defaultdict(float)
    sure: dict[str, list[tuple[float, int, int]]] = defaultdict(list)
    print(f"{'':26}" + "".join(f"{name + ' CER':>15}" for name in engines), flush=True)
    count = 0
    for paper in papers():
        row, count = [], count + 1
        with TemporaryDirectory() as folder:
            file = Path(folder) / "page.pgm"
            cv2.imwrite(str(file), paper.image)
            for name, read in engines.items():
                begun = time.perf_counter()
                text, lines = read(paper, file)
                spent[name] += time.perf_counter() - begun
                wanted = fold("\n".join(paper.lines))
                wrong, characters = order_free_edits(paper.lines, text.splitlines())
                found = np.array([wrong, characters, *word_edits(wanted, fold(text))])
                edits[name, paper.kind] += found
                edits[name, "all"] += found
                row.append(wrong / max(1, characters))
                for line in lines:
                    sure[line.source].append((line.confidence, *_errors(fold(line.text), wanted)))
        print(f"{paper.name:18}{paper.kind:8}" + "".join(f"{rate:15.2%}" for rate in row), flush=True)
    print()
    for kind in (*HOWS, "scan", "all"):
        if edits["plain", kind][1]:
            rates = [edits[name, kind] for name in engines]
            print(f"{kind:26}" + "".join(f"{e[0] / e[1]:8.2%}{e[2] / e[3]:7.1%}" for e in rates) + "   (CER, WER)")
    base = edits["plain", "all"][0]
    print(f"{'of plain, CER':26}" + "".join(f"{edits[name, 'all'][0] / base:15.2f}" for name in engines))
    print(f"{'seconds a page':26}" + "".join(f"{spent[name] / count:15.2f}" for name in engines))
    if arguments.calibration:
        for source, rows in sure.items():
            show(source, np.array(rows))


def engines_with(model: str, cleaning: Set[CleaningStep]) -> dict[str, Tesseract | TrOCR | Hybrid]:
    tesseract = Tesseract("eng", cleaning)
    trocr = TrOCR(model, tesseract.detect, cleaning)
    return {"tesseract": tesseract, "trocr": trocr, "hybrid": Hybrid(tesseract, trocr)}


def steps(model: str, names: list[str]) -> None:
    """Each engine with all steps, and with all but one."""
    whole = engines_with(model, CLEANING)
    variants = {(name, "all"): by(whole[name]) for name in names}
    for step in get_args(CleaningStep):
        without = engines_with(model, CLEANING - {step})
        variants |= {(name, step): by(without[name]) for name in names}
    edits: dict[tuple[str, str, str], np.ndarray] = defaultdict(lambda: np.zeros(2))
    for paper in papers():
        with TemporaryDirectory() as folder:
            file = Path(folder) / "page.pgm"
            cv2.imwrite(str(file), paper.image)
            for (name, step), read in variants.items():
                found = order_free_edits(paper.lines, read(paper, file)[0].splitlines())
                for kind in (paper.kind, "all"):
                    edits[name, step, kind] += found
    kinds = (*HOWS, "scan", "all")
    print(f"{'CER without':24}" + "".join(f"{kind:>9}" for kind in kinds))
    for name, step in variants:
        rates = [edits[name, step, kind][0] / max(1, edits[name, step, kind][1]) for kind in kinds]
        shown = "nothing (all steps)" if step == "all" else step
        print(f"{name:10} {shown:20}"[:24] + "".join(f"{rate:9.2%}" for rate in rates))


def word_edits(wanted: str, got: str) -> tuple[int, int]:
    """Words too few or too many, whichever their order, and words of the truth."""
    there, read = Counter(wanted.split()), Counter(got.split())
    return max((there - read).total(), (read - there).total()), there.total()


def _errors(line: str, truth: str) -> tuple[int, int]:
    """Edits between a line and the place in the truth that is most like it, and the line's length."""
    where = partial_ratio_alignment(line, truth)
    place = truth[where.dest_start : where.dest_end] if where else ""
    return Levenshtein.distance(line, place), len(line)


def show(source: str, rows: np.ndarray) -> None:
    """Share of right characters by tenths of the lines, from the least sure."""
    rows = rows[np.argsort(rows[:, 0])]
    edges = np.unique(
        np.concatenate([np.linspace(0, len(rows) // 3, 9), np.linspace(len(rows) // 3, len(rows), 5)]).astype(int)
    )
    print(f"{source}: confidence (mean of the part) and share of characters right")
    for start, stop in pairwise(edges):
        part = rows[start:stop]
        print(f"  {part[:, 0].mean():.3f}  {1 - part[:, 1].sum() / max(1, part[:, 2].sum()):.3f}   {len(part)} lines")


if __name__ == "__main__":
    main()
