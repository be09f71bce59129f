"""How the terminal shows documents, jobs and facts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from aseagi_tasks.analysis.schema import Analysis, Fact, Party
from aseagi_tasks.doors.following import Item
from aseagi_tasks.stores.records import Batch, Document, Event, Hit, Job
from aseagi_tasks.stores.user_records import Correction

_STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: A bracket, what is before it, and whether rich would take it for a tag.
_BRACKET = re.compile(r"(\\*)\[(?=([a-z#/@][^\[]*?\])?)")


def found(items: Sequence[Item]) -> Group:
    """What was found in each file: pages, type, date, case number, parties, seconds, source of text."""
    headings = ("file", "pages", "type", "date", "case number", "parties", "seconds", "text from")
    rows, failed = [], []
    for item in items:
        if item.result is None:
            why = item.error or (item.job.error_message if item.job else None) or (item.job.status if item.job else "?")
            failed.append(f"{item.path.name}: {why}")
            rows.append((item.path.name, "", "not processed", "", "", "", "", ""))
            continue
        facts = item.result["facts"]
        rows.append(
            (
                item.path.name,
                str(item.result["pages"]),
                words(facts.get("document_type")),
                facts.get("document_date") or facts.get("filed_date") or "",
                facts.get("case_number") or "",
                short(" v. ".join(party["name"] for party in (facts.get("parties") or ())[:2])),
                f"{item.result['seconds']:.1f}",
                ", ".join(f"{source} {count}" for source, count in item.result["text_sources"].items()),
            )
        )
    table = Table(header_style="bold", box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for at, heading in enumerate(headings):
        # one line a file: where the window is narrow, parties and sources give way first
        widest = max(len(heading), *(len(row[at]) for row in rows))
        table.add_column(
            heading,
            justify="right" if heading in ("pages", "seconds") else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if heading in ("parties", "text from") else min(widest, 32),
        )
    for row in rows:
        table.add_row(*(escape(cell) for cell in row), style="red" if row[2] == "not processed" else None)
    return Group(table, *(Text(reason, style="red") for reason in failed))


def jobs(rows: Sequence[Job], names: Mapping[str, str]) -> Table:
    """Jobs, one a line."""
    table = Table(header_style="bold")
    for heading in ("job", "document", "file", "status", "stage", "since (UTC)", "why"):
        table.add_column(heading, overflow="fold")
    for job in rows:
        status = {"completed": "green", "error": "red", "cancelled": "yellow"}.get(job.status, "cyan")
        table.add_row(
            job.job_id[:8],
            (job.document_id or "")[:8],
            escape(names.get(job.document_id or "", job.source)),
            f"[{status}]{job.status}[/{status}]",
            job.stage or "",
            f"{job.updated_at:%Y-%m-%d %H:%M:%S}",
            escape(job.error_message or (f"waits for {job.waits_for}" if job.waits_for else "")),
        )
    return table


def hits(rows: Sequence[Hit]) -> Table:
    """Search results with the words that were found."""
    table = Table(header_style="bold")
    for heading in ("document", "file", "type", "date", "case number", "where"):
        table.add_column(heading, overflow="fold")
    for hit in rows:
        doc = hit.document
        table.add_row(
            doc.document_id[:8],
            escape(doc.name),
            words(doc.document_type),
            doc.document_date or "",
            escape(doc.case_number or ""),
            _marked(hit.snippet),
        )
    return table


def facts(document: Document, analysis: Analysis | None, corrections: Mapping[str, Correction]) -> Table:
    """One document's facts, each with its page and how sure it is; corrections first, each with who and when."""
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("document", f"{document.document_id}  {escape(document.name)}")
    for name, said in corrections.items():
        value = "; ".join(said.value.splitlines())
        when = f"corrected by {escape(said.corrected_by)}, {said.at:%Y-%m-%d %H:%M} UTC"
        table.add_row(words(name), f"{escape(value)}  [green]({when})[/green]")
    for name, found in analysis or ():
        was = "was: " if name in corrections else ""
        if isinstance(found, Fact):
            table.add_row(words(name), f"{was}{escape(str(found.value))}  {_support(found)}")
        elif name in ("parties", "people", "key_dates"):
            for one in found:
                label = f"{one.name} ({one.role})" if isinstance(one, Party) and one.role else getattr(one, "name", "")
                table.add_row(words(name), f"{was}{escape(label or str(one.value))}  {_support(one)}")
    for warning in analysis.warnings if analysis else ():
        table.add_row("[yellow]warning[/yellow]", escape(str(warning)))
    return table


def versions(found: Mapping[str, Any]) -> Iterator[str]:
    """What other jobs had published before, a line each."""
    for job_id, version in found.items():
        by = version.model or version.analyst
        prompt = f" prompt {version.prompt_version}" if version.prompt_version else ""
        yield f"version {job_id[:8]}  {by}{prompt}, {version.engine}  (show --version {job_id[:8]})"


def _support(found: Fact | Party) -> str:
    """Where it stands, and how sure it is."""
    pages = sorted({evidence.page for evidence in found.evidence})
    where = [f"p. {', '.join(map(str, pages))}"] if pages else []
    return f"[dim]({escape(', '.join([*where, found.status]))})[/dim]"


def stack(children: Sequence[Any]) -> str:
    """The stack's processes in a line."""
    states = ", ".join(f"{child.name} {child.state.lower()}" for child in children)
    return "stack: " + (states or "not running (`aseagi up` starts it)")


def waiting(jobs: Mapping[str, Mapping[str, str]]) -> str:
    """Jobs that wait for the records to answer."""
    done = sum(job["stage"] == "record" for job in jobs.values())
    lines = [f"[yellow]{len(jobs)} waiting for the records[/yellow], {done} of them finished (results in the bucket)"]
    lines += [f"  {job_id} at {job['stage']} since {job['since']}" for job_id, job in list(jobs.items())[:10]]
    return "\n".join(lines)


def held_up(jobs: Mapping[str, Mapping[str, str]], batches: Sequence[Batch]) -> Iterator[str]:
    """What jobs wait for beside the records, each reason once, and message batches."""
    reasons: dict[str, list[str]] = {}
    for job in jobs.values():  # of a budget each says how much it wants
        reasons.setdefault(job["for"] if job["for"] in ("BudgetExceeded", "CapReached") else job["error"], []).append(
            job["error"]
        )
    for errors in reasons.values():
        yield f"[yellow]{len(errors)} waiting:[/yellow] {escape(errors[0])}"
    for batch in batches:
        how = f"sent as {batch.service_id}" if batch.service_id else "about to be sent"
        yield f"batch of {batch.requests} {how}, {batch.created_at:%Y-%m-%d %H:%M} UTC"


def events(rows: Sequence[Event]) -> Table:
    """What happened to a job."""
    table = Table(header_style="bold")
    for heading in ("at (UTC)", "stage", "what", "seconds", "worker", "detail"):
        table.add_column(heading, overflow="fold")
    for event in rows:
        table.add_row(
            f"{event.at:%H:%M:%S.%f}"[:-3],
            event.stage or "",
            event.kind,
            "" if event.seconds is None else f"{event.seconds:.2f}",
            event.worker or "",
            escape(", ".join(f"{key}={value}" for key, value in event.detail.items())),
        )
    return table


def words(value: str | None) -> str:
    """`police_report` → `police report`."""
    return (value or "").replace("_", " ")


def short(text: str, width: int = 30) -> str:
    """A text, cut to a width."""
    return text if len(text) <= width else text[: width - 1].rstrip(" ,.") + "…"


def escape(text: str) -> str:
    """Text that is shown as it is, between markup too: names and documents hold brackets and backslashes of their own.

    What would steer the terminal becomes U+FFFD.
    """
    text = _BRACKET.sub(lambda found: found[1] * (2 if found[2] else 1) + "\\[", _STEERS.sub("\ufffd", text))
    return text + "\\" * (len(text) - len(text.rstrip("\\")))


def _marked(snippet: str) -> Text:
    """A snippet with what was searched for in bold."""
    pieces = re.split(r"\[([^\[\]]*)\]", _STEERS.sub("\ufffd", " ".join(snippet.split())))
    return Text.assemble(*((piece, "bold" if at % 2 else "") for at, piece in enumerate(pieces)))
