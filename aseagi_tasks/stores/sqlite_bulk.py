"""Bulk runs in the SQLite file."""

from __future__ import annotations

from aseagi_tasks.stores.sqlite_known import SqliteKnown


class SqliteBulk(SqliteKnown):
    """Implements ``bulk_records.BulkRecords``."""
