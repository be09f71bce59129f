"""Where a quote stands in the lines that were read. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher

from aseagi_tasks.analysis.schema import Evidence
from aseagi_tasks.documents import Box, Line, Reading

#: A quote that is not there to the letter counts as found where it is this similar: an OCR error in ten characters.
SIMILAR = 0.85
#: How many lines a quote may run over.
MAX_LINES = 8
_FORMS = str.maketrans({**dict.fromkeys("‘’`´", "'"), **dict.fromkeys("“”", '"'), **dict.fromkeys("‐‑–—", "-")})


def fold(text: str) -> str:
    """Lower case, plain quotes and dashes, single spaces: what two readers of the same words agree on."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_FORMS).casefold().split())


def union(lines: Sequence[Line]) -> Box:
    """The box around the lines."""
    left, top, right, bottom = zip(*(line.box for line in lines), strict=True)
    return Box(min(left), min(top), max(right), max(bottom))


def locate(quote: str, reading: Reading, page: int | None = None) -> Evidence | None:
    """Find a quote, to the letter or nearly, over line ends and hyphens too.

    Args:
        quote: as somebody says that it stands there.
        page: where it is said to stand; other pages are tried after it.
    Returns:
        The page, the words as they were read, and the box around their lines; None if it is not there.
    """
    wanted = fold(quote)
    if not wanted:
        return None
    pages = sorted(reading.pages, key=lambda one: one.number != page)
    for one in pages:
        if found := _exact(wanted, one.lines):
            return Evidence(page=one.number, quote=quote, box=union(found))
    for one in pages:
        if found := _similar(wanted, one.lines):
            return Evidence(page=one.number, quote=" ".join(line.text for line in found), box=union(found))
    return None


def _exact(wanted: str, lines: Sequence[Line]) -> Sequence[Line]:
    """The fewest neighbouring lines whose joined text holds the quote."""
    text, starts = "", []
    for line in lines:
        folded = fold(line.text)
        if text.endswith("- ") and folded[:1].isalpha() and text[-3:-2].isalpha():
            text = text[:-2]  # a word broken at the line's end
        starts.append(len(text))
        text += folded + " "
    at = text.find(wanted)
    if at < 0:
        return ()
    first = max(n for n, start in enumerate(starts) if start <= at)
    last = max(n for n, start in enumerate(starts) if start < at + len(wanted))
    return lines[first : last + 1]


def _similar(wanted: str, lines: Sequence[Line]) -> Sequence[Line]:
    """The neighbouring lines most like the quote, if they are like enough."""
    folded = [fold(line.text) for line in lines]
    words = set(re.findall(r"\w+", wanted))
    best: tuple[float, int, int] = (SIMILAR, 0, 0)
    for first in range(len(lines)):
        if not words & set(re.findall(r"\w+", folded[first])):
            continue  # most lines share no word with the quote: comparing them would cost a hundred times more
        joined = ""
        for last in range(first, min(first + MAX_LINES, len(lines))):
            joined = f"{joined} {folded[last]}".strip()
            if len(joined) > 2 * len(wanted) + 20:
                break
            matcher = SequenceMatcher(None, wanted, joined, autojunk=False)
            same = sum(block.size for block in matcher.get_matching_blocks())
            likeness = same / len(wanted) - max(0, len(joined) - 1.5 * len(wanted)) / len(joined)
            if likeness > best[0]:
                best = (likeness, first, last + 1)
    return lines[best[1] : best[2]]
