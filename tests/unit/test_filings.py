"""How courts all over the country set their captions: what the rules find in each, and that nothing else is found.

``filings.txt`` holds one page after the other: a name, the page as it is printed, and what a person reads in it (a
field that is not named there is not judged). All names are made up.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from aseagi_tasks.analysis.rules import RulesAnalyst
from aseagi_tasks.documents import Box, Line, Page, Reading, Word

FILINGS = re.findall(
    r"^=== (\w+)\n(.*?)\n= (\{.*?\})$", (Path(__file__).parent / "filings.txt").read_text(), re.MULTILINE | re.DOTALL
)
#: Not found by any rule so far, and known: they count against recall, never against precision.
MIN_RECALL = 0.95


def typed(text: str) -> Reading:
    """A page in typewriter letters, 20 pixels to a column and 60 to a line."""
    lines = []
    for row, text_line in enumerate(text.split("\n")):
        words = tuple(
            Word(one[0], Box(200 + 20 * one.start(), 200 + 60 * row, 196 + 20 * one.end(), 240 + 60 * row), 1.0)
            for one in re.finditer(r"\S+", text_line)
        )
        if words:
            box = Box(words[0].box.left, words[0].box.top, words[-1].box.right, words[0].box.bottom)
            whole = " ".join(word.text for word in words)
            lines.append(Line(text=whole, box=box, confidence=1, source="tesseract", words=words))
    page = Page(number=1, width_px=2550, height_px=3300, dpi=300, source="tesseract", lines=tuple(lines))
    return Reading(engine="test", pages=(page,))


def found_in(text: str) -> dict[str, Any]:
    facts = RulesAnalyst().analyze(typed(text), "a.pdf").facts()
    return {**facts, "parties": [[party["name"], party["role"]] for party in facts["parties"]]}


def flat(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


@pytest.mark.parametrize(
    ("text", "truth"), [(text, json.loads(true)) for _, text, true in FILINGS], ids=[f[0] for f in FILINGS]
)
def test_nothing_wrong_is_filled_in(text: str, truth: dict[str, Any]) -> None:
    found = found_in(text)
    wrong = {field: one for field in truth for one in flat(found[field]) if one not in flat(truth[field])}
    assert wrong == {}


def test_most_of_what_stands_there_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    right, missed = 0, []
    for name, text, true in FILINGS:
        found = found_in(text)
        for field, value in json.loads(true).items():
            for one in flat(value):
                if one in flat(found[field]):
                    right += 1
                else:
                    missed.append((name, field))
    with capsys.disabled():
        print(
            f"\n  rules on {len(FILINGS)} layouts: {right} facts, recall {right / (right + len(missed)):.3f}; {missed}",
            end="",
        )
    assert right / (right + len(missed)) >= MIN_RECALL


def test_evidence_holds_the_words_of_every_fact() -> None:
    for _, text, _ in FILINGS:
        reading = typed(text)
        analysis = RulesAnalyst().analyze(reading, "a.pdf")
        facts = (analysis.document_type, analysis.document_date, analysis.filed_date, analysis.case_number)
        for fact in (*facts, analysis.court, analysis.title, *analysis.parties, *analysis.key_dates):
            for evidence in fact.evidence if fact else ():
                assert evidence.box is not None
                on_line = " ".join(line.text for line in reading.pages[0].lines if line.box.top == evidence.box.top)
                assert evidence.quote in on_line


def test_lines_without_words_are_read_by_their_signs_and_spaces() -> None:
    """A recognizer may give lines alone; columns are then where a line has wide gaps."""
    text = next(text for name, text, _ in FILINGS if name == "ca_criminal")
    lines = tuple(
        Line(text=row, box=Box(200, 200 + 60 * n, 200 + 20 * len(row), 240 + 60 * n), confidence=1, source="trocr")
        for n, row in enumerate(text.split("\n"))
        if row.strip()
    )
    page = Page(number=1, width_px=2550, height_px=3300, dpi=300, source="trocr", lines=lines)
    facts = RulesAnalyst().analyze(Reading(engine="test", pages=(page,)), "a.pdf").facts()
    assert facts["case_number"] == "SCD287654"
    assert facts["document_type"] == "motion"
    assert [party["role"] for party in facts["parties"]] == ["plaintiff", "defendant"]
