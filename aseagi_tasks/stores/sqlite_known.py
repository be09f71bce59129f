"""What the SQLite file knows of keys in the bucket, a thousand at a time, for the scan of a bulk run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from aseagi_tasks.stores.bulk_records import Known
from aseagi_tasks.stores.sqlite_file import SqliteFile, iso

#: A job is about a key if it was requested by it, or if its document's original is there.
_KNOWN = """
WITH wanted AS (SELECT value AS key FROM json_each(?))
SELECT wanted.key, job.job_id, job.status, job.created_at, job.error_class, NULL AS own_bytes
    FROM wanted CROSS JOIN processing_jobs job ON job.source = wanted.key
UNION ALL
SELECT wanted.key, job.job_id, job.status, job.created_at, job.error_class,
        CASE WHEN document.processed IS NOT NULL AND instr(wanted.key, document.document_id) THEN document.bytes END
    FROM wanted CROSS JOIN documents document ON document.key = wanted.key
    CROSS JOIN processing_jobs job ON job.document_id = document.document_id
"""


class SqliteKnown(SqliteFile):
    """The part of ``bulk_records.BulkRecords`` that a scan asks."""

    def known_keys(self, keys: Sequence[str]) -> dict[str, Known]:
        """What is known of these keys; one that nothing is known of is missing."""
        jobs: dict[str, list[Any]] = {}
        for row in self._read("looking for keys", _KNOWN, (json.dumps(list(keys)),)):
            jobs.setdefault(row["key"], []).append(row)
        return {key: _known(rows) for key, rows in jobs.items()}

    def original_keys(
        self, prefix: str, *, after: str, until: str | None, before: datetime, limit: int = 1000
    ) -> list[str]:
        """Where originals of completed documents were put, by key."""
        rows = self._read(
            "listing keys",
            "SELECT DISTINCT key FROM documents WHERE key >= :prefix AND key > :after AND key < :beyond"
            " AND (:until IS NULL OR key <= :until) AND processed IS NOT NULL AND created_at < :before"
            " ORDER BY key LIMIT :limit",
            {
                **{"prefix": prefix, "after": after, "until": until, "before": iso(before), "limit": limit},
                "beyond": prefix + "\U0010ffff",
            },
        )
        return [row["key"] for row in rows]


def _known(rows: Sequence[Any]) -> Known:
    last = max(rows, key=lambda row: (row["status"] in ("queued", "processing"), row["created_at"], row["job_id"]))
    return Known(
        status=last["status"],
        created_at=last["created_at"],
        error_class=last["error_class"],
        completed_as_of=max((row["created_at"] for row in rows if row["status"] == "completed"), default=None),
        own_bytes=next((row["own_bytes"] for row in rows if row["own_bytes"] is not None), None),
    )
