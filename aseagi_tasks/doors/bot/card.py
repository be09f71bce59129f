"""How a result looks on a telephone: facts with their pages, corrections with who and when, warnings, buttons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from telegram import InlineKeyboardButton, InlineKeyboardMarkup

from aseagi_tasks.analysis.schema import Analysis, Fact
from aseagi_tasks.doors.bot.texts import TEXTS, Html, say
from aseagi_tasks.doors.showing import short, words
from aseagi_tasks.errors import by_name
from aseagi_tasks.stores.records import Document
from aseagi_tasks.stores.user_records import FIELDS, Correction, Field, Language

#: Telegram's limit for the words under a picture, less what a name of another alphabet may take.
MAX_CAPTION = 1_000
_SHOWN: tuple[Field, ...] = ("document_date", "filed_date", "case_number", "court", "parties", "relevancy_score")


def card(
    language: Language,
    document: Document,
    analysis: Analysis | None,
    corrections: Mapping[str, Correction],
    note: str = "",
    known: bool = False,
    blank: bool = False,
) -> str:
    """A completed document.

    Args:
        corrections: the one that counts, by field.
        note: the caption that it came with.
        known: whether it had been here before. blank: whether there is nothing on its pages.
    """
    head = f"<b>{escape(short(document.name, 80))}</b>"
    kind = value(document, analysis, corrections, "document_type") or TEXTS["document"][language == "es"]
    count = document.pages or 0
    lines = [head, f"{escape(words(kind))} · {count} {say(language, 'page' if count == 1 else 'pages')}"]
    title = value(document, analysis, corrections, "title")
    if title:
        lines.append(f"<i>{escape(short(title, 120))}</i>")
    for field in ("document_type", "title", *_SHOWN):
        said = value(document, analysis, corrections, field)
        if said and (field in _SHOWN or field in corrections):
            shown = escape(short(" v. ".join(said.splitlines()[:3]), 120))
            lines.append(
                f"{say(language, field)}: {shown} {_evidence(language, analysis, corrections, field)}".rstrip()
            )
    if note:
        lines.append(f"{say(language, 'note')}: {escape(short(note, 120))}")
    if known:
        lines.append(say(language, "known", when=f"{document.created_at:%Y-%m-%d}"))
    if blank:
        lines.append(say(language, "blank"))
    for caution in (analysis.warnings if analysis else ())[:4]:
        said = say(language, caution.kind, page=caution.page) if caution.page else escape(short(caution.message, 150))
        lines.append(f"⚠ {said}")
    summary = value(document, analysis, corrections, "summary")
    room = MAX_CAPTION - len("\n".join(lines)) - 2
    if summary and room > 60:
        lines.insert(2, escape(short(summary, room)))
    return "\n".join(lines)


def value(
    document: Document, analysis: Analysis | None, corrections: Mapping[str, Correction], field: str
) -> str | None:
    """A field as it counts: corrected, or as it was found; of parties one a line."""
    if field in corrections:
        return corrections[field].value
    return found(document, analysis, field)


def found(document: Document, analysis: Analysis | None, field: str) -> str | None:
    """A field as the analyst found it."""
    if analysis is None:
        return None
    if field == "parties":
        return "\n".join(party.name for party in analysis.parties) or None
    fact = getattr(analysis, field)
    return str(fact.value) if isinstance(fact, Fact) else None


def failure(language: Language, name: str, error_class: str, message: str) -> str:
    """Why a document has no result, in the user's language."""
    key = error_class if error_class in TEXTS else "other_error"
    if by_name(error_class).exit_code == 3 and key == "other_error":
        why = escape(message)
    else:
        why = say(language, key, message=message)
    return say(language, "failed", name=name, why=Html(why))


def keyboard(language: Language, document_id: str) -> InlineKeyboardMarkup:
    """What can be done with a result."""
    rows = (("open", "o"), ("searchable", "s"), ("text", "t")), (("again", "r"), ("wrong", "w"))
    return buttons([[(say(language, key), f"{letter}:{document_id}") for key, letter in row] for row in rows])


def field_keyboard(language: Language, document_id: str) -> InlineKeyboardMarkup:
    """Which field is wrong."""
    named = [(say(language, field), f"f:{document_id}:{at}") for at, field in enumerate(FIELDS)]
    rows = [named[at : at + 3] for at in range(0, len(named), 3)]
    return buttons([*rows, [(say(language, "back"), f"b:{document_id}")]])


def buttons(rows: Sequence[Sequence[tuple[str, str]]]) -> InlineKeyboardMarkup:
    """Rows of (label, what the button sends)."""
    return InlineKeyboardMarkup(
        [[InlineKeyboardButton(label, callback_data=data) for label, data in row] for row in rows]
    )


def _evidence(language: Language, analysis: Analysis | None, corrections: Mapping[str, Correction], field: str) -> str:
    """Where it stands: its pages, or who said so and what was found."""
    if field in corrections:
        said = corrections[field]
        was = found_words(language, analysis, field)
        return say(language, "corrected", who=who(said.corrected_by), when=f"{said.at:%Y-%m-%d}", was=was)
    facts = [] if analysis is None else getattr(analysis, field)
    facts = list(facts) if isinstance(facts, tuple) else [facts] if facts else []
    pages = sorted({evidence.page for fact in facts for evidence in fact.evidence})
    if not pages:
        return ""
    shown = say(language, "found_on", pages=", ".join(map(str, pages)))
    unsure = any(fact.status == "unverified" for fact in facts)
    return f"({shown}{', ' + say(language, 'unverified') if unsure else ''})"


def found_words(language: Language, analysis: Analysis | None, field: str) -> str:
    """What the analyst found, in a line."""
    if analysis is None:
        return say(language, "nothing")
    fact = getattr(analysis, field)
    if isinstance(fact, tuple):
        return short("; ".join(party.name for party in fact), 60) or say(language, "nothing")
    return short(str(fact.value), 60) if isinstance(fact, Fact) else say(language, "nothing")


def who(corrected_by: str) -> str:
    """`telegram:7 Ana` → `Ana`."""
    return corrected_by.partition(" ")[2] or corrected_by
