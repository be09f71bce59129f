"""The SQLite file itself: connections, transactions, its tables when it is new."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aseagi_tasks.errors import ConfigError, RecordsUnavailable
from aseagi_tasks.stores.query import statements

VERSION = 5
BUSY_TIMEOUT_S = 30
#: Columns that hold JSON.
_JSON = frozenset({"parties", "versions", "detail", "value", "scan", "quote", "jobs"})


class SqliteFile:
    """One file with our tables. Each thread of each process has a connection of its own.

    Args:
        path: made, with its folder and tables, if it is not there.
    Raises:
        ConfigError: it cannot be made or is no such database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._create()
        except (OSError, sqlite3.DatabaseError) as exc:
            raise ConfigError(
                "ASEAGI_HOME", f"{path} cannot be used: {exc}.", "Choose another, or move it away."
            ) from exc

    # -- whole tables: see ``transfer.py``

    def page(self, table: str, columns: Sequence[str], key: str, after: Any, limit: int) -> list[dict[str, Any]]:
        """Rows of a table behind ``after`` in the order of ``key``, as JSON values."""
        rows = self._read(
            f"reading {table}",
            f"SELECT {', '.join(columns)} FROM {table} WHERE :after IS NULL OR {key} > :after"
            f" ORDER BY {key} LIMIT :limit",
            {"after": after, "limit": limit},
        )
        return [_json_values(table, row) for row in rows]

    def rows_of(self, table: str, key: str, values: Sequence[Any], columns: Sequence[str]) -> list[dict[str, Any]]:
        """The rows with these values of ``key``."""
        rows = self._read(
            f"reading {table}",
            f"SELECT {', '.join(columns)} FROM {table} WHERE {key} IN (SELECT value FROM json_each(?))",
            (json.dumps(list(values)),),
        )
        return [_json_values(table, row) for row in rows]

    def add_rows(self, table: str, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert rows; one whose ``key`` is there stays as it is."""
        with self._write(f"writing {table}") as db:
            for row in rows:
                stored = {
                    name: json.dumps(value, ensure_ascii=False)
                    if _is_json(table, name) and value is not None
                    else value
                    for name, value in row.items()
                }
                db.execute(
                    f"INSERT INTO {table} ({', '.join(stored)}) VALUES ({', '.join(':' + name for name in stored)})"
                    f" ON CONFLICT ({key}) DO NOTHING",
                    stored,
                )

    # -- inside

    def _read(self, doing: str, sql: str, values: Any) -> list[sqlite3.Row]:
        try:
            return self._connection().execute(sql, values).fetchall()
        except sqlite3.Error as exc:
            raise RecordsUnavailable(doing, str(exc)) from exc

    @contextmanager
    def _write(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A transaction that has the write lock from its beginning: it cannot fail half-way for another's sake."""
        try:
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
        except sqlite3.Error as exc:
            raise RecordsUnavailable(doing, str(exc)) from exc

    def _connection(self) -> sqlite3.Connection:
        """This thread's in this process: a connection that was carried over a fork would corrupt the file."""
        if getattr(self._local, "pid", None) != os.getpid():
            db = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("PRAGMA synchronous = NORMAL")  # with the log: safe against crashes, no sync per write
            self._local.connection, self._local.pid = db, os.getpid()
        connection: sqlite3.Connection = self._local.connection
        return connection

    def _create(self) -> None:
        """Tables, once, however many processes start at the same moment."""
        db = self._connection()
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("BEGIN IMMEDIATE")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        try:
            if version == 0:
                # executescript would commit first: statements one by one keep it one transaction
                for statement in statements((Path(__file__).parent / "schema.sql").read_text()):
                    db.execute(statement)
            elif version != VERSION:
                raise sqlite3.DatabaseError(f"it is of version {version}, this program of version {VERSION}")
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise


def iso(moment: datetime) -> str:
    """A time as the file keeps it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _json_values(table: str, row: sqlite3.Row) -> dict[str, Any]:
    """A row with its JSON columns as what they mean."""
    names = row.keys()
    is_json = {name: _is_json(table, name) and row[name] is not None for name in names}
    return {name: json.loads(row[name]) if is_json[name] else row[name] for name in names}


def _is_json(table: str, column: str) -> bool:
    """Whether a column holds JSON; the value of a correction is text."""
    return column in _JSON and (table, column) != ("corrections", "value")
