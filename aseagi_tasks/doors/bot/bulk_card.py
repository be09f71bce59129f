"""How a bulk run looks on a telephone: what was found, what it may cost, how far it is, and what can be done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from telegram import InlineKeyboardMarkup

from aseagi_tasks.doors.bot.card import buttons
from aseagi_tasks.doors.bot.texts import Html, say
from aseagi_tasks.doors.showing import short
from aseagi_tasks.reports.certificate import Certificate
from aseagi_tasks.stores.user_records import Language

#: Runs on one page.
PAGE = 5
ENDED = ("completed", "cancelled")
#: Statuses in which a run can be cancelled.
_OPEN = ("scanning", "waiting", "confirmed", "running", "paused", "finishing")
_LEFT_OUT = ("done", "failed", "open", "unrested", "refused", "gone")
_LINES, _WIDTH, _BAR = 10, 220, 12


def card(language: Language, run: Mapping[str, Any], certificate: Certificate | None = None) -> str:
    """A run as it stands.

    Args:
        run: as ``bulk.orders.show`` tells it.
        certificate: of a run that has ended, if it has one.
    """
    head = say(language, "bulk_head", prefix=_name(run), run=run["run_id"], status=status(language, run))
    lines: list[str] = [head]
    scan, quote = run["scan"], run["quote"]
    found = {"keys": f"{scan['keys']:,}", "todo": f"{scan['todo']:,}", "size": _size(scan["todo_bytes"])}
    if run["status"] in ("scanning", "waiting"):
        lines.append(say(language, "bulk_found", **found))
        out = [say(language, f"scan_{name}", count=f"{scan[name]:,}") for name in _LEFT_OUT if scan[name]]
        if out:
            lines.append(say(language, "bulk_left_out", what=Html(", ".join(out))))
    if run["status"] == "waiting" and quote:
        lines += _quoted(language, quote)
    if run["status"] not in ("scanning", "waiting"):
        lines += _progress(language, run)
    if run["reason"] and run["status"] in ("paused", "finishing", *ENDED):
        lines.append(say(language, "bulk_why", why=short(run["reason"], _WIDTH)))
    if run["trouble"]:
        lines.append(say(language, "bulk_trouble", why=short(run["trouble"], _WIDTH)))
    if certificate is not None:
        key = "bulk_balances" if certificate.totals.balanced else "bulk_does_not_balance"
        lines.append(say(language, key, sum=certificate.summary()))
    if run["certificate"]:
        lines.append(say(language, "bulk_certificate", key=run["certificate"]))
    return "\n".join(lines)


def keyboard(language: Language, run: Mapping[str, Any]) -> InlineKeyboardMarkup | None:
    """What can be done with a run as it stands: none for one that has ended."""
    run_id, found = run["run_id"], []
    if run["status"] == "waiting":
        cap = cap_usd(run)
        named = "" if run["cap_usd"] is not None else f"{cap:.2f}"
        found.append((say(language, "bulk_confirm", cap=f"${cap:,.2f}"), f"k:c:{run_id}:{named}"))
    elif run["status"] in ("confirmed", "running"):
        found.append((say(language, "bulk_pause"), f"k:h:{run_id}"))
    elif run["status"] == "paused":
        found.append((say(language, "bulk_resume"), f"k:g:{run_id}"))
    if run["status"] in _OPEN:
        found.append((say(language, "bulk_cancel"), f"k:x:{run_id}"))
    return buttons([found]) if found else None


def cap_usd(run: Mapping[str, Any]) -> float:
    """The cap that a confirmation names: the run's, else what it may come to at most, in whole cents upwards."""
    if run["cap_usd"] is not None:
        return float(run["cap_usd"])
    upper = float(run["quote"]["usd"][1]) if run["quote"] else 0.0
    return -(-round(upper * 10_000) // 100) / 100


def runs(
    language: Language, listed: Sequence[Mapping[str, Any]], offset: int
) -> tuple[str, InlineKeyboardMarkup | None]:
    """A page of runs, with a button for each and for the pages before and after."""
    shown = listed[offset : offset + PAGE]
    if not shown:
        return say(language, "bulk_none"), None
    lines: list[str] = [say(language, "bulk_list")]
    numbered = []
    for number, run in enumerate(shown, start=offset + 1):
        done = f"{run['done']:,}/{run['todo']:,}"
        money = f"${run['spent_usd']:,.2f}" + ("" if run["cap_usd"] is None else f" / ${run['cap_usd']:,.2f}")
        said = {"number": number, "prefix": _name(run), "status": status(language, run), "when": _day(run)}
        lines.append(say(language, "bulk_row", done=done, money=money, **said))
        numbered.append((str(number), f"k:s:{run['run_id']}"))
    turns = []
    if offset:
        turns.append(("◀", f"k:p:{max(0, offset - PAGE)}"))
    if len(listed) > offset + PAGE:
        turns.append(("▶", f"k:p:{offset + PAGE}"))
    return "\n".join(lines), buttons([numbered, *([turns] if turns else [])])


def status(language: Language, run: Mapping[str, Any]) -> str:
    """Where a run is, in a word or two."""
    return say(language, f"run_{run['status']}")


def _quoted(language: Language, quote: Mapping[str, Any]) -> list[str]:
    pages, usd, hours = quote["pages"], quote["usd"], quote["hours"]
    said = {"pages": _range(pages, ",.0f"), "usd": f"${_range(usd, ',.2f')}", "time": _time(hours)}
    lines: list[str] = [say(language, "bulk_quote", documents=f"{quote['documents']:,}", **said)]
    for line in quote["lines"][:_LINES]:
        ends, unit = (line["low"], line["high"]), line["unit"]
        figures = _time(ends) if unit == "hours" else f"{_range(ends, ',.2f' if unit == 'USD' else ',.0f')} {unit}"
        lines.append(say(language, "bulk_line", what=line["what"], figures=figures, how=short(line["how"], _WIDTH)))
    return [*lines, say(language, "bulk_ask")]


def _progress(language: Language, run: Mapping[str, Any]) -> list[str]:
    progress, jobs = run["progress"], run["jobs"]
    full = int(progress["share"] * _BAR)
    said = {"done": f"{progress['done']:,}", "of": f"{progress['of']:,}", "share": int(progress["share"] * 100)}
    figures = {"failed": f"{jobs['error']:,}", "open": f"{jobs['queued'] + jobs['processing']:,}"}
    lines: list[str] = []
    if run["status"] not in ENDED:
        lines.append("▓" * full + "░" * (_BAR - full))
    lines.append(say(language, "bulk_progress", **said, **figures))
    if progress["per_hour"] and progress["seconds_left"] and run["status"] not in ENDED:
        pace, left = f"{progress['per_hour']:,.0f}", _time([progress["seconds_left"] / 3600])
        lines.append(say(language, "bulk_pace", per_hour=pace, time=left))
    if run["status"] in ENDED and run["left"]:
        lines.append(say(language, "bulk_left", count=f"{run['left']:,}"))
    spent, cap = f"${run['spent_usd']:,.2f}", f"${run['cap_usd'] or 0:,.2f}"
    return [*lines, say(language, "bulk_money", spent=spent, cap=cap)]


def _range(ends: Sequence[float], form: str) -> str:
    shown = [format(end, form) for end in ends]
    return shown[0] if shown[0] == shown[1] else "–".join(shown)


def _time(hours: Sequence[float]) -> str:
    """Hours, or minutes of less than two hours."""
    if hours[-1] >= 2:
        return f"{_range(hours, ',.1f')} h"
    return f"{_range([math.ceil(60 * end) for end in hours], 'd')} min"


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count / 1e3:,.0f} kB"


def _name(run: Mapping[str, Any]) -> str:
    """The prefix, cut to what five of fit into a message, and whether it is a night's run."""
    return f"{'🌙 ' if run['kind'] == 'night' else ''}{short(run['prefix'], _WIDTH)}"


def _day(run: Mapping[str, Any]) -> str:
    return str(run["created_at"])[:16].replace("T", " ")
