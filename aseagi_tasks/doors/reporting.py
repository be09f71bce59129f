"""Commands about reports: a week's, a case's, and which there are."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from aseagi_tasks import services
from aseagi_tasks.doors.showing import escape
from aseagi_tasks.doors.terminal import Json, err, out, print_json
from aseagi_tasks.errors import NothingToReport
from aseagi_tasks.settings import settings

app = typer.Typer(no_args_is_help=True, help="Reports on paper: a week, or a case.")

Copy = Annotated[Path | None, typer.Option("--out", help="Copy the PDF to this file or folder, too.")]
Open = Annotated[bool, typer.Option("--open", help="Show the PDF with this machine's viewer.")]


@app.command()
def weekly(
    week: Annotated[str | None, typer.Option(metavar="YYYY-Www", help="A week, as 2026-W48: Monday to Sunday.")] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="The seven days that end with this UTC day.")
    ] = None,
    copy: Copy = None,
    show: Open = False,
    as_json: Json = False,
) -> None:
    """What came through in seven days, what it cost against the budgets, what failed and why, what is missing.

    Without a day: the last seven that are over. Beat does this every Monday.
    """
    from aseagi_tasks.reports.week import gather, newest_day
    from aseagi_tasks.reports.weekly_report import put

    if week and until:
        raise typer.BadParameter("--week and --until do not go together.")
    now, records = datetime.now(UTC), services.records()
    last = _last_of(week) if week else until.date() if until else now.date() - timedelta(days=1)
    with _progress(as_json) as tell:
        found = gather(last, records=records, storage=services.storage(), limits=services.limits(), now=now, tell=tell)
        if found.is_empty:
            newest = newest_day(records)
            cure = (
                f"The newest document came on {newest}: `aseagi report weekly --until {newest}`."
                if newest
                else "No document ever came: `aseagi process PATH`."
            )
            raise NothingToReport(f"from {found.first} to {found.last}", cure)
        made = put(found, services.storage(), settings().scratch_root, now)
    at = _copied(made.key, copy, show)
    if as_json:
        print_json({"key": made.key, "pages": made.pages, "copy": at and str(at), **_week_as_json(found)})
    else:
        out.print(escape(made.sentence), highlight=False, soft_wrap=True)
        if at:
            out.print(str(at), highlight=False, soft_wrap=True)


@app.command()
def case(
    number: Annotated[
        str, typer.Argument(metavar="CASE_NUMBER", help="As the documents have it; other punctuation will do.")
    ],
    copy: Copy = None,
    show: Open = False,
    as_json: Json = False,
) -> None:
    """A case on paper: parties, timeline, open questions, and every document with its facts, each with its page."""
    from aseagi_tasks.reports.case_summary import make

    with _progress(as_json) as tell:
        made = make(
            number,
            records=services.records(),
            storage=services.storage(),
            scratch=settings().scratch_root,
            now=datetime.now(UTC),
            tell=tell,
        )
    at = _copied(made.key, copy, show)
    summary = made.case
    if as_json:
        print_json(
            {
                "key": made.key,
                "copy": at and str(at),
                "pages": made.pages,
                "case_number": summary.number,
                "documents": [
                    {
                        "number": number,
                        "document_id": entry.paper.document.document_id,
                        "name": entry.paper.document.name,
                    }
                    for number, entry in enumerate(summary.entries, 1)
                ],
                "left_out": summary.left_out,
                "parties": [_plain(person) for person in summary.parties],
                "timeline": [_plain(moment) for moment in summary.timeline],
                "questions": [_plain(question) for question in made.questions],
            }
        )
        return
    count = len(summary.entries)
    said = f"{count:,} document{'s' if count != 1 else ''}, {summary.pages:,} pages, {len(summary.parties)} parties"
    out.print(f"case {escape(summary.number)}: {said}, open questions: {len(made.questions):,}", highlight=False)
    for question in made.questions[:20]:
        where = ", ".join(
            f"[{place.document}]" + (f" p. {place.page}" if place.page else "") for place in question.places[:3]
        )
        out.print(f"  {escape(f'{question.text} {where}')}", highlight=False, soft_wrap=True)
    if len(made.questions) > 20:
        out.print(f"  and {len(made.questions) - 20:,} more")
    out.print(str(at) if at else made.key, highlight=False, soft_wrap=True)


@app.command("list")
def list_reports(as_json: Json = False) -> None:
    """Reports that are in the bucket, newest first."""
    found = sorted(
        (there for kind in ("weekly-report-", "case-summary-") for there in services.storage().list(f"exports/{kind}")),
        key=lambda there: there.modified,
        reverse=True,
    )
    if as_json:
        print_json([{"key": there.key, "bytes": there.bytes, "modified": there.modified} for there in found])
    for there in () if as_json else found:
        out.print(
            f"{there.modified:%Y-%m-%d %H:%M}  {there.bytes / 1000:8,.0f} kB  {escape(there.key)}", highlight=False
        )
    if not found and not as_json:
        out.print("none yet: `aseagi report weekly`, `aseagi report case CASE_NUMBER`")


def _last_of(week: str) -> date:
    """The Sunday of a week as ISO 8601 counts them."""
    said = re.fullmatch(r"(\d{4})-?[Ww](\d{1,2})", week.strip())
    try:
        if said:
            return date.fromisocalendar(int(said[1]), int(said[2]), 7)
    except ValueError:
        pass
    raise typer.BadParameter(f"{week!r} is no week; they are written like 2026-W48.")


def _copied(key: str, copy: Path | None, show: bool) -> Path | None:
    """Where the PDF lies on this machine, if somebody wants it here."""
    if copy is None and not show:
        return None
    folder = settings().home / "reports"
    path = folder / Path(key).name if copy is None else copy / Path(key).name if copy.is_dir() else copy
    path.parent.mkdir(parents=True, exist_ok=True)
    services.storage().download(key, path)
    if show:
        typer.launch(str(path))
    return path


def _week_as_json(week: Any) -> dict[str, Any]:
    return {
        "first": week.first,
        "last": week.last,
        "days": [day.model_dump(mode="json") for day in week.days],
        "month_usd": dict(week.month_usd),
        "budgets": {kind: {"day": day, "month": month} for kind, (day, month) in week.limits.items()},
        "types": [{"type": name, "completed": count, "pages": pages} for name, count, pages in week.types],
        "failures": [{**_plain(failure), "cure": failure.cure} for failure in week.failures],
        "hidden_text": [_plain(one) for one in week.warned],
        "cases": [_plain(one) for one in week.cases],
        "looked_at": week.read,
        "not_looked_at": week.unread,
    }


def _plain(value: Any) -> Any:
    """Named tuples as objects, all the way down."""
    if hasattr(value, "_asdict"):
        return {name: _plain(inner) for name, inner in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


@contextlib.contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[str, int], None]]:
    """What is being done, and how far, while a terminal shows it."""
    with err.status("reading…") as status:
        if as_json:
            status.stop()
        yield lambda what, done: status.update(f"{what}: {done:,}")
