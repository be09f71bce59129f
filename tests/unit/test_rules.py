"""The rules analyst: what it finds in which words, and what it leaves alone."""

from __future__ import annotations

import random
import string
import time

import pytest

from aseagi_tasks.analysis.dates import dates
from aseagi_tasks.analysis.rules import RulesAnalyst
from aseagi_tasks.documents import Box, Line, Page, Reading, Word


def reading(*pages: str) -> Reading:
    """Pages of lines; ``|`` stands between columns, 1,000 pixels apart."""
    made = []
    for number, text in enumerate(pages, 1):
        lines = []
        for row, line in enumerate(text.strip("\n").split("\n")):
            words = []
            for column, part in enumerate(line.split("|")):
                left = 300 + 1000 * column + 22 * (len(part) - len(part.lstrip()))
                for word in part.split():
                    words.append(Word(word, Box(left, 300 + 60 * row, left + 20 * len(word), 340 + 60 * row), 1.0))
                    left += 20 * len(word) + 15
            if words:
                box = Box(words[0].box.left, words[0].box.top, words[-1].box.right, words[0].box.bottom)
                text_of = " ".join(word.text for word in words)
                lines.append(Line(text=text_of, box=box, confidence=1, source="tesseract", words=tuple(words)))
        made.append(Page(number=number, width_px=2550, height_px=3300, dpi=300, source="tesseract", lines=tuple(lines)))
    return Reading(engine="test", pages=tuple(made))


def facts(*pages: str) -> dict[str, object]:
    return RulesAnalyst().analyze(reading(*pages), "a.pdf").facts()


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Case 3:21-cv-01234-ABC Document 45 Filed 03/15/24 Page 1 of 2", "3:21-cv-01234-ABC"),
        ("Case No. 21STCV12345", "21STCV12345"),
        ("CASE NUMBER: FL-2023-001234", "FL-2023-001234"),
        ("Case No.: D-12-345678", "D-12-345678"),
        ("Case No. 23C V998417", "23CV998417"),  # a space that recognition put in
        ("Docket #: 17-3510", "17-3510"),
        ("Index No. 123456/2021", "123456/2021"),
        ("In the Missouri Court of Appeals\nNo. ED108783", "ED108783"),  # a bare number counts only in a court
        ("Case: 20-1507 Document: 00117684624 Page: 1", "20-1507"),
        ("CASE NUMBER|DATE OF REPORT\n22-118407|11/17/2022", "22-118407"),
        ("Civil Action No. 1:19-cv-00042-XYZ", "1:19-cv-00042-XYZ"),
    ],
)
def test_case_number_where_its_context_says_so(text: str, number: str) -> None:
    assert facts(text)["case_number"] == number


@pytest.mark.parametrize(
    "text",
    [
        "Telephone: (510) 555-0142",
        "See 564 U.S. 1234 (2011), No. 3 in a list",
        "DC Docket #: 17-cv-6761",
        "Originating Case No. : 16-0556",
        "District Case Number: 2-15-cv-00180",
        "Invoice 2024-001234, Order 19-4471",
        "Case No. pending",
        "Interrogatory No. 4 asks for 2022",
        "Case No. 03/15/2024",
    ],
)
def test_other_numbers_are_no_case_numbers(text: str) -> None:
    assert facts(text)["case_number"] is None


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("March 15, 2024", "2024-03-15"),
        ("Mar. 5, 2024", "2024-03-05"),
        ("15th day of March, 2024", "2024-03-15"),
        ("15 March 2024", "2024-03-15"),
        ("03/15/2024", "2024-03-15"),
        ("3/5/24", "2024-03-05"),
        ("2024-03-15", "2024-03-15"),
        ("1/2/98", "1998-01-02"),
    ],
)
def test_dates_in_all_forms(text: str, iso: str) -> None:
    assert [found.iso for found in dates(f"on {text}, and")] == [iso]


@pytest.mark.parametrize("text", ["June 31, 2024", "13/45/2024", "1/2/3/2024", "555-12-1234", "2024-13-01", "May 2024"])
def test_impossible_dates_are_none(text: str) -> None:
    assert list(dates(text)) == []


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("IT IS SO ORDERED.\nDated: March 15, 2024", "document_date", "2024-03-15"),
        ("Executed on January 19, 2024, at Sacramento.", "document_date", "2024-01-19"),
        ("This Agreement is made on February 21, 2024, between", "document_date", "2024-02-21"),
        ("Argued April 23, 2013 Decided June 13, 2013", "document_date", "2013-06-13"),
        ("DATE OF INCIDENT|DATE OF REPORT\n11/16/2022|11/17/2022", "document_date", "2022-11-17"),
        ("February 6, 2024\nDear Counsel:", "document_date", "2024-02-06"),
        ("Document 45 Filed 03/15/24 Page 1 of 2 Case", "filed_date", "2024-03-15"),
        ("A lawyer|ELECTRONICALLY FILED\nOakland|03/05/2024 at 11:42:07 AM", "filed_date", "2024-03-05"),
        ("Filed: September 20, 2017", "filed_date", "2017-09-20"),
        ("Hearing: April 16, 2024, 9:00 a.m.", "key_dates", ["2024-04-16"]),
    ],
)
def test_each_date_by_its_context(text: str, field: str, value: object) -> None:
    assert facts(text)[field] == value


def test_dates_in_running_text_are_nobodys() -> None:
    found = facts("The motion was filed by counsel on November 19, 2018, and on or about June 6, 2019, they met.")
    assert (found["document_date"], found["filed_date"], found["key_dates"]) == (None, None, [])


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("ORDER GRANTING DEFENDANT’S MOTION TO DISMISS", "order"),
        ("NOTICE OF MOTION AND MOTION TO COMPEL", "motion"),
        ("DECLARATION OF A. PERSON IN SUPPORT OF MOTION", "declaration"),
        ("FIRST AMENDED COMPLAINT FOR DAMAGES", "complaint"),
        ("TRAFFIC COLLISION REPORT", "police_report"),
        ("CIVIL SUBPOENA", "subpoena"),
        ("PROOF OF SERVICE\nI served the following:\nNOTICE OF MOTION", "proof_of_service"),
        ("SETTLEMENT AGREEMENT AND MUTUAL RELEASE", "agreement"),
        ("DISCHARGE SUMMARY", "medical_record"),
        ("DOCKETING NOTICE", "notice"),
        ("Dear Counsel:\nRe: MOTION TO DISMISS", "letter"),
        ("MEMORANDUM OF POINTS AND AUTHORITIES", "brief"),
    ],
)
def test_document_type_by_its_first_heading(text: str, kind: str) -> None:
    assert facts(text)["document_type"] == kind


def test_running_text_has_no_document_type() -> None:
    assert (
        facts("We ask you to file a motion. The order was served with a declaration of the plaintiff.")["document_type"]
        is None
    )


CAPTION = """
SUPERIOR COURT OF THE STATE OF CALIFORNIA
COUNTY OF ALAMEDA
ACORN GROWERS LLC, a California company,|Case No. 23CV998417
      Plaintiff,|NOTICE OF MOTION AND MOTION
   v.|TO COMPEL FURTHER RESPONSES
BIRCH LOGISTICS, INC.;|Hearing: April 16, 2024
CEDAR HOLM; and DOES 1|Dept.: 17
through 10, inclusive,
      Defendants.
"""


def test_caption_gives_court_parties_and_title() -> None:
    found = facts(CAPTION)
    assert found["court"] == "Superior Court of the State of California, County of Alameda"
    assert found["parties"] == [
        {"name": "Acorn Growers LLC", "role": "plaintiff"},
        {"name": "Birch Logistics, Inc.", "role": "defendant"},
        {"name": "Cedar Holm", "role": "defendant"},
    ]
    assert found["title"] == "Notice of Motion and Motion to Compel Further Responses"


def test_pleading_paper_line_numbers_are_not_text() -> None:
    rows = CAPTION.strip("\n").split("\n") + [f"line {n}" for n in range(12)]
    numbered = "\n".join(f"{n}|{row}" for n, row in enumerate(rows, 1))
    found = facts(numbered)
    assert found["case_number"] == "23CV998417"
    assert found["title"] == "Notice of Motion and Motion to Compel Further Responses"


def test_every_value_stands_where_its_evidence_says() -> None:
    whole = reading(CAPTION + "\nDated: March 4, 2024")
    found = RulesAnalyst().analyze(whole, "a.pdf")
    assert found.case_number and found.document_date
    for fact in (found.case_number, found.document_date):
        (evidence,) = fact.evidence
        assert evidence.box is not None
        on_page = [line.text for line in whole.pages[0].lines if line.box.top == evidence.box.top]
        assert evidence.quote in on_page[0]


def test_spanish_is_told_from_english() -> None:
    assert (
        facts("El juez de la corte ordena que el demandado pague por los gastos del proceso para una " * 4)["language"]
        == "es"
    )
    assert (
        facts("The judge of the court orders that the defendant is to pay for the cost of this case " * 4)["language"]
        == "en"
    )
    assert facts("12345 67890")["language"] is None


def test_hostile_text_takes_linear_time() -> None:
    """Five megabytes that tempt every pattern: less than two seconds."""
    random.seed(7)
    tempting = [
        "Case No. ",
        "v. ",
        "Plaintiff, ",
        "a" * 50,
        "1-" * 30,
        "Dated: ",
        "COURT OF ",
        "March ",
        "(" * 20,
        "9" * 30,
        "Superior ",
        "In re ",
        "Case: 20-1507, ",
        "15th day of ",
        "NOTICE OF ",
        "; and ",
    ]
    rows = []
    size = 0
    while size < 5_000_000:
        row = "".join(random.choices(tempting, k=30)) + random.choice(string.ascii_letters)
        rows.append(row)
        size += len(row)
    lines = tuple(
        Line(text=row, box=Box(1, 10 * n, 2000, 10 * n + 8), confidence=1, source="tesseract")
        for n, row in enumerate(rows)
    )
    page = Page(number=1, width_px=2550, height_px=3300, dpi=300, source="tesseract", lines=lines)
    began = time.process_time()
    RulesAnalyst().analyze(Reading(engine="t", pages=(page,)), "a.pdf")
    assert time.process_time() - began < 20  # one second here; a pattern that backtracks takes hours
