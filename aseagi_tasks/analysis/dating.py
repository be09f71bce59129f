"""Which date is which: of the document, of its filing, of what is to come or has happened. By context only. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from aseagi_tasks.analysis.dates import DATE, Found, dates, to_iso
from aseagi_tasks.analysis.layout import Piece, above, below, beside
from aseagi_tasks.analysis.schema import Fact

_FILED = re.compile(
    rf"^\W*(?:(?:Date|E-?|Electronically|Opinion|Order|Decided and)\s+)?(?:e-?)?Filed(?:\s+on)?\s*:?\s+{DATE}",
    re.IGNORECASE,
)
#: The line that a filing system prints at the head of a page; the second form is of the 2nd and 9th circuits.
_HEADER = re.compile(
    r"^(?:\w+\s)?(?:Case|Appeal|\d+:\d\d-\w\w-\d+|Filing|Document \d+|Doc \d+|ECF No)\b.{0,90}?\b(?:Date\s+)?"
    rf"(?:e-?)?Filed:?\s+(?:on\s+)?{DATE}",
    re.IGNORECASE,
)
_HEADER_COMMAS = re.compile(rf"^Case:?\s\d\d-\d+,\s(?:Document\s[\d-]+,\s)?{DATE},\s", re.IGNORECASE)
_CLERK = re.compile(rf"^FILED:?\s[\w ]+\bCLERK\s{DATE}", re.IGNORECASE)
_STAMP = re.compile(r"^(?:ELECTRONICALLY\s+|E-?|ENDORSED\W+|ORIGINAL\s+)?FILED\b(?!\s*:?\s*_)", re.IGNORECASE)
_NOT_A_STAMP = re.compile(r"\b(?:under seal|herewith|by|concurrently|pursuant)\b", re.IGNORECASE)

_SIGNED = re.compile(
    r"(?:^|[.;:]\s+|\bthat\s)(?:DATED(?:\s+(?:issued|signed|and\s+entered))?|(?:was\s+|and\s+)?Executed"
    r"|(?:IT\s+IS\s+)?SO\s+ORDERED|DONE(?:\s+AND\s+ORDERED)?|Signed|Entered|Issued|Date\s+issued|Ordered"
    r"|Subscribed(?:\s+and\s+sworn(?:\s+to)?)?(?:\s+before\s+me)?)\b"
    rf"[,.:]?\s*(?:(?:in|at)\s+[\w .]{{3,40}},?\s+)?(?:on\s+this|this|on)?\s*:?\s*(?:the\s+)?{DATE}",
    re.IGNORECASE,
)
#: "Dated: Brooklyn, New York", with the date on the next line.
_SIGNED_PLACE = re.compile(r"^DATED?\s*:\s*[A-Z][\w .]+,\s+[A-Z][\w .]+$", re.IGNORECASE)
_DATE_LINE = re.compile(rf"^Date\s*:\s*{DATE}", re.IGNORECASE)
#: Beside a date that stands for a hearing.
_HEARING_LINE = re.compile(
    r"^(?:Time|Dept|Department|Ctrm|Courtroom|Place|Judge|Hearing|Location|Trial|Room)\b", re.IGNORECASE
)
_MADE = re.compile(
    r"\b(?:is|was)?\s*(?:made|entered|dated)\s+(?:and\s+(?:entered\s+|made\s+)?)?(?:into\s+)?"
    rf"(?:this|on(?:\s+this)?|as\s+of)\s+(?:the\s+)?{DATE}",
    re.IGNORECASE,
)
_AGREES = re.compile(r"\b(?:agreement|lease|contract)\b", re.IGNORECASE)
_DECIDED = re.compile(rf"\bDecided(?:\s+and\s+filed)?(?:\s+on)?\s*:?\s+{DATE}", re.IGNORECASE)
_OF_RECORD = re.compile(
    rf"^(?:Date\s+of\s+(?:report|visit|service|discharge|invoice|this\s+notice)|Report\s+date|Invoice\s+date)\s*:?\s+{DATE}",
    re.IGNORECASE,
)
_LABEL_ALONE = re.compile(
    r"(?:DATE\s+OF\s+(?:REPORT|VISIT|DISCHARGE|NOTICE)|(?:REPORT|INVOICE)\s+DATE)\s*:?", re.IGNORECASE
)
_KEY = re.compile(
    r"^(?:(?:Next\s+)?(?:Hearing|Trial|Sentencing|Mediation|Conference|Status\s+conference)(?:\s+date)?"
    rf"|Date\s+of\s+(?:incident|accident|loss|injury|hearing|trial|offense))\s*:?\s+(?:\w+day,\s+)?{DATE}",
    re.IGNORECASE,
)
_KEY_ALONE = re.compile(r"(?:Hearing(?: date)?|Trial date|Date of (?:incident|accident|loss|injury)):", re.IGNORECASE)
_SALUTATION = re.compile(r"^Dear\s|^To (?:All Parties|Whom It May Concern)\b")


def filed_date(head: Sequence[Piece]) -> Fact | None:
    """From a filing system's header, a line ``Filed: …``, or a clerk's stamp; not when another paper was filed."""
    for pattern in (_HEADER, _HEADER_COMMAS, _CLERK, _FILED):
        for piece in head:
            if len(piece.text) < 160 and (found := pattern.search(piece.text)) and (iso := to_iso(found)):
                return _fact(iso, found, piece)
    first = [piece for piece in head if piece.page == head[0].page]
    for stamp in first:
        if _STAMP.match(stamp.text) and len(stamp.text) < 60 and not _NOT_A_STAMP.search(stamp.text):
            when = _in_stamp(stamp, first)
            if when:
                return when
    return None


def _in_stamp(stamp: Piece, first: Sequence[Piece]) -> Fact | None:
    """The date in or below a clerk's stamp, or right above it, in its column."""
    line: Piece | None = stamp
    for _ in range(6):
        if line is None:
            break
        if when := next(dates(line.text), None):
            return _of(when, line)
        line = below(line, first, lines=2.0)
    over = above(stamp, first, lines=1.5)
    if over and (when := _alone(over)):
        return _of(when, over)
    return None


def document_date(every: Sequence[Piece], head: Sequence[Piece], kind: str | None) -> Fact | None:
    """When the document was signed, made or decided, as it says itself; the first such place counts.

    Args:
        every: the document's own pieces, without its exhibits.
        head: those of the first pages.
        kind: document type, if it is known: a date that stands alone is a letter's, an opinion's or a transcript's.
    """
    first = [piece for piece in head if piece.page == head[0].page]
    for piece in first:
        agrees = kind == "agreement" or _AGREES.search(piece.text)
        for pattern in (_OF_RECORD, _DECIDED, *((_MADE,) if agrees else ())):
            if (found := pattern.search(piece.text)) and (iso := to_iso(found)):
                return _fact(iso, found, piece)
    for piece in first:
        value = below(piece, first) if _LABEL_ALONE.fullmatch(piece.text.strip()) else None
        if value and (when := next(dates(value.text), None)):
            return _of(when, value)
    if kind == "letter" or any(_SALUTATION.search(piece.text) for piece in first):
        return _alone_before(head, _SALUTATION)
    if signed := next(_signed(every), None):
        return signed
    if kind in ("opinion", "transcript"):
        return next((_of(when, piece) for piece in head if (when := _alone(piece)) and not _stamped(piece, head)), None)
    return None


def _signed(every: Sequence[Piece]) -> Iterator[Fact]:
    for at, piece in enumerate(every):
        if (found := _SIGNED.search(piece.text)) and (iso := to_iso(found)):
            yield _fact(iso, found, piece)
        near = every[max(0, at - 12) : at + 13]
        if (found := _DATE_LINE.search(piece.text)) and (iso := to_iso(found)) and not _is_hearing(piece, near):
            yield _fact(iso, found, piece)
        if _SIGNED_PLACE.match(piece.text):
            follows = below(piece, near)
            when = _alone(follows) if follows else None
            if follows and when:
                yield _of(when, follows)


def _is_hearing(piece: Piece, near: Sequence[Piece]) -> bool:
    """Whether time, department or judge stand next to the date."""
    if re.search(r"\b(?:Time|Dept|Courtroom|Room)\b", piece.text, re.IGNORECASE):
        return True
    around = (below(piece, near), above(piece, near), *(other for other in near if other.is_beside(piece)))
    return any(_HEARING_LINE.match(other.text) for other in around if other is not None and other is not piece)


def _alone_before(head: Sequence[Piece], end: re.Pattern[str]) -> Fact | None:
    for piece in head:
        if end.search(piece.text):
            return None
        if when := _alone(piece):
            return _of(when, piece)
    return None


def _alone(piece: Piece) -> Found | None:
    """A date with its month in letters that has the line for itself, a weekday or a label ``Date:`` aside."""
    text = re.sub(r"^(?:\w+day,\s+|Date\s*:\s*)", "", piece.text.strip(" .[]()"))
    when = next(dates(text), None)
    if when is None or when.end - when.start < len(text) - 1 or not re.search("[A-Za-z]{3}", when.original):
        return None
    return when


def _stamped(piece: Piece, head: Sequence[Piece]) -> bool:
    """Whether the date is a clerk's, below ``FILED``."""
    over = above(piece, head)
    return over is not None and bool(re.search(r"\b(?:filed|received|entered|lodged)\b", over.text, re.IGNORECASE))


def key_dates(every: Sequence[Piece]) -> tuple[Fact, ...]:
    """Hearings, trials and incidents that are labelled so; each date once."""
    found: dict[str, Fact] = {}
    for at, piece in enumerate(every):
        near = every[max(0, at - 12) : at + 13]
        match = _KEY.search(piece.text)
        if match is None and _KEY_ALONE.fullmatch(piece.text.strip()):
            value = beside(piece, near)
            if value and (when := next(dates(value.text), None)) and when.start < 3:
                found.setdefault(when.iso, _of(when, value))
        if match is None and (line := _DATE_LINE.search(piece.text)):
            match = line if _is_hearing(piece, near) else None
        if match and (iso := to_iso(match)):
            found.setdefault(iso, _fact(iso, match, piece))
    return tuple(found.values())


def _fact(iso: str, match: re.Match[str], piece: Piece) -> Fact:
    return _of(Found(iso, match[0].strip(" .;:"), match.start(), match.end()), piece)


def _of(when: Found, piece: Piece) -> Fact:
    quote = when.original
    return Fact(value=when.iso, original=quote, status="supported", evidence=(piece.evidence(quote),))
