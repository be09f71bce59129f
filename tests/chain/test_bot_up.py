"""The bot as a part of `aseagi up`, with an S3 bucket behind it: links instead of files, uploads of what is too big."""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from tests.chain.conftest import Up
from tests.chain.telegram_bot import ANA, BO, answered, replied, until
from tests.chain.telegram_papers import filing
from tests.contract.conftest import s3_endpoint
from tests.servers.telegram import TOKEN, TelegramServer

__all__ = ["s3_endpoint"]  # the fixture


@pytest.fixture(scope="module")
def telegram() -> Iterator[TelegramServer]:
    with TelegramServer() as server:
        yield server


@pytest.fixture(scope="module")
def up(telegram: TelegramServer, s3_endpoint: str) -> Iterator[Up]:
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=s3_endpoint, **keys).create_bucket(Bucket="aseagi-documents")  # type: ignore[call-overload]
    with tempfile.TemporaryDirectory(prefix="aseagi-", ignore_cleanup_errors=True) as home:
        settings = {
            **{"ASEAGI_TELEGRAM_TOKEN": TOKEN, "ASEAGI_TELEGRAM_BASE_URL": telegram.url, "ASEAGI_STORAGE": "s3"},
            **{"ASEAGI_S3_ENDPOINT_URL": s3_endpoint, "ASEAGI_S3_ACCESS_KEY_ID": "a"},
            "ASEAGI_S3_SECRET_ACCESS_KEY": "s",
        }
        with Up(Path(home), **settings) as running:
            yield running


def test_people_are_let_in_from_the_terminal_and_doctor_asks_for_an_operator(up: Up) -> None:
    def check() -> str:
        checks = json.loads(up.run("doctor", "--json").stdout)
        return next(f"{one['found']} {one['cure']}" for one in checks if one["what"] == "telegram")

    assert "aseagi users add" in check()
    assert up.run("users", "add", str(BO), "--role", "operator", "--name", "Bo").returncode == 0
    assert up.run("users", "add", str(ANA), "--language", "es").returncode == 0
    assert check().startswith("@aseagi_bot, 1 operator")
    assert [user["role"] for user in json.loads(up.run("users", "list", "--json").stdout)] == ["user", "operator"]
    assert "Bo" in up.run("users", "list").stdout
    assert up.run("users", "remove", str(ANA)).returncode == 0
    assert up.run("users", "remove", str(ANA)).returncode == 3


def test_an_original_is_opened_by_a_link_that_expires(up: Up, telegram: TelegramServer) -> None:
    content = filing("3:24-cv-44444")
    got = answered(telegram, telegram.send(BO, content, "linked.pdf"))
    after = max(telegram.sent)
    telegram.tap(BO, got.message_id, got.button("Original"))
    url = replied(telegram, BO, after).keyboard[0][0]["url"]
    assert "Expires" in url and urllib.request.urlopen(url).read() == content

    telegram.tap(BO, got.message_id, f"f:{got.button('Text')[2:]}:3")
    until(lambda: any(sent.force_reply for sent in telegram.to(BO)), lambda: up.said)
    question = next(sent for sent in telegram.to(BO) if sent.force_reply)
    telegram.write(BO, "3:24-cv-55555", reply_to=question.message_id)
    assert "3:24-cv-55555" in replied(telegram, BO, question.message_id).text
    shown = up.run("show", got.button("Text")[2:])
    assert "3:24-cv-55555" in shown.stdout and f"corrected by telegram:{BO} Bo" in " ".join(shown.stdout.split())
    assert "was: 3:24-cv-44444" in shown.stdout
    as_json = json.loads(up.run("show", got.button("Text")[2:], "--json").stdout)
    assert [said["value"] for said in as_json["corrections"]] == ["3:24-cv-55555"]


def test_what_is_too_big_for_telegram_comes_by_a_link(up: Up, telegram: TelegramServer) -> None:
    sent = telegram.send(BO, b"", "exhibits & more.pdf", size=31_000_000, caption="from counsel #case 24CV888002")
    until(lambda: bool(telegram.answers(sent)), lambda: up.said)
    (offer,) = telegram.answers(sent)
    url = offer.text.split('"')[3]
    assert 'curl -T "exhibits & more.pdf"' in offer.text and url.startswith("http")
    early = telegram.tap(BO, offer.message_id, offer.button("It is there"))
    until(lambda: early in telegram.acknowledged, lambda: up.said)
    assert "not there yet" in (telegram.acknowledged[early] or "")
    request = urllib.request.Request(url, filing("3:24-cv-66666"), method="PUT")
    request.add_header("Content-Type", "")
    urllib.request.urlopen(request).close()
    telegram.tap(BO, offer.message_id, offer.button("It is there"))
    until(lambda: offer.picture is not None, lambda: offer.forms)
    assert "24CV888002" in offer.text and "was 3:24-cv-66666" in offer.text and "exhibits & more.pdf" in offer.text
    assert "note: from counsel" in offer.text


def test_the_token_is_in_no_log_and_no_command_line(up: Up) -> None:
    secret = TOKEN.split(":")[1]
    logs = [*(up.home / "logs").glob("*.log"), up.home / "run" / "supervisord.conf"]
    assert len(logs) > 4
    for path in logs:
        assert secret not in path.read_text(errors="replace"), path
