"""Dates as US legal papers write them, in English and Spanish. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from typing import NamedTuple

_MONTHS = {
    **{name: number for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1)},
    **{"ene": 1, "abr": 4, "ago": 8, "set": 9, "dic": 12},
}  # fmt: skip
_MONTH = (
    r"(?P<month{n}>January|February|March|April|May|June|July|August|September|October|November|December"
    r"|(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept|Sep|Oct|Nov|Dec)\b\.?)"
)
_MES = r"(?P<month5>enero|febrero|marzo|abril|mayo|junio|julio|agosto|septiembre|setiembre|octubre|noviembre|diciembre)"
_ORDINALS = (
    *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh"),
    *("twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth", "eighteenth", "nineteenth"),
    *("twentieth", "twenty-first", "twenty-second", "twenty-third", "twenty-fourth", "twenty-fifth", "twenty-sixth"),
    *("twenty-seventh", "twenty-eighth", "twenty-ninth", "thirtieth", "thirty-first"),
)
_IN_WORDS = {word: number for number, word in enumerate(_ORDINALS, 1)}
#: Digits, and the letters that recognition takes them for; beside the name of a month they can be nothing else.
_D = r"[\dOoIl|]"
_DAY = rf"(?P<day{{n}}>(?={_D}?\d){_D}{{{{1,2}}}})\s?(?:st|nd|rd|th)?"
_YEAR = rf"(?P<year{{n}}>[12lI|]{_D}{{{{3}}}})(?![\w/])"
DATE = (
    rf"(?:\b{_MONTH.format(n=1)}\s*{_DAY.format(n=1)}(?:\s*[,.]\s*|\s+){_YEAR.format(n=1)}"
    rf"|(?<!\w){_DAY.format(n=2)}\s+(?:day\s+of\s+)?{_MONTH.format(n=2)}[,.]?\s+{_YEAR.format(n=2)}"
    rf"|\b(?P<day6>{'|'.join(sorted(_ORDINALS, key=len, reverse=True))})\s+day\s+of\s+{_MONTH.format(n=6)},?\s+"
    rf"{_YEAR.format(n=6)}"
    rf"|(?<!\w){_DAY.format(n=5)}\s+de\s+{_MES}\s+(?:de|del)\s+{_YEAR.format(n=5)}"
    r"|(?<![\w/.-])(?P<month3>\d{1,2})(?P<by>[/-])(?P<day3>\d{1,2})(?P=by)(?P<year3>\d{4}|\d{2})(?![\w/-])"
    r"|(?<![\w/.-])(?P<year4>\d{4})-(?P<month4>\d{2})-(?P<day4>\d{2})(?![\w/-]))"
)
_DATE = re.compile(DATE, re.IGNORECASE)
_AS_DIGITS = str.maketrans("OoIiLl|", "0011111")


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
    """The ISO form of a match of ``DATE``; None for the 31st of June, and for years before 1700 and after 2199."""
    groups = match.groupdict()
    for number in "123456":
        if not groups.get(f"day{number}"):
            continue
        day, month, year_text = (groups[f"{part}{number}"] for part in ("day", "month", "year"))
        day_number = _IN_WORDS.get(day.lower()) or int(day.translate(_AS_DIGITS))
        month_number = int(month) if month.isdigit() else _MONTHS[month[:3].lower()]
        year = int(year_text.translate(_AS_DIGITS))
        if len(year_text) == 2:
            year += 2000 if year < 70 else 1900
        try:
            return date(year, month_number, day_number).isoformat() if 1700 <= year < 2200 else None
        except ValueError:
            return None
    return None
