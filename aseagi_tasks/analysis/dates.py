"""Dates as US legal papers write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_NUMBER = {name[:3].lower(): number for number, name in enumerate(_MONTHS, 1)}
_MONTH = r"(?P<month{n}>" + "|".join(f"{name}|{name[:3]}\\.?" for name in _MONTHS) + "|Sept\\.?)"
DATE = (
    rf"(?:{_MONTH.format(n=1)}\s+(?P<day1>\d{{1,2}})(?:st|nd|rd|th)?,?\s+(?P<year1>\d{{4}})"
    rf"|(?P<day2>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:day\s+of\s+)?{_MONTH.format(n=2)},?\s+(?P<year2>\d{{4}})"
    r"|(?P<month3>\d{1,2})[/-](?P<day3>\d{1,2})[/-](?P<year3>\d{4}|\d{2})(?!\d)"
    r"|(?P<year4>\d{4})-(?P<month4>\d{2})-(?P<day4>\d{2}))"
)
_DATE = re.compile(rf"(?<![\d/-]){DATE}(?![\d/])", re.IGNORECASE)


class Found(NamedTuple):
    """A date in a text: ISO, as written, and where."""

    iso: str
    original: str
    start: int
    end: int


def dates(text: str) -> Iterator[Found]:
    """Every date that can be one."""
    for match in _DATE.finditer(text):
        iso = to_iso(match)
        if iso:
            yield Found(iso, match[0], match.start(), match.end())


def to_iso(match: re.Match[str]) -> str | None:
    """The ISO form of a match of ``DATE``; None for the 31st of June."""
    groups = match.groupdict()
    for number in "1234":
        if groups.get(f"day{number}"):
            month, year = groups[f"month{number}"], int(groups[f"year{number}"])
            if year < 100:
                year += 2000 if year < 70 else 1900
            try:
                month_number = int(month) if month.isdigit() else _NUMBER[month[:3].lower()]
                return date(year, month_number, int(groups[f"day{number}"])).isoformat()
            except ValueError:
                return None
    return None
