"""In the SQLite records: who may use the API, who changed what, and what each day came to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aseagi_tasks.stores.records import ApiToken, Change, Day
from aseagi_tasks.stores.sqlite_file import SqliteFile, iso


class SqliteAccess(SqliteFile):
    """What the monitor and its API keep and show."""

    def days(self, since: datetime) -> list[Day]:
        """Each UTC day since then on which something was spent or ended, oldest first."""
        spent = self._read(
            "adding up days",
            "SELECT substr(at, 1, 10) AS day, kind, sum(usd) AS usd FROM costs WHERE at >= ? GROUP BY 1, 2",
            (iso(since),),
        )
        ended = self._read(
            "adding up days",
            "SELECT substr(finished_at, 1, 10) AS day, count(*) FILTER (WHERE status = 'completed') AS completed,"
            " count(*) FILTER (WHERE status = 'error') AS failed,"
            " count(*) FILTER (WHERE status = 'cancelled') AS cancelled,"
            " coalesce(sum(documents.pages) FILTER (WHERE status = 'completed'), 0) AS pages"
            " FROM processing_jobs LEFT JOIN documents USING (document_id) WHERE finished_at >= ? GROUP BY 1",
            (iso(since),),
        )
        found: dict[str, dict[str, Any]] = {row["day"]: {**dict(row), "usd": {}} for row in ended}
        for row in spent:
            found.setdefault(row["day"], {"day": row["day"], "usd": {}})["usd"][row["kind"]] = row["usd"]
        return [Day(**found[day]) for day in sorted(found)]

    def note_change(self, who: str, what: str, detail: Mapping[str, Any]) -> None:
        """Keep who changed what."""
        with self._write("noting a change") as db:
            db.execute(
                "INSERT INTO audit (at, who, what, detail) VALUES (?, ?, ?, ?)",
                (iso(datetime.now(UTC)), who, what, json.dumps(dict(detail), ensure_ascii=False)),
            )

    def changes(self, limit: int = 100) -> list[Change]:
        """What was changed, newest first."""
        rows = self._read(
            "listing changes", "SELECT at, who, what, detail FROM audit ORDER BY audit_id DESC LIMIT ?", (limit,)
        )
        return [Change(**{**dict(row), "detail": json.loads(row["detail"])}) for row in rows]

    def add_api_token(self, token_sha256: str, name: str, scopes: Sequence[str]) -> bool:
        """Let who has the token in; False if there is one of that name."""
        with self._write("adding an API token") as db:
            added = db.execute(
                "INSERT INTO api_tokens (token_sha256, name, scopes, created_at) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (token_sha256, name, json.dumps(list(scopes)), iso(datetime.now(UTC))),
            )
            return added.rowcount == 1

    def revoke_api_token(self, name: str) -> bool:
        """Let it in no more; False if there is none of that name, or no more."""
        with self._write("revoking an API token") as db:
            changed = db.execute(
                "UPDATE api_tokens SET revoked_at = ? WHERE name = ? AND revoked_at IS NULL",
                (iso(datetime.now(UTC)), name),
            )
            return changed.rowcount == 1

    def api_tokens(self) -> list[ApiToken]:
        """All, revoked ones too, oldest first."""
        return [
            _token(row) for row in self._read("listing API tokens", "SELECT * FROM api_tokens ORDER BY created_at", ())
        ]

    def api_token(self, token_sha256: str) -> ApiToken | None:
        """The one that is not revoked, or None."""
        rows = self._read(
            "looking an API token up",
            "SELECT * FROM api_tokens WHERE token_sha256 = ? AND revoked_at IS NULL",
            (token_sha256,),
        )
        return _token(rows[0]) if rows else None


def _token(row: Any) -> ApiToken:
    return ApiToken(**{**dict(row), "scopes": json.loads(row["scopes"])})
