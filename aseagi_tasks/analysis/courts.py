"""Courts, as headings name them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aseagi_tasks.analysis.layout import Piece, above, below
from aseagi_tasks.analysis.names import title_case
from aseagi_tasks.analysis.schema import Fact

_STATES = (
    *("Alabama", "Alaska", "Arizona", "Arkansas", "California", "Colorado", "Connecticut", "Delaware", "Florida"),
    *("Georgia", "Hawaii", "Idaho", "Illinois", "Indiana", "Iowa", "Kansas", "Kentucky", "Louisiana", "Maine"),
    *("Maryland", "Massachusetts", "Michigan", "Minnesota", "Mississippi", "Missouri", "Montana", "Nebraska"),
    *("Nevada", "New Hampshire", "New Jersey", "New Mexico", "New York", "North Carolina", "North Dakota", "Ohio"),
    *("Oklahoma", "Oregon", "Pennsylvania", "Rhode Island", "South Carolina", "South Dakota", "Tennessee", "Texas"),
    *("Utah", "Vermont", "Virginia", "Washington", "West Virginia", "Wisconsin", "Wyoming", "District of Columbia"),
    *("Columbia", "Puerto Rico", "Guam"),
)
_STATE = rf"(?:{'|'.join(_STATES)})"
_KIND = (
    r"(?:Superior|Circuit|District|Supreme|County|Family|Probate|Municipal|Civil|Criminal|Chancery|Juvenile|City|Land"
    r"|Justice|Housing|Surrogate[’']?s[’']?|Bankruptcy|Trial|Magistrate)"
)
#: What may stand before "Superior Court" and be its name; anybody may stand before "Clerk of the Superior Court".
_WORD = r"(?:(?!(?:The|Clerk|Hon|Judge|Justice|See|For|Before|Use|From|And|Attorney|LLP|LLC|Inc|Esq)\b)[A-Z][\w.’'-]*)"
_TAIL = r"(?:,?\s(?:of|for|in|in and for|within and for)\s(?:the\s)?[A-Z0-9].{2,80})?"
_COURT = re.compile(
    rf"(?:In\s)?(?:the\s)?(?:"
    rf"United\sStates\s(?:District|Bankruptcy)\sCourt{_TAIL}"
    rf"|United\sStates\sCourt\sof\s(?:Appeals|Federal\sClaims|International\sTrade){_TAIL}|United\sStates\sTax\sCourt"
    rf"|(?:United\sStates\s)?Bankruptcy\sAppellate\sPanel{_TAIL}"
    rf"|(?:{_WORD}\s){{0,3}}{_KIND}\sCourt(?:,?\s(?:County|City)\sof\s[A-Z][\w\s]{{2,30}})?{_TAIL}"
    rf"|(?:{_WORD}\s){{0,3}}(?:Appellate\s)?Courts?\sof\s(?:Appeals?|Common\sPleas|Claims|Chancery|Criminal\sAppeals"
    rf"|Civil\sAppeals|Special\sAppeals|Probate){_TAIL}"
    rf"|Appellate\sCourt\sof\s[A-Z].{{3,40}}"
    rf")",
    re.IGNORECASE,
)
#: What the next line adds: district, circuit, county, state; not the division.
_MORE = re.compile(
    rf"(?:in\sand\s)?(?:for\s)?(?:the\s)?(?:county\sof\s.{{3,40}}|[\w.’' -]{{3,30}}\scounty(?:,\s{_STATE})?"
    rf"|(?:\w+\s){{0,2}}district\sof\s(?:the\s)?{_STATE}|[\w-]+(?:\s[\w-]+)?\scircuit"
    rf"|(?:[\w-]+\s){{1,2}}(?:appellate|judicial)\s(?:district|circuit).{{0,50}}|(?:state|commonwealth)\sof\s{_STATE}"
    rf"|(?:eastern|western|northern|southern|central|middle)\sdistrict"
    rf")(?:,\s(?:state\sof\s)?{_STATE})?",
    re.IGNORECASE,
)
_LINKING = re.compile(r"(?:(?:in\sand\s)?for\s(?:the)?|of\s(?:the)?|in\sand|the)", re.IGNORECASE)
_ENDS_OPEN = re.compile(r"\b(?:of|the|for|and|in)$", re.IGNORECASE)
#: Above a court's name these say that it is another court: the one appealed from, or an addressee's.
_ANOTHER = re.compile(
    r"\b(?:appeals?|certiorari|review|petition|judgment|order|transfer|removed)\b.*\b(?:from|to|of)(?:\s+the)?"
    r"(?:\sunited\sstates)?(?:\s[\w, ]+)?$|^(?:the\s)?hon(?:orable|\.)|\bjudges?,?$|\bclerk\b",
    re.IGNORECASE,
)
_EDGES = " .,:;|()"
_DIVISION = re.compile(r",\s+(?:[\w-]+\s){1,3}division$", re.IGNORECASE)
_NUMBERED = re.compile(r",?\s+(?:Case|Cause|Docket|Index|Civil|Action)\b(?!\sCourt).*", re.IGNORECASE)
_NUMBERED_DISTRICT = re.compile(
    r"\b(?:\d+(?:st|nd|rd|th)|[\w-]*(?:first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth"
    r"|teenth|tieth))\s(?:judicial|appellate)\s(?:district|circuit)",
    re.IGNORECASE,
)
_JOINING = frozenset(["of", "the", "for", "and", "in", "within"])
_NO_COURT = re.compile(r"[$@]|\d{4}|\bcourtroom\b|\brules?\b|\bhouse\b|\bclerk\b|\bjudge\b", re.IGNORECASE)


def is_court(text: str, *, whole: bool = False) -> bool:
    """Whether a line is a court's name or, unless it must be the whole, the rest of one."""
    text = text.strip(_EDGES)
    return bool(_COURT.fullmatch(text) or (not whole and _MORE.fullmatch(text)))


def court(head: Sequence[Piece]) -> Fact | None:
    """The court in the heading: a line that is one, with district, circuit, county or state from those below it.

    A court that is named without any of these is one of hundreds and is left out.
    """
    for page in sorted({piece.page for piece in head}):
        on_page = [piece for piece in head if piece.page == page]
        found = [one for piece in on_page if (one := _at(piece, on_page))]
        # a heading in capitals goes before a clerk's stamp
        best = max(found, key=lambda lines: lines[0].text.isupper(), default=None)
        if best:
            return Fact(
                value=_joined([_named(piece) for piece in best]),
                original=" ".join(piece.text for piece in best),
                status="supported",
                evidence=tuple(piece.evidence() for piece in best),
            )
    return None


def _at(piece: Piece, on_page: Sequence[Piece]) -> list[Piece] | None:
    """The lines of a court's full name, if it begins here."""
    text = whole = _named(piece)
    while open_end := _ENDS_OPEN.search(whole):
        whole = whole[: open_end.start()].strip(_EDGES)
    if not text[:1].isupper() or not _COURT.fullmatch(whole) or _NO_COURT.search(text):
        return None
    if any(word[0].islower() and word not in _JOINING for word in text.split() if word[0].isalpha()):
        return None  # a sentence that begins like a court
    over = above(piece, on_page)
    if over is not None and _ANOTHER.search(over.text.strip(_EDGES)):
        return None
    lines = [piece]
    while len(lines) < 5 and _named(lines[-1]) == lines[-1].text.strip(_EDGES):
        more = below(lines[-1], on_page, lines=4.5)
        if more is None or len(more.text) > 70:
            break
        line = more.text.strip(_EDGES)
        if not (_MORE.fullmatch(line) or _LINKING.fullmatch(line) or (_is_open(lines[-1]) and line.istitle())):
            break
        lines.append(more)
    while len(lines) > 1 and _LINKING.fullmatch(lines[-1].text.strip(_EDGES)):
        lines.pop()
    if _is_open(lines[-1]):
        return None
    return lines if _is_full(" ".join(line.text for line in lines)) else None


def _named(piece: Piece) -> str:
    """The line without a case number or a division at its end."""
    return _DIVISION.sub("", _NUMBERED.sub("", piece.text).strip(_EDGES))


def _is_open(piece: Piece) -> bool:
    return bool(_ENDS_OPEN.search(piece.text.strip(_EDGES)))


def _is_full(text: str) -> bool:
    """Whether the name says which one of its kind it is."""
    if re.search(r"Supreme Court of the United States|Tax Court|Federal Claims|International Trade", text, re.I):
        return True
    kinds = r"(?:in|the|united states|state|commonwealth|court|courts|of|for|and|appeals?|common|pleas|claims)"
    text = _NUMBERED_DISTRICT.sub(" ", text)
    rest = re.sub(rf"\b(?:{kinds}|{_KIND}|appellate|probate|chancery)\b", " ", text, flags=re.IGNORECASE)
    return bool(re.search(r"[A-Za-z]{3}", rest))


def _joined(lines: Sequence[str]) -> str:
    name = title_case(lines[0]) if lines[0].isupper() else lines[0]
    for line in lines[1:]:
        apart = not (_ENDS_OPEN.search(name) or re.match(r"(?:for|in and|of|in)\b", line, re.IGNORECASE))
        name += (", " if apart else " ") + (title_case(line) if line.isupper() else line)
    name = re.sub(r"^(?:in\s+)?the\s+|^in\s+(?=[A-Z])", "", name, flags=re.IGNORECASE)
    return name[0] + re.sub(r"\b(?:For|In And|In and|Of|The)\b", lambda found: found[0].lower(), name[1:])
