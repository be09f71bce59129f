"""The rules analyst: what regular expressions and a court's vocabulary can find. No key, no network, no guess.

Precise rather than complete: every rule asks for a context that says what the value is ("Case No.", "Executed on",
a heading), and a field without such a context stays empty. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from aseagi_tasks.analysis import captions
from aseagi_tasks.analysis.dates import DATE, Found, dates, to_iso
from aseagi_tasks.analysis.layout import Piece, below, pieces
from aseagi_tasks.analysis.schema import Analysis, Fact
from aseagi_tasks.documents import Reading

VERSION = "rules 1"
#: Headings, captions and stamps stand on the first pages.
HEAD_PAGES = 2

_NUMBER = r"(?P<number>[A-Z0-9][A-Z0-9:.–-]{2,23}[A-Z0-9](?:/\d{4})?)"
#: California's form, year, kind, number: recognition puts spaces between digits and capitals, a person does not.
_SPACED = re.compile(
    r"\b(?:Case|Action)\s*(?:Nos?\.?|Numbers?|#)\s*[:.]?\s*(?P<number>\d{2} ?[A-Z] ?[A-Z]{1,3} ?\d{5,6})\b", re.I
)
_FEDERAL = re.compile(
    r"(?<![\w:])\d{1,2}:\d{2}-(?:cv|cr|mc|md|mj|bk|ap|po|misc)-\d{3,6}(?:-[A-Z0-9]{1,5}){0,3}(?!\w)", re.I
)
_LABELLED = re.compile(
    r"(?P<before>(?:\b[A-Za-z]+\.? ){0,2})\b(?:Case|Docket|Index|Cause|Civil Action|Action)\s*"
    rf"(?:Nos?\.?|Numbers?|#)\s*[:.]?\s*#?\s*{_NUMBER}",
    re.I,
)
_HEADER = re.compile(r"^Case:?\s*(?P<number>\d{2}-\d{3,5}),?\s+(?:Document|Page)", re.I)
_BARE = re.compile(rf"^(?:\)\s*)?No\.\s*{_NUMBER}\.?(?:\s{{2,}}|\s+Argued|$)")
_LABEL_ALONE = re.compile(r"^(?:CASE|DOCKET|INDEX|CAUSE)\s+(?:NUMBER|NO\.?|#):?$", re.I)
_VALUE_ALONE = re.compile(rf"^{_NUMBER}$")
#: The number of another case: of the court below, or of one that is cited.
_OTHER_CASE = re.compile(r"\b(?:district|originating|dc|lower|circuit|agency|bankr|related|county|trial|prior)\b", re.I)

_FILED = re.compile(rf"\b(?:Date\s+)?Filed:?\s+{DATE}", re.I)
_STAMP = re.compile(r"^(?:ELECTRONICALLY\s+|E-|ENDORSED\s+)?FILED\b", re.I)
_SIGNED = re.compile(
    rf"(?:^|[.;]\s*)(?:DATED?(?:\s+(?:issued|signed))?|(?:and\s+)?Executed\s+(?:this|on)(?:\s+the)?|"
    rf"SO\s+ORDERED\W+(?:this\s+)?|Signed\s+(?:this|on))\s*[:.]?\s*(?:this\s+)?{DATE}",
    re.I,
)
_MADE = re.compile(
    rf"\b(?:is|was)?\s*(?:made|entered)\s+(?:and\s+entered\s+)?(?:into\s+)?(?:on|as\s+of)\s+{DATE}", re.I
)
_DECIDED = re.compile(rf"\bDecided:?\s+{DATE}", re.I)
_OF_RECORD = re.compile(rf"\bDate\s+of\s+(?:report|visit|service|discharge|invoice|this\s+notice):?\s+{DATE}", re.I)
_DATE_LABEL = re.compile(r"^DATE\s+OF\s+(?:REPORT|VISIT|DISCHARGE|NOTICE)$|^(?:REPORT|INVOICE)\s+DATE$", re.I)
_KEY_DATE = re.compile(rf"\b(?:Hearing(?:\s+date)?|Trial(?:\s+date)?|Date\s+of\s+incident):?\s+{DATE}", re.I)

#: Document types by what their headings begin with. Where several stand in a heading the first one counts: an "order
#: granting motion" is an order.
_TYPES: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (kind, re.compile(pattern, re.I))
    for kind, pattern in (
        ("police_report", r"\b(?:traffic collision|collision|incident|crime|police|arrest|offense|accident) report\b"),
        ("proof_of_service", r"\b(?:proof|certificate|affidavit) of service\b"),
        ("subpoena", r"\bsubpoena\b"),
        ("summons", r"^summons\b"),
        (
            "medical_record",
            r"\b(?:discharge summary|operative report|progress notes?|medical record|history and physical)\b",
        ),
        ("transcript", r"\b(?:reporter[’']s )?transcript of\b"),
        ("agreement", r"\b(?:settlement|lease|rental|purchase|retainer|marital settlement|release)? ?agreement\b"),
        ("declaration", r"^(?:\w+ ){0,2}declaration of\b"),
        ("affidavit", r"^(?:\w+ ){0,1}affidavit\b"),
        (
            "order",
            r"^(?:\[?proposed\]? |amended |stipulated |protective |temporary restraining |scheduling ){0,2}order\b",
        ),
        ("motion", r"^(?:\w+[’']?s?[’']? ){0,3}(?:notice of (?:\w+ ){0,2})?motion\b"),
        ("complaint", r"^(?:(?:first|second|third|amended|verified|class action|civil|cross-?) ?){0,4}complaint\b"),
        ("answer", r"^answer\b"),
        ("petition", r"^(?:verified |amended )?petition (?:for|to)\b"),
        ("judgment", r"^(?:final |default |consent |amended ){0,2}judgment\b"),
        (
            "brief",
            r"^(?:(?:opening|reply|appell(?:ant|ee)[’']s|trial|amicus) ){0,2}brief\b|^memorandum of (?:points|law)",
        ),
        ("notice", r"^(?:docketing )?notice\b"),
        ("invoice", r"^(?:tax )?invoice\b"),
        ("exhibit", r"^exhibit [a-z0-9]{1,3}$"),
    )
)
_SALUTATION = re.compile(r"^Dear\s+[A-Z][\w. ]{1,60}[:,]?$|^To (?:All Parties|Whom It May Concern)[:,]?$")
_SLIP_OPINION = re.compile(r"^\(?Slip Opinion\)?$|^Opinion of the Court$|^O\s*P\s*I\s*N\s*I\s*O\s*N$", re.I)
_APPEAL_FROM = re.compile(r"^Appeal from the\b|^On appeal from\b|^Certiorari to the\b", re.I)
_APPELLATE = re.compile(r"\b(?:Courts? of Appeals?|Supreme Court)\b", re.I)
_SPANISH = frozenset(["el", "los", "las", "del", "que", "por", "para", "con", "una", "este", "como", "su"])
_ENGLISH = frozenset(["the", "of", "and", "to", "in", "that", "is", "for", "was", "with", "by", "this"])


class RulesAnalyst:
    """Implements ``Analyst`` with the rules of this module."""

    name: Literal["rules"] = "rules"
    version = VERSION

    def analyze(self, reading: Reading, name: str) -> Analysis:
        """Find what the rules find; everything else stays empty."""
        every = pieces(reading)
        head = [piece for piece in every if piece.page <= HEAD_PAGES]
        kind, title = type_and_title(head)
        return Analysis(
            analyst="rules",
            document_type=kind,
            title=title,
            case_number=case_number(head),
            court=captions.court(head),
            parties=captions.parties(head),
            filed_date=filed_date(head),
            document_date=document_date(every, head),
            key_dates=key_dates(every),
            language=language(every),
        )


def case_number(head: Sequence[Piece]) -> Fact | None:
    """The case's own number: federal forms anywhere in the head, others where a label says what they are."""
    for piece in head:
        if (found := _HEADER.search(piece.text)) and len(piece.text) < 120:
            return _number(found["number"], piece)
    for piece in head:
        if found := _SPACED.search(piece.text):
            return _number(found["number"], piece)
        for found in _LABELLED.finditer(piece.text):
            if not _OTHER_CASE.search(found["before"]) and _is_number(found["number"]):
                return _number(found["number"], piece)
        if (found := _FEDERAL.search(piece.text)) and not _OTHER_CASE.search(piece.text[: found.start()]):
            return _number(found[0], piece)
    top = [piece for piece in head if piece.page == 1][:40]
    for piece in top:
        if (found := _BARE.search(piece.text)) and _is_number(found["number"]):
            return _number(found["number"], piece)
        if _LABEL_ALONE.match(piece.text.strip()):
            value = below(piece, list(head))
            if value and (found := _VALUE_ALONE.match(value.text.strip())) and _is_number(found["number"]):
                return _number(found["number"], value)
    return None


def _is_number(text: str) -> bool:
    """At least four digits, and no date."""
    return sum(c.isdigit() for c in text) >= 4 and next(dates(text), None) is None


def _number(text: str, piece: Piece) -> Fact:
    value = text.strip(" .:,").replace("–", "-").replace(" ", "")
    return Fact(value=value, original=text, status="supported", evidence=(piece.evidence(text),))


def filed_date(head: Sequence[Piece]) -> Fact | None:
    """From a filing system's header, a line ``Filed: …``, or a clerk's stamp."""
    for piece in head:
        found = _FILED.search(piece.text)
        if found and (iso := to_iso(found)) and (found.start() < 3 or re.search(r"Case|Document", piece.text[:90])):
            return _date(Found(iso, found[0], found.start(), found.end()), piece)
    for at, piece in enumerate(head):
        if _STAMP.match(piece.text) and piece.page == 1 and len(piece.text) < 60:
            for near in head[at : at + 10]:
                apart = abs(near.box.left - piece.box.left)
                if near.page == 1 and apart < 12 * piece.height and (when := next(dates(near.text), None)):
                    return _date(when, near)
    return None


def document_date(every: Sequence[Piece], head: Sequence[Piece]) -> Fact | None:
    """When the document was signed, made or decided, as it says itself; the first such place counts."""
    first = [piece for piece in head if piece.page == 1]
    for patterns, where in (((_OF_RECORD, _DECIDED, _MADE), first), ((_SIGNED,), every)):
        for piece in where:
            for pattern in patterns:
                if (found := pattern.search(piece.text)) and (iso := to_iso(found)):
                    return _date(Found(iso, found[0], found.start(), found.end()), piece)
    for piece in first:
        value = below(piece, first) if _DATE_LABEL.match(piece.text.strip()) else None
        if value and (when := next(dates(value.text), None)):
            return _date(when, value)
    # a letter's date stands alone on a line above its salutation, an opinion's above its text
    for piece in head:
        when = next(dates(piece.text), None)
        if (
            when
            and when.end - when.start >= len(piece.text.strip(" .")) - 1
            and re.search("[A-Za-z]{3}", when.original)
        ):
            return _date(when, piece)
        if _SALUTATION.match(piece.text):
            break
    return None


def key_dates(every: Sequence[Piece]) -> tuple[Fact, ...]:
    """Hearings, trials and incidents that are labelled so; each date once."""
    found: dict[str, Fact] = {}
    for piece in every:
        for match in _KEY_DATE.finditer(piece.text):
            if iso := to_iso(match):
                found.setdefault(iso, _date(Found(iso, match[0], match.start(), match.end()), piece))
    return tuple(found.values())


def _date(when: Found, piece: Piece) -> Fact:
    return Fact(value=when.iso, original=when.original, status="supported", evidence=(piece.evidence(when.original),))


def type_and_title(head: Sequence[Piece]) -> tuple[Fact | None, Fact | None]:
    """Document type and title from the first heading that names one; letters by their salutation."""
    first = [piece for piece in head if piece.page == 1]
    salutation = next((piece for piece in head if _SALUTATION.match(piece.text.strip())), None)
    if salutation is not None:
        return _kind("letter", salutation), None
    for at, piece in enumerate(first):
        if not _is_heading(piece):
            continue
        for kind, pattern in _TYPES:
            if pattern.search(piece.text.strip(" -—_[]()|")):
                title = _heading(first, at)
                return _kind(kind, piece), title
    opinion = next((piece for piece in first if _SLIP_OPINION.match(piece.text.strip())), None)
    appeal = next((piece for piece in first if _APPEAL_FROM.match(piece.text.strip(" )"))), None)
    if appeal is not None and any(_APPELLATE.search(piece.text) for piece in first[:12]):
        opinion = opinion or appeal
    return (_kind("opinion", opinion), None) if opinion else (None, None)


def _is_heading(piece: Piece) -> bool:
    """Capitals, or a short line in title case: running text is neither."""
    words = re.findall(r"[A-Za-z’']{2,}", piece.text)
    if not words or len(piece.text) > 110:
        return False
    capitals = sum(word.isupper() for word in words)
    if capitals >= 0.75 * len(words):
        return True
    titled = sum(word[0].isupper() or word in captions.SMALL_WORDS for word in words)
    return titled == len(words) and len(words) <= 7 and not piece.text.rstrip().endswith((".", ","))


def _heading(first: Sequence[Piece], at: int) -> Fact:
    """The heading's lines: those below in the same column and the same kind of letters, without a gap."""
    lines = [first[at]]
    for piece in first[at + 1 : at + 16]:
        last = lines[-1]
        gap = piece.box.top - last.box.bottom
        if piece.box.top < last.box.bottom - last.height // 2:
            continue  # beside it, not below
        apart = abs((piece.box.left + piece.box.right) / 2 - (last.box.left + last.box.right) / 2)
        aligned = abs(piece.box.left - lines[0].box.left) < 2 * last.height or apart < 2 * last.height
        if not aligned:
            continue
        if gap > 2.2 * last.height or not _is_heading(piece) or piece.text.isupper() != last.text.isupper():
            break
        if re.match(r"hearing|date|dept|time|judge|case|trial|complaint|action|i\.|1\.", piece.text, re.I):
            break
        lines.append(piece)
    text = " ".join(piece.text.strip() for piece in lines)
    return Fact(
        value=captions.title_case(text),
        original=text,
        status="supported",
        evidence=tuple(piece.evidence(piece.text) for piece in lines),
    )


def _kind(kind: str, piece: Piece) -> Fact:
    return Fact(value=kind, original=piece.text, status="supported", evidence=(piece.evidence(piece.text),))


def language(every: Sequence[Piece]) -> Fact | None:
    """English or Spanish, by the words that hold sentences together; None where there are too few."""
    words = [word for piece in every[:300] for word in re.findall(r"[a-záéíóúñ]+", piece.text.lower())]
    english, spanish = (sum(word in known for word in words) for known in (_ENGLISH, _SPANISH))
    if max(english, spanish) < 10 or min(english, spanish) * 3 > max(english, spanish):
        return None
    value, known = ("en", _ENGLISH) if english > spanish else ("es", _SPANISH)
    piece = max(every[:300], key=lambda one: sum(word in known for word in one.text.lower().split()))
    return Fact(value=value, status="supported", evidence=(piece.evidence(piece.text),))
