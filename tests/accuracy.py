"""How far a reading is from the truth: character and word error rates over folded text.

Folding takes out what no reader of the text would miss: line breaks, the forms of dashes and quotes, ligatures,
and the hyphen of a word that was broken across two lines (in the truth it may stand joined, on paper it is broken).
"""

from __future__ import annotations

import re
import unicodedata

from rapidfuzz.distance import Levenshtein

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
