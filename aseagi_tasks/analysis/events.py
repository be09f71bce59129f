"""What happened once, and when a page says that it did: so that two dates for it are noticed. Pure.

Only events that a case has one of (an accident, a marriage), and only where label or sentence ties the date to it.
Hearings, trials and notices come more than once, and are not looked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from aseagi_tasks.analysis.dates import DATE, dates, to_iso

_INCIDENT = r"(?:accident|collision|incident|crash|injury|loss|occurrence|offense)"
#: event → its words in a label ("Date of …: …"), and in a sentence before or behind "on …"
_EVENTS = {
    "incident": (
        _INCIDENT,
        rf"\b(?:the\s+)?(?:[\w-]+\s+){{0,2}}{_INCIDENT}\s+(?:that\s+)?(?:occurred|happened|took\s+place|of)",
        r"\b(?:collided|was\s+injured|accident|collision|crash"
        r"|struck\s+(?:\w+[’']s?\s+)?(?:\w+\s+){0,2}(?:car|vehicle|truck|van|bus|bicycle|motorcycle|pedestrian))\b",
    ),
    "marriage": ("marriage", r"\b(?:were\s+married|married\s+each\s+other)", r"\bwere\s+married\b"),
    "separation": ("separation", r"\b(?:parties\s+)?separated", r"\b(?:parties|spouses)\s+separated\b"),
    "death": ("death", r"\bdied", r"\bdied\b"),
    "end of employment": (
        "(?:termination|discharge from employment)",
        r"\bemployment\s+was\s+terminated",
        r"\bterminated\s+(?:\w+[’']s?\s+)?employment\b",
    ),
}
_ON = r"(?:\s+\w+){0,3}?\s+(?:on|of)\s+(?:or\s+about\s+)?(?:\w+day,\s+)?"
#: No sentence is looked at further; what is longer is a table that lost its lines.
_LONGEST = 300
_LABELS = {
    event: re.compile(rf"\bdate\s+of\s+(?:the\s+)?{label}\s*[:.]?\s+(?:\w+day,\s+)?{DATE}", re.IGNORECASE)
    for event, (label, _, _) in _EVENTS.items()
}
_BEFORE = {event: re.compile(rf"{words}{_ON}{DATE}", re.IGNORECASE) for event, (_, words, _) in _EVENTS.items()}
_BEHIND = {event: re.compile(words, re.IGNORECASE) for event, (_, _, words) in _EVENTS.items()}
_OPENS = re.compile(rf"(?:^|\s)(?-i:On)\s+(?:or\s+about\s+)?(?:\w+day,\s+)?{DATE},?\s", re.IGNORECASE)
_LABELLED = re.compile(r"\bdate\s+of\b", re.IGNORECASE)
_ANY = re.compile(
    r"date\s+of|accident|colli[sd]|incident|crash|struck|injur|marri|separated|died|terminated", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[a-z)”\"]{2}[.;])\s+(?=[A-Z“\"\d])")


class Told(NamedTuple):
    """An event with a date, as a page tells it. ``quote`` is the sentence, or the labels and their values."""

    event: str
    iso: str
    page: int
    quote: str


def events(text: str, page: int) -> list[Told]:
    """The events that a page tells with their dates, each date of one once."""
    if not _ANY.search(text):
        return []
    found: dict[tuple[str, str], Told] = {}
    for told in _in_forms(text.splitlines(), page):
        found.setdefault(told[:2], told)
    for sentence in _SENTENCE.split(" ".join(text.split())):
        for event in _EVENTS:
            for told in _in_sentence(event, sentence, page):
                found.setdefault(told[:2], told)
    return list(found.values())


def _in_sentence(event: str, sentence: str, page: int) -> Iterator[Told]:
    """A label with its date; ``the collision occurred on …``; ``On November 16, 2022, the truck collided with …``."""
    sentence = sentence[:_LONGEST]
    if match := _LABELS[event].search(sentence):
        before = sentence[max(0, match.start() - 40) : match.start()]
        if (other := _LABELLED.search(before)) and not any(dates(before[other.end() :])):
            return  # a row of labels; whose date it is, the row below says
        quote = match[0]
    elif match := _BEFORE[event].search(sentence):
        quote = sentence
    else:
        match = _OPENS.search(sentence)
        if match is None or not _BEHIND[event].search(sentence, match.end()):
            return
        quote = sentence[match.start() :].strip()  # a heading may stand before it
    if iso := to_iso(match):
        yield Told(event, iso, page, quote)


def _in_forms(lines: Sequence[str], page: int) -> Iterator[Told]:
    """A row of labels, and below it the row of their values: as many dates as labels of dates."""
    for labels, values in pairwise(lines):
        named = [found.start() for found in _LABELLED.finditer(labels)] if len(labels) < _LONGEST else []
        given = list(dates(values)) if named and not any(dates(labels)) else []
        if len(given) == len(named):
            for start, value in zip(named, given, strict=True):
                for event, (label, _, _) in _EVENTS.items():
                    if re.match(rf"date\s+of\s+(?:the\s+)?{label}\b", labels[start:], re.IGNORECASE):
                        yield Told(event, value.iso, page, f"{' '.join(labels.split())}: {' '.join(values.split())}")
