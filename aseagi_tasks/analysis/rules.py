"""The rules analyst: what regular expressions and a court's vocabulary can find. No key, no network, no guess.

Precise rather than complete: every rule asks for a context that says what the value is ("Case No.", "Executed on",
a heading), and a field without such a context stays empty. Time is linear in the text: patterns look at lines of
bounded length, and what looks at neighbours looks at a bounded number of them. Pure.

    layout   lines as pieces, columns apart      case_numbers, courts, titles   what their names say
    names    names in captions                   captions                       who stands on which side
    dates    every form of a date                dating                         which date is which
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from aseagi_tasks.analysis.analyst import Errand
from aseagi_tasks.analysis.captions import parties
from aseagi_tasks.analysis.case_numbers import case_number
from aseagi_tasks.analysis.courts import court
from aseagi_tasks.analysis.dates import dates
from aseagi_tasks.analysis.dating import document_date, filed_date, key_dates
from aseagi_tasks.analysis.layout import Piece, pieces
from aseagi_tasks.analysis.schema import Analysis, Fact
from aseagi_tasks.analysis.titles import salutation, type_and_title
from aseagi_tasks.documents import Reading

VERSION = "rules 2"
#: Headings, captions and stamps stand on the first pages that have words.
HEAD_PAGES = 2
#: A page with fewer pieces that says "Exhibit A" is a cover: what follows is another document.
COVER_PIECES = 8

_EXHIBIT = re.compile(r"(?:exhibit|attachment|appendix)\s+[“\"]?[A-Z0-9]{1,3}[”\"]?", re.IGNORECASE)
_SPANISH = frozenset(["el", "los", "las", "del", "que", "por", "para", "con", "una", "este", "como", "su"])
_ENGLISH = frozenset(["the", "of", "and", "to", "in", "that", "is", "for", "was", "with", "by", "this"])


class RulesAnalyst:
    """Implements ``Analyst`` with the rules of this package."""

    name: Literal["rules"] = "rules"
    version = VERSION

    def analyze(self, reading: Reading, name: str, errand: Errand | None = None) -> Analysis:
        """Find what the rules find; everything else stays empty."""
        every = pieces(reading)
        if not every:
            return Analysis(analyst="rules")
        numbers = list(dict.fromkeys(piece.page for piece in every))
        head = [piece for piece in every if piece.page in numbers[:HEAD_PAGES]]
        kind, title = type_and_title(head)
        where = court(_letterhead(head) if kind and kind.value == "letter" else head)
        number = case_number(head, every[len(head) :], in_court=where is not None)
        own = every[: _first_exhibit(every)]
        return Analysis(
            analyst="rules",
            document_type=kind,
            title=title,
            case_number=number,
            court=where,
            parties=parties(head, is_filed=bool(where or number)),
            filed_date=filed_date(head),
            document_date=document_date(own, head, str(kind.value) if kind else None),
            key_dates=key_dates(own),
            language=language(every),
        )


def _letterhead(head: Sequence[Piece]) -> Sequence[Piece]:
    """What stands above a letter's date; the addressee's court stands below it."""
    dear = salutation(head)
    for at, piece in enumerate(head):
        when = next(dates(piece.text), None)
        if piece is dear or (when and when.end - when.start > 0.7 * len(piece.text)):
            return head[:at]
    return head


def _first_exhibit(every: Sequence[Piece]) -> int:
    """Where the document's own pieces end: at the first exhibit's cover after the first page."""
    counts = Counter(piece.page for piece in every)
    covers = {
        piece.page for piece in every if counts[piece.page] <= COVER_PIECES and _EXHIBIT.fullmatch(piece.text.strip())
    } - {every[0].page}
    return next((at for at, piece in enumerate(every) if piece.page in covers), len(every))


def language(every: Sequence[Piece]) -> Fact | None:
    """English or Spanish, by the words that hold sentences together; None where there are too few."""
    words = [word for piece in every[:300] for word in re.findall(r"[a-záéíóúñ]+", piece.text.lower())]
    english, spanish = (sum(word in known for word in words) for known in (_ENGLISH, _SPANISH))
    if max(english, spanish) < 10 or min(english, spanish) * 3 > max(english, spanish):
        return None
    value, known = ("en", _ENGLISH) if english > spanish else ("es", _SPANISH)
    piece = max(every[:300], key=lambda one: sum(word in known for word in one.text.lower().split()))
    return Fact(value=value, status="supported", evidence=(piece.evidence(),))
