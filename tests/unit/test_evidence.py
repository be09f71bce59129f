"""Quotes are found where they stand, and nowhere else."""

from __future__ import annotations

import time

import pytest

from aseagi_tasks.analysis.evidence import Finder, locate
from aseagi_tasks.documents import Box, Line, Page, Reading

PAGES = (
    ("The parties agreed to arbi-", "trate any dispute under the", "“Master Agreement” of May 1, 2020."),
    ("The motion is GRANTED in part", "and DENIED in part."),
    (
        "Defendant is not liable for $4,500.00",
        "or $1,000 of rent due on March 15, 2024, in 2019",
        "to Avery Pellworth.",
    ),
)


def reading() -> Reading:
    pages = []
    for number, rows in enumerate(PAGES, 1):
        lines = tuple(
            Line(text=row, box=Box(100, 100 * n, 900, 100 * n + 50), confidence=1, source="tesseract")
            for n, row in enumerate(rows, 1)
        )
        pages.append(Page(number=number, width_px=1000, height_px=1400, dpi=100, source="tesseract", lines=lines))
    return Reading(engine="t", pages=tuple(pages))


@pytest.mark.parametrize(
    ("quote", "page", "box"),
    [
        ("agreed to arbitrate any dispute", 1, (100, 100, 900, 250)),  # over a hyphen at a line's end
        ('"master agreement" of may 1, 2020', 1, (100, 300, 900, 350)),  # other quotes, other case
        ("granted in part and denied in part", 2, (100, 100, 900, 250)),
        ("The motlon is GRANTED ln part", 2, (100, 100, 900, 150)),  # two letters misread
        ("on March l5, 2O24", 3, (100, 200, 900, 250)),  # letters for digits
        ("liable for $4,5OO.OO", 3, (100, 100, 900, 150)),
        ("arbitr ate anydispute", 1, (100, 100, 900, 250)),  # spaces lost and found
        ("to Avery Pelworth", 3, (100, 300, 900, 350)),  # a letter lost
    ],
)
def test_quote_is_found_on_its_lines(quote: str, page: int, box: tuple[int, ...]) -> None:
    found = locate(quote, reading())
    assert found is not None
    assert (found.page, found.box) == (page, box)


@pytest.mark.parametrize(
    "quote",
    [
        *("Defendant is liable for $4,500.00", "not liable for $4,600.00", "$1,100 of rent", "on March 16, 2024"),
        *("The motion is DENIED in part", "19", "to Casey Pellworth", "Defendant is now liable for"),
        "",
        "   ",
        "The motion is withdrawn by consent of all",
        "Supreme Court of Atlantis",
        "dispute agreed parties",
    ],
)
def test_quote_that_is_not_there_is_not_found(quote: str) -> None:
    assert locate(quote, reading()) is None


def test_the_page_that_was_named_is_looked_at_first() -> None:
    twice = reading().model_copy(
        update={"pages": (reading().pages[0], reading().pages[0].model_copy(update={"number": 2}))}
    )
    found = locate("any dispute", twice, page=2)
    assert found is not None and found.page == 2


def test_margin_numbers_do_not_come_between() -> None:
    rows = [f"{n} line number {n} of the page" for n in range(1, 12)] + ["12 the witness was inter-", "13 viewed twice"]
    lines = tuple(
        Line(text=row, box=Box(100, 100 * n, 900, 100 * n + 50), confidence=1, source="tesseract")
        for n, row in enumerate(rows, 1)
    )
    page = Page(number=1, width_px=1000, height_px=1400, dpi=100, source="tesseract", lines=lines)
    found = locate("the witness was interviewed twice", Reading(engine="t", pages=(page,)))
    assert found is not None and found.box == (100, 1200, 900, 1350)


def test_quotes_that_are_nowhere_cost_little_in_a_long_document() -> None:
    """2,000 pages that share every word with the quote."""
    row = "the plaintiff and the defendant agreed that the court shall have the power to decide"
    lines = tuple(Line(text=row, box=Box(1, n, 900, n + 1), confidence=1, source="tesseract") for n in range(40))
    page = Page(number=1, width_px=1000, height_px=1400, dpi=100, source="tesseract", lines=lines)
    pages = tuple(page.model_copy(update={"number": number}) for number in range(1, 2001))
    finder = Finder(Reading(engine="t", pages=pages))
    began = time.process_time()
    for number in range(1, 11):
        assert finder.locate(f"the court shall have no power to decide on claim {number}", number) is None
    assert time.process_time() - began < 20  # three seconds here
