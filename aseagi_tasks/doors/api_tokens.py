"""`aseagi api-token`: who may use the monitor's HTTP API."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated

import typer

from aseagi_tasks import services
from aseagi_tasks.doors.terminal import Json, err, out, print_json
from aseagi_tasks.errors import ConfigError, NotFound

app = typer.Typer(no_args_is_help=True, help="Tokens for programs that use the monitor's HTTP API (/api/v1).")
SCOPES = ("read", "write", "operate")

Name = Annotated[str, typer.Argument(help="Of the program or person; stands in the audit.")]


@app.command()
def add(
    name: Name,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read looks, write hands documents in, operate retries and cancels; may be given again."),
    ] = None,
) -> None:
    """Make a token and print it. It is shown this once: the records keep its SHA-256."""
    scopes = scope or ["read"]
    if unknown := set(scopes) - set(SCOPES):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: scopes are {', '.join(SCOPES)}.")
    token = f"aseagi_{secrets.token_urlsafe(32)}"
    if not services.records().add_api_token(hashlib.sha256(token.encode()).hexdigest(), name, scopes):
        raise ConfigError(name, "has a token already.", "Choose another name: names stay in the audit.")
    err.print("[dim]keep it now, it is not shown again; Authorization: Bearer …[/dim]")
    out.print(token, highlight=False, soft_wrap=True)


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """All tokens by name, with what they open."""
    tokens = services.records().api_tokens()
    if as_json:
        print_json([token.model_dump(mode="json", exclude={"token_sha256"}) for token in tokens])
        return
    for token in tokens:
        state = f"revoked {token.revoked_at:%Y-%m-%d}" if token.revoked_at else ", ".join(token.scopes)
        out.print(f"{token.name}  {state}  since {token.created_at:%Y-%m-%d}", highlight=False)


@app.command()
def revoke(name: Name) -> None:
    """Let a token in no more, at once."""
    if not services.records().revoke_api_token(name):
        raise NotFound(name, "the tokens that are in use")
    out.print(f"{name} is revoked.", highlight=False)
