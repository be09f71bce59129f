"""The terminal: ``aseagi``. Every command takes ``--json``; the exit code tells the class of what went wrong.

0 all well · 1 unexpected · 2 wrong usage · 3 a document could not be processed · 4 something did not answer
5 a setting or a program is missing · 6 cancelled · 7 the provider of machines refused · 130 interrupted
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from aseagi_tasks import __version__, services
from aseagi_tasks.documents import Status
from aseagi_tasks.doors import (
    api_tokens,
    backing_up,
    bulk_cli,
    ca_cli,
    certifying,
    fleet_cli,
    keeping,
    reporting,
    reprocessing,
    running,
    users,
)
from aseagi_tasks.doors.showing import escape
from aseagi_tasks.doors.terminal import Engine, Json, Level, err, out, print_json
from aseagi_tasks.errors import AseagiError, ConfigError, RecordsUnavailable
from aseagi_tasks.settings import settings

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Legal documents in; searchable text and structured facts with their evidence out.",
    epilog="Exit codes: 0 well, 1 unexpected, 2 usage, 3 a document failed, 4 something did not answer, "
    "5 setting or program missing, 6 cancelled, 7 the provider of machines refused, 130 interrupted.",
)
app.add_typer(keeping.app)
app.add_typer(backing_up.app)
app.add_typer(users.app, name="users")
app.add_typer(api_tokens.app, name="api-token")
app.add_typer(certifying.app)
app.add_typer(reporting.app, name="report", rich_help_panel="Reports")
app.add_typer(reprocessing.app)
app.add_typer(bulk_cli.app, name="bulk")
app.add_typer(fleet_cli.app, name="fleet", rich_help_panel="Rented machines")
app.add_typer(ca_cli.app, name="ca", rich_help_panel="Rented machines")


def main() -> None:
    """Run the command line; an error of ours is one sentence and an exit code, not a traceback."""
    logging.basicConfig(level=logging.WARNING)
    try:
        app(standalone_mode=True)
    except AseagiError as exc:
        err.print(f"[red]{type(exc).__name__}[/red]: {escape(str(exc))}", highlight=False, soft_wrap=True)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    settings()  # a wrong setting is an error before anything starts


for command in (running.up, running.down, running.process):
    app.command()(command)


@app.command()
def status(
    only: Annotated[Status | None, typer.Option("--only", help="Jobs of this status.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many jobs.")] = 20,
    as_json: Json = False,
) -> None:
    """What runs, what waits, what ended: counts and the newest jobs."""
    from aseagi_tasks.doors import showing
    from aseagi_tasks.doors.stack import Stack

    records, children = services.records(), Stack(settings()).children()
    waiting, others = _waiting()
    try:
        counts, jobs = records.counts(), records.jobs(status=only, limit=limit)
        batches = records.open_batches()
    except RecordsUnavailable:
        if as_json:
            stack = [child._asdict() for child in children]
            print_json({"stack": stack, "waiting_for_records": waiting, "waiting": others})
        else:
            out.print(showing.stack(children), highlight=False)
            out.print(showing.waiting(waiting), highlight=False, soft_wrap=True)
        raise
    if as_json:
        print_json(
            {
                "stack": [child._asdict() for child in children],
                "waiting_for_records": waiting,
                "waiting": others,
                "batches": [batch.model_dump(mode="json") for batch in batches],
                "counts": counts,
                "jobs": [job.model_dump(mode="json") for job in jobs],
            }
        )
        return
    out.print(showing.stack(children), highlight=False)
    if waiting:
        out.print(showing.waiting(waiting), highlight=False, soft_wrap=True)
    for line in showing.held_up(others, batches):
        out.print(line, highlight=False, soft_wrap=True)
    out.print("jobs:  " + (", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none yet"))
    if jobs:
        names = {job.document_id: records.document(job.document_id).name for job in jobs if job.document_id}
        out.print(showing.jobs(jobs, names))


@app.command()
def show(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Document or job id; its first characters will do.")],
    text: Annotated[bool, typer.Option("--text", help="Print the text that was read.")] = False,
    page: Annotated[int | None, typer.Option("--page", min=1, help="Write this page as a picture.")] = None,
    with_facts: Annotated[bool, typer.Option("--facts", help="With --page: boxes around what was found.")] = False,
    to: Annotated[Path | None, typer.Option("--out", help="With --page: the file; default ID-page-N.png here.")] = None,
    version: Annotated[
        str | None, typer.Option("--version", metavar="JOB", help="What was published before, by the job that made it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """One document's facts, text and history, or one job's."""
    from aseagi_tasks.doors import showing
    from aseagi_tasks.doors.lookup import look_up

    if page is None and (with_facts or to):
        raise typer.BadParameter("--facts and --out go with --page N.")
    found = look_up(ident)
    if page is not None:
        from aseagi_tasks.doors.page_picture import draw

        picture = draw(found, page, facts=with_facts)
        assert found.document is not None  # draw refuses others
        to = to or Path(f"{found.document.document_id}-page-{page}.png")
        picture.save(to)
        out.print(str(to), highlight=False, soft_wrap=True)
        return
    if text:
        sys.stdout.write(found.text())
        return
    if version is not None:
        was = found.version(version)
        assert found.document is not None  # there would be no version
        if as_json:
            print_json(was.model_dump(mode="json"))
        else:
            out.print(showing.facts(found.document, was, {}))
        return
    if as_json:
        print_json(found.as_json())
        return
    if found.document is not None:
        out.print(showing.facts(found.document, found.analysis, found.corrections()))
        for key in found.where():
            out.print(f"[dim]{key}[/dim]", highlight=False, soft_wrap=True)
        for line in showing.versions(found.versions()):
            out.print(line, highlight=False, soft_wrap=True)
    if found.jobs:
        names = {found.document.document_id: found.document.name} if found.document else {}
        out.print(showing.jobs(found.jobs, names))
        out.print(showing.events(services.records().events(found.jobs[0].job_id)))


@app.command()
def search(
    words: Annotated[list[str], typer.Argument(help='Words, "phrases in quotes", beginnings*.')],
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
    as_json: Json = False,
) -> None:
    """Find documents by their text, title, parties or case number."""
    from aseagi_tasks.doors import showing

    found = services.records().search(" ".join(words), limit=limit)
    if as_json:
        print_json([hit.model_dump(mode="json") for hit in found])
    elif found:
        if not found[0].exact:
            out.print("Nothing has these words. Names and case numbers that look like them:")
        out.print(showing.hits(found))
    else:
        out.print("Nothing found.")


@app.command()
def retry(
    ident: Annotated[str, typer.Argument(metavar="ID", help="A job that ended in error or was cancelled.")],
    priority: Level = "normal",
    ocr: Engine = None,
    as_json: Json = False,
) -> None:
    """Process a failed or cancelled job's document again, as a new job. A running stack takes it up."""
    from aseagi_tasks.tasks import resubmit

    job = services.records().job(ident)
    if job.status not in ("error", "cancelled"):
        raise ConfigError(f"Job {job.job_id}", f"is {job.status}.", "Only failed and cancelled jobs are retried.")
    job_id = resubmit(job, priority, ocr)
    if as_json:
        print_json({"job_id": job_id, "retries": job.job_id})
    else:
        out.print(f"queued as job {job_id}", highlight=False)


@app.command()
def cancel(
    ident: Annotated[str, typer.Argument(metavar="ID", help="A job that is queued or processing.")],
    as_json: Json = False,
) -> None:
    """Stop a job: what waits is not begun, what runs stops at its next step."""
    from aseagi_tasks.tasks import cancel as cancel_job

    job = services.records().job(ident)
    done = cancel_job(job.job_id)
    if as_json:
        print_json({"job_id": job.job_id, "cancelled": done})
    else:
        out.print(f"cancelled {job.job_id}" if done else f"{job.job_id} had already ended", highlight=False)
    raise typer.Exit(0 if done else ConfigError.exit_code)


@app.command()
def bot() -> None:
    """Run the Telegram bot alone; with ASEAGI_TELEGRAM_TOKEN set it is a part of `aseagi up`."""
    from aseagi_tasks.doors.bot.__main__ import main as serve

    serve()


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check programs, versions, broker, storage, records and keys; says the cure of what is wrong."""
    from aseagi_tasks.doors.doctor import checks

    all_found = []
    for check in checks(settings()):
        all_found.append(check)
        if not as_json:
            mark = "[green]✓[/green]" if not check.cure else "[red]✗[/red]" if check.fatal else "[yellow]·[/yellow]"
            out.print(f"{mark} {check.what:20} {check.found}", highlight=False, soft_wrap=True)
            if check.cure:
                out.print(f"  [bold]→ {check.cure}[/bold]", highlight=False, soft_wrap=True)
    if as_json:
        print_json([check._asdict() for check in all_found])
    if any(check.cure and check.fatal for check in all_found):
        raise typer.Exit(ConfigError.exit_code)


@app.command()
def samples(
    folder: Annotated[Path, typer.Argument(help="Where to; made if it is not there.")],
    as_json: Json = False,
) -> None:
    """Make sample documents (motions, scans, faxes, forms …) with what is true of them in FOLDER/truth."""
    from aseagi_tasks.samples import make_samples

    made = make_samples(folder, None if as_json else lambda text: err.print(f"[dim]{text}[/dim]", soft_wrap=True))
    if as_json:
        print_json([str(path) for path in made])


def _waiting() -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """Jobs that wait for the records, and for anything else; asked of Redis, which may not run."""
    from aseagi_tasks.waiting import waiting, waiting_for_records

    records = waiting_for_records()
    return records, {job_id: why for job_id, why in waiting().items() if job_id not in records}
