"""What happened once, and when a page says that it did: so that two dates for it are noticed. Pure.

Only events that a case has one of (an accident, a marriage), and only where label or sentence ties the date to it.
Hearings, trials and notices come more than once, and are not looked for.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from aseagi_tasks.analysis.dates import DATE, dates, to_iso

_INCIDENT = r"(?:accident|collision|incident|crash|injury|loss|occurrence|offense)"
#: event → its words in a label ("Date of …: …"), and in a sentence before or behind "on …"
_EVENTS = {
    "incident": (
        _INCIDENT,
        rf"\b(?:the\s+)?(?:[\w-]+\s+){{0,2}}{_INCIDENT}\s+(?:that\s+)?(?:occurred|happened|took\s+place|of)",
        r"\b(?:collided|was\s+struck|was\s+injured|accident|collision|crash)\b",
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
_OPENS = re.compile(r"\s*(?:\d+\.\s+)?On\s+(?:or\s+about\s+)?(?:\w+day,\s+)?$", re.IGNORECASE)
_ANY = re.compile(
    r"date\s+of|accident|colli[sd]|incident|crash|struck|injur|marri|separated|died|terminated", re.IGNORECASE
)
_SENTENCE = re.compile(r"(?<=[a-z)”\"]{2}[.;])\s+(?=[A-Z“\"\d])")


class Told(NamedTuple):
    """An event with a date, as a page tells it. ``quote`` is the sentence, or the label and its date."""

    event: str
    iso: str
    page: int
    quote: str


def events(text: str, page: int) -> list[Told]:
    """The events that a page tells with their dates, each date of one once."""
    if not _ANY.search(text):
        return []
    found: dict[tuple[str, str], Told] = {}
    for sentence in _SENTENCE.split(" ".join(text.split())):
        if len(sentence) > _LONGEST:
            sentence = sentence[:_LONGEST]
        for event in _EVENTS:
            match = _LABELS[event].search(sentence) or _BEFORE[event].search(sentence)
            iso = to_iso(match) if match else _opening(event, sentence)
            if iso:
                quote = match[0] if match and match.re is _LABELS[event] else sentence
                found.setdefault((event, iso), Told(event, iso, page, quote))
    return list(found.values())


def _opening(event: str, sentence: str) -> str | None:
    """``On November 16, 2022, the truck collided with …``: the date that opens a sentence which tells the event."""
    if not _BEHIND[event].search(sentence):
        return None
    first = next(dates(sentence[:60]), None)
    return first.iso if first and _OPENS.fullmatch(sentence[: first.start]) else None
