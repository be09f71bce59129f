"""Old rows of the records in Postgres made small."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from supabase import Client

from aseagi_tasks.stores.records import Event
from aseagi_tasks.stores.rolling_up import summary
from aseagi_tasks.stores.supabase_api import MAX_ROWS, SupabaseApi

_EVENT = ",".join(Event.model_fields)


class SupabaseKeeping(SupabaseApi):
    """The part of ``records.Records`` that housekeeping calls."""

    def roll_up_events(self, ended_before: datetime, limit: int = 50) -> int:
        """Put one row in the place of the events of jobs that ended before then; how many jobs were looked at."""

        def ended(client: Client) -> Any:
            query = client.table("processing_jobs").select("job_id").lt("finished_at", ended_before.isoformat())
            return query.is_("rolled_up", "false").order("finished_at").limit(limit).execute().data

        job_ids = [row["job_id"] for row in self._rows("looking for old events", ended)]
        if not job_ids:
            return 0

        def there(client: Client, offset: int) -> Any:
            query = client.table("processing_events").select(_EVENT).in_("job_id", job_ids)
            return query.order("event_id").limit(MAX_ROWS).offset(offset).execute().data

        events: dict[str, list[Event]] = {job_id: [] for job_id in job_ids}
        for row in self._all_rows("reading old events", there):
            events[row["job_id"]].append(Event(**row))
        made = {job_id: summary(rows) for job_id, rows in events.items()}
        rows = [
            {"job_id": job_id, "row": row.model_dump(mode="json") if row is not None else None}
            for job_id, row in made.items()
        ]
        self._call("roll_up_events", {"p_summaries": rows})
        return len(job_ids)
