"""Bates numbers among all the other numbers at a page's edge."""

from __future__ import annotations

import pytest

from aseagi_tasks.analysis.bates import Placed, Run, Series, runs, series, stamps

TEXT = "\n".join(["The parties met and conferred."] * 10)


def document(*feet: str) -> list[Run]:
    """The runs of a document whose pages have these foot lines."""
    return runs(stamp for page, foot in enumerate(feet, 1) for stamp in stamps(f"{TEXT}\n{foot}", page))


def case(**documents: list[Run]) -> list[Series]:
    return series(Placed(name, run) for name, of_it in documents.items() for run in of_it)


@pytest.mark.parametrize(
    ("line", "prefix", "number"),
    [
        ("WEX000123", "WEX", 123),
        ("WEX 000123", "WEX", 123),
        ("WEX-000123", "WEX", 123),
        ("Smith_0001", "SMITH", 1),
        ("CONFIDENTIAL WEX000123", "WEX", 123),
        ("HIGHLY CONFIDENTIAL – ATTORNEYS’ EYES ONLY   WEX000123", "WEX", 123),
        ("Page 3 of 10 ABC00045", "ABC", 45),
        ("Bates No. WEX000123", "WEX", 123),
        ("PLTF-DEP 00012", "PLTF-DEP", 12),
        ("WEX.HR.00012", "WEX-HR", 12),
        ("WEX 000 123", "WEX", 123),
        ("WEX0O0l23", "WEX", 123),
        ("P000123", "P", 123),
        ("000123", "", 123),
    ],
)
def test_stamp_is_read_however_it_is_written(line: str, prefix: str, number: int) -> None:
    (stamp,) = stamps(f"{TEXT}\n{line}", 7)
    assert (stamp.prefix, stamp.number, stamp.page) == (prefix, number, 7)


@pytest.mark.parametrize(
    "line",
    [
        *("SBN 123456", "Case 2024001", "23CV998417", "3:21-cv-01234-ABC", "WEX000123 - WEX000130", "11/16/2022"),
        *(
            "(510) 555-0142",
            "$12,345",
            "123456",
            "Page 3 of 10",
            "FORM 1040",
            "Exhibit 0012",
            "March 2024",
            "Suite 1500",
        ),
    ],
)
def test_other_numbers_are_no_stamps(line: str) -> None:
    assert stamps(f"{TEXT}\n{line}", 1) == []


def test_stamp_in_the_middle_of_a_page_is_a_citation() -> None:
    assert stamps(f"{TEXT}\nWEX000123\n{TEXT}", 1) == []


def test_numbers_that_do_not_go_up_are_none() -> None:
    """A postal code, a case number without leading digits, a plate: the same on every page, or once."""
    letter = document("CA 94105", "CA 94105", "UD000512", "KF-20873")
    assert case(letter=letter, other=document("UD000512")) == []
    letters = [document(f"Augusta, Maine {code}") for code in ("04333", "04330", "04332")]
    assert case(a=letters[0], b=letters[1], c=letters[2]) == []
    letters = [document(f"MA {code}") for code in ("02110", "02108", "02109")]
    assert case(a=letters[0], b=letters[1], c=letters[2]) == []


def test_misread_digits_are_put_right_by_their_neighbours() -> None:
    feet = [f"WEX{number:06d}" for number in range(100, 110)]
    feet[3], feet[5], feet[6], feet[8] = "WEX0OO1O3", "(no stamp)", "WFX000106", "WEX000168"
    (run,) = document(*feet)
    assert (run.prefix, run.first, run.last, run.read) == ("WEX", 100, 109, 9)
    (run,) = document("PBS00001", "PBS00002", "PBSO0003", "PB500004", "PBS00005")
    assert (run.first, run.last) == (1, 5)


def test_gap_is_named_with_what_stands_on_both_sides() -> None:
    (one,) = case(
        a=document("WEX000001", "WEX000002", "WEX000003"),
        b=document("WEX000007", "WEX000008", "CONFIDENTIAL WEX000012", "WEX000013"),
    )
    assert [(gap.first, gap.last, gap.numbers) for gap in one.gaps] == [
        ("WEX000004", "WEX000006", 3),
        ("WEX000009", "WEX000011", 3),
    ]
    assert (one.gaps[0].before.document, one.gaps[0].behind.document) == ("a", "b")
    assert (one.first, one.last, one.numbers, one.doubles) == ("WEX000001", "WEX000013", 7, ())


def test_page_without_a_legible_stamp_is_no_gap() -> None:
    (one,) = case(a=document("WEX000001", "(illegible)", "", "WEX000004"))
    assert one.gaps == () and one.numbers == 4


def test_prefixes_are_kept_apart_and_papers_of_one_page_belong_together() -> None:
    found = case(
        a=document("WEX000001"),
        b=document("WEX000002"),
        c=document("WEX000004"),
        d=document("DEF-00010", "DEF-00011"),
        e=document("DEF 00012"),
    )
    assert [(one.prefix, one.first, one.last, len(one.gaps)) for one in found] == [
        ("DEF", "DEF00010", "DEF00012", 0),
        ("WEX", "WEX000001", "WEX000004", 1),
    ]


def test_number_on_two_pages_is_told_with_both() -> None:
    (one,) = case(
        a=document(*(f"WEX{number:06d}" for number in range(1, 6))),
        b=document(*(f"WEX{number:06d}" for number in range(4, 9))),
        c=document("WEX000002"),
    )
    assert [(twice.first, twice.last, twice.one.document, twice.other.document) for twice in one.doubles] == [
        ("WEX000002", "WEX000002", "a", "c"),
        ("WEX000004", "WEX000005", "a", "b"),
    ]
    assert one.gaps == () and one.numbers == 8


def test_numbers_without_a_prefix_count_where_three_pages_have_them() -> None:
    assert case(a=document("000001", "000002")) == []
    (one,) = case(a=document("000001", "000002", "000003"), b=document("000005", "000006", "000007"))
    assert [gap.first for gap in one.gaps] == ["000004"]
