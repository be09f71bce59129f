"""In Postgres: who may use the API, who changed what, and what each day came to."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from postgrest import ReturnMethod
from supabase import Client

from aseagi_tasks.stores.query import storable
from aseagi_tasks.stores.records import ApiToken, Change, Day
from aseagi_tasks.stores.supabase_api import SupabaseApi


class SupabaseAccess(SupabaseApi):
    """What the monitor and its API keep and show."""

    def days(self, since: datetime) -> list[Day]:
        """Each UTC day since then on which something was spent or ended, oldest first."""
        return [Day(**row) for row in self._call("daily_totals", {"p_since": since.isoformat()})]

    def note_change(self, who: str, what: str, detail: Mapping[str, Any]) -> None:
        """Keep who changed what."""
        row = {"once": uuid.uuid4().hex, "who": who, "what": what, "detail": dict(detail)}
        self._insert("audit", row, "once")

    def changes(self, limit: int = 100) -> list[Change]:
        """What was changed, newest first."""

        def ask(client: Client) -> Any:
            return (
                client.table("audit")
                .select("at,who,what,detail")
                .order("audit_id", desc=True)
                .limit(limit)
                .execute()
                .data
            )

        return [Change(**row) for row in self._rows("listing changes", ask)]

    def add_api_token(self, token_sha256: str, name: str, scopes: Sequence[str]) -> bool:
        """Let who has the token in; False if there is one of that name."""
        row = {"token_sha256": token_sha256, "name": name, "scopes": list(scopes)}
        self._insert("api_tokens", row, "name")
        found = self.api_token(token_sha256)
        return found is not None and found.name == name

    def revoke_api_token(self, name: str) -> bool:
        """Let it in no more; False if there is none of that name, or no more."""
        now = datetime.now(UTC).isoformat()

        def ask(client: Client) -> Any:
            query = client.table("api_tokens").update({"revoked_at": now}).eq("name", name).is_("revoked_at", "null")
            return query.execute().data

        return bool(self._try("revoking an API token", ask))

    def api_tokens(self) -> list[ApiToken]:
        """All, revoked ones too, oldest first."""
        rows = self._rows("listing API tokens", lambda client: client.table("api_tokens").select("*").execute().data)
        return sorted((ApiToken(**row) for row in rows), key=lambda token: token.created_at)

    def api_token(self, token_sha256: str) -> ApiToken | None:
        """The one that is not revoked, or None."""

        def ask(client: Client) -> Any:
            query = client.table("api_tokens").select("*").eq("token_sha256", token_sha256)
            return query.is_("revoked_at", "null").execute().data

        rows = self._rows("looking an API token up", ask)
        return ApiToken(**rows[0]) if rows else None

    def _insert(self, table: str, row: Mapping[str, Any], key: str) -> None:
        def ask(client: Client) -> Any:
            query = client.table(table).upsert(
                [storable(row)], on_conflict=key, ignore_duplicates=True, returning=ReturnMethod.minimal
            )
            return query.execute().data

        self._try(f"writing {table}", ask)
