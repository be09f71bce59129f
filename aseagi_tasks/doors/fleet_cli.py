"""``aseagi fleet``: what is rented and why, and what an operator may do about it."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aseagi_tasks.doors.terminal import Json, err, out, print_json
from aseagi_tasks.errors import FleetError

if TYPE_CHECKING:
    from aseagi_tasks.tending.watching import Means

app = typer.Typer(no_args_is_help=True, help="Rented machines: what there are and why; launch, drain, destroy, limits.")


def _means() -> Means:
    """Opened when a command runs: the terminal's help loads no Celery."""
    from aseagi_tasks.tending.tick import means

    return means()


Which = Annotated[str, typer.Argument(metavar="ID", help="Its id; the beginning or the end of it will do.")]


@app.command()
def status(as_json: Json = False) -> None:
    """What is rented, what it costs, what was spent, and which limits hold."""
    from aseagi_tasks.tending.overview import overview

    found = overview(_means())
    if as_json:
        print_json(found)
        return
    from rich.table import Table

    shown = Table("instance", "state", "GPU", "$/h", "for", "s/page", "busy", "booked", box=None, pad_edge=False)
    for one in found["instances"]:
        page = one["seconds_per_page"]
        shown.add_row(
            *(one["instance_id"], one["state"], one["gpu"], f"{one['price_usd_per_hour']:.3f}", _span(one["age_s"])),
            *("" if page is None else f"{page:.2f}", str(one["busy"]), f"${one['booked_usd']:.3f}"),
        )
    if found["instances"]:
        out.print(shown)
    else:
        out.print("Nothing is rented.")
    limits, paused = found["limits"], " · launching is paused (`aseagi fleet resume`)" if found["paused"] else ""
    out.print(
        f"${found['usd_per_hour']:.2f}/h of at most ${limits['usd_per_hour']:.2f} · today"
        f" ${found['spent_today_usd']:.2f} of ${limits['daily_budget_usd']:.2f} · month"
        f" ${found['spent_month_usd']:.2f} of ${limits['monthly_budget_usd']:.2f}{paused}",
        highlight=False,
    )
    if found["reconciled"]:
        compared = found["reconciled"]
        out.print(
            f"ledger ${compared['booked_usd']:.3f}, charged ${compared['charged_usd']:.3f}, difference"
            f" ${compared['difference_usd']:.3f} (three days, {compared['at']})",
            highlight=False,
        )
    for machine in found["left_out"]:
        until = f"until {machine['barred_until']}"
        out.print(f"machine {machine['machine_id']} is left out {until}: {machine['why']}", highlight=False)


@app.command()
def why(
    limit: Annotated[int, typer.Option(min=1, max=5_760, help="How many decisions, newest first.")] = 10,
    as_json: Json = False,
) -> None:
    """The latest decisions: what was seen, what was decided and why, and what came of it."""
    ticks = _means().records.ticks(limit)
    if as_json:
        print_json([{"at": tick.at, **tick.detail} for tick in ticks])
        return
    for tick in ticks:
        detail = tick.detail
        waits = detail.get("queue") or {}
        documents = waits.get("interactive_documents", 0) + waits.get("bulk_documents", 0)
        states = (
            ", ".join(f"{count} {state}" for state, count in (detail.get("instances") or {}).items()) or "none rented"
        )
        out.print(f"[dim]{tick.at:%Y-%m-%d %H:%M:%S}[/dim]  {documents} documents wait, {states}", highlight=False)
        for decision in detail.get("decisions", ()):
            came = f" → {decision['outcome']}" if decision.get("outcome") else ""
            out.print(f"    {decision['reason']}{came}", highlight=False, soft_wrap=True, markup=False)
        for error in detail.get("errors", ()):
            out.print(f"    {error}", style="red", highlight=False, soft_wrap=True, markup=False)
    if not ticks:
        out.print("No decision yet: beat makes one every 15 s while the stack runs.")


@app.command()
def launch(
    gpu: Annotated[
        str | None, typer.Option(help='A kind of GPU, e.g. "RTX 3090"; else the best for the money.')
    ] = None,
    as_json: Json = False,
) -> None:
    """Rent one machine now, within the limits. It is given back when it is idle, like every other."""
    from aseagi_tasks.tending import orders

    _say(orders.launch(_means(), getpass.getuser(), gpu), as_json)


@app.command()
def drain(instance: Which, as_json: Json = False) -> None:
    """Let a machine take no more work; it is destroyed when what it has in hand is done."""
    from aseagi_tasks.tending import orders

    _say(orders.drain(_means(), instance, getpass.getuser()), as_json)


@app.command()
def destroy(instance: Which, as_json: Json = False) -> None:
    """End a machine now; what it has in hand goes back to the queue."""
    from aseagi_tasks.tending import orders

    _say(orders.destroy(_means(), instance, getpass.getuser()), as_json)


@app.command()
def logs(
    instance: Which,
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="How many, from the end.")] = 200,
    as_json: Json = False,
) -> None:
    """The end of a machine's output, as its provider has it."""
    from aseagi_tasks.tending import orders

    _say(orders.logs(_means(), instance, lines), as_json)


@app.command()
def pause(as_json: Json = False) -> None:
    """Rent nothing more until `resume`. What runs goes on, and is given back when it is idle."""
    from aseagi_tasks.tending import orders

    orders.pause(_means(), getpass.getuser(), paused=True)
    _say("paused", as_json)


@app.command()
def resume(as_json: Json = False) -> None:
    """Rent again when documents wait."""
    from aseagi_tasks.tending import orders

    orders.pause(_means(), getpass.getuser(), paused=False)
    _say("resumed", as_json)


@app.command()
def limits(
    changes: Annotated[
        list[str] | None, typer.Argument(metavar="NAME=VALUE", help="instances=2; NAME= takes back.")
    ] = None,
    reset: Annotated[bool, typer.Option("--reset", help="Take back all that was set here.")] = False,
    as_json: Json = False,
) -> None:
    """Show the limits, or set some over those of the settings, from the next decision on."""
    from aseagi_tasks.tending import orders
    from aseagi_tasks.tending.watching import limits_of

    tools = _means()
    if changes or reset:
        orders.set_limits(tools, getpass.getuser(), dict(map(_change, changes or ())), reset=reset)
    controls = tools.records.controls()
    found = limits_of(tools.conf, controls).model_dump(mode="json", exclude={"paused"})
    if as_json:
        print_json(found)
        return
    by_hand = controls.get("limits") or {}
    for name, value in found.items():
        shown = ", ".join(f"{k} ${v:.2f}" for k, v in value.items()) if isinstance(value, dict) else value
        out.print(
            f"{name:24} {shown}{'   (set by command)' if name in by_hand else ''}", highlight=False, soft_wrap=True
        )


def _change(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise typer.BadParameter(f"{text}: write NAME=VALUE.")
    if not value:
        return name, None
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@app.command()
def panic(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: Json = False,
) -> None:
    """Destroy every machine that carries our label, stop launching, and look twice that nothing is left."""
    from aseagi_tasks.tending import orders

    if not yes:
        typer.confirm("Destroy everything that is rented?", abort=True)
    ended = orders.panic(
        _means(), getpass.getuser(), lambda text: err.print(f"[dim]{text}[/dim]", highlight=False, soft_wrap=True)
    )
    if as_json:
        print_json(ended._asdict())
    for error in () if as_json else ended.errors:
        err.print(error, highlight=False, soft_wrap=True, markup=False)
    if not ended.proven:
        raise FleetError(
            "destroying everything", "it is not proven that nothing is left; look at console.vast.ai", None
        )
    if not as_json:
        out.print(f"{len(ended.destroyed)} destroyed; two lists in a row have nothing of ours. Launching is paused.")


def _say(text: str, as_json: bool) -> None:
    if as_json:
        print_json({"outcome": text})
    else:
        out.print(text, highlight=False, soft_wrap=True)


def _span(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3600:.1f} h"
