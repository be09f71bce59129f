"""How far a reading is from the truth: character and word error rates over folded text.

Folding takes out what no reader of the text would miss: line breaks, the forms of dashes and quotes, ligatures,
and the hyphen of a word that was broken across two lines (in the truth it may stand joined, on paper it is broken).
"""

from __future__ import annotations

import re
import unicodedata

from rapidfuzz.distance import Levenshtein
from rapidfuzz.fuzz import partial_ratio_alignment

_FORMS = str.maketrans(
    {**dict.fromkeys("‐‑‒–—―−", "-"), **dict.fromkeys("‘’‚‛`´′", "'"), **dict.fromkeys("“”„‟″", '"'), "\u00ad": ""}
)


def fold(text: str) -> str:
    """One line of plain text: NFKC, plain dashes and quotes, words joined over line ends, single spaces."""
    text = unicodedata.normalize("NFKC", text.translate(_FORMS)).translate(_FORMS)
    text = re.sub(r"-+", "-", text)
    text = re.sub(r"(?<=\w)-\s*\n\s*(?=[a-z])", "", text)
    return " ".join(text.split())


def cer(truth: str, read: str) -> float:
    """Character error rate: edits per character of the folded truth (may exceed 1)."""
    wanted, got = fold(truth), fold(read)
    return Levenshtein.distance(wanted, got) / max(1, len(wanted))


def wer(truth: str, read: str) -> float:
    """Word error rate: edited words per word of the folded truth (may exceed 1)."""
    wanted, got = fold(truth).split(), fold(read).split()
    return Levenshtein.distance(wanted, got) / max(1, len(wanted))


def order_free_edits(truth: list[str], read: list[str]) -> tuple[int, int]:
    """Edits and characters of the truth, whichever order the lines were read in.

    The longest piece left on either side is laid beside the most similar stretch of the other side; what is over on
    the left and right of it goes back. What finds nothing like it counts whole. Spaces at the cuts are not counted.
    Source of the idea: Clausner, Pletschacher, Antonacopoulos, "Flexible character accuracy measure for
    reading-order-independent evaluation" (2020).
    """
    wanted, got = [fold(line) for line in truth if line.strip()], [fold(line) for line in read if line.strip()]
    total, edits = sum(map(len, wanted)), 0
    while wanted and got:
        longest = max(wanted, key=len)
        wanted.remove(longest)
        best, best_score, best_cost, best_parts = None, 0.0, 0, ([""], [""])
        for other in got:
            if min(len(other), len(longest)) < 0.5 * min(len(longest), 12) and len(other) != len(longest):
                continue
            place = partial_ratio_alignment(longest, other)
            if place is None:
                continue
            a, b = longest[place.src_start : place.src_end], other[place.dest_start : place.dest_end]
            cost = Levenshtein.distance(a, b)
            score = min(len(a), len(b)) - 2 * cost
            if score > best_score or (best is None and cost == 0):
                best, best_score, best_cost = other, score, cost
                best_parts = (
                    [longest[: place.src_start], longest[place.src_end :]],
                    [other[: place.dest_start], other[place.dest_end :]],
                )
        if best is None:
            edits += len(longest)
            continue
        edits += best_cost
        got.remove(best)
        wanted += [part.strip() for part in best_parts[0] if part.strip()]
        got += [part.strip() for part in best_parts[1] if part.strip()]
    return edits + sum(map(len, wanted)) + sum(map(len, got)), total
