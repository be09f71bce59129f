"""The records of people in the SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.records import Document
from aseagi_tasks.stores.sqlite_file import SqliteFile
from aseagi_tasks.stores.sqlite_search import document_of, index
from aseagi_tasks.stores.user_records import Answer, Correction, Field, Update, User, corrected

_USER = ", ".join(User.model_fields)
_ANSWER = ", ".join(Answer.model_fields)
_CORRECTION = ", ".join(Correction.model_fields)


class SqliteUsers(SqliteFile):
    """Implements ``user_records.UserRecords``."""

    # -- people

    def user(self, telegram_id: int) -> User | None:
        """Who that is, if known."""
        rows = self._read("looking for a user", f"SELECT {_USER} FROM users WHERE telegram_id = ?", (telegram_id,))
        return User(**dict(rows[0])) if rows else None

    def users(self) -> list[User]:
        """Everybody, by id."""
        rows = self._read("listing users", f"SELECT {_USER} FROM users ORDER BY telegram_id", ())
        return [User(**dict(row)) for row in rows]

    def save_user(self, user: User) -> None:
        """Add somebody, or put this in place of what was there."""
        with self._write("saving a user") as db:
            db.execute(
                "INSERT INTO users (telegram_id, role, name, language, created_at, updated_at)"
                " VALUES (:telegram_id, :role, :name, :language, :now, :now) ON CONFLICT (telegram_id) DO UPDATE SET"
                " role = excluded.role, name = excluded.name, language = excluded.language,"
                " updated_at = excluded.updated_at",
                {**user.model_dump(), "now": _iso(datetime.now(UTC))},
            )

    def remove_user(self, telegram_id: int) -> bool:
        """Forget somebody; False if there was nobody."""
        with self._write("removing a user") as db:
            return db.execute("DELETE FROM users WHERE telegram_id = ?", (telegram_id,)).rowcount == 1

    # -- what Telegram told

    def keep_update(self, update_id: int, body: Mapping[str, Any]) -> bool:
        """Keep an update; whether it is still to be dealt with. The same again changes nothing."""
        with self._write("keeping an update") as db:
            db.execute(
                "INSERT INTO telegram_updates (update_id, body, at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (update_id, json.dumps(dict(body), ensure_ascii=False), _iso(datetime.now(UTC))),
            )
            found = db.execute("SELECT done_at FROM telegram_updates WHERE update_id = ?", (update_id,)).fetchone()
            return found["done_at"] is None

    def open_updates(self) -> list[Update]:
        """Updates that are still to be dealt with (1,000 at most), oldest first, this time counted as a try."""
        with self._write("looking for updates") as db:
            rows = db.execute(
                "UPDATE telegram_updates SET tries = tries + 1 WHERE update_id IN (SELECT update_id FROM"
                " telegram_updates WHERE done_at IS NULL ORDER BY update_id LIMIT 1000)"
                " RETURNING update_id, body, tries"
            ).fetchall()
        updates = [Update(**{**dict(row), "body": json.loads(row["body"])}) for row in rows]
        return sorted(updates, key=lambda update: update.update_id)

    def end_updates(self, update_ids: Sequence[int]) -> None:
        """They were dealt with: what they said is forgotten, their ids are kept."""
        with self._write("ending updates") as db:
            db.execute(
                "UPDATE telegram_updates SET body = '{}', done_at = coalesce(done_at, ?)"
                " WHERE update_id IN (SELECT value FROM json_each(?))",
                (_iso(datetime.now(UTC)), json.dumps(list(update_ids))),
            )

    def forget_updates(self, before: datetime) -> int:
        """Remove the ids of updates that were dealt with before then; returns how many."""
        with self._write("forgetting updates") as db:
            return db.execute("DELETE FROM telegram_updates WHERE done_at < ?", (_iso(before),)).rowcount

    # -- what was answered

    def forget_answers(self, before: datetime) -> int:
        """Remove answers that had their last form before then; returns how many."""
        with self._write("forgetting answers") as db:
            return db.execute("DELETE FROM telegram_answers WHERE answered_at < ?", (_iso(before),)).rowcount

    def open_answer(self, answer: Answer) -> Answer:
        """Add an answer; the same job again returns the row there is."""
        values = {**answer.model_dump(), "created_at": _iso(answer.created_at), "answered_at": None}
        with self._write("opening an answer") as db:
            db.execute(
                f"INSERT INTO telegram_answers ({_ANSWER}) VALUES ({', '.join(f':{name}' for name in values)})"
                " ON CONFLICT DO NOTHING",
                values,
            )
            row = db.execute(f"SELECT {_ANSWER} FROM telegram_answers WHERE job_id = ?", (answer.job_id,)).fetchone()
            return Answer(**dict(row))

    def answer_sent(self, job_id: str, message_id: int) -> None:
        """Its message is this one."""
        with self._write("keeping an answer") as db:
            db.execute("UPDATE telegram_answers SET message_id = ? WHERE job_id = ?", (message_id, job_id))

    def end_answer(self, job_id: str, now: datetime) -> None:
        """The message has its last form."""
        with self._write("ending an answer") as db:
            db.execute("UPDATE telegram_answers SET answered_at = ? WHERE job_id = ?", (_iso(now), job_id))

    def open_answers(self) -> list[Answer]:
        """Answers whose jobs go on, or whose end was not told yet, oldest first."""
        rows = self._read(
            "listing answers",
            f"SELECT {_ANSWER} FROM telegram_answers WHERE answered_at IS NULL ORDER BY created_at, rowid",
            (),
        )
        return [Answer(**dict(row)) for row in rows]

    def answers_to(self, telegram_id: int, limit: int = 10) -> list[Answer]:
        """Somebody's answers, newest first."""
        rows = self._read(
            "listing answers",
            f"SELECT {_ANSWER} FROM telegram_answers WHERE telegram_id = ?"
            " ORDER BY created_at DESC, rowid DESC LIMIT ?",
            (telegram_id, limit),
        )
        return [Answer(**dict(row)) for row in rows]

    # -- what was corrected

    def correct(self, document_id: str, field: Field, value: str, corrected_by: str, *, once: str) -> Correction:
        """Keep what a person says a field is, and put it where lists and search find it; the same ``once`` once."""
        with self._write("correcting a document") as db:
            found = db.execute("SELECT * FROM documents WHERE document_id = ?", (document_id,)).fetchone()
            if found is None:
                raise NotFound(document_id, "the documents")
            db.execute(
                "INSERT INTO corrections (once, document_id, field, value, corrected_by, at) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (once) DO NOTHING",
                (once, document_id, field, value, corrected_by, _iso(datetime.now(UTC))),
            )
            _into_row(db, as_corrected(db, document_of(found)))
            row = db.execute(f"SELECT {_CORRECTION} FROM corrections WHERE once = ?", (once,)).fetchone()
            return Correction(**dict(row))

    def corrections(self, document_id: str) -> list[Correction]:
        """All that was ever corrected, oldest first."""
        rows = self._read("listing corrections", _OF_DOCUMENT, (document_id,))
        return [Correction(**dict(row)) for row in rows]


_OF_DOCUMENT = f"SELECT {_CORRECTION} FROM corrections WHERE document_id = ? ORDER BY correction_id"


def as_corrected(db: sqlite3.Connection, document: Document) -> Document:
    """The row with what people said about it."""
    rows = db.execute(_OF_DOCUMENT, (document.document_id,)).fetchall()
    return corrected(document, [Correction(**dict(row)) for row in rows])


def _into_row(db: sqlite3.Connection, document: Document) -> None:
    values: dict[str, Any] = document.model_dump()
    values["parties"] = json.dumps(document.parties, ensure_ascii=False)
    db.execute(
        "UPDATE documents SET document_type = :document_type, document_date = :document_date,"
        " case_number = :case_number, title = :title, parties = :parties, relevancy_score = :relevancy_score"
        " WHERE document_id = :document_id",
        {name: value for name, value in values.items() if name != "versions"},
    )
    text = db.execute(
        "SELECT search.text FROM documents JOIN search ON search.rowid = documents.rowid"
        " WHERE documents.document_id = ?",
        (document.document_id,),
    ).fetchone()
    if text is not None:
        index(db, document, text["text"])


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
