"""A PDF's text layer, page by page: words with boxes as pdftotext reports them, and whether they are words at all.

pdftotext's ``-bbox-layout`` output looks like XML and is read as a row of tags: what a hostile file puts into it
(control characters, halves of surrogate pairs) is no XML. Its ``-tsv`` is hardly faster (30 ms against 32 for
30 pages) and does not escape, so that a document could forge rows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.documents import Box, HiddenText, Line, Word

#: A text layer with more than this share of characters that mean nothing is of a font without a character map.
MAX_MEANINGLESS = 0.1
#: And one with fewer than this share of words that are mostly letters and digits is of a font with a wrong one.
MIN_WORDLIKE = 0.5
#: Pieces of diagonal text are at least this high; smaller diagonal text stays in pieces.
WATERMARK_PT = 24.0
#: Fewer characters than this are not judged.
MIN_CHARACTERS = 12

_TAG = re.compile(
    rb"<(?:(block)\b|(line)\b|"
    rb'word xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">([^<]*)</word)'
)
_PAGE_END = b"</page>"
_ENTITIES = ((b"&lt;", b"<"), (b"&gt;", b">"), (b"&quot;", b'"'), (b"&apos;", b"'"), (b"&#39;", b"'"), (b"&amp;", b"&"))
#: Bullets of Word's symbol fonts, and the hyphen at which a word was broken.
_KNOWN = {0xF0B7: "•", 0xF0A7: "▪", 0xF0D8: "▸", 0xAD: "-"}


class Span(NamedTuple):
    """One line: words ``start`` to ``stop`` (exclusive) of its page, in paragraph ``block``."""

    block: int
    start: int
    stop: int


class TextPage(NamedTuple):
    """One page's text layer.

    Attributes:
        words: in reading order, as they stand in the file.
        boxes: n x 4, in points from the top left of the upright page.
        lines: in reading order.
    """

    words: list[str]
    boxes: NDArray[np.float64]
    lines: list[Span]

    @property
    def is_garbage(self) -> bool:
        """Whether these are no words: the font says wrongly, or does not say, which characters its glyphs are."""
        characters = "".join(self.words)
        if len(characters) < MIN_CHARACTERS:
            return any(map(_is_meaningless, characters))
        if sum(map(_is_meaningless, characters)) > MAX_MEANINGLESS * len(characters):
            return True
        # Dotted leaders, blanks to fill in and bullets are no words, and no garbage.
        words = [word for word in self.words if len(set(word)) > 1]
        wordlike = sum(2 * sum(map(str.isalnum, word)) >= len(word) for word in words)
        return wordlike < MIN_WORDLIKE * len(words)

    def to_lines(self, scale: float, width_px: int, height_px: int, visible: NDArray[np.bool_]) -> tuple[Line, ...]:
        """The lines in page pixels.

        Args:
            scale: pixels per point.
            width_px, height_px: of the page; boxes are cut at its edges.
            visible: per word; a word that cannot be seen on the page is left out.
        """
        words = self._words(scale, width_px, height_px)
        lines = []
        for span in self.lines:
            own = tuple(words[at] for at in range(span.start, span.stop) if visible[at] and words[at].text)
            if own:
                text = " ".join(word.text for word in own)
                lines.append(
                    Line(text=text, box=_around(own), confidence=1.0, source="text-layer", block=span.block, words=own)
                )
        return tuple(lines)

    def hidden(
        self, scale: float, width_px: int, height_px: int, visible: NDArray[np.bool_], covered: NDArray[np.bool_]
    ) -> tuple[HiddenText, ...]:
        """What ``to_lines`` leaves out, a piece of a line at a time.

        Args:
            covered: per word, whether something opaque is on it.
        """
        words = self._words(scale, width_px, height_px)
        kinds: list[Literal["", "covered", "invisible"]] = [
            "" if seen or not word.text else "covered" if under else "invisible"
            for word, seen, under in zip(words, visible.tolist(), covered.tolist(), strict=True)
        ]
        found = []
        for span in self.lines:
            for kind, run in groupby(range(span.start, span.stop), key=kinds.__getitem__):
                if kind:
                    own = tuple(words[at] for at in run)
                    found.append(HiddenText(text=" ".join(word.text for word in own), box=_around(own), why=kind))
        return tuple(found)

    def _words(self, scale: float, width_px: int, height_px: int) -> list[Word]:
        """All words with their boxes in page pixels, cut at the page's edges."""
        page = np.array([width_px, height_px, width_px, height_px])
        edges = np.rint(np.clip(self.boxes * scale, 0, page)).astype(np.int64)
        edges[:, :2] = np.minimum(edges[:, :2], page[:2] - 1)
        edges[:, 2:] = np.maximum(edges[:, 2:], edges[:, :2] + 1)
        return [Word(clean(text), Box(*box), 1.0) for text, box in zip(self.words, edges.tolist(), strict=True)]


#: A page without text.
NOTHING = TextPage([], np.empty((0, 4)), [])


def read(path: Path) -> Iterator[TextPage]:
    """The pages of a file that ``pdftotext -bbox-layout`` wrote, one at a time: of 2,000 pages it has 100 MB."""
    page: list[bytes] = []
    with path.open("rb") as file:
        for row in file:
            page.append(row)
            if row.strip() == _PAGE_END:
                yield _parse(b"".join(page))
                page.clear()


def clean(text: str) -> str:
    """A word without what cannot be seen or stored: control and formatting characters, lone surrogates."""
    if text.isprintable():
        return text
    known = text.translate(_KNOWN)
    return "".join(c for c in known if unicodedata.category(c) not in ("Cc", "Cf", "Cs") and not c.isspace())


def _parse(page: bytes) -> TextPage:
    words: list[str] = []
    boxes: list[tuple[float, ...]] = []
    starts: list[tuple[int, int]] = []
    block = -1
    for tag in _TAG.finditer(page):
        is_block, is_line, *box, text = tag.groups()
        if is_block:
            block += 1
        elif is_line:
            starts.append((block, len(words)))
        else:
            words.append(_unescape(text).decode("utf-8", "replace"))
            boxes.append(tuple(map(float, box)))
    stops = [*(start for _, start in starts[1:]), len(words)]
    lines = [Span(max(0, block), start, stop) for (block, start), stop in zip(starts, stops, strict=False)]
    return _without_watermark(TextPage(words, np.array(boxes, np.float64).reshape(-1, 4), lines))


def _without_watermark(page: TextPage) -> TextPage:
    """The page without large diagonal text, which poppler tears into pieces of one or two letters.

    pdftotext's own ``-nodiag`` also loses the first word that is drawn after a watermark (22.12).
    """
    pieces = [line for line in page.lines if line.stop - line.start == 1 and len(page.words[line.start]) <= 3]
    boxes = page.boxes[[line.start for line in pieces]]
    large = boxes[:, 3] - boxes[:, 1] >= WATERMARK_PT
    if np.count_nonzero(large) < 3:
        return page
    across = (boxes[large, 0] + boxes[large, 2]) / 2
    down = (boxes[large, 1] + boxes[large, 3]) / 2
    if min(np.ptp(across), np.ptp(down)) < WATERMARK_PT or abs(np.corrcoef(across, down)[0, 1]) < 0.95:
        return page  # not on one slanting line
    dropped = {line.start for line, is_large in zip(pieces, large.tolist(), strict=True) if is_large}
    words: list[str] = []
    lines: list[Span] = []
    for line in page.lines:
        if line.start not in dropped:
            lines.append(Span(line.block, len(words), len(words) + line.stop - line.start))
            words += page.words[line.start : line.stop]
    kept = [index for index in range(len(page.words)) if index not in dropped]
    return TextPage(words, page.boxes[kept], lines)


def _unescape(text: bytes) -> bytes:
    if b"&" in text:
        for entity, character in _ENTITIES:
            text = text.replace(entity, character)
    return text


def _is_meaningless(character: str) -> bool:
    """Replacement, private-use, unassigned and control characters."""
    if "\x20" <= character < "\x7f" or ord(character) in _KNOWN:
        return False
    return character == "\ufffd" or unicodedata.category(character) in ("Co", "Cn", "Cc", "Cs")


def _around(words: tuple[Word, ...]) -> Box:
    left, top, right, bottom = zip(*(word.box for word in words), strict=True)
    return Box(min(left), min(top), max(right), max(bottom))
