"""Commands for the day when something is lost: backup, restore, the drill, and which originals are gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from aseagi_tasks import housekeeping, services
from aseagi_tasks.doors.showing import escape
from aseagi_tasks.doors.terminal import Json, out, print_json
from aseagi_tasks.errors import BackupDamaged
from aseagi_tasks.settings import settings

app = typer.Typer()
_PANEL = "Records"


@app.command(rich_help_panel=_PANEL)
def backup(as_json: Json = False) -> None:
    """Back the records up into the bucket, below backups/, with a list of what is in it. Beat does this every night."""
    made = housekeeping.back_up()
    if as_json:
        print_json(made)
    else:
        out.print(f"{made['key']}\n{made['manifest']}", highlight=False, soft_wrap=True)
        said = f"{made['objects']:,} objects in the bucket, {made['removed']} old backups removed"
        out.print(said + (f", {made['gone']:,} files gone: `aseagi missing`" if made["gone"] else ""), highlight=False)


@app.command(rich_help_panel=_PANEL)
def restore(
    key: Annotated[str | None, typer.Argument(help="A key below backups/; without one, they are listed.")] = None,
    as_json: Json = False,
) -> None:
    """Put a backup's records where there are none: an empty database, or no file."""
    from aseagi_tasks.stores.backup import list_backups
    from aseagi_tasks.stores.backup import restore as read

    if key is None:
        found = [stored._asdict() for stored in list_backups(services.storage())]
        if as_json:
            print_json(found)
        for stored in () if as_json else found:
            out.print(f"{stored['key']}  {stored['bytes']:,} bytes", highlight=False, soft_wrap=True)
        return
    read(services.records_source(), services.storage(), key, settings().scratch_root)
    if as_json:
        print_json({"restored": key})
    else:
        out.print("restored", highlight=False)


@app.command(rich_help_panel=_PANEL)
def restore_drill(
    sample: Annotated[int, typer.Option(min=0, help="Objects of the bucket to read and compare.")] = 20,
    as_json: Json = False,
) -> None:
    """Restore the newest backup into an empty store of its own, compare it and the bucket with what was written down.

    Nothing in use is touched, and the store is removed again. Exit code 3: the backup does not hold.
    """
    from aseagi_tasks.stores.drill import drill

    held = drill(
        services.records_source(), services.storage(), settings().scratch_root, datetime.now(UTC), sample=sample
    )
    if as_json:
        print_json(held.model_dump(mode="json"))
    else:
        rows = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in held.rows.items() if count)
        out.print(f"{held.backup}, {held.bytes:,} bytes, restored: {rows}", highlight=False, soft_wrap=True)
        if held.objects is not None:
            said = f"{held.objects:,} objects are in its manifest; {held.looked_at} were read and compared."
            out.print(said, highlight=False)
        if held.gone:
            out.print(f"{held.gone:,} files were gone when it was made: `aseagi missing`", highlight=False)
        out.print(_lost(held.lost), highlight=False, soft_wrap=True)
        for sentence in held.found:
            out.print(f"[red]differs[/red]  {escape(sentence)}", highlight=False, soft_wrap=True)
    if held.found:
        cure = "Find out why, make a new backup (`aseagi backup`), and keep the older ones until a drill holds."
        raise BackupDamaged(held.backup, f"{len(held.found)} differences, {held.found[0]}.", cure)
    if not as_json:
        out.print(f"[green]holds[/green], {held.seconds} s", highlight=False)


@app.command(rich_help_panel=_PANEL)
def missing(as_json: Json = False) -> None:
    """Compare bucket and records: which documents' files are not there any more. Nothing is done about them.

    An original may come back under any key: process it there, and the document knows where its original is.
    """
    if as_json:
        print_json([one._asdict() for one in housekeeping.gone()])
        return
    originals = results = 0
    for one in housekeeping.gone():
        originals, results = originals + (one.bytes is not None), results + (one.bytes is None)
        out.print(f"{one.document_id}  {one.why:8}  {escape(one.key)}", highlight=False, soft_wrap=True)
    if originals:
        said = f"{originals:,} originals. What was found in them stays. Put them back where they were, or anywhere"
        cure = "below raw/ and process them there (`aseagi process FILE` for a copy you have); or leave it so."
        out.print(f"{said} {cure}", highlight=False, soft_wrap=True)
    if results:
        said = f"{results:,} sets of results: `aseagi reprocess --all --stage ocr --where id=DOCUMENT` makes one again."
        out.print(said, highlight=False, soft_wrap=True)
    if not originals and not results:
        out.print("Every document's files are there.", highlight=False)


def _lost(rows: dict[str, int] | None) -> str:
    if rows is None:
        return "The records in use do not answer: what came since the backup is not known."
    came: list[Any] = [f"{count:,} {name.replace('_', ' ')}" for name, count in rows.items()]
    return "Since then came, and would be lost: " + (", ".join(came) or "nothing") + "."
