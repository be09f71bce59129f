"""Old rows of the SQLite records made small."""

from __future__ import annotations

import json
from datetime import datetime

from aseagi_tasks.stores.records import Event
from aseagi_tasks.stores.rolling_up import FOLDED, summary
from aseagi_tasks.stores.sqlite_file import SqliteFile, iso

_EVENT = ", ".join(Event.model_fields)


class SqliteKeeping(SqliteFile):
    """The part of ``records.Records`` that housekeeping calls."""

    def roll_up_events(self, ended_before: datetime, limit: int = 50) -> int:
        """Put one row in the place of the events of jobs that ended before then; how many jobs were looked at."""
        with self._write("rolling events up") as db:
            ended = db.execute(
                "SELECT job_id FROM processing_jobs WHERE finished_at < ? AND finished_at IS NOT NULL AND rolled_up = 0"
                " ORDER BY finished_at LIMIT ?",
                (iso(ended_before), limit),
            ).fetchall()
            for (job_id,) in ended:
                rows = db.execute(
                    f"SELECT {_EVENT} FROM processing_events WHERE job_id = ? ORDER BY event_id", (job_id,)
                ).fetchall()
                made = summary([Event(**{**dict(row), "detail": json.loads(row["detail"])}) for row in rows])
                if made is not None:
                    db.execute(
                        "DELETE FROM processing_events WHERE job_id = ? AND kind IN (SELECT value FROM json_each(?))",
                        (job_id, json.dumps(sorted(FOLDED))),
                    )
                    db.execute(
                        "INSERT INTO processing_events (once, job_id, at, kind, seconds, worker, detail)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?)",
                        (
                            *(f"summary-{job_id}", job_id, iso(made.at), made.kind, made.seconds, made.worker),
                            json.dumps(dict(made.detail), ensure_ascii=False),
                        ),
                    )
                db.execute("UPDATE processing_jobs SET rolled_up = 1 WHERE job_id = ?", (job_id,))
            return len(ended)
