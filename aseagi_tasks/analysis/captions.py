"""Parties: who stands on which side of the ``v.`` in the caption of a filing. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from aseagi_tasks.analysis import names
from aseagi_tasks.analysis.courts import is_court
from aseagi_tasks.analysis.layout import Piece
from aseagi_tasks.analysis.schema import Party
from aseagi_tasks.analysis.titles import kind_of

_ROLE_NAMES = (
    *("plaintiff", "defendant", "petitioner", "respondent", "appellant", "appellee", "claimant", "debtor", "creditor"),
    *("intervenor", "movant", "cross-complainant", "cross-defendant", "counterclaimant", "counter-defendant"),
    *("third-party plaintiff", "third-party defendant", "cross-appellant", "cross-appellee", "relator", "garnishee"),
    *("real party in interest", "plaintiff in error", "defendant in error", "complainant", "objector"),
)
_ROLE = rf"(?:{'|'.join(sorted(_ROLE_NAMES, key=len, reverse=True)).replace(' ', '[ ]')})"
_PLURAL = r"(?:s|\(s\))?"
_ROLES = rf"{_ROLE}{_PLURAL}(?:\s*(?:[-/,–—]|and|&)\s*{_ROLE}{_PLURAL})*"
#: A line that is a role; a name and its role in one line; a form's "PLAINTIFF/PETITIONER: name".
_ROLE_LINE = re.compile(
    rf"(?:and\s+)?(?P<role>{_ROLES})(?!\w)\W*(?:below\W*|in (?:pro per|propria persona)\W*)?", re.IGNORECASE
)
_ENDS_IN_ROLE = re.compile(rf"(?P<name>.{{2,200}}?),\s+(?P<role>{_ROLES})\W*", re.IGNORECASE)
_LABELLED = re.compile(rf"(?P<role>{_ROLES})\s*:\s*(?P<name>\S.{{1,90}})", re.IGNORECASE)
_VERSUS = re.compile(r"\W*(?:v|vs|versus|against|-\s?against\s?-|-\s?vs?\.?\s?-)\W*", re.IGNORECASE)
_INLINE = re.compile(
    r"(?P<label>(?:Re|In\s+the\s+matter\s+of|Case(?:\s+(?:title|name))?|Short\s+title|Subject|Case\s+caption)\s*[:.]\s*)?"
    r"(?:Case\s+No\.?\s+\S+,\s+)?(?P<first>[^:;]{2,80}?),?\s+(?:vs?\.|VS?\.|versus)\s+(?P<second>\S.{1,120})",
    re.IGNORECASE,
)
#: What follows the second name in a subject line.
_REST = re.compile(
    r",?\s*(?:\bet\.?\s+al\b.*|[,(]?\s*\b(?:Case|No|Index|Docket|Civil|Cause|File|Claim|Our|Your|Action|D/?O/?[IL]|USDC)\b"
    r".*|\(.*)$",
    re.IGNORECASE,
)
_STOPS = re.compile(
    r"attorneys?\s+for|\bcounsel\b|\btel(?:ephone)?\b|\bfax\b|@|\bstate bar\b|\bSBN\b|\bsuite\b|\bstreet\b"
    r"|\bdivision\b|\bfile(?:d|s)?\b|\bcase\b|\bno\.|\bnumber\b|\bin\s+re\b|\bmatter\s+of\b|\bappeal\b|\bdocument\b"
    r"|\b\d{5}(?:-\d{4})?$|\b(?:northern|southern|eastern|western|central|middle) district\b|certiorari|\bpage\b"
    r"|\bss\b",
    re.IGNORECASE,
)
#: The largest captions have about so many lines on a side.
MAX_LINES = 14


class _Side(NamedTuple):
    lines: list[Piece]
    role: str | None
    plural: bool


def parties(head: Sequence[Piece], *, is_filed: bool) -> tuple[Party, ...]:
    """Who is for and against.

    From a caption around a lone ``v.``; from a form's lines that name a role; from a debtor's caption; or from a line
    ``X v. Y``.

    Args:
        head: the first pages' pieces.
        is_filed: whether a court or a case number was found: only then does a bare line ``X v. Y`` name the parties.
    """
    lone = [piece for piece in head[:150] if _VERSUS.fullmatch(piece.text)]
    for piece in lone[:3]:
        if found := _around(piece, head):
            return found
    return _labelled(head) or _debtor(head) or _in_one_line(head, is_filed=is_filed)


def role_of(text: str) -> tuple[str, bool] | None:
    """Role and whether it is a plural, if the line is nothing else."""
    found = _ROLE_LINE.fullmatch(text.strip())
    return _role(found["role"]) if found else None


def _role(text: str) -> tuple[str, bool]:
    roles = [found[0].lower() for found in re.finditer(_ROLE, text, re.IGNORECASE)]
    plural = bool(re.search(rf"(?:{_ROLE})(?:s|\(s\))", text, re.IGNORECASE))
    return "/".join(dict.fromkeys(roles)), plural


def _around(versus: Piece, head: Sequence[Piece]) -> tuple[Party, ...]:
    """Both sides of a caption; none unless at least one of them has its role."""
    column = _column_of(versus, head)
    if versus not in column:
        return ()
    middle = column.index(versus)
    first = _side(column[:middle][::-1], upwards=True)
    second = _side(column[middle + 1 :], upwards=False)
    if first is None or second is None or (first.role is None and second.role is None):
        return ()
    one, two = _named(first), _named(second)
    return (*one, *two) if one and two else ()


def _column_of(anchor: Piece, head: Sequence[Piece]) -> list[Piece]:
    """What stands above and below a lone ``v.`` (or an ``In re``), from the top, without the other column.

    Without another column there is one, and it may be centered. A role may stand to the right of its name.
    """
    reach = 3 * MAX_LINES * anchor.height
    near = [one for one in head if one.page == anchor.page and abs(one.box.top - anchor.box.top) < reach]
    near.sort(key=lambda one: (one.box.top + one.box.bottom, one.box.left))
    edge = _other_column(anchor, near)
    return [piece for piece in near if edge is None or piece.box.left < edge or role_of(piece.text)]


def _other_column(anchor: Piece, near: Sequence[Piece]) -> int | None:
    """Where the other column begins: two lines right of the anchor that begin alike, or one beside one of this."""
    right = [
        piece
        for piece in near
        if piece.box.left > anchor.box.right + 2 * anchor.height
        and abs(piece.box.top - anchor.box.top) < MAX_LINES * anchor.height
        and not role_of(piece.text)
    ]
    for piece in sorted(right, key=lambda one: one.box.left):
        alike = sum(abs(other.box.left - piece.box.left) < anchor.height for other in right) > 1
        if alike or any(other.box.left < anchor.box.right and other.is_beside(piece) for other in near):
            return piece.box.left - anchor.height
    return None


def _side(column: Sequence[Piece], *, upwards: bool) -> _Side | None:
    """The name lines of one side, and the role below them."""
    lines: list[Piece] = []
    role: tuple[str, bool] | None = None
    for piece in column[: MAX_LINES + 4]:
        last = lines[-1] if lines else None
        if last is not None and abs(piece.box.top - last.box.top) > 5 * max(piece.height, last.height):
            break
        own = role_of(piece.text)
        if own:
            if upwards and lines:
                break  # the role of a party above the first one's names
            role = role or own
            if not upwards:
                break
            continue
        # "STATE OF MISSOURI" is a party next to the "v.", and above the names it is the court's
        if is_court(piece.text, whole=not (upwards and lines)) or _STOPS.search(piece.text):
            break
        if _VERSUS.fullmatch(piece.text) or kind_of(piece.text):
            break
        ends = _ENDS_IN_ROLE.fullmatch(piece.text)
        if ends:
            if upwards and lines:
                break
            role = role or _role(ends["role"])
            lines.append(Piece(ends["name"], piece.box, piece.page))
            if not upwards:
                break
            continue
        lines.append(piece)
    if not lines or len(lines) > MAX_LINES or (role is None and len(lines) > 3):
        return None
    return _Side(lines[::-1] if upwards else lines, *(role or (None, False)))


def _named(side: _Side) -> tuple[Party, ...]:
    text = " ".join(piece.text for piece in side.lines)
    found = names.several_names(text, plural=side.plural)
    evidence = tuple(piece.evidence() for piece in side.lines)
    return tuple(Party(name=name, role=side.role, status="supported", evidence=evidence) for name in found)


def _labelled(head: Sequence[Piece]) -> tuple[Party, ...]:
    """The parties of a form: ``PETITIONER: name``, both sides of it."""
    found: dict[str, Party] = {}
    for piece in head:
        match = _LABELLED.fullmatch(piece.text.strip())
        if not match:
            continue
        name = names.one_name(_ENDS_IN_ROLE.sub(r"\g<name>", match["name"]))
        if names.is_name(name):
            role = _role(match["role"])[0]
            found.setdefault(role, Party(name=name, role=role, status="supported", evidence=(piece.evidence(),)))
    return tuple(found.values()) if len(found) > 1 else ()


def _debtor(head: Sequence[Piece]) -> tuple[Party, ...]:
    """``In re X, Debtor.``"""
    for piece in head[:60]:
        match = re.match(r"In re:?\s*(?P<name>.*)", piece.text, re.IGNORECASE)
        if not match:
            continue
        whole = _column_of(piece, head)
        column = whole[whole.index(piece) + 1 :][:16] if piece in whole else []
        lines = [Piece(match["name"], piece.box, piece.page)] if match["name"].strip(" ,") else []
        for one in column:
            ends = _ENDS_IN_ROLE.fullmatch(one.text)
            role = _role(ends["role"]) if ends else role_of(one.text)
            if ends:
                lines.append(Piece(ends["name"], one.box, one.page))
            if role:
                return _named(_Side(lines, *role)) if role[0] == "debtor" and lines else ()
            if _STOPS.search(one.text) or is_court(one.text) or len(lines) > 6:
                break
            lines.append(one)
    return ()


def _in_one_line(head: Sequence[Piece], *, is_filed: bool) -> tuple[Party, ...]:
    """``X v. Y``: a subject line, a running head, or a title over two lines; never a citation."""
    for at, piece in enumerate(head[:80]):
        text = piece.text.strip()
        lines: tuple[Piece, ...] = (piece,)
        follows = next((one for one in head[at + 1 : at + 3] if one.page == piece.page and piece.is_over(one)), None)
        if re.search(r"\sv\.$", text) and names.is_capitals(text) and follows and names.is_capitals(follows.text):
            text, lines = f"{text} {follows.text}", (piece, follows)
        found = _INLINE.fullmatch(text)
        if not found or re.match(r"(?:see|in|cf|but|and|accord|citing|under|also)\b", text, re.IGNORECASE):
            continue
        label = found["label"] or ""
        if label.lower().startswith("short") and follows and ":" not in follows.text:
            continue  # cut off at the line's end
        before = head[at - 1].text.strip() if at else ""
        is_labelled = bool(label) or bool(re.fullmatch(r"(?:Re|RE|Subject)\s*:", before))
        if not is_labelled and (not is_filed or (follows and re.match(r"[(\d]", follows.text))):
            continue
        pair = [names.one_name(re.sub(r",?\s*\bet\.?\s+al\b.*$", "", found["first"], flags=re.IGNORECASE))]
        pair.append(names.one_name(_REST.sub("", found["second"])))
        if all(names.is_name(name) and len(name.split()) < 9 for name in pair):
            evidence = tuple(line.evidence() for line in lines)
            return tuple(Party(name=name, role=None, status="supported", evidence=evidence) for name in pair)
    return ()
