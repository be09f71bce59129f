"""Migrations of the Postgres records: ordered SQL files, each applied once, in a transaction of its own.

They are kept where Supabase's own tool looks (``supabase db push --workdir droplet``) and noted where it notes them,
so either may be used, in turn if need be.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from aseagi_tasks.errors import ConfigError, RecordsUnavailable

FOLDER = Path(__file__).parents[2] / "droplet" / "supabase" / "migrations"
_LOCK = 4_736_251  # any number, the same for every `migrate`
_NOTES = """
CREATE SCHEMA IF NOT EXISTS supabase_migrations;
CREATE TABLE IF NOT EXISTS supabase_migrations.schema_migrations (version text PRIMARY KEY);
ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN IF NOT EXISTS statements text[];
ALTER TABLE supabase_migrations.schema_migrations ADD COLUMN IF NOT EXISTS name text;
"""


class Migration(NamedTuple):
    """One file, ``<version>_<name>.sql``; versions are moments (``20261124090000``) and give the order."""

    version: str
    name: str
    path: Path


def migrations(folder: Path = FOLDER) -> list[Migration]:
    """The files, in order.

    Raises:
        ConfigError: the folder is not there: the program was installed without its repository.
    """
    if not folder.is_dir():
        raise ConfigError("Migrations", f"are not at {folder}.", "Run this from a clone of the repository.")
    parted = ((*path.stem.partition("_")[::2], path) for path in sorted(folder.glob("*.sql")))
    return [Migration(version, name, path) for version, name, path in parted]


def migrate(url: str, folder: Path = FOLDER) -> Iterator[Migration]:
    """Apply what is missing and yield each migration that was applied.

    Args:
        url: a direct connection to Postgres (not a pooler in transaction mode) as the owner of the schema.
    Raises:
        ConfigError: the database has a migration that is not among the files, or one of them fails; what was applied
            before it stays. RecordsUnavailable: no connection.
    """
    files = migrations(folder)
    with connect(url) as db:
        db.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))  # a second `migrate` waits, and finds nothing to do
        db.execute(_NOTES)
        done = {row[0] for row in db.execute("SELECT version FROM supabase_migrations.schema_migrations")}
        unknown = sorted(done - {migration.version for migration in files})
        if unknown:
            raise ConfigError(
                "ASEAGI_POSTGRES_URL",
                f"leads to a database with migrations that are not ours or are newer: {', '.join(unknown)}.",
                "Update the program, or use a project of its own.",
            )
        for migration in files:
            if migration.version not in done:
                _apply(db, migration)
                yield migration


def _apply(db: psycopg.Connection, migration: Migration) -> None:
    script = migration.path.read_text()
    try:
        with db.transaction():
            db.execute(script.encode())
            db.execute(
                "INSERT INTO supabase_migrations.schema_migrations (version, name, statements) VALUES (%s, %s, %s)",
                (migration.version, migration.name, [script]),
            )
    except psycopg.Error as exc:
        raise ConfigError(
            migration.path.name, f"failed and was undone: {exc}.", "Mend the cause and run again."
        ) from exc


def connect(url: str) -> psycopg.Connection:
    """A direct connection.

    Raises:
        ConfigError: that is no address.
        RecordsUnavailable: no answer, or not let in. The address is not repeated: it holds a password.
    """
    parts(url)
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.Error as exc:
        raise RecordsUnavailable("connecting to ASEAGI_POSTGRES_URL", str(exc)) from None


def parts(url: str) -> dict[str, str]:
    """An address, taken apart.

    Raises:
        ConfigError: it is none. What libpq says is not repeated: of a password with `%`, `@` or `/` it quotes much.
    """
    try:
        found = {name: str(value or "") for name, value in conninfo_to_dict(url).items()}
    except psycopg.ProgrammingError:
        found = {"port": "none"}
    named = f"{found.get('host', '')} {found.get('dbname', '')}"
    if "@" in named[1:] or not re.fullmatch(r"[\d,]*", found.get("port", "")):
        cure = "It is like postgresql://user:…@host/name; in a password write % as %25, @ as %40, / as %2F."
        raise ConfigError("ASEAGI_POSTGRES_URL", "is no address of Postgres.", cure)
    return found
