"""``aseagi bulk``: all that is new below a prefix of the bucket, quoted first, then done within a cap."""

from __future__ import annotations

import contextlib
import getpass
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table
from typer.core import TyperGroup

from aseagi_tasks.doors.showing import escape
from aseagi_tasks.doors.terminal import Json, err, out, print_json
from aseagi_tasks.errors import AseagiError

_HELP = (
    "Do all that is new below a prefix of the bucket: scan, quote, question, run within a cap, certificate.",
    "[bold]aseagi bulk raw/2026/11/[/bold] looks which objects there no finished document is of, opens some of them,"
    " and says how many pages, dollars and hours they will take, and how each was reckoned. Nothing is begun until you"
    " say yes. Then it runs in the background, survives restarts of everything, begins nothing that could pass the cap,"
    " and ends with a certificate that names every file. What other tools (rclone, s3cmd) put there is taken where it"
    " lies.",
    "[bold]aseagi bulk raw/[/bold] · all that is new",
    "[bold]aseagi bulk raw/boxes/17/ --cap 5[/bold] · for $5 at most, rent included",
    "[bold]aseagi bulk raw/ --failed --yes[/bold] · also what failed before; does not ask",
    "[bold]aseagi bulk show ID[/bold] · how far one is, and its quote; [bold]list[/bold] has all",
    "What was modified less than a minute ago (ASEAGI_BULK_REST_S) may still be written, and is left for the next run."
    " With ASEAGI_NIGHTLY=on the clock does this every night.",
)
#: One look at a run takes no longer, so that what is shown moves.
_LOOK_S = 2.0
#: A scan that fails so often in a row is left to the control worker.
_TRIES = 5


class _Group(TyperGroup):
    """``bulk raw/`` means ``bulk start raw/``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["start", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(cls=_Group, no_args_is_help=True, rich_markup_mode="rich", help="\n\n".join(_HELP))
Which = Annotated[str, typer.Argument(metavar="ID", help="A run's id; its first characters will do.")]
Cap = Annotated[
    float | None,
    typer.Option("--cap", min=0, metavar="USD", help="What it may cost at most, rent included; else the quote's most."),
]


@app.command()
def start(
    prefix: Annotated[str, typer.Argument(help="raw/ or below, e.g. raw/2026/11/.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    cap: Cap = None,
    failed: Annotated[bool, typer.Option("--failed", help="Also what failed before.")] = False,
    unattended: Annotated[
        bool,
        typer.Option("--unattended", help="Confirm it only if it may cost no more than ASEAGI_BULK_UNATTENDED_USD."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Scan, quote, ask, and run in the background. The word `start` may be left out: `aseagi bulk raw/`."""
    from aseagi_tasks.bulk import orders, tending

    who = getpass.getuser()
    run_id = orders.start(prefix, requested_by=who, cap_usd=cap, failed=failed, unattended=unattended)
    _scan(run_id, prefix, as_json)
    found = orders.show(run_id)
    if not as_json:
        _print_scan(found)
        if found["quote"]:
            out.print(quote_table(found["quote"]))
    if found["status"] == "waiting" and not unattended and _agreed(found, yes, as_json):
        orders.confirm(run_id, by=who)
        found = orders.show(run_id)
    elif found["status"] == "waiting" and not unattended and not as_json and sys.stdin.isatty():
        orders.cancel(run_id, by=who)
        tending.step(run_id)
        out.print("Nothing was begun.")
        return
    if as_json:
        print_json(found)
    else:
        _print_next(found)


@app.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """All runs, newest first; nights too."""
    from aseagi_tasks.bulk import orders

    found = orders.listed(limit)
    if as_json:
        print_json(found)
        return
    if not found:
        out.print("No run yet. `aseagi bulk raw/` begins one.")
        return
    table = Table(header_style="bold")
    for heading in ("run", "kind", "prefix", "status", "to do", "done", "left", "spent", "cap", "by"):
        right = heading in ("to do", "done", "left", "spent", "cap")
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for one in found:
        counts = (f"{one[name]:,}" for name in ("todo", "done", "left"))
        money = (_usd(one["spent_usd"]), _usd(one["cap_usd"]))
        who = escape(one["requested_by"])
        table.add_row(one["run_id"], one["kind"], escape(one["prefix"]), one["status"], *counts, *money, who)
    out.print(table)


@app.command()
def show(run_id: Which, as_json: Json = False) -> None:
    """How far a run is, what it has cost, what it was quoted, and its certificate."""
    from aseagi_tasks.bulk import orders

    found = orders.show(run_id)
    if as_json:
        print_json(found)
    else:
        _print_run(found)


@app.command()
def confirm(run_id: Which, cap: Cap = None, as_json: Json = False) -> None:
    """Let a run that waits begin."""
    from aseagi_tasks.bulk import orders

    _ordered(run_id, lambda: orders.confirm(run_id, by=getpass.getuser(), cap_usd=cap), as_json)


@app.command()
def pause(run_id: Which, as_json: Json = False) -> None:
    """Begin nothing more of a run until `resume`; what is at work ends."""
    from aseagi_tasks.bulk import orders

    _ordered(run_id, lambda: orders.pause(run_id, by=getpass.getuser()), as_json)


@app.command()
def resume(run_id: Which, cap: Cap = None, as_json: Json = False) -> None:
    """Go on with a run that was paused; --cap gives it another cap."""
    from aseagi_tasks.bulk import orders

    _ordered(run_id, lambda: orders.resume(run_id, by=getpass.getuser(), cap_usd=cap), as_json)


@app.command()
def cancel(run_id: Which, as_json: Json = False) -> None:
    """End a run: what waits is cancelled, what is at work stops at its next step. What is published stays."""
    from aseagi_tasks.bulk import orders

    _ordered(run_id, lambda: orders.cancel(run_id, by=getpass.getuser()), as_json)


def quote_table(quote: dict[str, Any]) -> Table:
    """A quote, one line each with how it was reckoned."""
    table = Table(header_style="bold", pad_edge=False, box=None, padding=(0, 2, 0, 0))
    for heading in ("", "at least", "at most", "how it was reckoned"):
        table.add_column(heading, justify="right" if heading.startswith("at") else "left", overflow="fold")
    for line in quote["lines"]:
        bounds = (_figure(line["low"], line["unit"]), _figure(line["high"], line["unit"]))
        table.add_row(f"[bold]{escape(line['what'])}[/bold]", *bounds, f"[dim]{escape(line['how'])}[/dim]")
    low, high = quote["usd"]
    table.add_row("[bold]in all[/bold]", f"[bold]{_usd(low)}[/bold]", f"[bold]{_usd(high)}[/bold]", "")
    return table


def _scan(run_id: str, prefix: str, as_json: bool) -> None:
    """Do the steps of a scan, or see another do them, until it is quoted.

    Raises:
        AseagiError: it failed again and again; the run stays, and the control worker goes on with it.
    """
    from aseagi_tasks.bulk import tending

    failures, before = 0, None
    with _shown(prefix, as_json) as tell:
        while True:
            try:
                run = tending.step(run_id, until=time.monotonic() + _LOOK_S)
            except KeyboardInterrupt:
                said = f"A running stack goes on with {run_id}; `aseagi bulk cancel {run_id}` ends it."
                err.print(said, highlight=False, soft_wrap=True)
                raise
            tell(f"{run.scan.keys:,} files looked at, {run.scan.todo:,} to be done")
            if run.status != "scanning":
                return
            if run.scan.finished:
                tell(f"{run.scan.todo:,} to be done; opening some of them for the quote")
            failures = failures + 1 if run.trouble else 0
            if failures >= _TRIES:
                raise AseagiError(f"{run.trouble} Run {run_id} stays; `aseagi bulk show {run_id}` shows how far it is.")
            time.sleep(0.5 * max(failures, run.scan == before))  # another is at it, if nothing came of the look
            before = run.scan


@contextlib.contextmanager
def _shown(prefix: str, as_json: bool) -> Iterator[Callable[[str], None]]:
    """What a scan has found, while a terminal shows it."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=err, disable=as_json, transient=True) as shown:
        task = shown.add_task(f"looking through {escape(prefix)}", total=None)
        yield lambda said: shown.update(task, description=f"{escape(prefix)}: {said}")


def _agreed(found: dict[str, Any], yes: bool, as_json: bool) -> bool:
    if yes:
        return True
    if as_json or not sys.stdin.isatty():
        return False
    cap = found["cap_usd"] if found["cap_usd"] is not None else found["quote"]["usd"][1]
    price = f"for {_usd(cap)} at most" if cap else "at no cost"
    return typer.confirm(f"Do {found['quote']['documents']:,} documents, {price}?")


def _ordered(run_id: str, order: Callable[[], None], as_json: bool) -> None:
    from aseagi_tasks.bulk import orders

    order()
    found = orders.show(run_id)
    if as_json:
        print_json(found)
    else:
        out.print(f"{found['run_id']} is {found['status']}. {found['progress']['said']}", highlight=False)


def _print_scan(found: dict[str, Any]) -> None:
    scan = found["scan"]
    names = {
        **{"done": "done before", "failed": "failed before", "open": "in work", "unrested": "may still be written"},
        **{"refused": "no documents", "gone": "finished, and gone from the bucket (`aseagi missing`)"},
    }
    said = ", ".join(f"{scan[name]:,} {text}" for name, text in names.items() if scan[name])
    out.print(
        f"{scan['keys']:,} files below {found['prefix']}: {scan['todo']:,} to be done{f'; {said}' if said else ''}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _print_next(found: dict[str, Any]) -> None:
    """What comes of it, and what one can do about it."""
    run_id = found["run_id"]
    if found["status"] == "waiting":
        out.print(found["reason"] or "It waits to be confirmed.", highlight=False, soft_wrap=True, markup=False)
        out.print(f"aseagi bulk confirm {run_id}", highlight=False)
    elif found["status"] not in ("confirmed", "running"):  # ended, or somebody else was faster
        out.print(found["reason"] or found["progress"]["said"], highlight=False, soft_wrap=True, markup=False)
    else:
        cap = f", for {_usd(found['cap_usd'])} at most" if found["cap_usd"] else ""
        out.print(f"runs in the background{cap}; a running stack takes it up", highlight=False)
        out.print(f"aseagi bulk show {run_id}   shows how far it is", highlight=False)


def _print_run(found: dict[str, Any]) -> None:
    kind = "night" if found["kind"] == "night" else "bulk run"
    head = f"[bold]{found['run_id']}[/bold]  {kind} over {escape(found['prefix'])}  [bold]{found['status']}[/bold]"
    out.print(f"{head}  by {escape(found['requested_by'])}, {_moment(found['created_at'])}", highlight=False)
    progress = found["progress"]
    if found["jobs"] and found["status"] not in ("scanning", "waiting"):
        full = round(40 * progress["share"])
        out.print(f"[green]{'━' * full}[/green][dim]{'━' * (40 - full)}[/dim] {progress['share']:.0%}", highlight=False)
    out.print(progress["said"], highlight=False, soft_wrap=True, markup=False)
    if found["reason"]:
        out.print(found["reason"], highlight=False, soft_wrap=True, markup=False)
    if found["trouble"]:
        out.print(found["trouble"], style="yellow", highlight=False, soft_wrap=True, markup=False)
    _print_scan(found)
    jobs = ", ".join(f"{count:,} {status}" for status, count in found["jobs"].items() if count)
    if jobs:
        out.print(f"jobs: {jobs}", highlight=False)
    money = f"spent {_usd(found['spent_usd'])}"
    money += f" (rent {_usd(found['rent_usd'])})" if found["rent_usd"] else ""
    if found["cap_usd"] is not None:
        money += (
            f" of {_usd(found['cap_usd'])}; set aside {_usd(found['reserved_usd'])}, left {_usd(found['left_usd'])}"
        )
    out.print(money, highlight=False)
    if found["deadline"]:
        out.print(f"begins nothing after {_moment(found['deadline'])}", highlight=False)
    if found["quote"]:
        out.print("\nquoted")
        out.print(quote_table(found["quote"]))
    if found["certificate"]:
        out.print(f"\ncertificate  {found['certificate']}", highlight=False, soft_wrap=True, markup=False)


def _figure(value: float, unit: str) -> str:
    if unit == "USD":
        return _usd(value)
    if unit == "hours":
        return f"{value * 60:,.0f} min" if value < 2 else f"{value:,.1f} h"
    return f"{value:,.0f}"


def _usd(value: float | None) -> str:
    if value is None:
        return ""
    return f"${value:,.2f}" if value >= 0.1 or not value else f"${value:.4f}"


def _moment(stamp: str) -> str:
    return f"{datetime.fromisoformat(stamp).astimezone():%Y-%m-%d %H:%M}"
