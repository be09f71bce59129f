"""Backups of the records into the bucket, and back into an empty store.

Postgres is dumped by ``pg_dump`` (schema, data, policies, grants), SQLite copied by its own means while it is in use.
The password goes to the programs by their environment, never by their arguments.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sqlite3
import subprocess
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from aseagi_tasks import keys
from aseagi_tasks.errors import ConfigError, RecordsUnavailable
from aseagi_tasks.stores.migrations import connect, migrations, parts
from aseagi_tasks.stores.storage import Storage, Stored

#: The newest backup is kept of each of so many days, weeks and months that have one.
KEEP_DAYS, KEEP_WEEKS, KEEP_MONTHS = 7, 4, 12
TIMEOUT_S = 3_600
_NAMED = re.compile(r"^backups/.*/(?:records|manifest)-(\d{8}T\d{6})Z\.(?:sqlite3|dump|jsonl\.gz)$")
_ENVIRONMENT = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "dbname": "PGDATABASE",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
}


class Backup(NamedTuple):
    """A backup as it was written: its rows by table, counted in the same moment."""

    key: str
    bytes: int
    sha256: str
    tables: dict[str, int]


def backup(source: Path | str, storage: Storage, scratch: Path, now: datetime) -> Backup:
    """Write a backup. Whatever happens on the way, there is none or a whole one.

    Args:
        source: the SQLite file, or the address of Postgres.
        scratch: a folder with space for it.
    Raises:
        ConfigError: ``pg_dump`` is missing or too old. RecordsUnavailable, StorageUnavailable.
    """
    key = keys.backup(now, kind_of(source))
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"{uuid.uuid4().hex}-{key.rsplit('/', 1)[-1]}"
    try:
        if isinstance(source, Path):
            _copy(source, path)
            tables = counted(path)
        else:
            tables = _dump(source, path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        storage.upload(path, key)
        return Backup(key, path.stat().st_size, sha256, tables)
    finally:
        path.unlink(missing_ok=True)


def kind_of(source: Path | str) -> str:
    """How keys of backups of such records end."""
    return "sqlite3" if isinstance(source, Path) else "dump"


def list_backups(storage: Storage) -> list[Stored]:
    """The backups that there are, newest first; not the manifests beside them."""
    return sorted(
        (there for there in storage.list("backups/") if _NAMED.search(there.key) and "/records-" in there.key),
        key=lambda there: there.key.rsplit("/", 1)[-1],
        reverse=True,
    )


def thin(storage: Storage) -> int:
    """Remove backups and manifests that are neither a day's, nor a week's, nor a month's newest; how many."""
    there = [stored.key for stored in storage.list("backups/")]
    old = sorted({key for key in there if _NAMED.search(key)} - kept(there))
    for key in old:
        storage.delete(key)
    return len(old)


def kept(there: Iterable[str]) -> set[str]:
    """Of keys of backups and manifests, those that are kept. What is named otherwise is not ours to remove."""
    moments = {key: made_at(key) for key in there if _NAMED.search(key)}
    wanted: set[datetime] = set()
    for limit, period in ((KEEP_DAYS, "%Y%m%d"), (KEEP_WEEKS, "%G%V"), (KEEP_MONTHS, "%Y%m")):
        newest = {moment.strftime(period): moment for moment in sorted(set(moments.values()))}
        wanted.update(newest[name] for name in sorted(newest, reverse=True)[:limit])
    return {key for key, moment in moments.items() if moment in wanted}


def made_at(key: str) -> datetime:
    """When a backup or the manifest beside it was made, as its key says.

    Raises:
        ValueError: it is neither.
    """
    named = _NAMED.search(key)
    if named is None:
        raise ValueError(key)
    return datetime.strptime(named[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def counted(source: Path | str) -> dict[str, int]:
    """Rows by table, of a SQLite file or of a database.

    Raises:
        RecordsUnavailable.
    """
    if isinstance(source, Path):
        try:
            # not read-only: a file in write-ahead mode could not be opened so
            with closing(sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)) as copy:
                copy.execute("PRAGMA query_only = ON")
                names = [row[1] for row in copy.execute("PRAGMA table_list") if row[2] == "table"]
                return {
                    name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]
                    for name in sorted(names)
                    if not name.startswith("sqlite_")
                }
        except sqlite3.Error as exc:
            raise RecordsUnavailable("counting rows", str(exc)) from exc
    with _snapshot(source) as db:
        return _counted(db)


def restore(target: Path | str, storage: Storage, key: str, scratch: Path) -> None:
    """Put a backup's records where there are none.

    Args:
        target: a SQLite file that is not there, or the address of a Postgres without our tables.
    Raises:
        ConfigError: the target holds records, or the backup is of the other kind. NotFound: no such backup.
    """
    wanted = kind_of(target)
    if not key.endswith("." + wanted):
        cure = "`aseagi export-records` and `import-records` move records from one kind of store to the other."
        raise ConfigError(key, f"is no backup of this kind of records (.{wanted}).", cure)
    if isinstance(target, Path) and target.exists():
        raise ConfigError(str(target), "is there already.", "Move it away, with the files -wal and -shm beside it.")
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / f"{uuid.uuid4().hex}-{key.rsplit('/', 1)[-1]}"
    try:
        storage.download(key, path)
        if isinstance(target, Path):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target)
        else:
            restore_dump(target, path)
    finally:
        path.unlink(missing_ok=True)


def restore_dump(url: str, path: Path) -> None:
    """Roles and extensions first, which a dump of a schema does not hold; then all of it in one transaction."""
    with connect(url) as db:
        if db.execute("SELECT to_regclass('public.documents')").fetchone() != (None,):
            raise ConfigError("ASEAGI_POSTGRES_URL", "leads to a database with records.", "Restore into an empty one.")
        db.execute(migrations()[0].path.read_bytes())
    listed = path.with_suffix(".list")
    try:
        contents = _run("pg_restore", url, "--list", str(path))
        lines = [line for line in contents.splitlines() if not re.search(r" SCHEMA - public ", line)]  # always there
        listed.write_text("\n".join(lines))
        _run(
            "pg_restore", url, "--no-owner", "--single-transaction", "--exit-on-error", f"--use-list={listed}",
            f"--dbname={parts(url).get('dbname') or 'postgres'}", str(path),
        )  # fmt: skip
    finally:
        listed.unlink(missing_ok=True)


def _dump(url: str, path: Path) -> dict[str, int]:
    """Dump a database, and count its rows in the same snapshot."""
    with _snapshot(url) as db:
        row = db.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        schemas = ("--schema=public", "--schema=supabase_migrations", f"--snapshot={row[0]}")
        _run("pg_dump", url, "--format=custom", "--no-owner", *schemas, f"--file={path}")
        return _counted(db)


@contextmanager
def _snapshot(url: str) -> Iterator[psycopg.Connection[Any]]:
    """A transaction that sees one moment."""
    with connect(url) as db:
        try:
            with db.transaction():
                db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                yield db
        except psycopg.Error as exc:
            raise RecordsUnavailable("reading the database", str(exc)) from exc


def _counted(db: psycopg.Connection[Any]) -> dict[str, int]:
    names = db.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        " AND NOT relispartition ORDER BY relname"
    ).fetchall()
    rows = {}
    for (name,) in names:
        found = db.execute(sql.SQL("SELECT count(*) FROM public.{}").format(sql.Identifier(name))).fetchone()
        rows[name] = found[0] if found else 0
    return rows


def _copy(source: Path, path: Path) -> None:
    try:
        with sqlite3.connect(source) as live, sqlite3.connect(path) as copy:
            live.backup(copy)
    except sqlite3.Error as exc:
        raise RecordsUnavailable("copying the records", str(exc)) from exc
    finally:
        live.close()
        copy.close()


def _run(program: str, url: str, *arguments: str) -> str:
    """Run a PostgreSQL program against an address; what it printed."""
    if shutil.which(program) is None:
        raise ConfigError(program, "is not installed.", "apt-get install postgresql-client (or: brew install libpq).")
    ran = subprocess.run(
        [program, *arguments],
        env={**os.environ, **_environment(url)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if ran.returncode == 0:
        return ran.stdout
    said = ran.stderr.strip()
    if "server version mismatch" in said:
        cure = "Install the client programs of the server's version (apt-get install postgresql-client-NN)."
        raise ConfigError(program, f"is older than the server: {said}.", cure)
    raise RecordsUnavailable(f"running {program}", said)


def _environment(url: str) -> Mapping[str, str]:
    return {_ENVIRONMENT[name]: str(value) for name, value in parts(url).items() if name in _ENVIRONMENT and value}
