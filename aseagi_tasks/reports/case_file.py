"""A case from its documents: timeline, parties, and every fact with the page that says it. Pure.

Nothing is added to what documents say and people corrected. Documents have numbers in the order of their dates; a place
is a document's number and a page.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from aseagi_tasks.analysis.bates import Placed, Series, series
from aseagi_tasks.analysis.exhibits import Exhibits, Missing
from aseagi_tasks.analysis.schema import Fact, Party, Support
from aseagi_tasks.reports.papers import Paper
from aseagi_tasks.stores.query import without_accents
from aseagi_tasks.stores.records import Document

_SUFFIXES = frozenset(
    [
        "inc",
        "incorporated",
        "llc",
        "llp",
        "lp",
        "ltd",
        "limited",
        "corp",
        "corporation",
        "co",
        "company",
        "pc",
        "pllc",
        "the",
    ]
)
#: Names that are compared with each other; those of one case are some dozens.
_MOST_NAMES = 400
#: Names that are at least so alike (difflib) and not the same may be one.
_ALIKE = 0.84
LABELS = {
    **{"document_type": "type", "document_date": "date", "filed_date": "filed", "relevancy_score": "relevancy"},
    **{"case_number": "case number"},
}


class Place(NamedTuple):
    """Where something stands: a document's number (from 1), a page, the words."""

    document: int
    page: int | None = None
    quote: str = ""


class Shown(NamedTuple):
    """One field of a document, as it is shown.

    Attributes:
        pages: that say it. status: None of what a person said.
        corrected: who and when; then ``found`` is what had been found.
    """

    label: str
    value: str
    pages: tuple[int, ...]
    status: Support | None
    corrected: str | None = None
    found: str | None = None


class Moment(NamedTuple):
    """A line of the timeline. ``kind``: dated, filed, named (a date that a document names), or an event."""

    iso: str
    kind: str
    what: str
    places: tuple[Place, ...]
    status: Support | None
    corrected: str | None = None


class Person(NamedTuple):
    """A party, as it is written most often, with the other ways of writing it, its roles, and where it stands."""

    name: str
    others: tuple[str, ...]
    roles: tuple[str, ...]
    places: tuple[Place, ...]
    status: Support | None


class Entry(NamedTuple):
    """One document of the case."""

    paper: Paper
    facts: tuple[Shown, ...]


class Related(NamedTuple):
    """Documents elsewhere that may belong here: under another number, or under none."""

    case_number: str | None
    why: str
    documents: tuple[Document, ...]


class CaseFile(NamedTuple):
    """What a case summary says.

    Attributes:
        left_out: documents beyond those that one summary takes.
        alike: pairs of names that may be one.
    """

    number: str
    entries: tuple[Entry, ...]
    timeline: tuple[Moment, ...]
    parties: tuple[Person, ...]
    alike: tuple[tuple[Person, Person], ...]
    missing: tuple[Missing, ...]
    found: tuple[str, ...]
    bates: tuple[Series, ...]
    related: tuple[Related, ...]
    left_out: int = 0

    @property
    def pages(self) -> int:
        """Of all documents."""
        return sum(entry.paper.document.pages or 0 for entry in self.entries)


def case_file(number: str, papers: Iterable[Paper], related: Sequence[Related] = (), left_out: int = 0) -> CaseFile:
    """Put a case together.

    Args:
        papers: in any order.
    """
    ordered = sorted(
        papers, key=lambda paper: (_date(paper) or "9999", paper.document.name, paper.document.document_id)
    )
    entries = tuple(Entry(paper, tuple(_facts(paper))) for paper in ordered)
    cited, placed = Exhibits(), []
    for at, paper in enumerate(ordered, 1):
        cited.add(f"{at}", paper.citations, paper.marks)
        placed += [Placed(f"{at}", run) for run in paper.runs]
    people, alike = _people(ordered)
    return CaseFile(
        number,
        entries,
        tuple(_timeline(ordered)),
        tuple(people),
        tuple(alike),
        tuple(cited.missing()),
        tuple(cited.found),
        tuple(series(placed)),
        tuple(related),
        left_out,
    )


def type_of(paper: Paper) -> str:
    """What kind of document it is, in words."""
    return (paper.document.document_type or "document").replace("_", " ")


def _date(paper: Paper) -> str | None:
    """By what a document is put in order: its date, else its filing."""
    filed = paper.corrections.get("filed_date")
    found = paper.analysis.filed_date if paper.analysis else None
    return paper.document.document_date or (filed.value if filed else None) or (f"{found.value}" if found else None)


def _facts(paper: Paper) -> Iterator[Shown]:
    """Fields in the order in which people ask for them; what a person said stands in front of what was found."""
    analysis, said = paper.analysis, paper.corrections
    for name in ("document_type", "title", "document_date", "filed_date", "case_number", "court"):
        yield from _shown(name, getattr(analysis, name) if analysis else None, paper)
    if "parties" in said:
        was = "; ".join(party.name for party in analysis.parties) if analysis else ""
        value = "; ".join(said["parties"].value.splitlines())
        yield Shown("parties", value, (), None, who(paper, "parties"), was or None)
    else:
        for party in analysis.parties if analysis else ():
            role = f" ({party.role})" if party.role else ""
            yield Shown("party", f"{party.name}{role}", _pages(party), party.status)
    for person in analysis.people if analysis else ():
        yield Shown("person", f"{person.value}", _pages(person), person.status)
    for name in ("relevancy_score", "summary"):
        yield from _shown(name, getattr(analysis, name) if analysis else None, paper)


def _shown(name: str, fact: Fact | None, paper: Paper) -> Iterator[Shown]:
    label, correction = LABELS.get(name, name), paper.corrections.get(name)
    found = None if fact is None else _words(name, fact)
    if correction is not None:
        value = correction.value.replace("_", " ") if name == "document_type" else correction.value
        yield Shown(label, value, (), None, who(paper, name), found)
    elif fact is not None:
        yield Shown(label, found or "", _pages(fact), fact.status)


def _words(name: str, fact: Fact) -> str:
    value = f"{fact.value}"
    if name == "document_type":
        return value.replace("_", " ")
    return f"{value} of 100: {fact.original}" if name == "relevancy_score" and fact.original else value


def who(paper: Paper, name: str) -> str | None:
    """Who corrected a field, and when."""
    said = paper.corrections.get(name)
    return None if said is None else f"corrected by {said.corrected_by}, {said.at:%Y-%m-%d}"


def _pages(found: Fact | Party) -> tuple[int, ...]:
    return tuple(sorted({evidence.page for evidence in found.evidence}))


def _timeline(papers: Sequence[Paper]) -> Iterator[Moment]:
    """Dates of documents, of filings, and what documents say happened; what several say is one line."""
    merged: dict[tuple[str, str, str], Moment] = {}
    for number, paper in enumerate(papers, 1):
        for moment in _moments(number, paper):
            key = (moment.iso, moment.kind, moment.what if moment.kind in ("dated", "filed", "named") else "")
            if key in merged:
                there = merged[key]
                merged[key] = there._replace(places=there.places + moment.places, status=_surer(there, moment))
            else:
                merged[key] = moment
    order = {"named": 1, "dated": 2, "filed": 3}
    yield from sorted(merged.values(), key=lambda one: (one.iso, order.get(one.kind, 0), one.places[0]))


def _moments(number: int, paper: Paper) -> Iterator[Moment]:
    analysis = paper.analysis
    title = f"{type_of(paper).capitalize()}: {paper.document.title or paper.document.name}"
    for name, kind in (("document_date", "dated"), ("filed_date", "filed")):
        fact, said = (getattr(analysis, name) if analysis else None), paper.corrections.get(name)
        if said is not None:
            yield Moment(said.value, kind, title, (Place(number),), None, who(paper, name))
        elif fact is not None:
            yield Moment(f"{fact.value}", kind, title, _places(number, fact), fact.status)
    for told in paper.told:
        yield Moment(told.iso, told.event, told.quote, (Place(number, told.page, told.quote),), "supported")
    events = {(told.iso, told.page) for told in paper.told}
    for fact in analysis.key_dates if analysis else ():
        places = _places(number, fact)
        if not any((f"{fact.value}", place.page) in events for place in places):
            quote = places[0].quote or fact.original or f"{fact.value}"
            yield Moment(f"{fact.value}", "named", quote, places, fact.status)


def _places(number: int, fact: Fact | Party) -> tuple[Place, ...]:
    found = {evidence.page: Place(number, evidence.page, evidence.quote) for evidence in reversed(fact.evidence)}
    return tuple(found[page] for page in sorted(found)) or (Place(number),)


def _surer(one: Moment, other: Moment) -> Support | None:
    order: tuple[Support | None, ...] = ("verified", None, "supported", "unverified")
    return min(one.status, other.status, key=order.index)


class _Name:
    """One way of writing a name, with what was said of it."""

    def __init__(self, text: str) -> None:
        self.text, self.roles, self.places = text, Counter[str](), list[Place]()
        self.status: Support | None = "unverified"
        plain = re.sub(r"[.'’]", "", without_accents(text))
        words = re.findall(r"[^\W_]+", plain)
        self.words = tuple(word for word in words if word not in _SUFFIXES) or tuple(words)

    def add(self, role: str | None, places: Sequence[Place], status: Support | None) -> None:
        if role:
            self.roles[role] += 1
        self.places += places
        if status != "unverified":
            self.status = status


def _people(papers: Sequence[Paper]) -> tuple[list[Person], list[tuple[Person, Person]]]:
    names: dict[str, _Name] = {}
    for number, paper in enumerate(papers, 1):
        if "parties" in paper.corrections:
            for name in paper.corrections["parties"].value.splitlines():
                names.setdefault(name, _Name(name)).add(None, [Place(number)], None)
            continue
        for party in paper.analysis.parties if paper.analysis else ():
            name = " ".join(party.name.split())
            names.setdefault(name, _Name(name)).add(party.role, _places(number, party), party.status)
    groups = _grouped(sorted(names.values(), key=lambda name: (-len(name.places), name.text)))
    people = [_person(group) for group in groups]
    pairs = [
        (people[a], people[b])
        for a in range(min(len(people), _MOST_NAMES))
        for b in range(a + 1, min(len(people), _MOST_NAMES))
        if _may_be_one(groups[a][0].words, groups[b][0].words)
    ]
    order = sorted(people, key=lambda person: (-len({place.document for place in person.places}), person.name))
    return order, pairs


def _grouped(names: Sequence[_Name]) -> list[list[_Name]]:
    """Ways of writing that are the same name: other punctuation, a company's end left out, a part of just one name."""
    groups: dict[tuple[str, ...], list[_Name]] = {}
    for name in names:
        groups.setdefault(name.words, []).append(name)
    if len(groups) <= _MOST_NAMES:
        for words in sorted(groups, key=len):
            wholes = [other for other in groups if other != words and _is_short_for(words, other)]
            if len(wholes) == 1:
                groups[wholes[0]] += groups.pop(words)
    return list(groups.values())


def _is_short_for(short: Sequence[str], whole: Sequence[str]) -> bool:
    """``Pellworth`` or ``A. Pellworth`` for ``Avery Pellworth``; not ``Wexmoor`` for ``Wexmoor Holdings of Ohio``."""
    if not short or len(short) > len(whole) or len(whole) > len(short) + 2 or short[-1] != whole[-1]:
        return False
    rest = list(whole)
    for word in short:
        match = next(
            (at for at, other in enumerate(rest) if other == word or (len(word) == 1 and other[0] == word)), None
        )
        if match is None:
            return False
        rest = rest[match + 1 :]
    return True


def _may_be_one(one: Sequence[str], other: Sequence[str]) -> bool:
    """Nearly the same letters; numbers and generations tell people apart."""
    told_apart = {"jr", "sr", "ii", "iii", "iv"}
    if {word for word in one if word.isdigit() or word in told_apart} != {
        word for word in other if word.isdigit() or word in told_apart
    }:
        return False
    a, b = " ".join(one), " ".join(other)
    return abs(len(a) - len(b)) <= 3 and difflib.SequenceMatcher(None, a, b).ratio() >= _ALIKE


def _person(group: Sequence[_Name]) -> Person:
    # the longest of those that stand often: a short form is no name for a party
    best = max(group, key=lambda name: (len(name.words), len(name.places), name.text))
    roles = sum((name.roles for name in group), Counter[str]())
    places = sorted(
        {place for name in group for place in name.places}, key=lambda place: (place.document, place.page or 0)
    )
    statuses: list[Support | None] = [name.status for name in group]
    status = min(statuses, key=("verified", "supported", None, "unverified").index)
    others = tuple(name.text for name in group if name is not best)
    return Person(best.text, others, tuple(role for role, _ in roles.most_common()), tuple(places), status)
