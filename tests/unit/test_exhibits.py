"""Exhibits as filings cite them, and as pages show that they are them."""

from __future__ import annotations

import pytest

from aseagi_tasks.analysis.exhibits import Exhibits, cited, marked, named

LONG = "\n".join(f"The parties met and conferred on matter {number} of those that remain." for number in range(20))


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("A true copy is attached hereto as Exhibit C.", "C"),
        ("See Ex. 12 at 4; Exs. 1 and 2 at p. 3.", "12 1 2"),
        ("Exhibits A through F", "A B C D E F"),
        ("Exhibits 1-5, and 9", "1 2 3 4 5 9"),
        ("Exhibits 1, 2, 4–6", "1 2 4 5 6"),
        ("Exhibit 1-5", "1-5"),
        ("Exhibits A, B, and C attached", "A B C"),
        ("Exhibits AA-DD", "AA BB CC DD"),
        ("Exhibits A-1 through A-3", "A-1 A-2 A-3"),
        ("the table of\nExhibit\n“A”", "A"),
        ("EXHIBIT NO. 07", "7"),
        ("Exhibit 12B and Exhibit 12-B", "12-B"),
        ("Exhibits A & B", "A B"),
        ("Exhibit PX-12", "PX-12"),
        ("see exhibit 4", "4"),
        ("Exhibit B, I saw him; Exhibit D and I left", "B D"),
        ("Ex. 1, 2023", "1"),
        ("Exhibit 4 and 5 other papers", "4"),
        ("Exhibits 900 to 2000", "900"),
        ("they exhibit 12 signs, an example 4, exhibits proffered by the parties, Ex. Order 13769, Exhibit list", ""),
    ],
)
def test_citation_is_the_word_and_its_labels(text: str, labels: str) -> None:
    assert [citation.label for citation in cited(text, 1)] == labels.split()


def test_citation_says_whose_and_whether_it_is_attached() -> None:
    found = cited(
        "Plaintiff’s Exhibit 4 is attached. Defendants' Exs. D-E. Marsh Decl., Ex. A-1. Respondent's Ex. 9", 3
    )
    assert [(one.label, one.owner, one.attached) for one in found] == [
        ("4", "plaintiff", True),
        ("D", "defendant", False),
        ("E", "defendant", False),
        ("A-1", "Marsh Decl.", False),
        ("9", "defendant", False),
    ]
    assert {one.page for one in found} == {3} and "Exhibit 4 is attached" in found[0].quote
    (aside,) = cited("as modified in any amendment attached thereto.” (Ex. 1 at p. 7)", 1)
    assert not aside.attached, "another sentence promises nothing"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("EXHIBIT A", "A"),
        ("EXH1BIT “B”", "B"),
        ("E X H I B I T  C", "C"),
        ("EXHIBIT _D_", "D"),
        ("PLAINTIFF’S EXHIBIT 12", "12"),
        ("Plaintiff's\nEXHIBIT\n4", "4"),
        ("EXHIBIT C – DRIVER’S LOG\n" + LONG, "C"),
        ("Exhibit A to the Declaration of R. Marsh\n" + LONG, "A"),
        (LONG + "\nExhibit B, Page 3 of 10", "B"),
        (LONG + "\nEXHIBIT 2", "2"),
    ],
)
def test_page_is_an_exhibit_where_it_says_so_by_itself(text: str, label: str) -> None:
    assert [mark.label for mark in marked(text, 1)] == [label]


@pytest.mark.parametrize(
    "text",
    [
        LONG + "\nThe log is attached as\nExhibit A",
        LONG.replace("matter 9", "Exhibit 9"),
        "INDEX OF EXHIBITS\nExhibit A Driver's log of November 16\nExhibit B Photograph of the truck\n" + LONG,
        "Exhibit A is the log that Mr. Marsh signed on the day\n" + LONG,
    ],
)
def test_page_that_speaks_of_an_exhibit_is_none(text: str) -> None:
    assert marked(text, 1) == []


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("Exhibit A - log.pdf", "A"),
        ("2024_ex_12.pdf", "12"),
        ("Ex. B photo.jpg", "B"),
        ("motion-exh-3.pdf", "3"),
        ("09-exhibits.pdf", ""),
        ("complex 4.pdf", ""),
        ("ex parte.pdf", ""),
    ],
)
def test_file_is_an_exhibit_by_its_name(name: str, labels: str) -> None:
    assert [mark.label for mark in named(name)] == labels.split()


def test_cited_and_nowhere_in_the_case_is_missing() -> None:
    case = Exhibits()
    case.add(
        "declaration", cited("Exhibits A through D are attached. See Ex. 2 and Exhibit A-1.", 1), marked("EXHIBIT A", 5)
    )
    case.add("log.pdf", cited("as Exhibit C shows", 2), named("Exhibit B.pdf"))
    missing = {one.label: one for one in case.missing()}
    assert list(missing) == ["C", "D", "2"], "A-1 may lie behind A"
    assert missing["C"].times == 2 and missing["C"].attached
    assert [(document, place.page) for document, place in missing["C"].places] == [("declaration", 1), ("log.pdf", 2)]
    assert case.found == ["A", "B"]


def test_exhibit_of_the_other_party_is_no_proof() -> None:
    case = Exhibits()
    case.add(
        "a", cited("Plaintiff's Exhibit 4, Defendant's Exhibit 5, Exhibit 6", 1), marked("DEFENDANT'S EXHIBIT 4", 2)
    )
    case.add("b", [], [*marked("DEFENDANT'S EXHIBIT 5", 1), *marked("DEFENDANT'S EXHIBIT 6", 2)])
    assert [(one.label, one.owners) for one in case.missing()] == [("4", ("plaintiff",))]
    case.add("c", [], marked("EXHIBIT 4", 1))
    assert case.missing() == []
