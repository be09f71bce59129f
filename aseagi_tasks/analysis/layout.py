"""A reading's lines as the pieces that a person sees: columns apart, margin numbers gone. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from aseagi_tasks.analysis.schema import Evidence
from aseagi_tasks.documents import Box, Line, Page, Reading, Word

#: Words further apart than this many line heights stand in different columns.
COLUMN_GAP = 1.6
#: No printed line is longer; rules take time by the length of a line.
MAX_CHARACTERS = 400


@dataclass(frozen=True)
class Piece:
    """A line, or the part of one that stands in one column."""

    text: str
    box: Box
    page: int

    @property
    def height(self) -> int:
        """In page pixels."""
        return max(1, self.box.bottom - self.box.top)

    def evidence(self, quote: str) -> Evidence:
        """That the words stand here."""
        return Evidence(page=self.page, quote=quote, box=self.box)


def pieces(reading: Reading, last_page: int | None = None) -> list[Piece]:
    """The pieces of all pages up to one, in reading order."""
    return [piece for page in reading.pages if not last_page or page.number <= last_page for piece in _of_page(page)]


def below(piece: Piece, others: list[Piece]) -> Piece | None:
    """The piece right below, in the same column, at most two and a half line heights away."""
    found = [
        other
        for other in others
        if other.page == piece.page
        and (other.box.top + other.box.bottom) > (piece.box.top + piece.box.bottom)
        and other.box.top - piece.box.bottom < 2.5 * max(piece.height, other.height)
        and other.box.left < piece.box.right
        and piece.box.left - 2 * piece.height < other.box.left
    ]
    return min(found, key=lambda other: (other.box.top, abs(other.box.left - piece.box.left)), default=None)


def _of_page(page: Page) -> Iterator[Piece]:
    numbered = _has_line_numbers(page)
    for line in page.lines:
        for words in _columns(line):
            text = " ".join(word.text for word in words)
            if numbered and re.match(r"\d{1,2}(\s|$)", text):
                words = words[1:]
                text = " ".join(word.text for word in words)
            if text.strip():
                yield Piece(text[:MAX_CHARACTERS], _around(words), page.number)


def _columns(line: Line) -> Iterator[list[Word]]:
    words = list(line.words) or [Word(line.text, line.box, line.confidence)]
    gap = COLUMN_GAP * sorted(word.box.bottom - word.box.top for word in words)[len(words) // 2]
    column = [words[0]]
    for word in words[1:]:
        if word.box.left - column[-1].box.right > gap:
            yield column
            column = []
        column.append(word)
    yield column


def _has_line_numbers(page: Page) -> bool:
    """Pleading paper: most of 1-28 stand at the beginning of lines, one after the other."""
    first = [int(found[0]) for line in page.lines if (found := re.match(r"\d{1,2}(?=\s|$)", line.text))]
    return sum(b == a + 1 for a, b in itertools.pairwise(first)) >= 10


def _around(words: list[Word]) -> Box:
    left, top, right, bottom = zip(*(word.box for word in words), strict=True)
    return Box(min(left), min(top), max(right), max(bottom))
