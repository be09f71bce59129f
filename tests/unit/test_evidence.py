"""Quotes are found where they stand, and nowhere else."""

from __future__ import annotations

import pytest

from aseagi_tasks.analysis.evidence import locate
from aseagi_tasks.documents import Box, Line, Page, Reading

PAGES = (
    ("The parties agreed to arbi-", "trate any dispute under the", "“Master Agreement” of May 1, 2020."),
    ("The motion is GRANTED in part", "and DENIED in part."),
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
    ],
)
def test_quote_is_found_on_its_lines(quote: str, page: int, box: tuple[int, ...]) -> None:
    found = locate(quote, reading())
    assert found is not None
    assert (found.page, found.box) == (page, box)


@pytest.mark.parametrize(
    "quote",
    ["", "   ", "The motion is withdrawn by consent of all", "Supreme Court of Atlantis", "dispute agreed parties"],
)
def test_quote_that_is_not_there_is_not_found(quote: str) -> None:
    assert locate(quote, reading()) is None


def test_the_page_that_was_named_is_looked_at_first() -> None:
    twice = reading().model_copy(
        update={"pages": (reading().pages[0], reading().pages[0].model_copy(update={"number": 2}))}
    )
    found = locate("any dispute", twice, page=2)
    assert found is not None and found.page == 2
