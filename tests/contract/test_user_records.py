"""What every records store promises about people: roles, updates once, answers, corrections that stay."""

from __future__ import annotations

import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.user_records import Answer, User, latest
from tests.contract.test_records import NOW, begun, finished, records

__all__ = ["records"]  # the fixture: each test runs against both stores


def answer(job_id: str, minutes: int = 0, telegram_id: int = 7) -> Answer:
    at = NOW + timedelta(minutes=minutes)
    return Answer(job_id=job_id, telegram_id=telegram_id, name="motion.pdf", reply_to=3, created_at=at)


def test_users_are_saved_changed_and_forgotten(records: Records) -> None:
    assert records.user(7) is None and not records.remove_user(7)
    records.save_user(User(telegram_id=7, role="stranger", name="Ana é\0"))
    records.save_user(User(telegram_id=7, role="user", name="Ana", language="es"))
    records.save_user(User(telegram_id=5_000_000_000, role="operator"))
    assert records.user(7) == User(telegram_id=7, role="user", name="Ana", language="es")
    assert [user.telegram_id for user in records.users()] == [7, 5_000_000_000]
    assert records.remove_user(7) and records.user(7) is None


def test_an_update_is_dealt_with_once_and_its_body_is_forgotten(records: Records) -> None:
    assert records.keep_update(11, {"message": {"text": "señor"}})
    assert records.keep_update(11, {"message": {"text": "another"}})
    assert records.keep_update(10, {"message": {}})
    first = records.open_updates()
    assert [(one.update_id, one.tries) for one in first] == [(10, 1), (11, 1)]
    assert first[1].body == {"message": {"text": "señor"}}
    records.end_updates([10, 11])
    assert not records.keep_update(11, {"message": {"text": "señor"}})
    assert records.open_updates() == []
    records.keep_update(12, {})
    records.open_updates()
    assert [(one.update_id, one.tries) for one in records.open_updates()] == [(12, 2)]


def test_ids_of_old_updates_are_forgotten_and_open_ones_are_not(records: Records) -> None:
    for update_id in (1, 2, 3):
        records.keep_update(update_id, {"n": update_id})
    records.end_updates([1, 2])
    assert records.forget_updates(datetime.now(UTC) - timedelta(days=1)) == 0
    assert records.forget_updates(datetime.now(UTC) + timedelta(days=1)) == 2
    assert [one.update_id for one in records.open_updates()] == [3]


def test_an_answer_is_one_row_until_it_ended(records: Records) -> None:
    first = records.open_answer(answer("b", 1))
    assert first == answer("b", 1)
    records.open_answer(answer("a"))
    records.answer_sent("b", 99)
    assert records.open_answer(answer("b", 5)) == first.model_copy(update={"message_id": 99})
    assert [one.job_id for one in records.open_answers()] == ["a", "b"]
    assert [one.job_id for one in records.answers_to(7)] == ["b", "a"]
    assert records.answers_to(7, limit=1)[0].job_id == "b" and records.answers_to(8) == []
    records.end_answer("a", NOW)
    assert [one.job_id for one in records.open_answers()] == ["b"]
    assert records.answers_to(7)[1].answered_at == NOW


def test_a_correction_has_who_and_when_and_the_last_counts(records: Records) -> None:
    document = finished(records, "a", "MOTION TO COMPEL", case_number="23CV000001", title="Motion")
    key = uuid.uuid4().hex
    before = datetime.now(UTC) - timedelta(seconds=5)
    first = records.correct(document.document_id, "case_number", "24CV777777", "telegram:7 Ana", once=key)
    assert records.correct(document.document_id, "case_number", "24CV777777", "telegram:7 Ana", once=key) == first
    assert (first.field, first.value, first.corrected_by) == ("case_number", "24CV777777", "telegram:7 Ana")
    assert before < first.at < datetime.now(UTC) + timedelta(seconds=5)
    records.correct(document.document_id, "case_number", "25CV888888", "telegram:8 Bo", once=uuid.uuid4().hex)
    records.correct(document.document_id, "court", "Superior Court", "telegram:8 Bo", once=uuid.uuid4().hex)
    records.correct(document.document_id, "parties", "Ana Pell\nBo Roe", "telegram:8 Bo", once=uuid.uuid4().hex)
    records.correct(document.document_id, "relevancy_score", "81", "telegram:8 Bo", once=uuid.uuid4().hex)
    kept = records.corrections(document.document_id)
    assert [(one.field, one.value) for one in kept[:2]] == [
        ("case_number", "24CV777777"),
        ("case_number", "25CV888888"),
    ]
    assert latest(kept)["case_number"].corrected_by == "telegram:8 Bo"
    row = records.document(document.document_id)
    assert (row.case_number, row.parties, row.relevancy_score, row.title) == (
        "25CV888888",
        ("Ana Pell", "Bo Roe"),
        81,
        "Motion",
    )
    with pytest.raises(NotFound):
        records.correct("0" * 16, "title", "x", "telegram:7", once=uuid.uuid4().hex)


def test_what_was_corrected_is_found_and_stays_when_the_chain_runs_again(records: Records) -> None:
    document = finished(records, "a", "MOTION TO COMPEL", case_number="23CV000001")
    records.correct(document.document_id, "case_number", "24CV777777", "telegram:7", once=uuid.uuid4().hex)
    assert [hit.document.document_id for hit in records.search('"24CV777777"')] == [document.document_id]
    assert records.search("24CV777778")[0].exact is False
    finished(records, "a", "MOTION TO COMPEL AGAIN", case_number="23CV000001", title="New")
    row = records.document(document.document_id)
    assert (row.case_number, row.title) == ("24CV777777", "New")
    assert [hit.document.document_id for hit in records.search("24CV777777 again")] == [document.document_id]


def test_a_case_told_before_the_chain_has_run_counts_from_the_beginning(records: Records) -> None:
    job_id, document = begun(records)
    records.correct(document.document_id, "case_number", "24CV777777", "telegram:7", once="x")
    records.begin_stage(job_id, "record", "w")
    assert records.complete(job_id, document.model_copy(update={"processed": "p", "pages": 1}), "text")
    assert records.document(document.document_id).case_number == "24CV777777"


def test_many_at_once_keep_an_update_once(records: Records) -> None:
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(records.keep_update(5, {"n": 1}))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [True] * 8 and len(records.open_updates()) == 1
