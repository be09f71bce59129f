"""Where a quote stands in the lines that were read. Pure.

Three looks, each only where the one before found nothing: to the letter; without spaces, punctuation and the letters
that recognition confuses; word by word, where a word may be misread but none may be missing, added or another. Digits
must agree in all three: a quote with another amount, date or a missing "not" is another sentence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cached_property
from typing import NamedTuple

from aseagi_tasks.analysis.layout import has_line_numbers
from aseagi_tasks.analysis.schema import Evidence
from aseagi_tasks.documents import Box, Line, Page, Reading

#: A misread word shares this much with what it is, and a whole quote that much: one letter in seven, one in ten.
WORD_LIKE, QUOTE_LIKE = 0.72, 0.9
#: Misread words are looked for on the page that was named and this many on either side.
NEIGHBOURS = 1
_FORMS = str.maketrans({**dict.fromkeys("‘’`´", "'"), **dict.fromkeys("“”", '"'), **dict.fromkeys("‐‑–—", "-")})
_CONFUSED = str.maketrans("oli|", "0111")
_NO_WORD = re.compile(r"[\W_]+")


def fold(text: str) -> str:
    """Lower case, plain quotes and dashes, single spaces: what two readers of the same words agree on."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_FORMS).casefold().split())


def skeleton(folded: str) -> str:
    """What is left of folded text where recognition errs least: no spaces or signs, one letter for those alike."""
    return _NO_WORD.sub("", folded.replace("|", "l")).translate(_CONFUSED).replace("rn", "m")


def union(lines: Sequence[Line]) -> Box:
    """The box around the lines."""
    left, top, right, bottom = zip(*(line.box for line in lines), strict=True)
    return Box(min(left), min(top), max(right), max(bottom))


def locate(quote: str, reading: Reading, page: int | None = None) -> Evidence | None:
    """Find one quote; for several in one reading make a ``Finder``."""
    return Finder(reading).locate(quote, page)


class Finder:
    """Finds quotes in a reading; what it needs of a page is made once, when the page is first looked at."""

    def __init__(self, reading: Reading) -> None:
        self._pages = [_Words(page) for page in reading.pages]

    def locate(self, quote: str, page: int | None = None) -> Evidence | None:
        """Find a quote, to the letter or nearly, over line ends and hyphens too.

        Args:
            quote: as somebody says that it stands there.
            page: where it is said to stand; other pages are tried after it.
        Returns:
            The page, the words as they were read, and the box around their lines; None if it is not there.
        """
        wanted = fold(quote)
        bones = skeleton(wanted)
        if not bones:
            return None
        named = [one for one in self._pages if one.page.number == page]
        for pages in (named, self._pages):
            for one in pages:
                if found := one.exact(wanted):
                    return Evidence(page=one.page.number, quote=quote, box=union(found))
            for one in pages:
                if found := one.without_spaces(bones):
                    return _as_read(one, found)
            for one in pages:
                near = page is None or abs(one.page.number - page) <= NEIGHBOURS
                if near and (found := one.misread(wanted)):
                    return _as_read(one, found)
        return None


class _Word(NamedTuple):
    """A word's skeleton, where it stands in its page's text, and whether it was written with digits."""

    bones: str
    start: int
    end: int
    has_digits: bool

    @classmethod
    def of(cls, folded: str, start: int) -> _Word:
        return cls(skeleton(folded), start, start + len(folded), any(map(str.isdigit, folded)))


def _as_read(words: _Words, lines: Sequence[Line]) -> Evidence:
    return Evidence(page=words.page.number, quote=" ".join(line.text for line in lines), box=union(lines))


class _Words:
    """One page's words, folded."""

    def __init__(self, page: Page) -> None:
        self.page = page

    @cached_property
    def _joined(self) -> tuple[str, list[int]]:
        """The lines' text, words that are broken at a line's end made whole, and where each line begins in it."""
        text, starts = "", []
        rows = [fold(line.text) for line in self.page.lines]
        numbered = has_line_numbers(row.split(" ", 1)[0] for row in rows)
        for row in rows:
            folded = re.sub(r"^\d{1,2}(?:\s|$)", "", row) if numbered else row
            if text.endswith("- ") and folded[:1].isalpha() and text[-3:-2].isalpha():
                text = text[:-2]
            starts.append(len(text))
            text += folded + " "
        return text, starts

    @cached_property
    def _bones(self) -> str:
        return skeleton(self._joined[0])

    @cached_property
    def _words(self) -> list[_Word]:
        found = (_Word.of(word[0], word.start()) for word in re.finditer(r"\S+", self._joined[0]))
        return [word for word in found if word.bones]

    def exact(self, wanted: str) -> Sequence[Line]:
        """The fewest neighbouring lines whose joined text holds the quote, whole words of it."""
        text, _ = self._joined
        at = text.find(wanted)
        while at >= 0:
            end = at + len(wanted)
            if not (_is_inside_word(text, at) or _is_inside_word(text, end)):
                return self._lines(at, end)
            at = text.find(wanted, at + 1)
        return ()

    def without_spaces(self, bones: str) -> Sequence[Line]:
        """The lines that hold the quote but for spaces, signs and letters that look alike."""
        if len(bones) < 3 or bones not in self._bones:
            return ()
        words = self._words
        whole, begins = "", []
        for word in words:
            begins.append(len(whole))
            whole += word.bones
        ends = {*begins[1:], len(whole)}
        for first, at in enumerate(begins):
            if whole.startswith(bones, at) and at + len(bones) in ends:
                last = max(n for n, begin in enumerate(begins) if begin < at + len(bones))
                return self._lines(words[first].start, words[last].end)
        return ()

    def misread(self, wanted: str) -> Sequence[Line]:
        """The lines that hold the quote word by word, a few of them misread."""
        quote = [word for text in wanted.split() if (word := _Word.of(text, 0)).bones]
        words = self._words
        if len(quote) < 2 or len(words) < len(quote):
            return ()
        counts: dict[str, list[int]] = {}
        for position, word in enumerate(words):
            counts.setdefault(word.bones, []).append(position)
        anchors = [(len(counts[word.bones]), offset) for offset, word in enumerate(quote) if word.bones in counts]
        for _, offset in sorted(anchors)[:2]:  # if the rarest was misread elsewhere, the next one stands
            for position in counts[quote[offset].bones]:
                there = words[position - offset : position - offset + len(quote)] if position >= offset else []
                if _alike(quote, there):
                    return self._lines(there[0].start, there[-1].end)
        return ()

    def _lines(self, start: int, end: int) -> Sequence[Line]:
        starts = self._joined[1]
        first = max(n for n, begin in enumerate(starts) if begin <= start)
        last = max(n for n, begin in enumerate(starts) if begin < end)
        return self.page.lines[first : last + 1]


def _is_inside_word(text: str, at: int) -> bool:
    return text[max(0, at - 1) : at].isalnum() and text[at : at + 1].isalnum()


def _alike(quote: Sequence[_Word], words: Sequence[_Word]) -> bool:
    if len(words) < len(quote):
        return False
    share = 0.0
    for wanted, likeness in _likenesses(quote, words):
        if likeness < WORD_LIKE:
            return False
        share += likeness * len(wanted.bones)
    return share >= QUOTE_LIKE * sum(len(word.bones) for word in quote)


def _likenesses(quote: Sequence[_Word], words: Sequence[_Word]) -> Iterator[tuple[_Word, float]]:
    """How much each word of the quote is like the one in its place; one that holds digits is it or is not."""
    for wanted, word in zip(quote, words, strict=True):
        if wanted.bones == word.bones:
            yield wanted, 1.0
        elif wanted.has_digits or word.has_digits or min(len(wanted.bones), len(word.bones)) < 4:
            yield wanted, 0.0  # "$4,500" is not "$4,600", and "not" is not "now"
        else:
            yield wanted, SequenceMatcher(None, wanted.bones, word.bones, autojunk=False).ratio()
