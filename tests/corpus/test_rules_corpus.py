"""The rules analyst on real filings, against what a person reads in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aseagi_tasks.analysis.rules import RulesAnalyst
from aseagi_tasks.stages.fetch import identify
from aseagi_tasks.stages.rasterize import rasterize

pytestmark = pytest.mark.corpus

#: Written by reading the documents. None: the document does not say, or not so that a rule may take it.
TRUTH: dict[str, dict[str, Any]] = {
    "ca1_00117684624.pdf": {
        "document_type": "opinion",
        "document_date": "2020-12-22",
        "filed_date": "2020-12-22",
        "case_number": "20-1507",
        "court": "United States Court of Appeals for the First Circuit",
        "parties": {"Calvary Chapel of Bangor", "Janet T. Mills"},
    },
    "ca2_1-1.pdf": {
        "document_type": "notice",
        "document_date": "2017-10-31",
        "filed_date": "2017-10-31",
        "case_number": "17-3510",
        "court": "United States Court of Appeals for the Second Circuit",
        "title": "Docketing Notice",
        "parties": set(),
    },
    "ca3_003112692106.pdf": {
        "document_type": "letter",
        "document_date": "2017-08-03",
        "filed_date": "2017-08-03",
        "case_number": "17-2678",
        "court": "United States Court of Appeals",
        "parties": {"Christopher Mielo", "Steak N Shake Operations Inc"},
    },
    "ca6_1-3.pdf": {
        "document_type": "letter",
        "document_date": None,
        "filed_date": "2017-09-20",
        "case_number": "17-3994",
        "court": "United States Court of Appeals for the Sixth Circuit",
        "parties": {"Island Creek Coal Company", "Linda Hill"},
    },
    "missouri.pdf": {
        "document_type": "opinion",
        "document_date": None,
        "filed_date": "2021-01-19",
        "case_number": "ED108783",
        "court": "Missouri Court of Appeals, Eastern District",
        "parties": {"Nichole Marie Jagels", "State of Missouri"},
    },
    "vector-pdf.pdf": {
        "document_type": "opinion",
        "document_date": "2013-06-13",
        "filed_date": None,
        "case_number": "11-889",
        "court": "Supreme Court of the United States",
        "parties": {"Tarrant Regional Water District", "Tarrant Regional Water Dist.", "Herrmann"},
    },
    "rectangles_yes.pdf": {
        "document_type": "complaint",
        "document_date": None,
        "filed_date": "2021-04-16",
        "case_number": "1:21-cv-01061-KLM",
        "court": None,
        "parties": set(),
    },
}


def test_what_is_filled_in_is_right(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    right, wrong, missed = 0, [], []
    for file, truth in TRUTH.items():
        path = corpus / "court" / file
        scratch = tmp_path / file
        reading = rasterize(
            path,
            file,
            identify(path, file),
            scratch,
            dpi=300,
            max_pages=2000,
            max_page_pixels=40_000_000,
            timeout_s=60,
        )
        facts = RulesAnalyst().analyze(reading, file).facts()
        for field, true in truth.items():
            found = facts[field]
            if field == "parties":
                names = {party["name"] for party in found}
                right += len(names & true)
                wrong += [(file, field, name) for name in names - true]
                missed += [(file, field)] if true and not names else []
            elif found is None:
                missed += [(file, field)] if true is not None else []
            elif found == true:
                right += 1
            else:
                wrong.append((file, field, found))
    with capsys.disabled():
        precision, recall = right / (right + len(wrong)), right / (right + len(wrong) + len(missed))
        print(f"\n  rules on filings: precision {precision:.3f}, recall {recall:.3f}; missed {missed}", end="")
    assert wrong == []


@pytest.mark.parametrize("file", ["linn.txt"])
def test_nothing_is_found_in_what_is_no_legal_paper(corpus: Path, file: str) -> None:
    from tests.unit.test_rules import reading

    facts = RulesAnalyst().analyze(reading((corpus / "court" / file).read_text()), file).facts()
    assert {field for field, value in facts.items() if value} <= {"language"}
