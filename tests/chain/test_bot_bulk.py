"""/bulk: an operator's bulk runs in the chat, with the real orders, records and a bot of this process."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis

from aseagi_tasks import control, services
from aseagi_tasks.bulk import orders
from aseagi_tasks.documents import Source
from aseagi_tasks.doors.bot import bulk, post
from aseagi_tasks.stages.certify import certify
from aseagi_tasks.stores.bulk_records import Quote, QuoteLine, Scan
from tests.chain.telegram_bot import replied, until
from tests.chain.telegram_here import BO, OLGA, PABLO, HereBot, office, own_redis, telegram
from tests.chain.telegram_papers import filing
from tests.servers.telegram import Sent, TelegramServer
from tests.unit.test_certify import Office

__all__ = ["office", "own_redis", "telegram"]  # the fixtures
QUOTE = Quote(
    documents=12,
    pages=(400, 612),
    usd=(3.2, 5.095),
    hours=(0.5, 1.0),
    document_usd=0.42,
    lines=(QuoteLine(what="Claude", low=3.2, high=5.1, unit="USD", how="30 files <looked> into & more"),),
)
SCAN = Scan(keys=15, bytes=9_000_000, todo=12, todo_bytes=7_200_000, done=2, unrested=1, finished=True)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses for a telephone's sake."""
    monkeypatch.setattr(bulk, "LOOK_S", 0.03)
    monkeypatch.setattr(bulk, "SHOW_S", 0.0)
    monkeypatch.setattr(post, "CHAT_PAUSE_S", 0.0)


def asked(telegram: TelegramServer, user: int, text: str) -> Sent:
    """The answer to what somebody wrote."""
    after = max(telegram.sent, default=0)
    telegram.write(user, text)
    return replied(telegram, user, after)


def tapped(telegram: TelegramServer, user: int, sent: Sent, data: str) -> str | None:
    """What is said when somebody taps."""
    query = telegram.tap(user, sent.message_id, data)
    until(lambda: query in telegram.acknowledged, lambda: telegram.calls[-5:])
    return telegram.acknowledged[query]


def labels(sent: Sent) -> list[str]:
    return [key["text"] for row in sent.keyboard for key in row]


def quoted(run_id: str, **more: Any) -> None:
    """What tending does until a run waits."""
    services.bulk_records().move_run(run_id, {"scanning"}, "waiting", scan=SCAN, quote=QUOTE, **more)


def test_a_run_is_begun_confirmed_paused_and_ends_in_one_message(
    office: Office, telegram: TelegramServer, own_redis: Redis
) -> None:
    records = services.bulk_records()
    with HereBot():
        sent = asked(telegram, OLGA, "/bulk raw/box/")
        (run,) = records.runs()
        assert (run.prefix, run.status, run.requested_by) == ("raw/box/", "scanning", f"telegram:{OLGA}")
        assert "looking through the bucket" in sent.text and labels(sent) == ["✖ Cancel"]
        records.move_run(run.run_id, {"scanning"}, scan=Scan(keys=7, todo=3, todo_bytes=1_500_000))
        until(lambda: "7 files looked at, 3 to be done (1.5 MB)" in sent.text, lambda: sent.text)
        quoted(run.run_id)
        until(lambda: "waits for your word" in sent.text, lambda: sent.text)
        for said in (
            "left out: 2 done already, 1 written just now",
            "12 documents · 400–612 pages · $3.20–5.09 · 30–60 min",
            "Claude: 3.20–5.10 USD (30 files <looked> into & more)",
            "Nothing is processed before you confirm",
        ):
            assert said in sent.text, sent.text
        assert labels(sent) == ["✅ Confirm, at most $5.10", "✖ Cancel"]
        assert tapped(telegram, OLGA, sent, sent.button("Confirm")) == "confirmed"
        run = records.run(run.run_id)
        assert (run.status, run.cap_usd, run.confirmed_by) == ("confirmed", 5.1, f"telegram:{OLGA}")
        records.move_run(run.run_id, {"confirmed"}, "running", started_at=datetime.now(UTC))
        records.register_bulk(run.run_id, {"done": "raw/box/1.pdf", "open": "raw/box/2.pdf"})
        until(lambda: "0 of 12 done (0 %), 0 of them failed, 2 open" in sent.text, lambda: sent.text)
        assert "$0.00 of at most $5.10" in sent.text and labels(sent) == ["⏸ Pause", "✖ Cancel"]
        tapped(telegram, OLGA, sent, sent.button("Pause"))
        assert records.run(run.run_id).status == "paused"
        until(lambda: "paused by telegram:1001" in sent.text and "▶ Resume" in labels(sent), lambda: sent.text)
        tapped(telegram, OLGA, sent, sent.button("Resume"))
        assert records.run(run.run_id).status == "running"
        office.process("other", "motion")
        made = {"records": office.records, "storage": office.storage, "bucket": "b", "key": None}
        _, key = certify([office.records.job("other")], "run", **made, now=datetime.now(UTC))  # type: ignore[arg-type]
        records.move_run(run.run_id, {"running"}, "completed", certificate=key, finished_at=datetime.now(UTC))
        until(lambda: "The certificate balances: 1 files in" in sent.text, lambda: sent.text)
        assert "completed" in sent.text and key in sent.text and sent.keyboard == []
        until(lambda: not own_redis.exists("aseagi:bot:bulk"), lambda: "it is followed")
        assert len(telegram.to(OLGA)) == 1


def test_a_run_that_tending_looks_after_is_followed_to_its_digest(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aseagi_tasks.bulk import ending, tending

    monkeypatch.setattr(services, "fleet_records", lambda: None)
    monkeypatch.setattr(tending, "feed_if_possible", lambda limit: None)
    for module in (orders, tending, ending):
        monkeypatch.setattr(module, "settings", services.settings)
    for name in ("motion", "order"):
        office.storage.put(f"raw/box/{name}.pdf", filing(title=name))
    with HereBot():
        sent = asked(telegram, OLGA, "/bulk raw/box/")
        control.bulk()
        until(lambda: "2 files looked at, 2 to be done" in sent.text and len(labels(sent)) == 2, lambda: sent.text)
        assert "2 documents · 2 pages · $" in sent.text and "· pages: 2 pages (" in sent.text
        cap = sent.button("Confirm").rpartition(":")[2]
        tapped(telegram, OLGA, sent, sent.button("Confirm"))
        control.bulk()
        until(lambda: "0 of 2 done (0 %), 0 of them failed, 2 open" in sent.text, lambda: sent.text)
        (run,) = services.bulk_records().runs()
        for job in services.bulk_records().jobs_of(run.run_id):
            content = office.storage.get(job.source)
            sha256 = hashlib.sha256(content).hexdigest()
            source = Source(key=job.source, name="n", sha256=sha256, bytes=len(content), media_type="application/pdf")
            office.records.register_document(job.job_id, source, datetime.now(UTC))
            office.publish(job.job_id, job.source)
        control.bulk()
        until(lambda: "The certificate balances: 2 files in = 2 completed" in sent.text, lambda: sent.text)
    english, spanish = telegram.to(OLGA)[1].text, telegram.to(PABLO)[0].text
    assert english.startswith(f"Bulk run {run.run_id} (raw/box/) is completed.\n2 of 2 documents are done; 4 pages.")
    assert f"Cost: $0.00 of ${cap}." in english and "Its certificate balances: 2 files in = 2 completed" in english
    assert spanish.startswith(f"La tanda {run.run_id} (raw/box/) está completada.\n2 de 2 documentos hechos; 4 pági")
    assert f"Costo: $0.00 de ${cap}." in spanish and "Su certificado cuadra: 2 files in = 2 completed" in spanish
    assert telegram.to(BO) == []


def test_runs_are_listed_by_pages_and_steered_from_there_in_spanish(office: Office, telegram: TelegramServer) -> None:
    with HereBot():
        assert "Aún no hubo ninguna tanda" in asked(telegram, PABLO, "/bulk").text
        started = [orders.start(f"raw/{n}/", requested_by="somebody") for n in range(6)]
        listed = asked(telegram, PABLO, "/bulk")
        assert labels(listed) == ["1", "2", "3", "4", "5", "▶"] and "raw/5/" in listed.text
        assert "revisando el almacén · 0/0 · $0.00" in listed.text
        tapped(telegram, PABLO, listed, listed.button("▶"))
        assert labels(listed) == ["6", "◀"] and "raw/0/" in listed.text
        after = max(telegram.sent)
        tapped(telegram, PABLO, listed, listed.button("6"))
        sent = replied(telegram, PABLO, after)
        quoted(started[0], cap_usd=2.0)
        until(lambda: "✅ Confirmar, máximo $2.00" in labels(sent), lambda: labels(sent))
        assert "quedan fuera: 2 ya procesados, 1 recién escritos" in sent.text
        assert "The cap of $2.00 is below what was quoted" in sent.text
        old = sent.button("Confirmar")
        assert tapped(telegram, PABLO, sent, sent.button("Cancelar")) == "cancelándose"
        assert tapped(telegram, PABLO, sent, old) == "Ya no: está cancelándose."
        services.bulk_records().move_run(started[0], {"cancelling"}, "cancelled")
        until(lambda: "12 quedan para otra tanda" in sent.text, lambda: sent.text)
        assert sent.keyboard == [] and services.bulk_records().run(started[0]).confirmed_by is None
        assert started[1] in asked(telegram, PABLO, f"/bulk {started[1]}").text


def test_long_prefixes_and_words_fit_into_a_message(office: Office, telegram: TelegramServer) -> None:
    long = "/".join(["raw", *("&" * 250 for _ in range(4))])
    started = [orders.start(f"{long[:-1]}{n}/", requested_by="somebody") for n in range(5)]
    with HereBot():
        assert "raw/&&&" in asked(telegram, OLGA, "/bulk").text
        assert started[0] in asked(telegram, OLGA, f"/bulk {long[:-1]}0/").text
        assert "That cannot be done" in asked(telegram, OLGA, f"/bulk {long * 4}").text
        assert "I do not know /xxx" in asked(telegram, OLGA, "/" + "x" * 4_000).text


def test_a_message_that_telegram_refuses_is_not_tried_for_ever(
    office: Office, telegram: TelegramServer, own_redis: Redis
) -> None:
    with HereBot():
        sent = asked(telegram, OLGA, "/bulk raw/box/")
        faults = telegram.faults["editMessageText"] = [(400, "Bad Request: chat not found", {})]
        (run,) = services.bulk_records().runs()
        quoted(run.run_id)
        until(lambda: not faults and not own_redis.exists("aseagi:bot:bulk"), lambda: sent.text)
        assert run.run_id in asked(telegram, OLGA, f"/bulk {run.run_id}").text


def test_runs_are_for_operators(office: Office, telegram: TelegramServer) -> None:
    run_id = orders.start("raw/box/", requested_by="somebody")
    quoted(run_id)
    with HereBot():
        for text in ("/bulk", "/bulk raw/"):
            sent = asked(telegram, BO, text)
            assert sent.text == "That is for operators."
        assert tapped(telegram, BO, sent, f"k:c:{run_id}:5.10") == "That is for operators."
        assert tapped(telegram, BO, sent, f"k:s:{run_id}") == "That is for operators."
        assert "/bulk" not in asked(telegram, BO, "/help").text and "/bulk" in asked(telegram, OLGA, "/help").text
    assert [run.status for run in services.bulk_records().runs()] == ["waiting"] and len(telegram.to(BO)) == 3
    assert "bulk" not in telegram.menus["default", ""] and telegram.menus["default", "es"]["last"].startswith("sus")
    assert {"bulk", "search"} <= telegram.menus[OLGA, ""].keys() and BO not in {scope for scope, _ in telegram.menus}


def test_what_cannot_be_done_is_said(office: Office, telegram: TelegramServer) -> None:
    with HereBot():
        for text, why in (
            ("/bulk processed/", "What is handed in lies below raw/"),
            ("/bulk box 7", "What is handed in lies below raw/"),
            ("/bulk 20200101-0", "20200101-0"),
        ):
            assert why in asked(telegram, OLGA, text).text
        assert services.bulk_records().runs() == []
        sent = asked(telegram, OLGA, "/bulk raw/box 7 $2.50")
        (run,) = services.bulk_records().runs()
        assert (run.prefix, run.cap_usd) == ("raw/box 7", 2.5)
        assert tapped(telegram, OLGA, sent, "k:x:20200101-0") == "There is no such run."
        assert tapped(telegram, OLGA, sent, f"k:z:{run.run_id}") == "There is no such run."


def test_another_bot_goes_on_with_the_message_and_begins_nothing_twice(
    office: Office, telegram: TelegramServer, own_redis: Redis
) -> None:
    with HereBot():
        sent = asked(telegram, OLGA, "/bulk raw/box/")
    (run,) = services.bulk_records().runs()
    quoted(run.run_id)
    with HereBot():
        until(lambda: "waits for your word" in sent.text, lambda: sent.text)
        again = asked(telegram, OLGA, "/bulk raw/box/")
        assert run.run_id in again.text and len(services.bulk_records().runs()) == 1
        assert asked(telegram, PABLO, "/bulk raw/box/").text.split("\n")[0] == "📦 raw/box/"
        user = office.records.user(PABLO)
        assert user is not None
        office.records.save_user(user.model_copy(update={"role": "user"}))
        until(lambda: len(own_redis.hkeys("aseagi:bot:bulk")) == 1, lambda: own_redis.hkeys("aseagi:bot:bulk"))  # type: ignore[arg-type]
    assert len(services.bulk_records().runs()) == 1
