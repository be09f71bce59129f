"""The records of people: who may come in by Telegram, what they sent, what they were answered, what they corrected.

One protocol, two implementations beside those of ``records.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from aseagi_tasks.documents import Frozen

if TYPE_CHECKING:
    from aseagi_tasks.stores.records import Document

#: operator, user: let in. stranger: has written, and was not answered yet. refused: was told, once.
Role = Literal["operator", "user", "stranger", "refused"]
Language = Literal["en", "es"]
Field = Literal[
    "document_type",
    "document_date",
    "filed_date",
    "case_number",
    "court",
    "title",
    "parties",
    "summary",
    "relevancy_score",
]
FIELDS: tuple[Field, ...] = get_args(Field)
#: Those that stand in a document's row, where lists and search find them.
IN_ROW = ("document_type", "document_date", "case_number", "title", "parties", "relevancy_score")


class User(Frozen):
    """One row of ``users``."""

    telegram_id: int
    role: Role
    name: str | None = None
    language: Language = "en"


class Correction(Frozen):
    """One row of ``corrections``: what a person says a field is. Of several for a field the last counts.

    Attributes:
        value: as text; of parties one a line.
        corrected_by: who, e.g. ``telegram:7 Ana``.
    """

    document_id: str
    field: Field
    value: str
    corrected_by: str
    at: datetime


class Update(Frozen):
    """One row of ``telegram_updates``: what Telegram told, until it was dealt with.

    Attributes:
        tries: how often a bot started with it; one that kills the bot is given up.
    """

    update_id: int
    body: Mapping[str, Any]
    tries: int


class Answer(Frozen):
    """One row of ``telegram_answers``: the one message that tells about a job, edited until it ended.

    Attributes:
        reply_to: the message that the document came with.
        message_id: of the answer; None until it was sent.
        answered_at: when it got its last form; None while the job goes on.
    """

    job_id: str
    telegram_id: int
    name: str
    reply_to: int | None = None
    message_id: int | None = None
    created_at: datetime
    answered_at: datetime | None = None


class UserRecords(Protocol):
    """Errors: RecordsUnavailable, NotFound."""

    def user(self, telegram_id: int) -> User | None:
        """Who that is, if known."""

    def users(self) -> list[User]:
        """Everybody, by id."""

    def save_user(self, user: User) -> None:
        """Add somebody, or put this in place of what was there."""

    def remove_user(self, telegram_id: int) -> bool:
        """Forget somebody; False if there was nobody."""

    def keep_update(self, update_id: int, body: Mapping[str, Any]) -> bool:
        """Keep an update; whether it is still to be dealt with. The same again changes nothing."""

    def open_updates(self) -> list[Update]:
        """Updates that are still to be dealt with (1,000 at most), oldest first, this time counted as a try."""

    def end_updates(self, update_ids: Sequence[int]) -> None:
        """They were dealt with: what they said is forgotten, their ids are kept."""

    def forget_updates(self, before: datetime) -> int:
        """Remove the ids of updates that were dealt with before then; returns how many."""

    def forget_answers(self, before: datetime) -> int:
        """Remove answers that had their last form before then; returns how many."""

    def open_answer(self, answer: Answer) -> Answer:
        """Add an answer; the same job again returns the row there is."""

    def answer_sent(self, job_id: str, message_id: int) -> None:
        """Its message is this one."""

    def end_answer(self, job_id: str, now: datetime) -> None:
        """The message has its last form."""

    def open_answers(self) -> list[Answer]:
        """Answers whose jobs go on, or whose end was not told yet, oldest first."""

    def answers_to(self, telegram_id: int, limit: int = 10) -> list[Answer]:
        """Somebody's answers, newest first."""

    def correct(self, document_id: str, field: Field, value: str, corrected_by: str, *, once: str) -> Correction:
        """Keep what a person says a field is, and put it where lists and search find it; the same ``once`` once.

        Later results of the chain do not change the field back.

        Raises:
            NotFound: there is no such document.
        """

    def corrections(self, document_id: str) -> list[Correction]:
        """All that was ever corrected, oldest first."""


def corrected(document: Document, corrections: Iterable[Correction]) -> Document:
    """A document's row with what people said about it."""
    said: dict[str, Any] = {}
    for correction in corrections:
        if correction.field not in IN_ROW:
            continue
        value: Any = correction.value
        if correction.field == "parties":
            value = tuple(value.splitlines())
        elif correction.field == "relevancy_score":
            value = int(value)
        said[correction.field] = value
    return document.model_copy(update=said) if said else document


def latest(corrections: Iterable[Correction]) -> dict[str, Correction]:
    """The correction that counts, by field."""
    return {correction.field: correction for correction in corrections}
