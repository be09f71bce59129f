"""Which exhibits a page cites, and which it is: so that one that is cited and missing is noticed. Pure.

Careful in both directions. A citation is the word and a label ("Exhibit C", "Ex. 12", "Exhibits A through F"), not the
verb. An exhibit is there where a page says so by itself: slip sheet, sticker, caption, foot line, a file's name. Lists
("Exhibits 1-5") are read whole. Of several exhibits with one label (each declaration has its "A") one is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

#: A page with fewer words is a slip sheet if it says nothing but what exhibit follows.
SLIP_WORDS = 40
#: A range that is longer was misread.
LONGEST_RANGE = 500
#: So many places of one citation are kept.
PLACES = 3

# the word as scanners read it: EXH1BIT, E X H I B I T
_WORD = r"(?i:E\s?X\s?H\s?[I1l|]\s?B\s?[I1l|]\s?T)"
_DASHES = "‐‑–—-"
#: PX-12 · 12, 12.1, 12-B · AA, AB, A, A-1; of two letters only those that lists of exhibits come to after Z.
_LABEL = (
    r"(?P<label>(?:(?:[PDJG]X|[PDJR])-?\d{1,4}|\d{1,4}(?:[.]\d{1,2}|-?[A-Z]\b)?"
    r"|(?:(?P<twice>[A-Z])(?P=twice)|A[BCE-LO-RU-Z]|[A-Z])(?:-\d{1,3}\b)?)(?![A-Za-z0-9’']))"
)
_QUOTED = rf"[“”\"'‘’(\[_]*{_LABEL}[“”\"'’)\]]*"
_HEAD = re.compile(
    r"\b(?P<head>EXHIBITS?|[Ee]xhibits?|E[Xx][Hh]s?\.?|E[Xx]s?\.)\s{1,3}(?:N[Oo]s?\.?\s*|Numbers?\s+|#\s*)?" + _QUOTED
)
_NEXT = re.compile(
    rf"(?:(?P<range>\s?[{_DASHES}]\s?|\s+(?:through|thru|to)\s+)|(?P<and>,?\s+(?i:and|or)\s+|\s*&\s*)|(?P<comma>\s*[,;]\s*))"
    r"(?:[Ee]xhibits?\s+|E[Xx][Hh]?s?\.\s+)?" + _QUOTED
)
_SIDE = (
    r"(?P<side>Plaintiff|Defendant|Petitioner|Respondent|Claimant|Appellant|Appellee|Government|Gov[’']t|State|People"
    r"|Defense|Prosecution|Joint|Jt\.|Trial|Hearing|Deposition|Depo\.)(?:s[’']|[’']?s)?\s+(?:Trial\s+|Hearing\s+)?"
)
_OWNER = re.compile(rf"(?:\b(?i:{_SIDE})|\b(?P<decl>[A-Z][\w’'-]+\s+(?i:Decl|Aff|Dep)\.?,?\s+))$")
_SIDES = {
    **dict.fromkeys(
        ("plaintiff", "petitioner", "claimant", "people", "state", "prosecution", "government"), "plaintiff"
    ),
    **{"gov’t": "plaintiff", "gov't": "plaintiff"},
    **dict.fromkeys(("defendant", "respondent", "defense"), "defendant"),
}
#: What a lower-case "exhibit 4" needs in front of it, since it may be a verb.
_MARKED = re.compile(r"\b(?:as|see|marked|attached|in|and|of|cf\.?)\s+$", re.IGNORECASE)
_ATTACHED = re.compile(r"\b(?:attached|annexed|appended|hereto|herewith|enclosed)\b", re.IGNORECASE)
#: Where a sentence or a parenthesis ends, and what is promised in it.
_ENDS = re.compile(r"[.;:][”\"]?\s|[()]")
_GOES_ON = re.compile(r"(?!\s+(?:of|to|are|were|is|attached|hereto|thereto|which|that|show)\b)\s+[a-z]")

_OWN = rf"(?i:{_SIDE})?"
_ALONE = re.compile(rf"\W*{_OWN}{_WORD}\s*(?i:No\.?|Number|#)?[\s:_]*{_QUOTED}[\s._:]*")
_WITH_PAGE = re.compile(
    rf"\W*{_OWN}(?:{_WORD}|(?i:EX\.))\s*{_QUOTED}\s*[,.:|{_DASHES}]*\s*(?i:(?:page|p\.|pg\.?)\s*)?\d+(?:\s*of\s*\d+)?\W*"
)
_CAPTION = re.compile(
    rf"\W*{_OWN}{_WORD}\s*{_QUOTED}\s*(?:[:{_DASHES}]\s*\S.{{0,100}}|(?i:to\s+(?:the\s+)?)[A-Z].{{0,100}})"
)
_WORD_ALONE = re.compile(rf"\W*{_OWN}{_WORD}\W*")
_LABEL_ALONE = re.compile(rf"\W*{_LABEL}\W*")
_NAME = re.compile(rf"(?:^|[\W_])(?i:exhibit|exh|ex)[\s._-]*(?i:no\.?[\s._-]*)?{_LABEL}")
#: A line that ends so goes on in the next one, which then is no caption.
_UNFINISHED = re.compile(
    r"(?:\b(?:as|in|see|of|to|and|the|or|at|with|by|from|marked|is|cf\.?)|[,;(])\s*$", re.IGNORECASE
)


class Citation(NamedTuple):
    """One exhibit that a page cites.

    Attributes:
        label: normal form: ``C``, ``12``, ``A-1``.
        owner: whose, as far as the citation says: a side, or "Marsh Decl."; None where it does not say.
        attached: the words around it promise that it is attached.
        page: 1-based.
        quote: the words around it.
    """

    label: str
    owner: str | None
    attached: bool
    page: int
    quote: str


class Mark(NamedTuple):
    """One exhibit that is there: its first page, or a page that says that it belongs to it."""

    label: str
    owner: str | None
    page: int


class Missing(NamedTuple):
    """An exhibit that is cited and found nowhere in the case.

    Attributes:
        owners: whose the citations say it is.
        attached: at least one of them promises that it is attached.
        times: citations in all. places: the first few, each with its document.
    """

    label: str
    owners: tuple[str, ...]
    attached: bool
    times: int
    places: tuple[tuple[str, Citation], ...]


def cited(text: str, page: int) -> list[Citation]:
    """The exhibits that a page's text cites, each once."""
    if "ex" not in text.lower():
        return []
    joined = " ".join(text.split())
    found: dict[tuple[str, str | None], Citation] = {}
    for head in _HEAD.finditer(joined):
        labels = _listed(joined, head)
        before = joined[max(0, head.start() - 60) : head.start()]
        if not labels or _is_verb(head, before):
            continue
        owner = _owner(before)
        around = joined[max(0, head.start() - 70) : head.end() + 70]
        same = _ENDS.split(before[-45:])[-1] + head[0] + _ENDS.split(joined[head.end() : head.end() + 45])[0]
        attached = bool(_ATTACHED.search(same))
        for label in labels:
            if (label, owner) not in found or (attached and not found[label, owner].attached):
                found[label, owner] = Citation(label, owner, attached, page, _clause(around, head[0]))
    return list(found.values())


def marked(text: str, page: int) -> list[Mark]:
    """The exhibits that a page says it is, or begins."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    is_slip = len(text.split()) < SLIP_WORDS
    found: dict[str, Mark] = {}
    for at, line in enumerate(lines):
        if not (is_slip or at < 3 or at >= len(lines) - 3) or (at and _UNFINISHED.search(lines[at - 1])):
            continue
        match = _ALONE.fullmatch(line) or _WITH_PAGE.fullmatch(line)
        if match is None and at < 3:
            match = _CAPTION.fullmatch(line)
        if match is None and at + 1 < len(lines) and (word := _WORD_ALONE.fullmatch(line)):
            below = _LABEL_ALONE.fullmatch(lines[at + 1])
            if below:
                label = _normal(below["label"])
                side = _side(word["side"]) or (_owner(f"{lines[at - 1]} ") if at else None)
                found.setdefault(label, Mark(label, side, page))
            continue
        if match:
            label = _normal(match["label"])
            found.setdefault(label, Mark(label, _side(match["side"]), page))
    return list(found.values())


def named(name: str) -> list[Mark]:
    """The exhibits that a file's name or a document's title says it is."""
    return [Mark(_normal(found["label"]), None, 1) for found in _NAME.finditer(name.rsplit(".", 1)[0])]


class Exhibits:
    """A case's exhibits: what its documents cite and what they are, kept in little memory whatever the case's size."""

    def __init__(self) -> None:
        self._cited: dict[str, list[tuple[str, Citation]]] = {}
        self._times: dict[str, int] = {}
        self._owners: dict[str, dict[str | None, bool]] = {}
        self._marked: dict[str, set[str | None]] = {}

    def add(self, document: str, citations: Iterable[Citation], marks: Iterable[Mark]) -> None:
        """What one document cites and is; ``document`` comes back in ``Missing.places``."""
        for citation in citations:
            label = citation.label
            self._times[label] = self._times.get(label, 0) + 1
            owners = self._owners.setdefault(label, {})
            first_of_owner = citation.owner not in owners
            owners[citation.owner] = owners.get(citation.owner, False) or citation.attached
            places = self._cited.setdefault(label, [])
            if len(places) < PLACES or (first_of_owner and len(places) < 3 * PLACES):
                places.append((document, citation))
        for mark in marks:
            self._marked.setdefault(mark.label, set()).add(mark.owner)

    @property
    def found(self) -> list[str]:
        """Labels of those that are there, in order."""
        return sorted(self._marked, key=_order)

    def missing(self) -> list[Missing]:
        """Those that are cited and not there, in order."""
        found = []
        for label in sorted(self._cited, key=_order):
            owners = {owner for owner in self._owners[label] if not self._is_there(label, owner)}
            if owners:
                places = tuple(place for place in self._cited[label] if place[1].owner in owners)[:PLACES]
                attached = any(self._owners[label][owner] for owner in owners)
                said = tuple(sorted(owner for owner in owners if owner))
                found.append(Missing(label, said, attached, self._times[label], places))
        return found

    def _is_there(self, label: str, owner: str | None) -> bool:
        """Of one side's exhibit another side's is no proof; a part (A-1) and its whole (A) are."""
        whole = label.split("-")[0]
        there = {
            owner
            for name in self._marked
            if name in (label, whole) or name.split("-")[0] == label
            for owner in self._marked[name]
        }
        sides = {"plaintiff", "defendant"}
        return bool(there) and (owner not in sides or not there <= sides - {owner})


def _listed(text: str, head: re.Match[str]) -> list[str]:
    """The labels behind the word: one, or a list with its ranges."""
    word, first = head["head"], head["label"]
    if first == "I" and re.match(r"\s+(?!attached|hereto|of|to)[a-z]", text[head.end() :]):
        return []  # "this exhibit I saw"
    plural = word.rstrip(".").lower().endswith("s")
    labels, last, at = [_normal(first)], first, head.end()
    while following := _NEXT.match(text, at):
        label, behind = following["label"], text[following.end() :]
        if label[0].isdigit() != last[0].isdigit() or (label in ("I", "A") and re.match(r"\s+[a-z]", behind)):
            break
        if following["range"]:
            steps = _between(last, label)
            if not steps or not (plural or re.search(r"thr", following["range"])):
                if not plural and following["range"].strip() in _DASHES and label.isdigit() and first.isdigit():
                    labels[-1] = f"{labels[-1]}-{label}"  # Exhibit 1-5 is one, Exhibits 1-5 are five
                    at = following.end()
                break
            labels += steps
        elif not plural and (following["comma"] or (label.isdigit() and _GOES_ON.match(behind))):
            break
        else:
            labels.append(_normal(label))
        last, at = label, following.end()
    return list(dict.fromkeys(labels))


def _between(first: str, last: str) -> list[str]:
    """What follows ``first`` up to ``last``; nothing where these make no row."""
    if first.isdigit() and last.isdigit():
        begin, end = int(first), int(last)
        return [str(n) for n in range(begin + 1, end + 1)] if 0 < end - begin < LONGEST_RANGE else []
    if len(first) == len(last) and first.isalpha() and last.isalpha() and len(set(first)) == len(set(last)) == 1:
        begin, end = ord(first[0]), ord(last[0])
        return [chr(n) * len(first) for n in range(begin + 1, end + 1)] if begin < end else []
    one, other = (re.fullmatch(r"([A-Z]*)-?(\d+)", label) for label in (first, last))
    if one and other and one[1] == other[1]:  # PX1-PX9
        begin, end, dash = int(one[2]), int(other[2]), "-" if "-" in first else ""
        return [f"{one[1]}{dash}{n}" for n in range(begin + 1, end + 1)] if 0 < end - begin < LONGEST_RANGE else []
    return []


def _is_verb(head: re.Match[str], before: str) -> bool:
    """Lower-case "exhibit 4 signs"; capitals and letters speak for themselves."""
    return head["head"][0] == "e" and head["label"][0].isdigit() and not _MARKED.search(before)


def _owner(before: str) -> str | None:
    found = _OWNER.search(before)
    if found is None:
        return None
    return _side(found["side"]) if found["side"] else " ".join((found["decl"] or "").split()).rstrip(",")


def _side(word: str | None) -> str | None:
    """A side; who numbers jointly, or at trial or deposition, is no side."""
    return _SIDES.get(word.lower()) if word else None


def _normal(label: str) -> str:
    label = label.upper()
    if re.fullmatch(r"0+\d+", label):
        return str(int(label))
    return re.sub(r"^(\d+)-?([A-Z])$", r"\1-\2", label)


def _order(label: str) -> tuple[int, str, int, str]:
    """A, B … Z, AA, BB, then 1, 2 … 10."""
    number = re.match(r"\d+", label)
    if number:
        return (1, "", int(number[0]), label)
    letters = re.match(r"[A-Z]*", label)
    return (0, f"{len(letters[0]) if letters else 0}{letters[0] if letters else ''}", 0, label)


def _clause(around: str, words: str) -> str:
    """The words around a citation, whole words only."""
    start = around.find(words)
    begin = around.find(" ", max(0, start - 70)) + 1 if start > 60 else 0
    end = around.rfind(" ", start + len(words)) if len(around) - start - len(words) > 60 else len(around)
    return around[min(begin, start) : max(end, start + len(words))].strip()


def texts(pages: Iterable[str]) -> Iterator[tuple[list[Citation], list[Mark]]]:
    """What each page, from the first, cites and is."""
    for number, text in enumerate(pages, 1):
        yield cited(text, number), marked(text, number)
