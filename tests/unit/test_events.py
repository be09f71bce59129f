"""Events of which a case has one, and the dates that pages give for them."""

from __future__ import annotations

import pytest

from aseagi_tasks.analysis.events import events


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Date of incident: November 16, 2022", [("incident", "2022-11-16")]),
        (
            "CASE NUMBER DATE OF INCIDENT TIME DATE OF REPORT\n22-1 11/16/2022 1648 11/17/2022",
            [("incident", "2022-11-16")],
        ),
        ("DATE OF REPORT DATE OF INCIDENT\n11/16/2022", []),
        (
            "MEMORANDUM\nI. INTRODUCTION\nOn November 16, 2022, a truck driven by Halvering struck Plaintiff’s car.",
            [("incident", "2022-11-16")],
        ),
        ("On May 1, 2024, the Court struck the answer.", []),
        ("DATE OF ACCIDENT 11/16/2022", [("incident", "2022-11-16")]),
        ("On November 16, 2022, a truck\ncollided with her car.", [("incident", "2022-11-16")]),
        ("7. On or about March 4, 2021, Wexmoor terminated Doe’s employment.", [("end of employment", "2021-03-04")]),
        (
            "The parties were married on June 3, 2010 in Reno and separated on July 4, 2019.",
            [("marriage", "2010-06-03"), ("separation", "2019-07-04")],
        ),
        (
            "The collision occurred on or about November 17, 2022. Trial is on May 1, 2024.",
            [("incident", "2022-11-17")],
        ),
        ("He wrote about the accident on May 2, 2023 to the insurer.", []),
        ("An accident report of November 20, 2022 is missing.", []),
        ("The hearing is on May 1, 2024. On May 2, 2024, counsel met.", []),
    ],
)
def test_date_belongs_to_an_event_where_label_or_sentence_says_so(text: str, found: list[tuple[str, str]]) -> None:
    assert [(told.event, told.iso) for told in events(text, 2)] == found
