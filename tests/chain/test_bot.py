"""The Telegram bot, with the real library as client of a local Bot API and the real chain behind it."""

from __future__ import annotations

import io
import json
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pikepdf
import pytest
from PIL import Image

from aseagi_tasks import services
from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.fleet.model import Offer
from aseagi_tasks.stores.user_records import User
from tests.chain.conftest import free_port
from tests.chain.telegram_bot import ANA, BO, OPERATOR, BotProcess, answered, people, replied, until
from tests.chain.telegram_papers import blank, filing, locked, photograph
from tests.servers.telegram import TOKEN, TelegramServer


@pytest.fixture(scope="module")
def telegram() -> Iterator[TelegramServer]:
    with TelegramServer() as server:
        yield server


@pytest.fixture(scope="module")
def bot(stack: Stack, telegram: TelegramServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BotProcess]:
    people()
    with BotProcess(telegram, tmp_path_factory.mktemp("bot") / "bot.log") as running:
        yield running


def test_a_document_becomes_one_message_that_ends_as_its_result(telegram: TelegramServer, bot: BotProcess) -> None:
    sent = telegram.send(BO, filing("3:24-cv-07319"), "a <b> motion.pdf", caption="from counsel & co")
    got = answered(telegram, sent)
    assert "received" in got.forms[0][1]
    assert got.picture is not None and Image.open(io.BytesIO(got.picture)).format == "JPEG"
    for said in (
        "a _b_ motion.pdf",
        "motion · 1 page",
        "2024-03-04",
        "3:24-cv-07319 (p. 1)",
        "Acorn LLC",
        "counsel & co",
    ):
        assert said in got.text, got.text
    labels = [key["text"] for row in got.keyboard for key in row]
    assert labels == ["🔗 Original", "🔎 PDF", "📝 Text", "↻ Again", "✎ Wrong?"]


def test_buttons_send_original_text_and_searchable_copy(telegram: TelegramServer, bot: BotProcess) -> None:
    content, counsel = filing(), {"type": "hidden_user", "sender_user_name": "Counsel", "date": 1_764_000_000}
    got = answered(telegram, telegram.send(BO, content, "motion.pdf", forward_origin=counsel))
    for label, name in (("Original", "motion.pdf"), ("PDF", "motion.pdf"), ("Text", "motion.txt")):
        after = max(telegram.sent)
        query = telegram.tap(BO, got.message_id, got.button(label))
        file = replied(telegram, BO, after).file
        assert file is not None and file[0] == name
        if label == "Original":
            assert file[1] == content
        if label == "Text":
            assert "MOTION TO DISMISS" in file[1].decode()
        until(lambda query=query: query in telegram.acknowledged, lambda: telegram.calls[-5:])  # type: ignore[misc]


def test_photographs_sent_together_are_one_document_in_order(telegram: TelegramServer, bot: BotProcess) -> None:
    album = uuid.uuid4().hex
    pages = [photograph(f"PAGE {word}", "of the declaration") for word in ("ONE", "TWO", "THREE")]
    first = telegram.photograph(BO, pages[0], album=album, caption="#case 24CV777001 three sheets")
    rest = [telegram.photograph(BO, page, album=album) for page in pages[1:]]
    got = answered(telegram, first)
    assert all(telegram.answers(other) == [] for other in rest)
    document_id = got.button("Text").partition(":")[2]
    document = services.records().document(document_id)
    text = services.storage().get(f"{document.processed}/ocr.txt").decode()
    assert [word in page for word, page in zip(("ONE", "TWO", "THREE"), text.split("\f"), strict=True)] == [True] * 3
    assert document.case_number == "24CV777001"
    assert "24CV777001" in got.text and "✎ Bo" in got.text
    with pikepdf.open(io.BytesIO(services.storage().get(document.key))) as pdf:
        assert len(pdf.pages) == 3


def test_heic_is_read_and_the_same_picture_again_is_known(telegram: TelegramServer, bot: BotProcess) -> None:
    picture = photograph("LETTER OF MARCH", uuid.uuid4().hex[:8], form="HEIF")
    first = answered(telegram, telegram.send(BO, picture, "IMG_0001.HEIC"))
    second = answered(telegram, telegram.send(BO, picture, "IMG_0001 (copy).HEIC"))
    assert first.button("Text") == second.button("Text")
    assert "known since" in second.text and "known since" not in first.text
    document = services.records().document(first.button("Text").partition(":")[2])
    assert (document.media_type, document.name) == ("image/jpeg", "IMG_0001.HEIC")
    assert "LETTER OF MARCH" in services.storage().get(f"{document.processed}/ocr.txt").decode()


def test_bad_files_are_answered_in_the_users_language(telegram: TelegramServer, bot: BotProcess) -> None:
    wrong = answered(telegram, telegram.send(ANA, b"<html>no letter</html>", "carta.pdf"))
    assert "No es un documento" in wrong.text and wrong.keyboard == []
    closed = answered(telegram, telegram.send(ANA, locked(), "cerrada.pdf"))
    assert "contraseña" in closed.text
    empty = answered(telegram, telegram.send(BO, blank(), "blank.pdf"))
    assert "nothing on its pages" in empty.text


def test_what_is_too_big_for_telegram_is_told_at_once(telegram: TelegramServer, bot: BotProcess) -> None:
    sent = telegram.send(BO, b"%PDF-1.7", "exhibits.pdf", size=31_000_000)
    until(lambda: bool(telegram.answers(sent)), lambda: telegram.calls[-5:])
    (got,) = telegram.answers(sent)
    assert "31 MB" in got.text and "no upload links" in got.text


def test_a_stranger_is_told_no_once_and_let_in_by_one_tap(telegram: TelegramServer, bot: BotProcess) -> None:
    stranger, after = 4_000_000_001, max(telegram.sent, default=0)
    before = telegram.send(stranger, filing(), "mine.pdf")
    telegram.write(stranger, "hola?", language="es")
    invitation = replied(telegram, OPERATOR, after)
    assert str(stranger) in invitation.text
    until(lambda: telegram.pending == 0, lambda: telegram.pending)
    telegram.tap(stranger, telegram.to(stranger)[0].message_id, f"in:{stranger}:1")  # no door opens itself
    telegram.write(BO, "/language")
    replied(telegram, BO, invitation.message_id)
    assert len(telegram.to(stranger)) == 1 and telegram.answers(before) == []
    telegram.tap(OPERATOR, invitation.message_id, invitation.button("Let in"))
    until(lambda: len(telegram.to(stranger)) == 2, lambda: telegram.to(stranger))
    assert "You are in" in telegram.to(stranger)[1].text and invitation.text.endswith("was let in.")
    assert answered(telegram, telegram.send(stranger, filing(), "mine.pdf")).picture is not None
    assert telegram.acknowledged  # buttons do not keep turning


def test_somebody_else_is_served_while_a_user_has_blocked_the_bot(telegram: TelegramServer, bot: BotProcess) -> None:
    blocker = 1004
    services.records().save_user(User(telegram_id=blocker, role="user"))
    telegram.blocked.add(blocker)
    telegram.send(blocker, filing("3:24-cv-11111"), "unseen.pdf")
    assert answered(telegram, telegram.send(BO, filing(), "seen.pdf")).picture is not None
    until(lambda: services.records().search('"3:24-cv-11111"') != [], lambda: "it was not processed")
    assert telegram.to(blocker) == []


def test_limits_lost_answers_and_errors_of_telegram_are_waited_out(telegram: TelegramServer, bot: BotProcess) -> None:
    telegram.faults["sendMessage"] = [(429, "Too Many Requests: retry after 1", {"retry_after": 1}), (502, "Bad", {})]
    telegram.faults["getFile"] = [(500, "Internal", {}), (0, "", {})]
    telegram.faults["editMessageMedia"] = [(429, "Too Many Requests: retry after 1", {"retry_after": 1}), (-1, "", {})]
    got = answered(telegram, telegram.send(BO, filing(), "patience.pdf"))
    assert got.picture is not None and not any(telegram.faults.values())


def test_a_correction_has_who_and_when_and_stays(telegram: TelegramServer, bot: BotProcess) -> None:
    got = answered(telegram, telegram.send(ANA, filing("3:24-cv-22222"), "peticion.pdf"))
    document_id = got.button("Texto").partition(":")[2]
    telegram.tap(ANA, got.message_id, got.button("¿Error?"))
    until(lambda: any("tribunal" in key["text"] for row in got.keyboard for key in row), lambda: got.keyboard)
    after = max(telegram.sent)
    telegram.tap(ANA, got.message_id, got.button("número de caso"))
    question = replied(telegram, ANA, after)
    assert question.force_reply and "3:24-cv-22222" in question.text
    telegram.write(ANA, "  3:24-cv-33333 ", reply_to=question.message_id)
    done = replied(telegram, ANA, question.message_id)
    assert "3:24-cv-33333" in done.text and "Ana" in done.text and "antes 3:24-cv-22222" in done.text
    (kept,) = services.records().corrections(document_id)
    assert (kept.field, kept.corrected_by) == ("case_number", f"telegram:{ANA} Ana")
    assert [hit.document.document_id for hit in services.records().search('"3:24-cv-33333"')] == [document_id]

    after = max(telegram.sent)
    telegram.tap(ANA, got.message_id, f"f:{document_id}:1")
    question = replied(telegram, ANA, after)
    telegram.write(ANA, "mañana", reply_to=question.message_id)
    assert "2024-03-15" in replied(telegram, ANA, question.message_id).text
    after = max(telegram.sent)
    telegram.tap(ANA, got.message_id, f"f:{document_id}:0")
    types = replied(telegram, ANA, after)
    telegram.tap(ANA, types.message_id, types.button("petition"))
    assert "petition" in replied(telegram, ANA, types.message_id).text

    telegram.tap(ANA, got.message_id, got.button("De nuevo"))
    until(lambda: "3:24-cv-33333" in got.text and "✎ Ana" in got.text, lambda: got.forms)
    assert len(services.records().jobs(document_id=document_id)) == 2
    assert services.records().document(document_id).document_type == "petition"


def test_commands_answer_in_words_and_pages(telegram: TelegramServer, bot: BotProcess) -> None:
    word = f"zebra{uuid.uuid4().hex[:6]}"
    sent = [telegram.send(BO, filing(title=f"ORDER ON {word}"), f"order {n}.pdf") for n in range(6)]
    for one in sent:
        answered(telegram, one)

    def ask(text: str) -> str:
        after = max(telegram.sent)
        telegram.write(BO, text)
        return replied(telegram, BO, after).text

    for text in (f"/search {word}", word):
        after = max(telegram.sent)
        telegram.write(BO, text)
        found = replied(telegram, BO, after)
        assert found.text.count("order ") >= 5 and "▶" in [key["text"] for row in found.keyboard for key in row]
    telegram.tap(BO, found.message_id, found.button("▶"))
    until(lambda: "\n6. " in found.text, lambda: found.forms)
    after = max(telegram.sent)
    telegram.tap(BO, found.message_id, found.button("6"))
    assert replied(telegram, BO, after).text.startswith("order ")
    assert "Nothing found" in ask("/search thesewordsarenowhere")
    assert "completed" in ask("/status") and "this month" in ask("/costs")
    assert "Nothing of yours" in ask("/cancel") and "/search" in ask("/help")
    assert "do not know /dance" in ask("/dance") and "for operators" in ask("/budget")
    after = max(telegram.sent)
    telegram.write(OPERATOR, "/budget")
    assert "of $5.00 today" in replied(telegram, OPERATOR, after).text
    fleet = services.fleet_records()
    offer = Offer(ask_id=5, machine_id=7, gpu="RTX 3090", price_usd_per_hour=0.19, reliability=0.99)
    fleet.add_instance("bot-1", offer, {})
    after = max(telegram.sent)
    telegram.write(OPERATOR, "/instances")
    said = replied(telegram, OPERATOR, after).text
    assert "bot-1: RTX 3090, intent, 0 min, $0.19/h" in said and "1 machines, $0.19/h" in said
    fleet.move_instance("bot-1", ["intent"], "gone")
    assert "for operators" in ask("/instances")
    after = max(telegram.sent)
    telegram.write(BO, "/last")
    mine = replied(telegram, BO, after)
    assert len(mine.keyboard) == 6
    first = mine.keyboard[0]
    telegram.tap(BO, mine.message_id, mine.button("▶"))
    until(lambda: mine.keyboard[0] != first and "◀" in [key["text"] for key in mine.keyboard[-1]], lambda: mine.forms)
    telegram.write(BO, "/language")
    choice = replied(telegram, BO, max(telegram.sent))
    telegram.tap(BO, choice.message_id, "l:es")
    until(lambda: "español" in choice.text, lambda: choice.text)
    assert "completados" in ask("/status")
    services.records().save_user(User(telegram_id=BO, role="user", name="Bo"))


def test_work_is_cancelled_by_its_owner(telegram: TelegramServer, bot: BotProcess) -> None:
    sent = telegram.send(BO, photograph(*["a line that has to be read"] * 12), "slow.jpg")
    until(lambda: bool(telegram.answers(sent)), lambda: telegram.calls[-5:])
    after = max(telegram.sent)
    telegram.write(BO, "/cancel")
    said = replied(telegram, BO, after).text
    got = answered(telegram, sent)
    if "Cancelled" in said:  # or it had ended before the command came
        assert "✖ cancelled" in got.text


def test_the_token_is_in_no_log(telegram: TelegramServer, bot: BotProcess) -> None:
    assert "asking Telegram" in bot.said and TOKEN.split(":")[1] not in bot.said


def test_a_webhook_takes_what_has_the_secret_and_nothing_else(stack: Stack, tmp_path: Path) -> None:
    import urllib.error
    import urllib.request

    people()
    port, secret = free_port(), "a_secret_of_16_and_more"
    url = f"http://127.0.0.1:{port}/telegram"
    with (
        TelegramServer() as server,
        BotProcess(
            server,
            tmp_path / "bot.log",
            ASEAGI_TELEGRAM_WEBHOOK_URL=url,
            ASEAGI_TELEGRAM_WEBHOOK_SECRET=secret,
            ASEAGI_TELEGRAM_WEBHOOK_PORT=str(port),
        ) as bot,
    ):
        until(lambda: server.webhook is not None, lambda: bot.said)
        assert answered(server, server.send(BO, filing(), "hooked.pdf")).picture is not None
        forged = {"update_id": 1, "message": {"message_id": 1}}
        for headers, status in (({}, 403), ({"X-Telegram-Bot-Api-Secret-Token": "guessed"}, 403)):
            request = urllib.request.Request(url, json.dumps(forged).encode(), headers)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(request)
            assert refused.value.code == status
        assert bot.end(signal.SIGTERM) == 0


def test_more_than_an_hours_files_are_turned_away_and_told_so(stack: Stack, tmp_path: Path) -> None:
    people()
    sender = 4_300_000_000 + uuid.uuid4().int % 10**6
    services.records().save_user(User(telegram_id=sender, role="user"))
    with TelegramServer() as server, BotProcess(server, tmp_path / "bot.log", ASEAGI_TELEGRAM_FILES_PER_HOUR="1"):
        assert answered(server, server.send(sender, filing(), "first.pdf")).picture is not None
        turned_away = server.send(sender, filing(), "second.pdf")
        until(lambda: bool(server.answers(turned_away)), lambda: server.calls[-5:])
        (said,) = server.answers(turned_away)
        assert "more than 1 files in an hour" in said.text and ":00 UTC" in said.text
    assert services.records().open_answers() == []


def test_an_update_that_ended_every_bot_is_given_up_and_what_is_not_understood_ends_none(
    stack: Stack, tmp_path: Path
) -> None:
    people()
    records = services.records()
    with TelegramServer() as server:
        server.write(BO, "/status")
        deadly = server._updates.pop()
        records.keep_update(deadly["update_id"], deadly)
        records.keep_update(deadly["update_id"] + 1, {"update_id": "?", "message": 7})
        for _ in range(5):
            records.open_updates()
        with BotProcess(server, tmp_path / "bot.log") as bot:
            until(lambda: bool(server.to(BO)), lambda: bot.said)
            assert "shall not try again" in server.to(BO)[0].text
            assert bot.process.poll() is None
    records.end_updates([deadly["update_id"] + 1])
    assert records.open_updates() == []


def test_the_bot_waits_for_records_that_do_not_answer_and_leaves_when_asked(stack: Stack, tmp_path: Path) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    settings = {"ASEAGI_RECORDS": "supabase", "ASEAGI_SUPABASE_URL": away, "ASEAGI_SUPABASE_KEY": "sb_secret_x"}
    with TelegramServer() as server, BotProcess(server, tmp_path / "bot.log", **settings) as bot:
        until(lambda: "records did not answer" in bot.said, lambda: bot.said)
        assert bot.process.poll() is None
        assert bot.end(signal.SIGTERM) == 0


def test_a_wrong_token_is_an_error_that_names_the_cure(stack: Stack, tmp_path: Path) -> None:
    with TelegramServer() as server:
        bot = BotProcess(server, tmp_path / "bot.log", ASEAGI_TELEGRAM_TOKEN="1:wrong")
        assert bot.process.wait(30) == 5
        assert "ASEAGI_TELEGRAM_TOKEN" in bot.said and "BotFather" in bot.said
