"""The weekly report on paper: what came through, its cost against the budgets, what failed and why, what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

from reportlab.platypus import Flowable, Table, TableStyle

from aseagi_tasks import __version__
from aseagi_tasks.analysis.bates import Series
from aseagi_tasks.analysis.exhibits import Missing
from aseagi_tasks.reports.charts import SHADES, Bars
from aseagi_tasks.reports.faces import markup
from aseagi_tasks.reports.sheet import (
    BAD,
    GOOD,
    GREY,
    INK,
    NOTE,
    ROOM,
    SMALL,
    TITLE,
    WARN,
    Heading,
    Tiles,
    bold,
    coloured,
    gap,
    marked_up,
    say,
    table,
    write,
)
from aseagi_tasks.reports.week import DAYS, CaseFindings, Week, usd

KINDS = {"gpu": "machines (GPU)", "claude": "Claude", "storage": "storage"}
#: Rows of one kind on paper; the others are counted.
_ROWS = 40
_PER_CASE = 12
_CASES = 40


def draw(path: Path, week: Week, now: datetime) -> int:
    """Write the report as PDF; returns its pages. The same week gives the same bytes."""
    span = _span(week.first, week.last)
    story = [*_head(week, span, now), *_charts(week), *_money(week), *_came(week), *_failures(week), *_findings(week)]
    made = f"Made {now:%Y-%m-%d %H:%M} UTC by aseagi {__version__}."
    foot = f"{made} Days are UTC; a document belongs to the day on which it ended."
    return write(path, story, title=f"Weekly report, {span}", head=("Weekly report", span), foot=foot)


def _span(first: date, last: date) -> str:
    """``18 to 24 November 2026``."""
    if first.year != last.year:
        return f"{first.day} {first:%B %Y} to {last.day} {last:%B %Y}"
    if first.month != last.month:
        return f"{first.day} {first:%B} to {last.day} {last:%B %Y}"
    return f"{first.day} to {last.day} {last:%B %Y}"


def _head(week: Week, span: str, now: datetime) -> Iterator[Flowable]:
    yield say("Weekly report", TITLE)
    yield say(f"{span} (UTC)", SMALL)
    if not week.is_over:
        yield marked_up(coloured(f"The week is not over: this is what there was at {now:%Y-%m-%d %H:%M} UTC.", WARN))
    yield gap(8)
    done, failed, cancelled, pages = (
        sum(getattr(day, name) for day in week.days) for name in ("completed", "failed", "cancelled", "pages")
    )
    spent, before = usd(week.days), usd(week.before)
    each = f"${1000 * spent / done:,.2f} for 1,000 documents" if done else "no document completed"
    yield Tiles(
        [
            ("documents completed", f"{done:,}", INK, _change(done, sum(day.completed for day in week.before))),
            ("pages", f"{pages:,}", INK, _change(pages, sum(day.pages for day in week.before))),
            ("failed", f"{failed:,}", BAD if failed else INK, _change(failed, sum(day.failed for day in week.before))),
            ("spent", f"${spent:,.2f}", INK, each if spent else _change(spent, before)),
            ("findings", f"{_count(week):,}", WARN if _count(week) else INK, "below"),
        ]
    )
    said = []
    if cancelled:
        said.append(f"{cancelled:,} cancelled by people.")
    if week.open_jobs:
        said.append(f"{week.open_jobs:,} waiting or at work when this was made.")
    if week.is_empty:
        said.append("Nothing ended in these days, and nothing was spent.")
    if said:
        yield say(" ".join(said))


def _change(now: float, before: float) -> str:
    if not before:
        return "none the week before" if now else "as the week before"
    share = round(100 * (now - before) / before)
    return f"{share:+,} % to the week before" if share else "as the week before"


def _count(week: Week) -> int:
    return sum(week.warnings.values()) + sum(
        len(case.missing) + sum(len(one.gaps) + len(one.doubles) for one in case.bates) for case in week.cases
    )


def _charts(week: Week) -> Iterator[Flowable]:
    names = [f"{day.day:%a} {day.day.day}" for day in week.days]
    size = ((ROOM - 24) / 2, 150.0)
    volume = Bars(
        "Documents a day",
        names,
        {name: [float(getattr(day, name)) for day in week.days] for name in ("completed", "failed", "cancelled")},
        size=size,
        written=lambda value: f"{value:,.0f}",
        colours=(SHADES[0], BAD, SHADES[2]),
    )
    daily = [limit for limit, _ in week.limits.values() if limit is not None]
    money = Bars(
        "Spent a day",
        names,
        {KINDS[kind]: [day.usd.get(kind, 0.0) for day in week.days] for kind in KINDS if usd(week.days, kind)}
        or {"": [0.0] * DAYS},
        size=size,
        written=lambda value: f"${value:,.2f}" if value >= 0.005 or not value else f"${value:.4f}",
        limit=("daily budgets", sum(daily)) if daily else None,
    )
    yield gap(6)
    pair = Table([[volume, money]], colWidths=[size[0] + 24, size[0]], hAlign="LEFT")
    pair.setStyle(TableStyle([(name, (0, 0), (-1, -1), 0) for name in ("LEFTPADDING", "RIGHTPADDING", "TOPPADDING")]))
    yield pair


def _money(week: Week) -> Iterator[Flowable]:
    yield Heading("Spending against budget")
    rows = []
    for kind, name in KINDS.items():
        spent, (daily, monthly) = usd(week.days, kind), week.limits.get(kind, (None, None))
        highest = max(week.days, key=lambda day: day.usd.get(kind, 0.0))
        of_day, month = highest.usd.get(kind, 0.0), week.month_usd.get(kind, 0.0)
        if not spent and not month and daily is None and monthly is None:
            continue
        rows.append(
            [
                markup(name),
                f"${spent:,.2f}",
                f"${of_day:,.2f} ({highest.day:%a} {highest.day.day})" if of_day else "–",
                _of(of_day, daily),
                f"${month:,.2f}",
                _of(month, monthly),
            ]
        )
    if not rows:
        yield say("Nothing was spent, and no budget is set.")
        return
    heads = ["kind", "week", "highest day", "of the daily budget", f"{week.last:%B} so far", "of the monthly budget"]
    yield table(heads, rows, [0, 62, 92, 104, 78, 104], right=(1, 2, 3, 4, 5))
    yield say(
        "The ledger's sums. Budgets are those of today; what is set aside for work under way is not in them.", NOTE
    )


def _of(spent: float, limit: float | None) -> str:
    if limit is None:
        return coloured("no budget", GREY)
    if not limit:
        return markup("$0.00: nothing may be spent")
    share = 100 * spent / limit
    return coloured(f"{share:,.0f} % of ${limit:,.2f}", BAD if share > 100 else WARN if share >= 90 else INK)


def _came(week: Week) -> Iterator[Flowable]:
    if not week.types:
        return
    yield Heading("What came through")
    rows = [[markup(name), f"{count:,}", f"{pages:,}"] for name, count, pages in week.types[:_ROWS]]
    yield table(["kind of document", "completed", "pages"], rows, [0, 80, 80], right=(1, 2))
    yield say("A file that was processed twice counts twice.", NOTE)


def _failures(week: Week) -> Iterator[Flowable]:
    failed = sum(failure.times for failure in week.failures)
    yield Heading(f"Failures ({failed:,})", outlined="Failures")
    if not failed:
        yield marked_up(coloured("No document failed.", GOOD))
        return
    rows = []
    for failure in week.failures:
        stages = ", ".join(f"{stage} {count:,}" for stage, count in sorted(failure.stages.items()))
        why = [f"{bold('Cure:')} {markup(failure.cure)}"]
        said: dict[str, list[str]] = {}
        for name, message in failure.examples:
            said.setdefault(message.removeprefix(name).strip()[:300], []).append(bold(_short(name)))
        why += [f"{', '.join(names)} {coloured(message, GREY)}" for message, names in said.items()]
        if failure.times > len(failure.examples):
            why.append(
                coloured(f"and {failure.times - len(failure.examples):,} more: `aseagi status --only error`", GREY)
            )
        good = coloured(f"{failure.good:,} completed since", GOOD) if failure.good else ""
        cell = bold(failure.error_class) + f"<br/>{coloured('at ' + stages, GREY)}" + (f"<br/>{good}" if good else "")
        rows.append([cell, f"{failure.times:,}", "<br/>".join(why)])
    yield table(["what", "how often", "why, and what to do"], rows, [118, 48, 0], right=(1,))


def _findings(week: Week) -> Iterator[Flowable]:
    yield Heading(f"Findings ({_count(week):,})", outlined="Findings")
    yield say(_looked_at(week), SMALL)
    if not _count(week):
        yield marked_up(
            coloured("No failed redaction, no exhibit that is cited and missing, no gap in Bates numbers.", GOOD)
        )
        return
    yield from _hidden(week)
    if week.cases:
        yield Heading("Exhibits and Bates numbers, by case", 1)
        for case in week.cases[:_CASES]:
            yield from _case(case)
        if len(week.cases) > _CASES:
            rest = ", ".join(case.number for case in week.cases[_CASES : _CASES + 40])
            yield say(
                f"and {len(week.cases) - _CASES:,} more cases: {rest}. `aseagi report case NUMBER` has each.", NOTE
            )


def _looked_at(week: Week) -> str:
    said = (
        f"{week.read:,} document{'s' if week.read != 1 else ''} looked at: the week's, and the others of their cases."
    )
    if week.unread:
        said += f" {week.unread:,} of the week's were NOT looked at: one report reads no more."
    if week.without_case:
        said += (
            f" {week.without_case:,} of the week's without a case number: exhibits and Bates numbers are compared"
            " within a case."
        )
    return said


def _hidden(week: Week) -> Iterator[Flowable]:
    if not week.warned:
        return
    yield Heading(f"Failed redactions and hidden text ({sum(week.warnings.values()):,})", 1)
    ordered = sorted(
        week.warned, key=lambda one: (one.kind != "covered", one.case_number or "", one.name, one.page or 0)
    )
    rows = []
    for one in ordered[:_ROWS]:
        lead = coloured("redaction failed ", BAD, bold=True) if one.kind == "covered" else ""
        page = f"p. {one.page}" if one.page else ""
        where = " · ".join(filter(None, (one.case_number, one.document_id[:8])))
        who = f"{bold(_short(one.name))}<br/>{coloured(where, GREY)}"
        rows.append([who, markup(page), lead + markup(one.message)])
    yield table(["document", "page", "what"], rows, [190, 40, 0])
    more = sum(week.warnings.values()) - len(rows)
    if more > 0:
        yield say(f"and {more:,} more; the monitor shows each on its page.", NOTE)


def _case(case: CaseFindings) -> Iterator[Flowable]:
    rows = [[_exhibit(missing), _cited(missing)] for missing in case.missing[:_PER_CASE]]
    if len(case.missing) > _PER_CASE:
        labels = ", ".join(missing.label for missing in case.missing[_PER_CASE : _PER_CASE + 60])
        rows.append([markup(f"{len(case.missing) - _PER_CASE:,} more exhibits"), markup(labels)])
    for one in case.bates:
        rows += _numbers(one)
    yield table(
        [f"case {case.number} ({case.documents:,} document{'s' if case.documents != 1 else ''})", ""], rows, [150, 0]
    )
    yield gap(4)


def _exhibit(missing: Missing) -> str:
    whose = f"<br/>{coloured(', '.join(missing.owners), GREY)}" if missing.owners else ""
    return bold(f"Exhibit {missing.label}") + markup(" not found") + whose


def _cited(missing: Missing) -> str:
    name, citation = missing.places[0]
    more = f" and {missing.times - 1:,} more place{'s' if missing.times > 2 else ''}" if missing.times > 1 else ""
    said = "said to be attached; " if missing.attached else ""
    return (
        f"{markup(f'{said}cited in {_short(name)}, p. {citation.page}{more}: ')}"
        + " "
        + coloured(f"“{citation.quote}”", GREY)
    )


def _numbers(one: Series) -> list[list[str]]:
    rows = []
    for there in one.gaps[:_PER_CASE]:
        span = there.first if there.numbers == 1 else f"{there.first} to {there.last}"
        between = f"between {_short(there.before.document)} and {_short(there.behind.document)}"
        many = f"{there.numbers:,} number{'s' if there.numbers != 1 else ''} on no page, "
        rows.append([bold(span) + markup(" missing"), markup(many + between)])
    for twice in one.doubles[:_PER_CASE]:
        span = twice.first if twice.numbers == 1 else f"{twice.first} to {twice.last}"
        rows.append(
            [
                bold(span) + markup(" twice"),
                markup(f"in {_short(twice.one.document)} and in {_short(twice.other.document)}"),
            ]
        )
    more = max(0, len(one.gaps) - _PER_CASE) + max(0, len(one.doubles) - _PER_CASE)
    if more:
        rows.append([markup(f"{one.prefix or 'numbers'}: {more:,} more"), markup("`aseagi report case` has all")])
    return rows


def _short(name: str) -> str:
    """A file's name; of a long one beginning and end."""
    return name if len(name) <= 48 else f"{name[:30]}…{name[-16:]}"
