"""Case numbers: of the federal courts by their form, of others by the label before them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from aseagi_tasks.analysis.dates import dates
from aseagi_tasks.analysis.layout import Piece, above, below, beside
from aseagi_tasks.analysis.schema import Fact

#: Digits, and what recognition takes them for.
_D = r"[\dOolI]"
_FEDERAL = (
    rf"(?i:\d{{1,2}}\s?:\s?{_D}{{2}}\s?-\s?(?:cv|cr|mc|md|mj|bk|ap|po|misc|br|pq|sw|ml|gj|dp|fp|op|at)\s?-\s?{_D}{{3,6}}"
    r"(?:-[A-Z0-9]{1,5}){0,4}(?:\([A-Z]{1,4}\))?)"
)
#: Forms that hold spaces: courts write them so, or recognition put them between digits and capitals.
_SPACED = (
    r"MDL\s(?:No\.\s?)?\d{3,5}",
    r"\d{2}-\d-\d{5}-\d(?:\s[A-Z]{3}\b)?",  # Washington
    r"\d{2,4}\s(?:CH|L|M\d?|D|P|CF|DV|CR|CV|CVS|CRS|CVD|C|Civ\.|CIV|Cr\.|cv|SC|LM|MR|AR|TX|SP|JD|FA|OP)\s\d{3,7}",
    r"(?:CV|C|CR|SACV|EDCV|Civ\.)\s?\d{2}-\d{3,5}(?:-[A-Z]{2,4})?",
    r"\d{2}\s?[A-Z]\s?[A-Z]{1,3}\s?\d{5,6}",  # California
)
_PLAIN = r"[A-Z0-9][A-Z0-9:.–-]{2,30}[A-Z0-9](?:/\d{2,4}[A-Z]?)?"
_NUMBER = rf"(?P<number>{_FEDERAL}|{'|'.join(_SPACED)}|{_PLAIN})"
_OF = r"(?:Nos?\b\s?[.,]?|Numbers?\b|#)"
_LABEL = (
    r"\b(?:Case|Docket|Index|Cause|Civil\sAction(?:\sfile)?|Criminal\sAction|Action|Court\sfile|C/A|C\.A\.|Civil|Criminal|Civ\.|"
    rf"Crim\.|Adv(?:ersary|\.)(?:\s(?:case|proceeding|proc\.))?|BAP|Appeal)\s*{_OF}\s*[:;.,]?\s*#?\s*"
)
_LABELLED = re.compile(rf"(?P<before>(?:\b[A-Za-z]+\.?\s){{0,3}}){_LABEL}{_NUMBER}", re.IGNORECASE)
_FILE = re.compile(rf"^File\s{_OF}\s*:?\s*{_NUMBER}", re.IGNORECASE)
_CASE_COLON = re.compile(rf"^Case:\s*{_NUMBER}", re.IGNORECASE)
_ANYWHERE = re.compile(rf"(?<![\w:])(?P<number>{_FEDERAL})(?![\w])", re.IGNORECASE)
#: The line that a court's filing system prints at the head of every page.
_HEADER = re.compile(
    r"^(?:(?:Appellate\s|USCA\w*\s)?(?:Case|Appeal)(?:\sNo\.)?:?\s*#?\s*(?=\d))?"
    rf"(?P<number>{_FEDERAL}|(?<=[\s:#])\d{{2}}-{_D}{{2,6}}(?:-[A-Za-z]{{2,4}})?),?"
    r"\s+(?:Document|Doc|Page|Filed|Date|ECF|ID|\d)",
    re.IGNORECASE,
)
_BARE = re.compile(rf"^(?:No|NO|Nos|NOS)\s?\.?,?\s+{_NUMBER}(?P<after>.*)$")
_AFTER_BARE = re.compile(r"\W*(?:(?:Argued|Decided|Submitted|\w+ Term|filed|Cons|and|&|Calendar)\b.{0,80})?", re.I)
_LABEL_ALONE = re.compile(rf"(?:CASE|DOCKET|INDEX|CAUSE|Civil Action|Civil Action File)\s*{_OF}\s*:?", re.IGNORECASE)
_VALUE_ALONE = re.compile(rf"(?:Nos?\.\s)?{_NUMBER}", re.IGNORECASE)
#: Forms that are nothing else, on a line of their own in a caption.
_ALONE = re.compile(
    rf"(?P<number>MDL\s(?:No\.\s?|Docket\sNo\.\s?)?\d{{3,5}}|{_FEDERAL}|\d{{2}}\s(?:Civ\.|Cv\.?|Cr\.?|Mag\.)\s\d{{3,5}})"
    r"(?:\s\([A-Z]{2,4}\))*",
    re.IGNORECASE,
)
#: California's courts of appeal print the number alone.
_CALIFORNIA_APPEAL = re.compile(r"[A-HS]\d{6}")
#: In running text a number is this case's where these words lead to it.
_IN_COURT = re.compile(
    r"(?:\b(?:court|action|matter|captioned|lawsuit|entitled|county)\b|^re\b)(?:[^.;]|\b(?:v|vs|Inc|Co|Corp|No)\.){0,90}$",
    re.IGNORECASE,
)
#: The number of another case: of the court below, or of one that is cited.
_OTHER_CASE = re.compile(
    r"\b(?:district|originating|dc|d\.c\.|lower|superior|super\.|circuit|agency|bankr|related|county|trial|prior|tax|ct"
    r"|below|former|consolidated|with|lead|police|report|incident|see|in|municipal|tribunal|family|your|our|client)\b",
    re.IGNORECASE,
)
_CITATION = re.compile(r"^,?\s*(?:\d{4}\s(?:WL|U\.S\.|US)|\d+\s(?:F\.|U\.\s?S|S\.\s?Ct|Cal)|slip op)")
_FROM_BELOW = re.compile(r"\bappeals?\b.*\bfrom\b|\bcertiorari\b|\breview of\b|\bon appeal\b", re.IGNORECASE)
_AS_DIGITS = str.maketrans("OoIl", "0011")

HEADER, OWN_LINE, OF_FILE, IN_TEXT = range(4)


class _Candidate(NamedTuple):
    """Better ones have a lower rank: a filing system's header, a line of its own, a file's number, in running text."""

    rank: int
    text: str
    piece: Piece


def case_number(head: Sequence[Piece], later: Sequence[Piece] = (), *, in_court: bool) -> Fact | None:
    """The case's own number.

    In running text a number counts only if no other one stands there.

    Args:
        head: the first pages' pieces.
        later: the others', where only a filing system's header counts.
        in_court: whether the head names a court: a bare ``No.`` or ``File No.`` is a case's number only there.
    """
    found = list(_candidates(head, in_court))
    rank = min((one.rank for one in found), default=None)
    best = [one for one in found if one.rank == rank]
    if rank == IN_TEXT and len({value_of(one.text).casefold() for one in best}) > 1:
        return None
    if not best:
        headers = ((match, piece) for piece in later if (match := _HEADER.search(piece.text)))
        best = [_Candidate(HEADER, match["number"], piece) for match, piece in headers][:1]
    if not best:
        return None
    _, text, piece = best[0]
    return Fact(value=value_of(text), original=text, status="supported", evidence=(piece.evidence(text),))


def value_of(text: str) -> str:
    """The number without what recognition did to it, where that is unambiguous: a letter among digits."""
    value = text.strip(" .:,;").replace("–", "-")
    if re.fullmatch(_FEDERAL, value):
        value = re.sub(r"\s", "", value)
        place, _, rest = value.partition(":")
        year, kind, number, *judges = rest.split("-")
        return "-".join([f"{place}:{year.translate(_AS_DIGITS)}", kind, number.translate(_AS_DIGITS), *judges])
    if re.fullmatch(_SPACED[-1], value):
        return re.sub(r"\s", "", value)
    return value


def _candidates(head: Sequence[Piece], in_court: bool) -> Iterator[_Candidate]:
    shown: dict[int, int] = {}
    for piece in head:
        text = piece.text.strip()
        shown[piece.page] = shown.get(piece.page, 0) + 1
        if (found := _HEADER.search(text)) and len(text) < 140:
            yield _Candidate(HEADER, found["number"], piece)
            continue
        if (found := _CASE_COLON.search(text)) and _is_number(found["number"]):
            yield _Candidate(OWN_LINE, found["number"], piece)
        if (found := _FILE.search(text)) and in_court and _is_number(found["number"]):
            yield _Candidate(OF_FILE, found["number"], piece)
        for found in _LABELLED.finditer(text):
            if _is_own(found, text) and not _is_from_below(piece, head):
                alone = found.start("number") < 45 and len(text) - found.end() < 45 and not found["before"].strip()
                if alone or _IN_COURT.search(text[: found.start("number")]):
                    yield _Candidate(OWN_LINE if alone else IN_TEXT, found["number"], piece)
        for found in _ANYWHERE.finditer(text):
            before = text[: found.start()]
            if _IN_COURT.search(before) and not _OTHER_CASE.search(before) and not _CITATION.match(text[found.end() :]):
                yield _Candidate(IN_TEXT, found["number"], piece)
        for value in (beside(piece, head), below(piece, head)) if _LABEL_ALONE.fullmatch(text) else ():
            if value and (found := _VALUE_ALONE.fullmatch(value.text.strip())) and _is_number(found["number"]):
                yield _Candidate(OWN_LINE, found["number"], value)
        if in_court and shown[piece.page] < 60:
            yield from _without_label(piece, text, head)


def _without_label(piece: Piece, text: str, head: Sequence[Piece]) -> Iterator[_Candidate]:
    """``No. 20-5678`` on a line of its own, and forms that need no label."""
    found = _BARE.search(text)
    if (
        found
        and _is_number(found["number"])
        and not re.fullmatch(r"\d{5}-\d{4}|\d{1,5}", found["number"])
        and _AFTER_BARE.fullmatch(found["after"])
        and not _CITATION.match(found["after"])
        and (_is_argued(piece, found["after"], head) or not _is_from_below(piece, head))
    ):
        yield _Candidate(OWN_LINE, found["number"], piece)
    if alone := _ALONE.fullmatch(text):
        yield _Candidate(OWN_LINE, alone["number"], piece)
    if _CALIFORNIA_APPEAL.fullmatch(text) and any("COURT OF APPEAL" in one.text.upper() for one in head[:30]):
        yield _Candidate(OWN_LINE, text, piece)


def _is_own(found: re.Match[str], text: str) -> bool:
    return (
        _is_number(found["number"])
        and not _OTHER_CASE.search(found["before"])
        and not re.search(r"\bor\s+$", found["before"])
        and (" v. " not in text[: found.start()] or text.startswith(("Re", "RE")))
        and not _CITATION.match(text[found.end() :])
    )


def _is_number(text: str) -> bool:
    """At least four digits, and no date or telephone."""
    digits = sum(c.isdigit() for c in text)
    return (
        (digits >= 4 or bool(re.fullmatch(r"\d{2}-\d{2,3}", text)))
        and next(dates(text), None) is None
        and not re.fullmatch(r"\d{3}[-.]\d{3}[-.]\d{4}", text)
    )


def _is_argued(piece: Piece, after: str, head: Sequence[Piece]) -> bool:
    """Whether what follows says when this case was argued: then the number is its own."""
    follows = (other.text for other in head if other.is_beside(piece) and other.box.left > piece.box.left)
    return any(re.match(r"\W*(?:Argued|Decided|Submitted)", text, re.IGNORECASE) for text in (after, *follows))


def _is_from_below(piece: Piece, head: Sequence[Piece]) -> bool:
    """Whether the lines above, in this column, say that this is the number in the court appealed from."""
    line: Piece | None = piece
    for _ in range(3):
        if line is None:
            return False
        if _FROM_BELOW.search(line.text):
            return True
        line = above(line, head)
    return False
