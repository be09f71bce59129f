"""The records of people in Postgres, by Supabase's client. Writes that race are one SQL function each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from postgrest import ReturnMethod
from supabase import Client

from aseagi_tasks.stores.query import storable
from aseagi_tasks.stores.supabase_api import MAX_ROWS, SupabaseApi
from aseagi_tasks.stores.user_records import Answer, Correction, Field, Update, User

_USER = ",".join(User.model_fields)
_ANSWER = ",".join(Answer.model_fields)
_CORRECTION = ",".join(Correction.model_fields)


class SupabaseUsers(SupabaseApi):
    """Implements ``user_records.UserRecords``."""

    # -- people

    def user(self, telegram_id: int) -> User | None:
        """Who that is, if known."""

        def ask(client: Client) -> Any:
            return client.table("users").select(_USER).eq("telegram_id", telegram_id).execute().data

        rows = self._rows("looking for a user", ask)
        return User(**rows[0]) if rows else None

    def users(self) -> list[User]:
        """Everybody, by id."""

        def ask(client: Client, offset: int) -> Any:
            query = client.table("users").select(_USER).order("telegram_id")
            return query.limit(MAX_ROWS).offset(offset).execute().data

        return [User(**row) for row in self._all_rows("listing users", ask)]

    def save_user(self, user: User) -> None:
        """Add somebody, or put this in place of what was there."""
        row = {name: storable(value) for name, value in user.model_dump().items()}
        self._try(
            "saving a user",
            lambda client: client.table("users").upsert(row, returning=ReturnMethod.minimal).execute().data,
        )

    def remove_user(self, telegram_id: int) -> bool:
        """Forget somebody; False if there was nobody."""

        def ask(client: Client) -> Any:
            return client.table("users").delete().eq("telegram_id", telegram_id).execute().data

        return bool(self._rows("removing a user", ask))

    # -- what Telegram told

    def keep_update(self, update_id: int, body: Mapping[str, Any]) -> bool:
        """Keep an update; whether it is still to be dealt with. The same again changes nothing."""
        return bool(self._call("keep_update", {"p_update_id": update_id, "p_body": dict(body)}))

    def open_updates(self) -> list[Update]:
        """Updates that are still to be dealt with (1,000 at most), oldest first, this time counted as a try."""
        rows = self._call("open_updates", {})
        updates = [Update(**{name: row[name] for name in Update.model_fields}) for row in rows]
        return sorted(updates, key=lambda update: update.update_id)

    def end_updates(self, update_ids: Sequence[int]) -> None:
        """They were dealt with: what they said is forgotten, their ids are kept."""
        self._call("end_updates", {"p_update_ids": list(update_ids)})

    def forget_updates(self, before: datetime) -> int:
        """Remove the ids of updates that were dealt with before then; returns how many."""
        return self._forget("telegram_updates", "done_at", before)

    # -- what was answered

    def forget_answers(self, before: datetime) -> int:
        """Remove answers that had their last form before then; returns how many."""
        return self._forget("telegram_answers", "answered_at", before)

    def open_answer(self, answer: Answer) -> Answer:
        """Add an answer; the same job again returns the row there is."""
        row = storable({**answer.model_dump(mode="json"), "answered_at": None})

        def add(client: Client) -> Any:
            query = client.table("telegram_answers").upsert(
                row, on_conflict="job_id", ignore_duplicates=True, returning=ReturnMethod.minimal
            )
            return query.execute().data

        self._try("opening an answer", add)
        return self._answers("looking for an answer", lambda query: query.eq("job_id", answer.job_id))[0]

    def answer_sent(self, job_id: str, message_id: int) -> None:
        """Its message is this one."""
        self._change_answer(job_id, {"message_id": message_id})

    def end_answer(self, job_id: str, now: datetime) -> None:
        """The message has its last form."""
        self._change_answer(job_id, {"answered_at": now.isoformat()})

    def open_answers(self) -> list[Answer]:
        """Answers whose jobs go on, or whose end was not told yet, oldest first."""
        return self._answers(
            "listing answers", lambda query: query.is_("answered_at", "null").order("created_at").limit(MAX_ROWS)
        )

    def answers_to(self, telegram_id: int, limit: int = 10) -> list[Answer]:
        """Somebody's answers, newest first."""
        return self._answers(
            "listing answers",
            lambda query: query.eq("telegram_id", telegram_id).order("created_at", desc=True).limit(limit),
        )

    # -- what was corrected

    def correct(self, document_id: str, field: Field, value: str, corrected_by: str, *, once: str) -> Correction:
        """Keep what a person says a field is, and put it where lists and search find it; the same ``once`` once."""
        values = {"p_once": once, "p_document_id": document_id, "p_field": field, "p_value": value}
        return _correction(self._call("correct_document", {**values, "p_corrected_by": corrected_by}))

    def corrections(self, document_id: str) -> list[Correction]:
        """All that was ever corrected, oldest first."""

        def ask(client: Client, offset: int) -> Any:
            query = client.table("corrections").select(_CORRECTION).eq("document_id", document_id)
            return query.order("correction_id").limit(MAX_ROWS).offset(offset).execute().data

        return [_correction(row) for row in self._all_rows("listing corrections", ask)]

    # -- inside

    def _forget(self, table: str, column: str, before: datetime) -> int:
        def ask(client: Client) -> Any:
            return client.table(table).delete().lt(column, before.isoformat()).execute().data

        return len(self._rows("forgetting what is over", ask))

    def _answers(self, doing: str, wanted: Any) -> list[Answer]:
        rows = self._rows(doing, lambda c: wanted(c.table("telegram_answers").select(_ANSWER)).execute().data)
        return [Answer(**{**row, **_moments(row, "created_at", "answered_at")}) for row in rows]

    def _change_answer(self, job_id: str, values: Mapping[str, Any]) -> None:
        def ask(client: Client) -> Any:
            query = client.table("telegram_answers").update(dict(values), returning=ReturnMethod.minimal)
            return query.eq("job_id", job_id).execute().data

        self._try("keeping an answer", ask)


def _correction(row: Any) -> Correction:
    return Correction(**{**{name: row[name] for name in Correction.model_fields}, **_moments(row, "at")})


def _moments(row: Mapping[str, Any], *names: str) -> dict[str, datetime | None]:
    """Times in UTC."""
    return {name: None if row[name] is None else datetime.fromisoformat(row[name]).astimezone(UTC) for name in names}
