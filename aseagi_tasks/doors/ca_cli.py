"""``aseagi ca``: who may come through the tunnel."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from aseagi_tasks.doors.terminal import Json, out, print_json
from aseagi_tasks.settings import settings

if TYPE_CHECKING:
    from aseagi_tasks.fleet.authority import Authority

app = typer.Typer(no_args_is_help=True, help="Certificates for the tunnel of rented machines.")


def authority() -> Authority:
    """The one of this ASEAGI_HOME."""
    from aseagi_tasks.fleet.authority import Authority

    return Authority(settings().ca_folder)


@app.command()
def init(as_json: Json = False) -> None:
    """Make the certificate authority, and the Droplet's certificate."""
    from aseagi_tasks.fleet.tunnel import SERVER_NAME

    ca, now = authority(), datetime.now(UTC)
    ca.create(now)
    ca.issue(SERVER_NAME, "server", now)
    if as_json:
        print_json({"folder": str(ca.folder)})
    else:
        out.print(f"{ca.folder} holds the authority's key: back it up, and show it to nobody.", highlight=False)


@app.command()
def issue(
    name: Annotated[str, typer.Argument(help="Whose; of a server, what its clients check.")],
    kind: Annotated[Literal["client", "server"], typer.Option(help="What it is good for.")] = "client",
    hours: Annotated[
        float | None, typer.Option(min=0.01, help="Default: 24 for a client, 19,800 for a server.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a key and a certificate. Rented machines get theirs by enrolling; the Droplet's is renewed with this."""
    valid = None if hours is None else timedelta(hours=hours)
    certificate, key = authority().issue(name, kind, datetime.now(UTC), valid)
    if as_json:
        print_json({"certificate": str(certificate), "key": str(key)})
    else:
        out.print(f"{certificate}\n{key}", highlight=False, soft_wrap=True)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="A name, or one serial number.")],
    as_json: Json = False,
) -> None:
    """Shut out whoever has this name's certificates, at once: what they have open is closed, too."""
    from aseagi_tasks.fleet.tunnel import reload

    ca = authority()
    gone = ca.revoke(name, datetime.now(UTC))
    heard = reload(settings().tunnel_pid_file)
    if as_json:
        print_json({"revoked": [one.serial for one in gone], "tunnel_told": heard})
        return
    out.print(f"revoked {len(gone)} certificate{'' if len(gone) == 1 else 's'} of {name}", highlight=False)
    if not heard:
        out.print("[yellow]no tunnel runs here: it reads the list when it starts[/yellow]")


@app.command("list")
def list_(
    everything: Annotated[bool, typer.Option("--all", help="Also what expired or was revoked.")] = False,
    as_json: Json = False,
) -> None:
    """What was issued and is valid."""
    from rich.table import Table

    now = datetime.now(UTC)
    rows = [one for one in authority().issued() if everything or one.state(now) == "valid"]
    if as_json:
        print_json([{**one._asdict(), "state": one.state(now)} for one in rows])
        return
    table = Table("name", "kind", "state", "until (UTC)", "serial", box=None)
    for one in rows:
        table.add_row(one.name, one.kind, one.state(now), one.not_after[:16].replace("T", " "), one.serial)
    out.print(table)


@app.command()
def invite(
    instance: Annotated[str, typer.Argument(help="The instance's id.")],
) -> None:
    """Print a token with which one machine may enroll, within 15 minutes. The autoscaler does this at each launch."""
    from aseagi_tasks import services

    sys.stdout.write(services.invitations().invite(instance) + "\n")


@app.command()
def dismiss(
    instance: Annotated[str, typer.Argument(help="The instance's id.")],
    as_json: Json = False,
) -> None:
    """End a machine's certificates, logins and connections at once; what it had taken is done by others."""
    from aseagi_tasks import services

    had = services.dismiss(instance)
    if as_json:
        print_json({"instance": instance, "dismissed": had})
    else:
        out.print(f"{instance} is shut out" if had else f"{instance} had nothing", highlight=False)
