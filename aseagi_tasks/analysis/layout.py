"""A reading's lines as the pieces that a person sees: columns apart, margin numbers and rules gone. Pure."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from aseagi_tasks.analysis.schema import Evidence
from aseagi_tasks.documents import Box, Line, Page, Reading, Word

#: Words further apart than this many line heights stand in different columns.
COLUMN_GAP = 1.6
#: No printed line is longer; rules take time by the length of a line.
MAX_CHARACTERS = 400
#: Nor has a page more pieces; what looks at neighbours takes time by their number.
MAX_PIECES = 400
#: Captions are drawn with these, one to a line, between their columns.
_DRAWN = frozenset(")|§:*}]>\\")
#: A word that is none: rules, leaders, check boxes, blanks to be filled in.
_NO_WORD = re.compile(r"[\W_]+|[-–—=_~*.]{3,}[xX/|)]*|[xX][-–—=_~*.]{3,}")


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

    def evidence(self, quote: str | None = None) -> Evidence:
        """That the words stand here; without words, all of them."""
        return Evidence(page=self.page, quote=quote or self.text, box=self.box)

    def is_over(self, other: Piece) -> bool:
        """Whether the two share some of the page's width."""
        return self.box.left < other.box.right and other.box.left < self.box.right

    def is_beside(self, other: Piece) -> bool:
        """Whether the two stand on one line of the page."""
        shared = min(self.box.bottom, other.box.bottom) - max(self.box.top, other.box.top)
        return self.page == other.page and 2 * shared > min(self.height, other.height)


def pieces(reading: Reading) -> list[Piece]:
    """The pieces of all pages in reading order."""
    return [piece for page in reading.pages for piece in itertools.islice(_of_page(page), MAX_PIECES)]


def below(piece: Piece, others: Sequence[Piece], lines: float = 2.5) -> Piece | None:
    """The next piece down that shares some of this one's width, at most so many line heights away."""
    found = [
        other
        for other in others
        if other.page == piece.page
        and other.box.top + other.box.bottom > piece.box.top + piece.box.bottom
        and not piece.is_beside(other)
        and other.box.top - piece.box.bottom < lines * max(piece.height, other.height)
        and piece.is_over(other)
    ]
    return min(found, key=lambda other: (other.box.top, abs(other.box.left - piece.box.left)), default=None)


def beside(piece: Piece, others: Sequence[Piece]) -> Piece | None:
    """The next piece to the right on the same line of the page."""
    found = [other for other in others if other.box.left >= piece.box.right and other.is_beside(piece)]
    return min(found, key=lambda other: other.box.left, default=None)


def above(piece: Piece, others: Sequence[Piece], lines: float = 2.5) -> Piece | None:
    """The next piece up, likewise."""
    found = [
        other
        for other in others
        if other.page == piece.page
        and other.box.top + other.box.bottom < piece.box.top + piece.box.bottom
        and not piece.is_beside(other)
        and piece.box.top - other.box.bottom < lines * max(piece.height, other.height)
        and piece.is_over(other)
    ]
    return max(found, key=lambda other: (other.box.top, -abs(other.box.left - piece.box.left)), default=None)


def _of_page(page: Page) -> Iterator[Piece]:
    rows = [list(line.words) or _words(line) for line in page.lines[:MAX_PIECES] if line.text.strip()]
    if has_line_numbers(row[0].text for row in rows):
        rows = [row[1:] if re.fullmatch(r"\d{1,2}", row[0].text) else row for row in rows]
    drawn = _drawn_columns(rows)
    for row in rows:
        for column in _columns(row, drawn):
            # signs between words belong to the text ("Penal Code § 1538.5"), those around them do not
            says = [at for at, word in enumerate(column) if not _NO_WORD.fullmatch(word.text)]
            if says:
                words = column[says[0] : says[-1] + 1]
                text = " ".join(word.text for word in words)
                yield Piece(_without_edges(text)[:MAX_CHARACTERS], _around(words), page.number)


def _words(line: Line) -> list[Word]:
    """A line's words where only its text is known: their places by the share of its characters.

    One or two spaces are no gap, however wide the line's characters come out.
    """
    left, top, right, bottom = line.box
    each = (right - left) / max(1, len(line.text))
    found = list(re.finditer(r"\S+", line.text))
    ends = [next.start() if next.start() - one.end() < 3 else one.end() for one, next in itertools.pairwise(found)]
    return [
        Word(word[0], Box(left + int(each * word.start()), top, left + int(each * end), bottom), line.confidence)
        for word, end in zip(found, [*ends, len(line.text)], strict=True)
    ]


def _columns(row: Sequence[Word], drawn: frozenset[tuple[str, int]]) -> Iterator[list[Word]]:
    """The row's words, apart where there is a wide gap or a drawn column."""
    if not row:
        return
    heights = sorted(word.box.bottom - word.box.top for word in row)
    gap = COLUMN_GAP * heights[len(heights) // 2]
    column: list[Word] = []
    for word in row:
        if column and word.box.left - column[-1].box.right > gap:
            yield column
            column = []
        if _drawn_at(word) & drawn:
            if column:
                yield column
            column = []
            continue
        column.append(word)
    if column:
        yield column


def _drawn_columns(rows: Sequence[Sequence[Word]]) -> frozenset[tuple[str, int]]:
    """Where a sign stands alone below itself on three lines or more: character and rough place."""
    found = Counter(at for row in rows for word in row if word.text in _DRAWN for at in _drawn_at(word))
    return frozenset(at for at, count in found.items() if count >= 3)


def _drawn_at(word: Word) -> frozenset[tuple[str, int]]:
    """A drawn sign's rough places; two, so that neighbours on either side of a boundary meet in one of them."""
    if word.text not in _DRAWN:
        return frozenset()
    wide = 3 * max(1, word.box.bottom - word.box.top)
    center = (word.box.left + word.box.right) // 2
    return frozenset({(word.text, 2 * (center // wide)), (word.text, 2 * ((center + wide // 2) // wide) + 1)})


def has_line_numbers(first_words: Iterable[str]) -> bool:
    """Pleading paper: most of 1-28 stand at the beginning of lines, one after the other."""
    first = [int(word) for word in first_words if re.fullmatch(r"\d{1,2}", word)]
    return sum(b == a + 1 for a, b in itertools.pairwise(first)) >= 10


def _without_edges(text: str) -> str:
    """Without a column's sign that recognition took for part of the first or last word."""
    text = text.lstrip("|§_")
    if text.endswith(("|", "_")):
        text = text.rstrip("|_ ")
    if text.startswith(")"):
        text = text.lstrip(") ")
    if text.endswith(")") and "(" not in text:
        text = text.rstrip(") ")
    return text.strip() or text


def _around(words: Sequence[Word]) -> Box:
    left, top, right, bottom = zip(*(word.box for word in words), strict=True)
    return Box(min(left), min(top), max(right), max(bottom))
