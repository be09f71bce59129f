"""What Postgres knows of keys in the bucket, a thousand at a time, for the scan of a bulk run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from aseagi_tasks.stores.bulk_records import Known
from aseagi_tasks.stores.supabase_api import MAX_ROWS, SupabaseApi


class SupabaseKnown(SupabaseApi):
    """The part of ``bulk_records.BulkRecords`` that a scan asks."""

    def known_keys(self, keys: Sequence[str]) -> dict[str, Known]:
        """What is known of these keys; one that nothing is known of is missing."""
        found: dict[str, Known] = {}
        for some in (keys[begin : begin + MAX_ROWS] for begin in range(0, len(keys), MAX_ROWS)):
            for row in self._call("known_keys", {"p_keys": list(some)}):
                key = row.pop("key")
                found[key] = Known(**row)
        return found

    def original_keys(
        self, prefix: str, *, after: str, until: str | None, before: datetime, limit: int = MAX_ROWS
    ) -> list[str]:
        """Where originals of completed documents were put, by key."""
        values = {"p_prefix": prefix, "p_after": after, "p_until": until, "p_before": before.isoformat()}
        return [row["key"] for row in self._call("original_keys", {**values, "p_limit": min(limit, MAX_ROWS)})]
