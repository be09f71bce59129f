"""What operators are told, from the function that has something to say to the chat where it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.exceptions import Ignore
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from aseagi_tasks import control, delivery, housekeeping, notify, services, tasks
from aseagi_tasks.bulk import ending
from aseagi_tasks.bulk.orders import span
from aseagi_tasks.celery import app
from aseagi_tasks.errors import BudgetExceeded, NotFound, Quarantined
from aseagi_tasks.notices import NOTICES, notice
from aseagi_tasks.notify import TelegramNotifier
from aseagi_tasks.settings import Settings, settings
from aseagi_tasks.stages.analyze import JobErrand
from aseagi_tasks.stores.user_records import User
from tests.chain.conftest import free_port
from tests.chain.telegram_here import OLGA, PABLO, office, own_redis, telegram
from tests.servers.telegram import TOKEN, TelegramServer
from tests.servers.vast import Machine, VastServer
from tests.unit.test_certify import Office
from tests.unit.test_tending import Fleet

__all__ = ["office", "own_redis", "telegram"]  # the fixtures


def heard(telegram: TelegramServer) -> list[str]:
    """What the two operators were told, in turn; nobody else was told anything."""
    assert {sent.chat_id for sent in telegram.sent.values()} <= {OLGA, PABLO}
    return [sent.text for user in (OLGA, PABLO) for sent in telegram.to(user)]


def test_budget_that_is_used_up_is_told_once_a_day(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.hand_in("job", "motion")
    conf = settings().model_copy(update={"claude_daily_usd": 0.5})
    place: Any = SimpleNamespace(settings=conf, job_id="job", source=SimpleNamespace(name="motion.pdf"))
    errand = JobErrand(place, None, office.records)  # type: ignore[arg-type]
    errand.reserve("first", 0.4)
    analyze = tasks.app.tasks["aseagi.analyze"]
    for retries in range(3):
        with pytest.raises(BudgetExceeded) as raised:
            errand.reserve("second", 0.2)
        analyze.push_request(args=["job"], hostname="claude@here", retries=retries)
        try:
            with pytest.raises(Ignore):
                analyze.retry(exc=raised.value)
        finally:
            analyze.pop_request()
    english, spanish = heard(telegram)
    assert english.startswith("Documents wait. motion.pdf may cost 0.2000 USD, and ASEAGI_CLAUDE_DAILY_USD leaves no")
    assert spanish.startswith("Hay documentos en espera. motion.pdf puede costar 0.2000 USD y ASEAGI_CLAUDE_DAILY_USD")

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Tomorrow:  # type: ignore[override]
            return super().now(tz) + timedelta(days=1)

    monkeypatch.setattr(services, "datetime", Tomorrow)
    services.tell_what_waits(raised.value)
    assert len(heard(telegram)) == 4, "that is another day's budget"


@pytest.fixture
def fleet(
    office: Office, own_redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, list[int | str]], Fleet]]:
    monkeypatch.setattr(app.conf, "broker_url", f"redis+socket://{own_redis.connection_pool.connection_kwargs['path']}")
    machines = [Machine(number, gpu_usd_per_hour=0.15 + number / 100) for number in range(1, 4)]
    with VastServer(machines, keep_limits=False) as server:

        def made(endpoint: str, faults: list[int | str]) -> Fleet:
            server.faults[endpoint] = faults
            one = Fleet(own_redis, server, office.home, fleet_instances=1, fleet_failures=1)
            one.wait(50)
            return one

        yield made


def test_launches_of_which_nothing_comes_are_told_once(
    fleet: Callable[[str, list[int | str]], Fleet], telegram: TelegramServer
) -> None:
    failing = fleet("create", [503] * 100)
    for _ in range(18):
        failing.tick(after_s=70)
    assert failing.server.alive() == []
    english, spanish = (said for said in heard(telegram) if "503" in said)
    assert english.startswith("3 launches of the last hour came to nothing")
    assert spanish.startswith("3 arranques de la última hora no dieron nada")


@pytest.mark.parametrize(("endpoint", "fault"), [("create", 429), ("list", 500)])
def test_provider_that_refuses_again_and_again_is_told_once(
    fleet: Callable[[str, list[int | str]], Fleet], telegram: TelegramServer, endpoint: str, fault: int
) -> None:
    failing = fleet(endpoint, [fault] * 100)
    for _ in range(7):
        failing.tick(after_s=15)
    assert heard(telegram) == []
    for _ in range(4):
        failing.tick(after_s=15)
    english, spanish = heard(telegram)
    assert english.startswith("Machines could not be rented or looked after 8 times in a row")
    assert spanish.startswith("8 veces seguidas no se pudo alquilar")


def test_machines_that_never_join_are_told_when_no_more_are_rented(
    fleet: Callable[[str, list[int | str]], Fleet], telegram: TelegramServer
) -> None:
    failing = fleet("create", [])
    for _ in range(6):
        failing.tick(after_s=Settings().fleet_boot_s / 2)
    english, spanish = (said for said in heard(telegram) if "1 launches failed" in said)
    assert english.startswith("No machine is rented, 50 documents (150 pages) wait.")
    assert spanish.startswith("No se alquila ninguna máquina y esperan 50 documentos (150 páginas).")


def test_document_that_is_set_aside_is_told_once(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "tell_waiting", lambda *_: None)
    office.hand_in("poison", "motion")
    exc = Quarantined("ocr", 3)
    for _ in range(2):
        delivery.set_aside(office.records.job("poison"), exc)
    delivery.tell_set_aside("poison", exc)
    english, spanish = heard(telegram)
    assert english == f"Job poison is set aside. {exc}" and spanish == f"El trabajo poison queda apartado. {exc}"
    assert office.records.job("poison").error_class == "Quarantined"


def test_nightly_digest_says_whether_the_certificate_balances(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.process("done", "motion")
    office.hand_in("open", "order")
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="microseconds")
    with office.records._write("yesterday") as db:
        db.execute("UPDATE processing_jobs SET created_at = ?", (yesterday,))
    (key,) = control.certificate()
    english, spanish = heard(telegram)
    assert f"{yesterday[:10]} does NOT balance: 2 files in" in english and "1 open" in english and key in english
    assert f"El certificado de {yesterday[:10]} NO cuadra" in spanish and key in spanish
    office.publish("open", "order")
    control.certificate()
    assert control.certificate() == []
    assert " balances: 2 files in = 2 completed" in heard(telegram)[1] and " cuadra: " in heard(telegram)[3]


def test_drill_that_finds_something_or_fails_is_told(office: Office, telegram: TelegramServer) -> None:
    with pytest.raises(NotFound):
        control.restore_drill()
    english, spanish = heard(telegram)
    assert english.startswith("The restore drill failed.") and spanish.startswith("La prueba de restauración falló.")
    office.process("done", "motion")
    housekeeping.back_up()
    assert control.restore_drill()["found"] == [] and len(heard(telegram)) == 2
    office.storage.delete(office.records.job("done").source)
    control.restore_drill()
    assert "and is gone" in heard(telegram)[1] and "La prueba de restauración de" in heard(telegram)[3]


def test_pause_of_one_chat_is_kept_and_others_are_told_at_once(
    office: Office, telegram: TelegramServer, own_redis: Redis
) -> None:
    telegram.faults["sendMessage"] = [(429, "Too Many Requests: retry after 900", {"retry_after": 900})]
    services.notifier().tell(notice("waits", why="A."))
    services.notifier().tell(notice("waits", why="B."))
    assert heard(telegram) == ["Hay documentos en espera. A.", "Hay documentos en espera. B."]
    assert control.notices() == 0
    (held,) = own_redis.keys("aseagi:notices:held:*")  # type: ignore[misc]
    assert 890 < own_redis.ttl(held) <= 900  # type: ignore[operator]
    own_redis.delete(held)
    assert control.notices() == 2 and heard(telegram)[:2] == ["Documents wait. A.", "Documents wait. B."]
    assert control.notices() == 0 and len(heard(telegram)) == 4


def test_operator_who_blocked_the_bot_keeps_nobody_from_hearing(office: Office, telegram: TelegramServer) -> None:
    telegram.blocked.add(OLGA)
    services.notifier().tell(notice("waits", why="A."))
    assert heard(telegram) == ["Hay documentos en espera. A."] and control.notices() == 0
    telegram.blocked.clear()
    assert control.notices() == 0


def test_what_was_said_while_telegram_was_away_comes_when_it_is_back(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operators = [(OLGA, "en"), (PABLO, "es")]
    away = TelegramNotifier(TOKEN, lambda: operators, f"http://127.0.0.1:{free_port()}", services.redis)
    away.tell(notice("waits", why="A."))
    away.tell(notice("waits", why="B."))
    assert away.deliver() == 0 and heard(telegram) == []
    telegram.faults["sendMessage"] = [(502, "Bad Gateway", {})]
    assert control.notices() == 0, "away again"
    assert control.notices() == 4
    assert heard(telegram) == [f"{said} {why}" for said in _said("waits") for why in ("A.", "B.")]
    telegram.faults["sendMessage"] = [(0, "", {})]
    services.notifier().tell("C.")
    assert len(heard(telegram)) == 4 and control.notices() == 2 and len(heard(telegram)) == 6


def test_what_was_said_while_the_records_were_away_finds_its_operators_later(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = office.records.users
    monkeypatch.setattr(office.records, "users", lambda: 1 / 0)
    services.notifier().tell(notice("waits", why="A."))
    assert control.notices() == 0 and heard(telegram) == []
    telegram.faults["sendMessage"] = [(502, "Bad Gateway", {})]
    monkeypatch.setattr(office.records, "users", users)
    services.notifier().tell(notice("waits", why="B."))
    assert control.notices() == 4
    assert heard(telegram) == [f"{said} {why}" for said in _said("waits") for why in ("A.", "B.")]


def test_who_is_no_operator_any_more_hears_nothing_that_was_kept(office: Office, telegram: TelegramServer) -> None:
    telegram.faults["sendMessage"] = [(502, "Bad Gateway", {})]
    services.notifier().tell(notice("waits", why="A."))
    office.records.save_user(User(telegram_id=OLGA, role="user"))
    assert control.notices() == 1 and telegram.to(OLGA) == [] and heard(telegram) == [f"{_said('waits')[1]} A."]


def test_many_that_were_kept_are_said_a_few_at_a_time(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    telegram.faults["sendMessage"] = [(502, "Bad Gateway", {})]
    services.notifier().tell("A.")
    monkeypatch.setattr(notify, "_ROUND_S", 0.0)
    assert [control.notices() for _ in range(3)] == [1, 1, 0] and heard(telegram) == ["A.", "A."]


def test_names_that_no_message_can_hold_and_long_ones_are_told(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    telegram.faults["sendMessage"] = [(502, "Bad Gateway", {})]
    services.notifier().tell(notice("waits", why="half a \ud800 letter <b> & " + "x" * 5_000))
    assert control.notices() == 2
    for said in heard(telegram):
        assert "half a ? letter <b> & xxx" in said and len(said) == 4_096


def test_without_redis_operators_are_told_and_nothing_is_raised(
    office: Office, telegram: TelegramServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = Redis(unix_socket_path="/nowhere", retry=Retry(NoBackoff(), 0))
    monkeypatch.setattr(services, "redis", lambda: nowhere)
    notifier = services.notifier()
    monkeypatch.setattr(notifier, "_redis", lambda: nowhere)
    assert services.tell_once("one", "It is told.") and heard(telegram) == ["It is told."] * 2
    telegram.faults["sendMessage"] = [(0, "", {})]
    notifier.tell("It is in the log.")


@pytest.mark.parametrize("name", NOTICES)
def test_notices_say_the_same_in_both_languages(name: str) -> None:
    from string import Formatter

    english, spanish = (sorted(one[1] for one in Formatter().parse(text) if one[1]) for text in NOTICES[name])
    assert english == spanish


@pytest.mark.parametrize("seconds", [0, 1, 2, 89, 100, 9_000])
def test_however_long_a_run_took_is_said_in_both_languages(seconds: int) -> None:
    assert span(seconds).split(" ")[1] in ending._UNITS


def _said(name: str) -> list[str]:
    return [text.partition(" {")[0] for text in NOTICES[name]]
