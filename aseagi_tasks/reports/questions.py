"""What a case leaves open, by rule: contradictions, what could not be read or verified, what is missing. Pure.

Each is a question with the places that raise it; none is an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from aseagi_tasks.analysis.bates import Series
from aseagi_tasks.reports.case_file import CaseFile, Place, Shown, type_of

#: kind → its heading, in the order in which they are shown.
KINDS = {
    "dates": "Dates that contradict each other",
    "numbers": "Case numbers and courts",
    "names": "Names and sides",
    "hidden": "Failed redactions and hidden text",
    "exhibits": "Exhibits that are cited and were not found",
    "bates": "Bates numbers",
    "pages": "Pages that could not be read",
    "unverified": "Facts that could not be verified",
    "incomplete": "Documents without results",
}
_SIDES = (frozenset({"plaintiff", "petitioner", "claimant"}), frozenset({"defendant", "respondent"}))
#: Of one kind that a document can raise many times.
_PLACES = 8


class Question(NamedTuple):
    """Something that a person should look at. ``kind`` is one of ``KINDS``."""

    kind: str
    text: str
    places: tuple[Place, ...]


def questions(case: CaseFile) -> list[Question]:
    """All that is open, in the order of ``KINDS``."""
    found = [*_dates(case), *_numbers(case), *_names(case), *_hidden(case), *_exhibits(case), *_bates(case)]
    found += [*_pages(case), *_unverified(case), *_incomplete(case)]
    order = list(KINDS)
    return sorted(found, key=lambda question: order.index(question.kind))


def _dates(case: CaseFile) -> Iterator[Question]:
    events: dict[str, dict[str, list[Place]]] = {}
    for moment in case.timeline:
        if moment.kind not in ("dated", "filed", "named"):
            events.setdefault(moment.kind, {}).setdefault(moment.iso, []).extend(moment.places)
    for event, by_date in events.items():
        if len(by_date) > 1:
            said = ", ".join(f"{iso} ({_times(len(places))})" for iso, places in sorted(by_date.items()))
            places = tuple(places[0] for _, places in sorted(by_date.items()))
            yield Question("dates", f"When was the {event}? Its date is given as {said}.", places)
    for number, entry in enumerate(case.entries, 1):
        dated, filed = (_value(entry.facts, label) for label in ("date", "filed"))
        if dated and filed and filed.value < dated.value:
            places = tuple(Place(number, page) for fact in (dated, filed) for page in fact.pages[:1])
            text = f"It was filed on {filed.value}, before {dated.value}, the date that it bears."
            yield Question("dates", text, places or (Place(number),))


def _numbers(case: CaseFile) -> Iterator[Question]:
    courts: dict[str, list[Place]] = {}
    for number, entry in enumerate(case.entries, 1):
        court = _value(entry.facts, "court")
        if court:
            courts.setdefault(" ".join(court.value.split()), []).append(Place(number, next(iter(court.pages), None)))
    apart = _apart(list(courts))
    if len(apart) > 1:
        said = "; ".join(f"{name} ({_times(len(courts[name]))})" for name in apart)
        yield Question(
            "numbers", f"Which court is it? Documents name {said}.", tuple(courts[name][0] for name in apart)
        )
    for related in case.related:
        names = ", ".join(document.name for document in related.documents[:4])
        more = f" and {len(related.documents) - 4} more" if len(related.documents) > 4 else ""
        under = f"under {related.case_number}" if related.case_number else "without a case number"
        text = f"{related.why}: {_documents(len(related.documents))} {under} ({names}{more}). Not in this summary."
        yield Question("numbers", text, ())


def _apart(names: list[str]) -> list[str]:
    """Those that are not a part of another: a court with and without its county is one."""
    plain = {name: re.sub(r"[\W_]+", " ", name.lower()).strip() for name in names}
    kept: list[str] = []
    for name in sorted(names, key=lambda name: -len(plain[name])):
        if not any(set(plain[name].split()) <= set(plain[other].split()) for other in kept):
            kept.append(name)
    return sorted(kept)


def _names(case: CaseFile) -> Iterator[Question]:
    for one, other in case.alike:
        yield Question("names", f"Are “{one.name}” and “{other.name}” the same?", (one.places[0], other.places[0]))
    for person in case.parties:
        sides = [[role for role in person.roles if role in side] for side in _SIDES]
        if all(sides):
            text = f"Which side is “{person.name}” on? Documents say {sides[0][0]} and {sides[1][0]}."
            yield Question("names", text, person.places[:_PLACES])


def _hidden(case: CaseFile) -> Iterator[Question]:
    """By document and message; the words themselves are not repeated, since they may have been meant to be redacted."""
    for number, entry in enumerate(case.entries, 1):
        for warning in entry.paper.analysis.warnings if entry.paper.analysis else ():
            lead = "The redaction failed: text" if warning.kind == "covered" else "Text"
            message = re.sub(r"^Text\b", lead, warning.message)
            yield Question("hidden", message, (Place(number, warning.page),))


def _exhibits(case: CaseFile) -> Iterator[Question]:
    for missing in case.missing:
        whose = f" ({', '.join(missing.owners)})" if missing.owners else ""
        promised = ", said to be attached," if missing.attached else ""
        text = f"Where is Exhibit {missing.label}{whose}? It is cited{promised} {_times(missing.times)}."
        places = tuple(Place(int(at), citation.page, citation.quote) for at, citation in missing.places)
        yield Question("exhibits", text, places)


def _bates(case: CaseFile) -> Iterator[Question]:
    for one in case.bates:
        yield from bates_questions(one)


def bates_questions(one: Series) -> Iterator[Question]:
    """Gaps and doubles of a prefix."""
    for gap in one.gaps:
        span = gap.first if gap.numbers == 1 else f"{gap.first} to {gap.last} ({gap.numbers:,} numbers)"
        before, behind = gap.before.run, gap.behind.run
        places = (
            Place(int(gap.before.document), before.page + before.last - before.first, before.name(before.last)),
            Place(int(gap.behind.document), behind.page, behind.name(behind.first)),
        )
        yield Question("bates", f"No page bears {span}.", places)
    for twice in one.doubles:
        span = twice.first if twice.numbers == 1 else f"{twice.first} to {twice.last} ({twice.numbers:,} numbers)"
        start = int(re.sub(r".*?(\d+)$", r"\1", twice.first)[-twice.one.run.width :])
        both = (twice.one, twice.other)
        at = tuple(Place(int(one.document), one.run.page + max(0, start - one.run.first)) for one in both)
        yield Question("bates", f"Two pages each bear {span}.", at)


def _pages(case: CaseFile) -> Iterator[Question]:
    for number, entry in enumerate(case.entries, 1):
        if entry.paper.unread:
            pages = _spans(entry.paper.unread)
            yield Question("pages", f"Nothing was read of {pages}.", (Place(number, entry.paper.unread[0]),))
        if entry.paper.faint:
            pages = _spans(entry.paper.faint)
            yield Question("pages", f"Hardly legible: {pages}.", (Place(number, entry.paper.faint[0]),))


def _unverified(case: CaseFile) -> Iterator[Question]:
    for number, entry in enumerate(case.entries, 1):
        doubted = [fact for fact in entry.facts if fact.status == "unverified"]
        if doubted:
            said = "; ".join(f"{fact.label} “{_short(fact.value)}”" for fact in doubted)
            places = tuple(Place(number, page) for fact in doubted for page in fact.pages[:1]) or (Place(number),)
            yield Question("unverified", f"Not verified: {said}.", tuple(dict.fromkeys(places)))


def _incomplete(case: CaseFile) -> Iterator[Question]:
    for number, entry in enumerate(case.entries, 1):
        if entry.paper.analysis is None:
            text = f"The results of this {type_of(entry.paper)} are not complete: `aseagi process --again` makes them."
            yield Question("incomplete", text, (Place(number),))


def _value(facts: tuple[Shown, ...], label: str) -> Shown | None:
    return next((fact for fact in facts if fact.label == label), None)


def _spans(pages: tuple[int, ...]) -> str:
    """``pages 1-3, 7``."""
    spans: list[list[int]] = []
    for page in pages:
        if spans and page == spans[-1][1] + 1:
            spans[-1][1] = page
        else:
            spans.append([page, page])
    said = ", ".join(f"{first}" if first == last else f"{first}-{last}" for first, last in spans)
    return f"page{'s' if len(pages) > 1 else ''} {said}"


def _times(count: int) -> str:
    return "once" if count == 1 else "twice" if count == 2 else f"{count:,} times"


def _documents(count: int) -> str:
    return f"{count:,} document{'s' if count != 1 else ''}"


def _short(text: str, most: int = 70) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
