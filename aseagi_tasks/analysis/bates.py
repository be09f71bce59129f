"""Bates numbers: the stamp that numbers a production's pages (WEX000123), its gaps and what stands twice. Pure.

A stamp is at a page's head or foot. What looks like one is much else (a bar number, a postal code, a form's number), so
a prefix counts only where its numbers go up with the pages, or stand with leading zeros on several. Within a document
the pages tell what scanners misread: a number that differs in a digit or two from what its neighbours want is that one,
and a page between two numbered ones has the number between.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

#: A stamp is in the first or the last lines of a page.
EDGE_LINES = 4
#: What scanners take a digit for.
_DIGITS = {"O": "0", "o": "0", "Q": "0", "D": "0", "I": "1", "l": "1", "|": "1", "S": "5", "B": "8", "Z": "2", "G": "6"}
_DIGIT = rf"[0-9{''.join(map(re.escape, _DIGITS))}]"
#: The shortest prefix that leaves digits and what is taken for them; they begin with a digit that is one.
_STAMP = re.compile(rf"(?P<prefix>|[A-Za-z][\w&. -]{{0,28}}?)(?P<number>(?<![A-Za-z]\d)\d(?:\s?{_DIGIT}){{3,9}})")
_LIKE_ONE = re.compile(r"[A-Za-z][ _-]?\d{4,}")
#: Stands beside a stamp, in its line.
_BESIDE = re.compile(
    r"(?:\b(?:highly\s+)?confidential\b(?:\s*[-–—]\s*attorneys[’']?\s+eyes\s+only)?|\battorneys[’']?\s+eyes\s+only\b"
    r"|\bsubject\s+to\s+(?:a\s+)?protective\s+order\b|\bbates(?:\s+(?:no|number)s?)?\b\s*[.:#]*|\bproduced\s+by\b"
    r"|\bpage\s+\d+\s+of\s+\d+\b)",
    re.IGNORECASE,
)
#: A postal code behind its state.
_ZIP = re.compile(
    r"(?:^|[ .])(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]"
    r"|UT|V[AT]|W[AIVY])\.? \S+$"
)
#: Words that stand before numbers which are something else.
_NOT_A_PREFIX = frozenset(
    [
        "EXHIBIT",
        "EX",
        "EXH",
        "PAGE",
        "PG",
        "CASE",
        "NO",
        "NUM",
        "NUMBER",
        "DOC",
        "DOCUMENT",
        "ECF",
        "DKT",
        "FORM",
        "SUITE",
        "STE",
        "BOX",
        "ROOM",
        "SBN",
        "BAR",
        "CSB",
        "TEL",
        "FAX",
        "PHONE",
        "CELL",
        "ZIP",
        "INVOICE",
        "INV",
        "CHECK",
        "ORDER",
        "ROUTE",
        "ACCOUNT",
        "ACCT",
        "APT",
        "UNIT",
        "FLOOR",
        "SECTION",
        "SEC",
        "RULE",
        "TITLE",
        "CHAPTER",
        "USC",
        "CFR",
        "ID",
        "DEPT",
        "DIV",
        "CIV",
        "CV",
        "CR",
        "AP",
        "UNITED",
        "STATE",
        "STATES",
        "JAN",
        "FEB",
        "MAR",
        "APR",
        "MAY",
        "JUN",
        "JUL",
        "AUG",
        "SEP",
        "OCT",
        "NOV",
        "DEC",
        "JANUARY",
        "FEBRUARY",
        "MARCH",
        "APRIL",
        "JUNE",
        "JULY",
        "AUGUST",
        "SEPTEMBER",
        "OCTOBER",
        "NOVEMBER",
        "DECEMBER",
        "TOTAL",
        "USD",
        "VOL",
        "VOLUME",
        "LINE",
        "ITEM",
        "REV",
        "VERSION",
    ]
)


class Stamp(NamedTuple):
    """What may be a Bates number: prefix in normal form, digits, and the page that it stands on.

    Attributes:
        sure: it has the line for itself.
        width: of the digits.
    """

    prefix: str
    number: int
    width: int
    page: int
    sure: bool


class Run(NamedTuple):
    """Numbers that go up page by page within a document: ``first`` on ``page``."""

    prefix: str
    width: int
    first: int
    last: int
    page: int
    #: pages that bear their number legibly; others are between two that do
    read: int
    #: its first number stands alone, with leading zeros
    padded: bool

    def name(self, number: int) -> str:
        """A number as it is written."""
        return f"{self.prefix}{number:0{self.width}d}"


class Placed(NamedTuple):
    """A run, and the document that it is in."""

    document: str
    run: Run


class Gap(NamedTuple):
    """Numbers that no page bears, and what stands before and behind them."""

    first: str
    last: str
    numbers: int
    before: Placed
    behind: Placed


class Twice(NamedTuple):
    """Numbers that pages of two documents bear, or two places of one."""

    first: str
    last: str
    numbers: int
    one: Placed
    other: Placed


class Series(NamedTuple):
    """All that is known of a prefix: from where to where, pages that are there, gaps and doubles, in order."""

    prefix: str
    first: str
    last: str
    numbers: int
    gaps: tuple[Gap, ...]
    doubles: tuple[Twice, ...]


def stamps(text: str, page: int) -> list[Stamp]:
    """What may be a Bates number on a page."""
    lines = [line for line in (line.strip() for line in text.splitlines()) if line]
    edges = lines if len(lines) <= 2 * EDGE_LINES else [*lines[:EDGE_LINES], *lines[-EDGE_LINES:]]
    found: dict[tuple[str, int], Stamp] = {}
    for line in edges:
        if len(line) > 160 or not any(c.isdigit() for c in line):
            continue
        bare = _BESIDE.sub(" ", line).strip(" \t|[](){}<>*~.,:;_-–—")
        if len(_LIKE_ONE.findall(bare)) > 1:
            continue  # a range, in an index or a log
        whole = _STAMP.fullmatch(bare)
        stamp = _stamp(whole, page, sure=True) if whole else None
        if stamp is None:
            last = re.search(r"(?:^|\s)([A-Za-z][\w&.-]*\d{4,10}|[A-Za-z][\w&.-]*\s\d{5,10})$", bare)
            whole = _STAMP.fullmatch(last[1]) if last else None
            stamp = _stamp(whole, page, sure=False) if whole else None
        if stamp is not None:
            found.setdefault((stamp.prefix, stamp.number), stamp)
    return list(found.values())


def _stamp(match: re.Match[str], page: int, *, sure: bool) -> Stamp | None:
    raw, prefix = match["number"], re.sub(r"[\s_.-]+", "-", match["prefix"]).strip("-").upper()
    digits = "".join(_DIGITS.get(c, c) for c in raw if not c.isspace())
    words = prefix.split("-")
    if len(words) > 3 or _NOT_A_PREFIX.intersection(words) or re.search(r"\d{4}", prefix):
        return None
    if sum(c.isdigit() for c in raw) < 0.5 * len(digits):
        return None
    if len(digits) == 5 and _ZIP.search(match[0]):
        return None
    if (len(prefix) < 2 or " " in raw) and (len(digits) < 5 or digits[0] != "0"):
        return None  # such numbers are everywhere
    return Stamp(prefix, int(digits), len(digits), page, sure)


def runs(found: Iterable[Stamp]) -> list[Run]:
    """A document's stamps as runs, misread ones put right where their neighbours say what they are."""
    by_prefix: dict[tuple[str, int], list[Stamp]] = {}
    for stamp in found:
        by_prefix.setdefault((stamp.prefix, stamp.width), []).append(stamp)
    _take_home(by_prefix)
    return [run for (prefix, width), of_it in sorted(by_prefix.items()) for run in _runs_of(prefix, width, of_it)]


def _take_home(by_prefix: dict[tuple[str, int], list[Stamp]]) -> None:
    """A stamp of a rare prefix that differs in a character or two from what a common one wants there was misread."""
    homes = {key: _offset(of_it) for key, of_it in by_prefix.items() if len(of_it) >= 3}
    for key in [key for key, of_it in by_prefix.items() if len(of_it) < 3]:
        for (prefix, width), offset in homes.items():
            mine = by_prefix[key]
            wanted = [f"{prefix}{max(0, stamp.page + offset):0{width}d}" for stamp in mine]
            if all(
                _differing(f"{stamp.prefix}{stamp.number:0{stamp.width}d}", name) <= 2
                for stamp, name in zip(mine, wanted, strict=True)
            ):
                by_prefix[prefix, width] += [
                    Stamp(prefix, stamp.page + offset, width, stamp.page, stamp.sure) for stamp in by_prefix.pop(key)
                ]
                break


def _runs_of(prefix: str, width: int, found: Sequence[Stamp]) -> list[Run]:
    offset = _offset(found)
    said = {(stamp.page, stamp.number) for stamp in found}
    numbers: dict[int, int] = {}
    sure = {stamp.page for stamp in found if stamp.sure}
    for stamp in sorted(found, key=lambda stamp: (stamp.page, not stamp.sure)):
        wanted, number = stamp.page + offset, stamp.number
        # between two pages that bear what they should; at an edge it may be the next production
        between = {(stamp.page - 1, wanted - 1), (stamp.page + 1, wanted + 1)} <= said
        if between and _differing(f"{number:0{width}d}", f"{wanted:0{width}d}") <= 2:
            number = wanted
        if (stamp.sure or number == wanted) and (stamp.page not in numbers or number == wanted):
            numbers[stamp.page] = number
    done: list[Run] = []
    for page, number in sorted(numbers.items()):
        last = done[-1] if done else None
        # pages between two whose numbers are as far apart as they are bear the numbers between
        if last and number > last.last and number - last.last == page - (last.page + last.last - last.first):
            done[-1] = last._replace(last=number, read=last.read + 1)
        else:
            padded = page in sure and len(str(number)) < width
            done.append(Run(prefix, width, number, number, page, 1, padded))
    return done


def _offset(found: Sequence[Stamp]) -> int:
    """Number less page, as most stamps have it."""
    said = Counter(stamp.number - stamp.page for stamp in found if stamp.sure) or Counter(
        stamp.number - stamp.page for stamp in found
    )
    return said.most_common(1)[0][0]


def series(placed: Iterable[Placed]) -> list[Series]:
    """A case's prefixes with their gaps and doubles; what is no Bates number is left out."""
    by_prefix: dict[tuple[str, int], list[Placed]] = {}
    for one in placed:
        by_prefix.setdefault((one.run.prefix, one.run.width), []).append(one)
    return [_series(of_it) for _, of_it in sorted(by_prefix.items()) if _is_bates([placed.run for placed in of_it])]


def _is_bates(of_it: Sequence[Run]) -> bool:
    """Numbers that go up with pages; or, of papers of one page each, several with leading zeros."""
    going_up = sum(run.read > 1 for run in of_it)
    if not of_it[0].prefix:
        return any(run.read >= 3 for run in of_it)
    return bool(going_up) or len({run.first for run in of_it if run.padded}) >= 2


def _series(of_it: Sequence[Placed]) -> Series:
    ordered = sorted(of_it, key=lambda one: (one.run.first, one.run.last, one.document, one.run.page))
    gaps: list[Gap] = []
    doubles: list[Twice] = []
    furthest, name = ordered[0], ordered[0].run.name
    count = furthest.run.last - furthest.run.first + 1
    for one in ordered[1:]:
        before, first, last = furthest.run.last, one.run.first, one.run.last
        if first > before + 1:
            gaps.append(Gap(name(before + 1), name(first - 1), first - before - 1, furthest, one))
        elif first <= before:
            end = min(before, last)
            doubles.append(Twice(name(first), name(end), end - first + 1, furthest, one))
        count += max(0, last - max(before, first - 1))
        if last > before:
            furthest = one
    return Series(
        ordered[0].run.prefix, name(ordered[0].run.first), name(furthest.run.last), count, tuple(gaps), tuple(doubles)
    )


def _differing(one: str, other: str) -> int:
    """Characters in which two texts of one length differ; many where the lengths do."""
    return sum(a != b for a, b in zip(one, other, strict=True)) if len(one) == len(other) else 99
