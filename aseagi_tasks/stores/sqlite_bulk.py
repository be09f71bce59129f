"""Bulk runs in the SQLite file."""

from __future__ import annotations

from aseagi_tasks.stores.sqlite_file import SqliteFile


class SqliteBulk(SqliteFile):
    """Implements ``bulk_records.BulkRecords``."""
