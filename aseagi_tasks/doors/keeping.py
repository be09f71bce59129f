"""Commands that keep the records: migrations, moving them, housekeeping, tokens for who may read them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from aseagi_tasks import services
from aseagi_tasks.doors.terminal import Json, err, out, print_json
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.settings import settings

app = typer.Typer()
_PANEL = "Records"

Role = Literal["viewer", "worker"]


@app.command(rich_help_panel=_PANEL)
def migrate(as_json: Json = False) -> None:
    """Bring the Postgres records (ASEAGI_POSTGRES_URL) to this program's tables. What is applied stays applied."""
    from aseagi_tasks.stores.migrations import migrate as apply

    applied = []
    for migration in apply(services.postgres_url()):
        applied.append(migration.version)
        if not as_json:
            out.print(f"applied {migration.version} {migration.name}", highlight=False)
    if as_json:
        print_json(applied)
    elif not applied:
        out.print("Nothing to apply: all migrations are there.")


@app.command(rich_help_panel=_PANEL)
def setup_bucket(
    origins: Annotated[
        list[str] | None,
        typer.Option("--origin", help="Pages that read by signed links, e.g. https://aseagi.example.com."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make the bucket (ASEAGI_BUCKET) if it is missing; keep versions, let leftovers expire, let pages read from it."""
    from aseagi_tasks.stores.bucket import set_up
    from aseagi_tasks.stores.s3 import S3Storage

    storage, conf = services.storage(), settings()
    if not isinstance(storage, S3Storage):
        raise ConfigError("ASEAGI_STORAGE", "is a folder, which needs no set-up.", "ASEAGI_STORAGE=s3 for a bucket.")
    known = [f"https://{conf.public_name}"] if conf.public_name != "localhost" else []
    changed = set_up(storage, origins or known)
    if as_json:
        print_json(changed)
    else:
        out.print("\n".join(changed) or f"{conf.bucket} is set up already.", highlight=False, soft_wrap=True)


@app.command(rich_help_panel=_PANEL)
def export_records(
    file: Annotated[Path, typer.Argument(help="JSON lines; appears when it is complete.")], as_json: Json = False
) -> None:
    """Write all records (documents, texts, jobs, events, costs) to FILE. Interrupted, it goes on where it was."""
    from aseagi_tasks.stores.transfer import export_records as write

    with _counting(as_json) as tell:
        totals = write(services.records(), file, tell)
    if as_json:
        print_json(totals)
    else:
        out.print(", ".join(f"{total['rows']:,} {name}" for name, total in totals.items()), highlight=False)


@app.command(rich_help_panel=_PANEL)
def import_records(
    file: Annotated[Path, typer.Argument(help="What `aseagi export-records` wrote.")], as_json: Json = False
) -> None:
    """Add the records in FILE to these (ASEAGI_RECORDS) and read each one back. What is there stays as it is."""
    from aseagi_tasks.stores.transfer import import_records as read

    with _counting(as_json) as tell:
        done = read(services.records(), file, tell)
    if as_json:
        print_json(done._asdict())
    else:
        out.print(", ".join(f"{count:,} {name}" for name, count in done.rows.items()), highlight=False)
        for name, count in done.different.items():
            out.print(f"[yellow]{count:,} {name} were there before and differ; they stay as they were[/yellow]")


@app.command(rich_help_panel=_PANEL)
def clean(as_json: Json = False) -> None:
    """Remove what is over (cache/, scratch, old exports), roll old events up. Beat does this every night."""
    from aseagi_tasks import housekeeping

    done = housekeeping.clean()
    if as_json:
        print_json(done)
    else:
        said = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in done.items() if count)
        out.print(said or "Nothing was over.", highlight=False)


@app.command(rich_help_panel=_PANEL)
def token(
    role: Annotated[Role, typer.Argument(help="viewer reads documents and jobs; worker, one instance's jobs.")],
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 365, help="How long it is valid.")] = 8,
    instance: Annotated[str | None, typer.Option(help="The instance that a worker's token is for.")] = None,
) -> None:
    """Make a token for Supabase, for somebody who looks or for a rented instance. Whoever has it may use it."""
    from aseagi_tasks.stores.tokens import make_token

    secret = settings().supabase_jwt_secret
    if secret is None:
        cure = "Supabase shows it in the project's settings, under JWT keys (legacy secret)."
        raise ConfigError("ASEAGI_SUPABASE_JWT_SECRET", "is not set.", cure)
    try:
        made = make_token(
            secret.get_secret_value(),
            role,
            now=datetime.now(UTC),
            valid_for=timedelta(hours=hours),
            instance_id=instance,
        )
    except ValueError as exc:
        raise typer.BadParameter(str(exc)) from exc
    sys.stdout.write(made + "\n")


@contextlib.contextmanager
def _counting(as_json: bool) -> Iterator[Callable[[str, int], None]]:
    """A line that counts rows by table while a terminal shows it."""
    from rich.progress import Progress, TextColumn

    with Progress(
        TextColumn("{task.description}"), TextColumn("{task.completed:,.0f}"), console=err, disable=as_json
    ) as shown:
        tasks: dict[str, Any] = {}

        def tell(table: str, rows: int) -> None:
            if table not in tasks:
                tasks[table] = shown.add_task(table.replace("_", " "), total=None)
            shown.update(tasks[table], completed=rows)

        yield tell
