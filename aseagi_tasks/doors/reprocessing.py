"""``aseagi reprocess``: documents whose engine, model or prompt has changed, first a sample of them, then all."""

from __future__ import annotations

import contextlib
import getpass
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from rich.table import Table

from aseagi_tasks import services
from aseagi_tasks.analysis.differences import tally, whole_usd
from aseagi_tasks.analysis.prices import BATCH
from aseagi_tasks.analysis.schema import DocumentType
from aseagi_tasks.doors.showing import escape, short, words
from aseagi_tasks.doors.terminal import Json, err, out, print_json
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.settings import settings
from aseagi_tasks.stages import reprocess as orders
from aseagi_tasks.stages.reprocess import Order, wanted_of
from aseagi_tasks.stores.records import Wanted
from aseagi_tasks.stores.where import wanted_by

if TYPE_CHECKING:
    from aseagi_tasks.stages.replay import Preview, Replayed

app = typer.Typer()
_PANEL = "Again"
#: Beside what is expected, the cap holds what so many documents may cost at most: else the last ones would wait for it.
_SPARE = 20

Stage = Literal["analyze", "ocr"]


@app.command(rich_help_panel=_PANEL)
def reprocess(
    where: Annotated[
        list[str] | None,
        typer.Option(help="Which documents: 'type=motion date>=2024-01-01 analyst!=current'. All conditions hold."),
    ] = None,
    stage: Annotated[
        Stage, typer.Option(help="analyze: facts from the text as it was read; ocr: all of it.")
    ] = "analyze",
    model: Annotated[str | None, typer.Option(help="A model of Claude, or rules; else as set.")] = None,
    ocr: Annotated[str | None, typer.Option("--ocr", metavar="ENGINE", help="With --stage ocr; else as set.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also what these versions have made already.")] = False,
    size: Annotated[int, typer.Option("--sample", min=0, max=1000, help="Documents that the preview does.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many documents, the newest.")] = None,
    cap: Annotated[float | None, typer.Option(min=0, metavar="USD", help="Begin nothing that could pass it.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    run: Annotated[str | None, typer.Option(metavar="ID", help="Show how far one is; with --cancel, end it.")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="Show all.")] = False,
    end: Annotated[bool, typer.Option("--cancel", help="With --run: begin nothing more, cancel what waits.")] = False,
    as_json: Json = False,
) -> None:
    """Process documents again whose engine, model or prompt has changed. A sample is shown before anything is done.

    The preview publishes nothing. What is confirmed runs in the background at low priority; the facts of before are
    kept (`aseagi show ID --version`), and what people corrected stays.
    """
    if end and run is None:
        raise typer.BadParameter("--cancel goes with --run ID.")
    if run is not None or runs:
        _show_runs(run, end, as_json)
        return
    if ocr and stage != "ocr":
        raise typer.BadParameter("--ocr goes with --stage ocr: the text as it was read has its engine.")
    from aseagi_tasks.stages.replay import reader, replay, sample
    from aseagi_tasks.tasks import reprocess as begin

    services.ocr_engine(ocr)
    records, storage, analyst = services.records(), services.storage(), services.analyst(model)
    versions = services.versions(ocr, model)
    wanted = _wanted(where or [], stage, versions, everything)
    counts = records.count_documents(wanted)
    documents = min(sum(counts.values()), limit or sum(counts.values()))
    if not documents:
        if as_json:
            print_json({"documents": 0, "preview": None, "run_id": None})
        else:
            out.print(f"Nothing to do: no such document was made by others than {versions['analyst']}.")
        return
    share = BATCH if analyst.name == "claude" and services.by_batch("low") else 1.0
    with _counting(as_json) as tell:
        seen = replay(
            sample(records, wanted, counts, min(size, documents)),
            analyst,
            reader(services.recognizer(ocr), services.read_line),
            stage=stage,
            records=records,
            storage=storage,
            settings=settings(),
            today=datetime.now(UTC).date(),
            tell=tell,
        )
    done = [one for one in seen.documents if not one.error]
    whole = whole_usd([one.cost_usd for one in done], documents, share=share)
    found = {
        "documents": documents,
        "by_type": counts,
        "versions": versions,
        "preview": seen.model_dump(mode="json"),
        "fields": tally(one.fields for one in done),
        "whole_usd": whole,
    }
    if not as_json:
        _show(documents, counts, versions, seen, whole, share)
    if not yes and (as_json or not sys.stdin.isatty()):
        if as_json:
            print_json({**found, "run_id": None})
        else:
            out.print("Nothing was changed. --yes does it.")
        return
    order = Order(
        run_id=f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid.uuid4().hex[:6]}",
        where=tuple(where or ()),
        wanted=wanted,
        stage=stage,
        analyst=model,
        ocr_engine=ocr,
        versions=versions,
        everything=everything,
        documents=documents,
        limit=limit,
        **_money(analyst.name, done, documents, whole, cap, share),
        ordered_by=getpass.getuser(),
        ordered_at=datetime.now(UTC),
    )
    if not yes and not typer.confirm(f"Process {documents:,} documents again, for ${order.cap_usd:.4f} at most?"):
        out.print("Nothing was changed.")
        return
    begin(order)
    if as_json:
        print_json({**found, "run_id": order.run_id, "cap_usd": order.cap_usd})
    else:
        out.print(f"begun as {order.run_id}, for ${order.cap_usd:.4f} at most", highlight=False)
        out.print(
            f"aseagi reprocess --run {order.run_id}   shows how far it is; with --cancel it ends", highlight=False
        )


def _wanted(where: Sequence[str], stage: Stage, versions: dict[str, str], everything: bool) -> Wanted:
    wanted = wanted_by(where, versions, get_args(DocumentType))
    if wanted.document_ids is not None:
        ids = tuple(services.records().document(ident).document_id for ident in wanted.document_ids)
        wanted = wanted.model_copy(update={"document_ids": ids})
    return wanted_of(wanted, stage, versions, everything=everything)


def _money(
    analyst: str,
    done: Sequence[Replayed],
    documents: int,
    whole: tuple[float, float] | None,
    cap: float | None,
    share: float,
) -> dict[str, float]:
    """What a document and the whole may cost.

    Raises:
        ConfigError: nothing tells, and nobody said.
    """
    if analyst == "rules":
        return {"cap_usd": cap or 0.0, "document_usd": 0.0}
    if whole is None and cap is None:
        said = "is not given, and no document was replayed that would tell what they cost."
        raise ConfigError("--cap", said, "Give --cap USD, or a --sample.")
    most = max((one.bound_usd * share for one in done), default=settings().claude_document_usd)
    spare = min(documents, _SPARE) * most
    return {"cap_usd": cap if cap is not None else (whole or (0, 0))[1] + spare, "document_usd": most}


def _show_runs(run: str | None, end: bool, as_json: bool) -> None:
    records, storage = services.records(), services.storage()
    found = [orders.load(storage, run)] if run is not None else list(orders.orders(storage))
    if end:
        from aseagi_tasks.tasks import cancel

        ended, job_ids = orders.cancel(found[0], records, storage)
        found, stopped = [ended], sum(cancel(job_id) for job_id in job_ids)
        if not as_json:
            out.print(f"cancelled; {stopped:,} of its documents were not done")
    rows = [(order, records.requested(order.requested_by)) for order in found]
    if as_json:
        print_json(
            [{**order.model_dump(mode="json"), "jobs": dict(now.jobs), "spent_usd": now.usd} for order, now in rows]
        )
        return
    if not rows:
        out.print("Nothing was reprocessed.")
        return
    table = Table(header_style="bold")
    for heading in ("run", "state", "documents", "begun", "done", "failed", "spent", "cap", "by", "which"):
        table.add_column(heading, overflow="fold")
    for order, now in rows:
        jobs, money = now.jobs, (f"${now.usd:.4f}", f"${order.cap_usd:.4f}")
        counted = [f"{n:,}" for n in (order.documents, order.fed, jobs.get("completed", 0), jobs.get("error", 0))]
        which = " ".join(order.where) or "others than now"
        table.add_row(order.run_id, order.state, *counted, *money, escape(order.ordered_by), escape(which))
    out.print(table)


def _show(
    documents: int,
    counts: dict[str, int],
    versions: dict[str, str],
    seen: Preview,
    whole: tuple[float, float] | None,
    share: float,
) -> None:
    kinds = ", ".join(f"{count:,} {words(kind) or 'of no type'}" for kind, count in list(counts.items())[:6])
    out.print(f"{documents:,} documents ({kinds}) for {escape(versions['analyst'])}", highlight=False)
    table = Table(header_style="bold", title=f"preview of {len(seen.documents)}", title_justify="left")
    for heading in ("field", "same", "changed", "new", "lost", "otherwise sure"):
        table.add_column(heading, justify="left" if heading == "field" else "right")
    for name, row in tally(one.fields for one in seen.documents).items():
        table.add_row(words(name), *(str(count or "") for count in row.values()))
    out.print(table)
    for one in seen.documents:
        moved = {name: field for name, field in one.fields.items() if field.kind != "same" or field.moved}
        if one.error or moved:
            out.print(f"[bold]{one.document_id[:8]}[/bold] {escape(one.name)}", highlight=False)
        if one.error:
            out.print(f"  [red]{escape(one.error)}[/red]", highlight=False, soft_wrap=True)
        for name, field in moved.items():
            old, new = (f"{_said(value)} [dim]{support or ''}[/dim]" for value, support in _sides(field))
            stays = "  [green](corrected by a person: that stays)[/green]" if field.is_corrected else ""
            out.print(f"  {words(name)}: {old} → {new}{stays}", highlight=False, soft_wrap=True)
    if seen.stopped:
        out.print(f"[yellow]The preview ended early:[/yellow] {escape(seen.stopped)}", highlight=False, soft_wrap=True)
    if whole is not None:
        half = ", by message batches at half price" if share < 1 else ""
        said = f"the whole ${whole[0]:.4f} to ${whole[1]:.4f}{half}" if whole[1] else "the whole costs nothing"
        out.print(f"this preview ${seen.spent_usd:.4f}, {said}", highlight=False)


def _sides(field: Any) -> tuple[tuple[Any, str | None], tuple[Any, str | None]]:
    return (field.old, field.support[0]), (field.new, field.support[1])


def _said(value: Any) -> str:
    text = "; ".join(value) if isinstance(value, (list, tuple)) else "–" if value is None else str(value)
    return escape(short(text, 60))


@contextlib.contextmanager
def _counting(as_json: bool) -> Iterator[Callable[[int], None]]:
    """A counter while a terminal shows it."""
    from rich.progress import Progress, TextColumn

    columns = (TextColumn("replaying"), TextColumn("{task.completed:,.0f}"))
    with Progress(*columns, console=err, disable=as_json, transient=True) as shown:
        task = shown.add_task("", total=None)
        yield lambda done: shown.update(task, completed=done)
