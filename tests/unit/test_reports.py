"""A case and a week on paper: true to what pages say and people corrected, whatever is in names, sets and weeks."""

from __future__ import annotations

import io
import json
import re
import subprocess
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pikepdf
import pytest
from typer.testing import CliRunner

from aseagi_tasks import control, keys, services
from aseagi_tasks.analysis.schema import Caution
from aseagi_tasks.doors.cli import app
from aseagi_tasks.errors import DocumentError, NothingToReport, TransientError, UnknownCase, by_name
from aseagi_tasks.reports import case_summary, papers, week, weekly_report
from aseagi_tasks.reports.faces import markup, runs
from aseagi_tasks.reports.questions import Question
from tests.paper_office import CASE, TODAY, PaperOffice, fact, party

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)
LIMITS = {"claude": (5.0, None), "gpu": (4.0, 50.0), "storage": (None, None)}


@pytest.fixture
def office(tmp_path: Path) -> PaperOffice:
    return PaperOffice(tmp_path)


@pytest.fixture
def at_work(office: PaperOffice, monkeypatch: pytest.MonkeyPatch) -> PaperOffice:
    """An office that doors and beat find."""
    monkeypatch.setattr(services, "records", lambda: office.records)
    monkeypatch.setattr(services, "storage", lambda: office.storage)
    return office


def summary(office: PaperOffice, number: str = CASE) -> case_summary.Made:
    return case_summary.make(number, records=office.records, storage=office.storage, scratch=office.scratch, now=NOW)


def report(office: PaperOffice, last: date = TODAY) -> weekly_report.Made:
    return weekly_report.make(
        last, records=office.records, storage=office.storage, limits=LIMITS, scratch=office.scratch, now=NOW
    )


def text_of(office: PaperOffice, key: str) -> str:
    """What the PDF says, white space as single spaces."""
    done = subprocess.run(
        ["pdftotext", "-layout", "-", "-"], input=office.storage.get(key), capture_output=True, check=True
    )
    return re.sub(r"\s+", " ", done.stdout.decode())


def asked(made: case_summary.Made, kind: str) -> list[Question]:
    return [question for question in made.questions if question.kind == kind]


def test_every_fact_stands_with_its_page_and_corrections_with_who_made_them(office: PaperOffice) -> None:
    motion = office.add(
        "motion.pdf",
        ["first", "second"],
        document_type=fact("motion"),
        document_date=fact("2024-03-04", 2),
        title=fact("Motion to Compel", status="unverified"),
        parties=[party("Avery Pellworth", "plaintiff"), party("Wexmoor, Inc.", "defendant", 2, "verified")],
        relevancy_score=fact(70),
    )
    office.records.correct(motion.document_id, "document_date", "2024-03-05", "telegram:7 Ana", once="c")
    made = summary(office)
    shown = {one.label: one for one in made.case.entries[0].facts}
    assert (shown["type"].value, shown["type"].pages) == ("motion", (1,))
    assert (shown["date"].value, shown["date"].found, shown["date"].pages) == ("2024-03-05", "2024-03-04", ())
    (dated,) = made.case.timeline
    assert dated.iso == "2024-03-05" and dated.corrected is not None and "Ana" in dated.corrected
    assert [question.text for question in asked(made, "unverified")] == ["Not verified: title “Motion to Compel”."]
    text = text_of(office, made.key)
    assert "date: 2024-03-05 corrected by telegram:7 Ana" in text and "(was: 2024-03-04)" in text
    assert "title: Motion to Compel p. 1 unverified" in text
    assert "Wexmoor, Inc. (defendant) p. 2" in text and "page 1 of 2" in text


def test_timeline_leads_to_the_documents(office: PaperOffice) -> None:
    office.add("b.pdf", document_date=fact("2024-05-01"))
    office.add("a.pdf", document_date=fact("2024-04-01"), key_dates=[fact("2024-06-01", 1, "Hearing: June 1, 2024")])
    office.add("c.pdf", key_dates=[fact("2024-06-01", 1, "Hearing: June 1, 2024")])
    made = summary(office)
    assert [entry.paper.document.name for entry in made.case.entries] == ["a.pdf", "b.pdf", "c.pdf"]
    said = [(moment.iso, [place.document for place in moment.places]) for moment in made.case.timeline]
    assert said == [("2024-04-01", [1]), ("2024-05-01", [2]), ("2024-06-01", [1, 3])]
    with pikepdf.open(io.BytesIO(office.storage.get(made.key))) as pdf:
        links = [link.Dest for page in pdf.pages for link in page.get("/Annots", [])]
        assert len({float(link[3]) for link in links}) == 3, "three documents, three places"
        assert {link[0].objgen for link in links} == {pdf.pages[1].objgen}
        with pdf.open_outline() as outline:
            headings = [item.title for item in outline.root]
            assert headings == ["Parties", "Timeline", "Open questions", "Documents"]
            assert [item.title for item in outline.root[3].children] == ["[1] a.pdf", "[2] b.pdf", "[3] c.pdf"]


def test_contradictions_are_asked_about(office: PaperOffice) -> None:
    court, other = "Superior Court of California, County of Alameda", "United States District Court"
    office.add(
        "a.pdf",
        ["The collision occurred on November 16, 2022."],
        court=fact(court),
        parties=[party("Avery Pellworth", "plaintiff"), party("Wexmoor Logistics, Inc.", "defendant")],
    )
    office.add(
        "b.pdf",
        ["x", "Date of incident: November 17, 2022"],
        court=fact(other),
        parties=[party("Avery Pelworth", "plaintiff"), party("WEXMOOR LOGISTICS INC", "plaintiff")],
        document_date=fact("2024-02-02", 2),
        filed_date=fact("2024-02-01"),
    )
    office.add("c.pdf", court=fact("Superior Court of California"), parties=[party("Pellworth")])
    made = summary(office)
    dates = [question.text for question in asked(made, "dates")]
    assert dates[0] == "When was the incident? Its date is given as 2022-11-16 (once), 2022-11-17 (once)."
    assert dates[1].startswith("It was filed on 2024-02-01, before 2024-02-02")
    (courts,) = asked(made, "numbers")
    assert court in courts.text and other in courts.text and "once" in courts.text
    names = [question.text for question in asked(made, "names")]
    assert names == [
        "Are “Avery Pellworth” and “Avery Pelworth” the same?",
        "Which side is “Wexmoor Logistics, Inc.” on? Documents say plaintiff and defendant.",
    ]
    (pellworth,) = [person for person in made.case.parties if person.name == "Avery Pellworth"]
    assert pellworth.others == ("Pellworth",)


def test_people_who_are_told_apart_are_not_asked_about(office: PaperOffice) -> None:
    names = ("Doe 1", "Doe 2", "John Marsh Jr.", "John Marsh Sr.", "Avery Pellworth", "Rowan Halvering")
    office.add("a.pdf", parties=[party(name) for name in names])
    made = summary(office)
    assert asked(made, "names") == [] and len(made.case.parties) == len(names)


def test_what_is_missing_or_unreadable_is_asked_about(office: PaperOffice) -> None:
    hidden = Caution(kind="covered", message="Text of 57 characters lies under an opaque box.", page=2)
    office.add(
        "declaration.pdf",
        ["Exhibits A and B are attached.\nWEX000001", "text\nWEX000002", "EXHIBIT A\nWEX000003", "", ""],
        warnings=[hidden],
        unread=[4, 5],
        faint=[2],
    )
    office.add("log.pdf", ["WEX000006", "WEX000007"])
    office.add("lost.pdf", published=False)
    made = summary(office)
    assert [question.text for question in asked(made, "hidden")] == [
        "The redaction failed: text of 57 characters lies under an opaque box."
    ]
    (exhibit,) = asked(made, "exhibits")
    assert "Exhibit B" in exhibit.text and exhibit.places[0].page == 1
    (bates,) = asked(made, "bates")
    assert bates.text == "No page bears WEX000004 to WEX000005 (2 numbers)."
    assert [(place.document, place.page) for place in bates.places] == [(1, 3), (2, 1)]
    assert [question.text for question in asked(made, "pages")] == [
        "Nothing was read of pages 4-5.",
        "Hardly legible: page 2.",
    ]
    (lost,) = asked(made, "incomplete")
    assert made.case.entries[lost.places[0].document - 1].paper.document.name == "lost.pdf"
    text = text_of(office, made.key)
    assert "no picture" in text and "nothing is known of what it says" in text


def test_documents_that_may_belong_to_the_case_are_named(office: PaperOffice) -> None:
    office.add("mine.pdf", parties=[party("Avery Pellworth")])
    office.add("other.pdf", ["It concerns 23CV998417."], case=None)
    office.add("dashes.pdf", ["nothing"], case="23-CV-998417")
    office.add("typo.pdf", ["nothing"], case="23CV998471", parties=[party("Avery Pellworth")])
    office.add("elsewhere.pdf", ["nothing"], case="19-1234", parties=[party("Avery Pellworth")])
    said = [question.text for question in asked(summary(office), "numbers")]
    assert len(said) == 3
    assert "without a case number (other.pdf)" in said[0]
    assert "by its spelling: 1 document under 23-CV-998417 (dashes.pdf)" in said[1]
    assert "under 23CV998471 (typo.pdf)" in said[2] and "nearly its number" in said[2]


@pytest.mark.parametrize("typed", ["23cv998417", " 23-CV-998417 ", "23 CV 998417", CASE])
def test_case_is_found_however_its_number_is_written(office: PaperOffice, typed: str) -> None:
    for number in (CASE, "3:21-cv-01234-ABC"):
        office.add("a.pdf", case=number)
    assert summary(office, typed).case.number == CASE
    assert summary(office, "321CV01234abc").case.number == "3:21-cv-01234-ABC"


def test_unknown_case_names_those_like_it(office: PaperOffice) -> None:
    office.add("a.pdf")
    with pytest.raises(UnknownCase, match=f"Did you mean {CASE}"):
        summary(office, "23CV99841")
    for typed in ("", "***", "nonsense"):
        with pytest.raises(UnknownCase, match="aseagi search"):
            summary(office, typed)
    assert not list(office.storage.list("exports/"))


def test_names_of_every_script_and_length_are_set(office: PaperOffice) -> None:
    names = [
        "María José Núñez",
        "Иван Петров",
        "Nguyễn Thị Ánh",
        "<b>&amp;</b> “Ltd” \x07",
        "x" * 300,
        "محمد علي",
        "יעל כהן",
    ]
    office.add("n" * 200 + ".pdf", parties=[party(name) for name in names], picture=True)
    made = summary(office)
    text = text_of(office, made.key)
    for name in names[:3]:
        assert name in text
    assert "<b>&amp;</b>" in text
    # right to left, letters joined: what stands on paper first is the last letter
    assert "".join(part for _, part in runs("יעל")) == "לעי"
    assert "\N{WHITE SQUARE}" in markup("\U0001fae8")
    wide = [float(line.split()[2]) for line in _words(office, made.key)]
    assert max(wide) <= 612 - 54 + 1, "nothing runs over the right margin"


def _words(office: PaperOffice, key: str) -> list[str]:
    done = subprocess.run(["pdftotext", "-bbox", "-", "-"], input=office.storage.get(key), capture_output=True)
    found = re.findall(r'<word xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)"', done.stdout.decode())
    return [" ".join(word) for word in found]


def test_large_case_is_read_some_at_a_time_and_says_what_it_leaves_out(
    office: PaperOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(papers, "BATCH", 4)
    monkeypatch.setattr(case_summary, "MOST", 9)
    for number in range(11):
        office.add(f"{number}.pdf", [f"page\nWEX{number + 1:06d}"], day=TODAY - timedelta(days=20 - number))
    told: list[tuple[str, int]] = []
    made = case_summary.make(
        CASE,
        records=office.records,
        storage=office.storage,
        scratch=office.scratch,
        now=NOW,
        tell=lambda what, done: told.append((what, done)),
    )
    assert [done for what, done in told if what.startswith("documents read, of")] == [4, 8, 9]
    assert len(made.case.entries) == 9 and made.case.left_out == 2
    assert {entry.paper.document.name for entry in made.case.entries} == {f"{number}.pdf" for number in range(2, 11)}
    assert "2 older documents are not in this summary" in text_of(office, made.key)
    assert not list(office.scratch.iterdir()), "nothing is left behind"


def test_same_case_gives_the_same_bytes(office: PaperOffice) -> None:
    office.add("a.pdf", picture=True, document_date=fact("2024-01-01"))
    first = office.storage.get(summary(office).key)
    assert office.storage.get(summary(office).key) == first


def test_week_adds_up_volume_money_and_failures(office: PaperOffice) -> None:
    for number in range(3):
        office.add(f"{number}.pdf", ["x"] * 2, document_type=fact("motion"), day=TODAY - timedelta(days=number))
    office.add("before.pdf", day=TODAY - timedelta(days=7))
    office.add("after.pdf", day=TODAY + timedelta(days=1))
    office.spend("claude", 4.75)
    office.spend("claude", 1.0, TODAY - timedelta(days=1))
    office.spend("gpu", 9.0, TODAY - timedelta(days=12))
    for number in range(6):
        office.fail(f"locked{number}.pdf", "Encrypted", f"locked{number}.pdf is locked with a password.")
    office.fail("odd.pdf", "MemoryError", "", stage="ocr")
    office.end("cancelled")
    made = report(office)
    found = made.week
    assert [day.completed for day in found.days] == [0, 0, 0, 0, 1, 1, 1] and found.types == (("motion", 3, 6),)
    assert week.usd(found.days, "claude") == 5.75 and found.month_usd["gpu"] == 9.0
    assert sum(day.completed for day in found.before) == 1
    encrypted, odd = found.failures
    assert (encrypted.error_class, encrypted.times, encrypted.stages) == ("Encrypted", 6, {"rasterize": 6})
    assert len(encrypted.examples) == 4 and encrypted.cure == "Save a copy without the password and send that."
    assert (odd.error_class, odd.stages) == ("MemoryError", {"ocr": 1}) and "aseagi show ID" in odd.cure
    text = text_of(office, made.key)
    assert "14 to 20 November 2026" in text and "95 % of $5.00" in text and "18 % of $50.00" in text
    assert "Cure: Save a copy without the password" in text and "1 cancelled by people" in text
    assert "3 documents completed, 7 failed, $5.75 spent" in made.sentence and made.key in made.sentence


def test_week_looks_at_whole_cases_for_what_is_missing(office: PaperOffice) -> None:
    office.add("exhibit.pdf", ["EXHIBIT A\nWEX000001", "x\nWEX000002"], day=TODAY - timedelta(days=30))
    hidden = Caution(kind="covered", message="Text of 9 characters lies under an opaque box.", page=1)
    office.add("decl.pdf", ["Exhibits A and B are attached.\nWEX000005", "x\nWEX000006"], warnings=[hidden])
    office.add("loose.pdf", ["Exhibit Z"], case=None, warnings=[hidden])
    office.add("quiet.pdf", ["Exhibit Q"], case="other", day=TODAY - timedelta(days=30))
    found = report(office).week
    (case,) = found.cases
    assert (case.number, case.documents) == (CASE, 2)
    assert [missing.label for missing in case.missing] == ["B"]
    assert [(gap.first, gap.before.document) for one in case.bates for gap in one.gaps] == [
        ("WEX000003", "exhibit.pdf")
    ]
    assert [warned.name for warned in found.warned] == ["loose.pdf", "decl.pdf"] and found.warnings == {"covered": 2}
    assert (found.read, found.unread, found.without_case) == (3, 0, 1)
    assert "2 failed redactions, 1 missing exhibit, 1 gap in Bates numbers" in report(office).sentence


def test_week_says_what_it_did_not_look_at(office: PaperOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(week, "MOST_READ", 5)
    for number in range(8):
        office.add(f"{number}.pdf", case=f"case {number}")
    made = report(office)
    assert (made.week.read, made.week.unread) == (5, 3)
    assert "3 of the week's were NOT looked at" in text_of(office, made.key)


def test_failure_that_was_made_good_says_so(office: PaperOffice) -> None:
    document = office.add("a.pdf")
    row = office.records.jobs(document_id=document.document_id)[0].model_dump(mode="json", exclude={"cost_usd"})
    failed = {"job_id": "x", "status": "error", "error_class": "Unreadable", "error_message": "no"}
    office.records.add_rows("processing_jobs", "job_id", [{**row, **failed}])
    (failure,) = report(office).week.failures
    assert (failure.times, failure.good) == (1, 1)


def test_week_that_goes_on_says_so_and_an_empty_one_too(office: PaperOffice) -> None:
    empty = report(office)
    assert "Nothing ended in these days" in text_of(office, empty.key)
    office.add("a.pdf", day=NOW.date())
    assert "The week is not over" in text_of(office, report(office, NOW.date()).key)


def test_beat_reports_the_days_that_are_over_and_tells_the_operators(
    at_work: PaperOffice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aseagi.notify")
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    at_work.add("a.pdf", day=yesterday)
    key = control.weekly_report()
    assert key == keys.weekly_report(yesterday) and "1 document completed" in caplog.text and key in caplog.text
    assert at_work.storage.get(key).startswith(b"%PDF")


def test_commands_write_reports_and_say_what_they_say(at_work: PaperOffice, tmp_path: Path) -> None:
    at_work.add("a.pdf", ["Exhibit C is attached."], document_date=fact("2024-01-02"))
    run = CliRunner().invoke
    said = run(app, ["report", "weekly", "--week", "2026-W47", "--json"])
    assert said.exit_code == 0, said.output
    found = json.loads(said.stdout)
    assert (found["first"], found["last"], found["key"]) == (
        "2026-11-16",
        "2026-11-22",
        "exports/weekly-report-2026-11-22.pdf",
    )
    assert found["cases"][0]["missing"][0]["label"] == "C"
    said = run(app, ["report", "case", CASE, "--out", str(tmp_path)])
    assert said.exit_code == 0 and "Where is Exhibit C?" in said.stdout
    assert (tmp_path / f"case-summary-{CASE}.pdf").read_bytes().startswith(b"%PDF")
    said = run(app, ["report", "case", CASE, "--json"])
    assert json.loads(said.stdout)["timeline"][0]["places"] == [{"document": 1, "page": 1, "quote": "2024-01-02"}]
    assert "weekly-report-2026-11-22.pdf" in run(app, ["report", "list"]).stdout
    empty = run(app, ["report", "weekly", "--until", "2024-01-01"]).exception
    assert isinstance(empty, NothingToReport) and "--until 2026-11-20" in str(empty)
    assert run(app, ["report", "weekly", "--week", "2026-W99"]).exit_code == 2
    assert run(app, ["report", "weekly", "--week", "2026-W47", "--until", "2024-01-01"]).exit_code == 2


def test_keys_of_different_cases_differ() -> None:
    assert keys.case_summary(CASE) == f"exports/case-summary-{CASE}.pdf"
    odd = {
        keys.case_summary(number)
        for number in ("3:21-cv-1", "3-21-cv-1", "3/21/cv/1", "../x", "案件", "件案", "a" * 200)
    }
    assert len(odd) == 7 and all(keys.check(key) for key in odd)


def test_every_error_that_ends_documents_has_a_cure() -> None:
    final = [cls for cls in DocumentError.__subclasses__() if "cure" in vars(cls)]
    assert {"NotADocument", "Encrypted", "TooLarge", "Unreadable", "Quarantined"} <= {cls.__name__ for cls in final}
    assert "aseagi doctor" in TransientError.cure and by_name("RateLimited").cure == TransientError.cure
