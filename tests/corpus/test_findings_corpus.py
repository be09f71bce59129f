"""Exhibits, Bates numbers and events in real filings and in layouts of every kind: what is found is there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aseagi_tasks.analysis import bates, events, exhibits
from aseagi_tasks.analysis.exhibits import Exhibits
from aseagi_tasks.samples.fonts import find_fonts
from aseagi_tasks.samples.papers import PAPERS

LAYOUTS = Path(__file__).parents[1] / "unit" / "filings.txt"


def pages_of(path: Path) -> list[str]:
    done = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, check=True)
    return done.stdout.decode().split("\f")[:-1]


def missing(pages: list[str]) -> list[str]:
    case = Exhibits()
    for number, text in enumerate(pages, 1):
        case.add("it", exhibits.cited(text, number), exhibits.marked(text, number))
    return [one.label for one in case.missing()]


def series(pages: list[str]) -> list[bates.Series]:
    found = bates.runs(stamp for number, text in enumerate(pages, 1) for stamp in bates.stamps(text, number))
    return bates.series(bates.Placed("it", run) for run in found)


@pytest.mark.corpus
def test_court_filings(corpus: Path) -> None:
    """14 files, 73 pages: two exhibits are cited, in one of them; read by eye. None has Bates numbers."""
    for path in sorted((corpus / "court").glob("*.pdf")):
        pages = pages_of(path)
        assert missing(pages) == (["1", "2"] if path.stem == "rectangles_yes" else []), path.name
        assert series(pages) == [], path.name


def test_samples(tmp_path: Path) -> None:
    """Of the declaration with three exhibits, two slip sheets have a text layer; the third is a scan."""
    paper = next(paper for paper in PAPERS if paper.file == "09-exhibits.pdf")
    (tmp_path / paper.file).write_bytes(paper.bind(paper.leaves(find_fonts())))
    pages = pages_of(tmp_path / paper.file)
    assert missing(pages) == ["C"]
    assert [mark for at, text in enumerate(pages, 1) for mark in exhibits.marked(text, at)] == [
        exhibits.Mark("A", None, 3),
        exhibits.Mark("B", None, 7),
    ]
    assert series(pages) == []


def test_layouts() -> None:
    """98 first pages: three name the date of an incident, one is an exhibit's cover, none has a Bates number."""
    pages = [text.rpartition("\n= ")[0] for text in LAYOUTS.read_text().split("\n=== ")]
    assert missing(pages) == [] and series(pages) == []
    told = [one.iso for number, text in enumerate(pages, 1) for one in events.events(text, number)]
    assert told == ["2021-08-14", "2021-10-02", "2021-05-05"]
