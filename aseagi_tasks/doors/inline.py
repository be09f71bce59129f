"""Documents, results, hits and costs as small pieces of HTML, for notebooks. Whatever a document says is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from aseagi_tasks.analysis.schema import Analysis, Evidence, Fact, Party
from aseagi_tasks.doors.showing import short, words
from aseagi_tasks.doors.spending import Spending
from aseagi_tasks.stores.records import Document

if TYPE_CHECKING:
    from aseagi_tasks.doors.notebook import Found, Result

_COLOURS = {"verified": "#0a7d2c", "supported": "#1256c4", "unverified": "#b45309"}
_RED, _AMBER, _GREY = "#b91c1c", "#b45309", "#6b7280"
_SAID_ABOVE = ("title", "summary")
_LEFT = "text-align:left;vertical-align:top"


def document(
    document: Document, analysis: Analysis, thumbnail: bytes, text_sources: Mapping[str, int], seconds: float | None
) -> str:
    """Thumbnail beside facts: each with its pages, how sure it is, and its quote where the mouse rests on it."""
    picture = base64.b64encode(thumbnail).decode()
    head = [f"<b>{escape(document.name)}</b>"]
    if analysis.title:
        head.append(f" · {escape(str(analysis.title.value))}")
    rows = [_row(name, said, fact) for name, said, fact in _facts(analysis)]
    cautions = "".join(f'<div style="color:{_AMBER}">⚠ {escape(str(caution))}</div>' for caution in analysis.warnings)
    summary = f"<div>{escape(str(analysis.summary.value))}</div>" if analysis.summary else ""
    sources = ", ".join(f"{source} {count}" for source, count in text_sources.items())
    foot = f"{document.pages or 0} pages ({escape(sources)}) · found by {analysis.analyst}"
    foot += f" · {seconds:.1f} s" if seconds is not None else ""
    foot += f" · ${analysis.cost_usd:.4f}" if analysis.cost_usd else ""
    return (
        '<div style="display:flex;gap:1em;align-items:flex-start">'
        f'<img alt="first page" style="max-width:160px;border:1px solid #ccc" src="data:image/jpeg;base64,{picture}">'
        f"<div><div>{''.join(head)}</div>{summary}{cautions}<table>{''.join(rows)}</table>"
        f'<div style="color:{_GREY}">{foot} · {document.document_id}</div></div></div>'
    )


def unfinished(file: str, status: str, error_class: str | None, error: str | None) -> str:
    """A document without a result: what is wrong and what to do."""
    colour = _RED if status == "error" else _GREY
    why = f" {escape(error_class or '')}: {escape(error)}" if error else ""
    return f'<div><b>{escape(file)}</b> <span style="color:{colour}">{escape(status)}{why}</span></div>'


def results(rows: Sequence[Result]) -> str:
    """A line a document; of those that failed, the reason."""
    body = []
    for one in rows:
        if one.status != "completed":
            said = unfinished("", one.status, one.error_class, one.error)
            body.append(
                f'<tr><td style="{_LEFT}">{escape(one.file)}</td><td colspan="7" style="{_LEFT}">{said}</td></tr>'
            )
            continue
        warned = f' <span style="color:{_AMBER}" title="{escape("; ".join(one.warnings))}">⚠</span>'
        cells = (
            escape(one.file) + (warned if one.warnings else ""),
            str(one.pages),
            escape(words(one.document_type)),
            escape(one.document_date or one.filed_date or ""),
            escape(one.case_number or ""),
            escape(short(" v. ".join(one.parties[:2]), 50)),
            "" if one.relevancy_score is None else str(one.relevancy_score),
            "" if one.seconds is None else f"{one.seconds:.1f}",
        )
        body.append(_cells(cells))
    failed = sum(one.status != "completed" for one in rows)
    foot = f"{len(rows) - failed} of {len(rows)} completed"
    headings = ("file", "pages", "type", "date", "case number", "parties", "relevancy", "seconds")
    return _table(headings, body) + f'<div style="color:{_RED if failed else _GREY}">{foot}</div>'


def hits(rows: Sequence[Found]) -> str:
    """Search results, the words that were found in bold."""
    if not rows:
        return "<div>Nothing found.</div>"
    body = []
    for hit in rows:
        where = escape(hit.where).replace("[", "<b>").replace("]", "</b>")
        cells = (hit.document_id[:8], hit.file, words(hit.document_type), hit.document_date, hit.case_number)
        body.append(_cells([*(escape(cell or "") for cell in cells), where]))
    alike = "" if rows[0].exact else "<div>Nothing has these words. Names and case numbers that look like them:</div>"
    return alike + _table(("document", "file", "type", "date", "case number", "where"), body)


def costs(spent: Spending) -> str:
    """Today and this month by kind, and what 1,000 documents cost."""
    kinds = sorted({*spent.today, *spent.month}) or ["nothing spent"]
    body = [_cells((kind, f"${spent.today.get(kind, 0):.4f}", f"${spent.month.get(kind, 0):.4f}")) for kind in kinds]
    per = "" if spent.per_thousand_usd is None else f", ${spent.per_thousand_usd:.2f} for 1,000 documents"
    return _table(("kind", "today", "this month"), body) + f"<div>{spent.completed:,} completed{per}</div>"


def _facts(analysis: Analysis) -> Iterable[tuple[str, str, Fact | Party]]:
    for name, found in analysis:
        if isinstance(found, Fact) and name not in _SAID_ABOVE:
            reason = f" ({found.original})" if name == "relevancy_score" and found.original else ""
            yield name, words(str(found.value)) + reason, found
        elif name == "parties":
            for party in found:
                yield name, f"{party.name} ({party.role})" if party.role else party.name, party
        elif name in ("people", "key_dates"):
            for one in found:
                yield name, str(one.value), one


def _row(name: str, said: str, fact: Fact | Party) -> str:
    evidence: Sequence[Evidence] = fact.evidence
    pages = ", ".join(map(str, sorted({one.page for one in evidence})))
    quote = escape(" … ".join(one.quote for one in evidence))
    sure = f"p. {pages}, {fact.status}" if pages else fact.status
    return (
        f'<tr title="{quote}"><td style="{_LEFT}">{escape(words(name))}</td><td style="{_LEFT}">{escape(said)}</td>'
        f'<td style="{_LEFT};color:{_COLOURS[fact.status]}">{sure}</td></tr>'
    )


def _cells(cells: Iterable[Any]) -> str:
    return "<tr>" + "".join(f'<td style="{_LEFT}">{cell}</td>' for cell in cells) + "</tr>"


def _table(headings: Iterable[str], body: Iterable[str]) -> str:
    head = "".join(f'<th style="{_LEFT}">{heading}</th>' for heading in headings)
    return f"<table><tr>{head}</tr>{''.join(body)}</table>"
