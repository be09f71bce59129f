"""The bot's parts that need no server: its two languages, its cards, what captions and corrections mean."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aseagi_tasks.analysis.schema import Analysis, Caution, Evidence, Fact, Party
from aseagi_tasks.doors.bot import card
from aseagi_tasks.doors.bot.intake import cases
from aseagi_tasks.doors.bot.texts import TEXTS, Html, say
from aseagi_tasks.doors.correcting import checked
from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.records import Document
from aseagi_tasks.stores.user_records import FIELDS, Correction, Field

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize("key", TEXTS)
def test_both_languages_say_the_same_things(key: str) -> None:
    english, spanish = TEXTS[key]
    assert english and spanish
    names, tags = re.compile(r"\{(\w+)\}"), re.compile(r"</?\w+")
    assert sorted(names.findall(english)) == sorted(names.findall(spanish))
    assert sorted(tags.findall(english)) == sorted(tags.findall(spanish))


def test_values_are_escaped_once() -> None:
    assert say("en", "cancelled", name="<b>&.pdf") == "📄 &lt;b&gt;&amp;.pdf\n✖ cancelled"
    assert "<code>x</code>" in say("es", "failed", name="a", why=Html("<code>x</code>"))


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("#case 3:21-cv-01234-ABC please", ["3:21-cv-01234-ABC"]),
        ("#caso: 24UD000512.", ["24UD000512"]),
        ("from counsel #23CV998417", ["23CV998417"]),
        ("#urgent, nothing else", []),
        ("no. 5 of 7", []),
        ("", []),
    ],
)
def test_case_tags_of_captions(caption: str, found: list[str]) -> None:
    assert cases(caption) == found


@pytest.mark.parametrize(
    ("field", "text", "kept"),
    [
        ("document_date", " 2024-03-15 ", "2024-03-15"),
        ("document_date", "15/03/2024", None),
        ("document_date", "2024-02-30", None),
        ("relevancy_score", "080", "80"),
        ("relevancy_score", "101", None),
        ("relevancy_score", "٤", None),
        ("document_type", "Police Report", "police_report"),
        ("document_type", "novel", None),
        ("parties", "Ana  Pell\n\n Bo Roe; Acme ", "Ana Pell\nBo Roe\nAcme"),
        ("title", "  Order\nto Compel ", "Order to Compel"),
        ("title", " \n ", None),
        ("case_number", "9" * 501, None),
    ],
)
def test_what_a_person_may_type_for_a_field(field: Field, text: str, kept: str | None) -> None:
    assert checked(field, text) == kept


def document(name: str = "a <motion>.pdf") -> Document:
    return Document(
        document_id="a" * 16,
        sha256="a" * 64,
        key="raw/a.pdf",
        name=name,
        bytes=1,
        media_type="application/pdf",
        created_at=AT,
        processed="processed/a",
        pages=3,
    )


def analysis() -> Analysis:
    fact = Fact(value="23CV998417", status="supported", evidence=(Evidence(page=2, quote="q"),))
    unsure = Fact(value="2024-03-15", status="unverified", evidence=(Evidence(page=1, quote="q"),))
    cautions = [Caution(kind="covered", message="m", page=3), Caution(kind="contradicted", message="<pages> & more")]
    return Analysis(
        analyst="rules",
        document_type=Fact(value="police_report", status="supported"),
        case_number=fact,
        document_date=unsure,
        summary=Fact(value="So it was & is. " * 200, status="supported"),
        parties=(Party(name="Ana <Pell>", status="supported"), Party(name="Bo Roe", status="supported")),
        warnings=tuple(cautions),
    )


def test_a_card_shows_facts_with_pages_warnings_and_fits_under_a_picture() -> None:
    made = card.card("es", document(), analysis(), {}, note="de <Ana>", known=True)
    shown = html.unescape(re.sub(r"</?[bi]>", "", made))
    assert len(shown) <= 1_024
    for said in (
        "a <motion>.pdf", "police report · 3 páginas", "número de caso: 23CV998417 (pág. 2)",
        "fecha: 2024-03-15 (pág. 1, no hallado en la página)", "Ana <Pell> v. Bo Roe", "nota: de <Ana>",
        "conocido desde 2026-11-25", "página 3: el texto bajo una barra", "<pages> & more", "So it was & is.",
    ):  # fmt: skip
        assert said in shown, made
    assert "<motion>" not in made and "<Pell>" not in made


def test_a_correction_stands_in_the_card_as_evidence_of_its_own() -> None:
    said = Correction(document_id="a" * 16, field="case_number", value="24CV1", corrected_by="telegram:7 Ana", at=AT)
    made = card.card("en", document(), analysis(), {"case_number": said})
    assert "case number: 24CV1 ✎ Ana, 2026-11-25; was 23CV998417" in made


def test_failures_are_told_in_both_languages() -> None:
    assert "password" in card.failure("en", "a.pdf", "Encrypted", "x")
    assert "contraseña" in card.failure("es", "a.pdf", "Encrypted", "x")
    assert "stage <ocr> broke".replace("<", "&lt;").replace(">", "&gt;") in card.failure(
        "en", "a.pdf", "Unexpected", "stage <ocr> broke"
    )


def test_buttons_fit_into_what_telegram_takes() -> None:
    keys = [card.keyboard("es", "a" * 16), card.field_keyboard("es", "a" * 16)]
    datas = [key.callback_data for made in keys for row in made.inline_keyboard for key in row]
    assert len(datas) == 5 + len(FIELDS) + 1
    assert all(isinstance(data, str) and len(data.encode()) <= 64 for data in datas)


def test_the_bot_is_a_part_of_the_stack_where_there_is_a_token(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with_token = Stack(Settings(home=tmp_path, telegram_token="1:secret"), monitor=False)  # type: ignore[arg-type]
    assert "bot" in with_token._programs() and "secret" not in with_token._configuration()
    assert "bot" not in Stack(Settings(home=tmp_path), monitor=False)._programs()
