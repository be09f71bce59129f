"""`aseagi users`: who may come in by Telegram."""

from __future__ import annotations

from typing import Annotated, Literal

import typer
from rich.table import Table

from aseagi_tasks import services
from aseagi_tasks.doors.showing import escape
from aseagi_tasks.doors.terminal import Json, err, out, print_json
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.user_records import User

app = typer.Typer(help="Who may use the Telegram bot.", no_args_is_help=True)
TelegramId = Annotated[int, typer.Argument(help="Their Telegram id, a number; the bot tells operators who asked.")]


@app.command("list")
def list_users(as_json: Json = False) -> None:
    """Everybody, also those who were refused."""
    users = services.records().users()
    if as_json:
        print_json([user.model_dump() for user in users])
        return
    table = Table(header_style="bold")
    for heading in ("telegram id", "role", "name", "language"):
        table.add_column(heading)
    for user in users:
        table.add_row(str(user.telegram_id), user.role, escape(user.name or ""), user.language)
    out.print(table)


@app.command()
def add(
    telegram_id: TelegramId,
    role: Annotated[Literal["user", "operator"], typer.Option(help="Operators invite others and get alerts.")] = "user",
    name: Annotated[str | None, typer.Option()] = None,
    language: Annotated[Literal["en", "es"], typer.Option()] = "en",
) -> None:
    """Let somebody in, or change what they are."""
    services.records().save_user(User(telegram_id=telegram_id, role=role, name=name, language=language))
    err.print(f"{telegram_id} is {role}")


@app.command()
def remove(telegram_id: TelegramId) -> None:
    """Let somebody in no longer."""
    if not services.records().remove_user(telegram_id):
        raise NotFound(str(telegram_id), "the users")
    err.print(f"{telegram_id} is let in no longer")
