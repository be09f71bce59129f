"""What an analysis holds and how it leaves the program."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from aseagi_tasks.analysis.schema import Analysis, Evidence, Fact, Party
from aseagi_tasks.documents import Box

PLACE = Evidence(page=2, quote="Case No. 21-cv-1", box=Box(1, 2, 30, 40))
WHOLE = Analysis(
    analyst="rules",
    document_type=Fact(value="order", status="supported", evidence=(PLACE,)),
    case_number=Fact(value="21-cv-1", original="21–cv–1", status="verified", evidence=(PLACE,)),
    parties=(Party(name="Avery Pellworth", role="plaintiff", status="unverified"),),
    key_dates=(Fact(value="2024-04-16", status="supported", evidence=(PLACE,)),),
)


def test_facts_are_plain_values_of_every_field() -> None:
    facts = WHOLE.facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["document_type"] == "order"
    assert facts["parties"] == [{"name": "Avery Pellworth", "role": "plaintiff"}]
    assert facts["key_dates"] == ["2024-04-16"]
    assert (facts["court"], facts["summary"], facts["people"]) == (None, None, [])
    fields = {name for name in Analysis.model_fields if name not in NOT_FACTS}
    assert set(facts) == fields


NOT_FACTS = {"schema_version", "analyst", "model", "prompt_version", "warnings", "usage", "cost_usd", "cost_bound_usd"}


def test_analysis_survives_json_with_its_boxes() -> None:
    again = Analysis.model_validate_json(WHOLE.model_dump_json())
    assert again == WHOLE
    assert again.case_number and again.case_number.evidence[0].box == Box(1, 2, 30, 40)


def test_analysis_of_another_version_is_noticed() -> None:
    for change in ({"schema_version": 2}, {"mood": "cheerful"}):
        with pytest.raises(ValidationError):
            Analysis.model_validate({**json.loads(WHOLE.model_dump_json()), **change})


def test_analysis_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        WHOLE.analyst = "claude"  # type: ignore[misc]


def test_nothing_heavy_is_imported_with_the_analysts() -> None:
    code = (
        "import sys, aseagi_tasks.analysis.claude, aseagi_tasks.analysis.rules, aseagi_tasks.stages.analyze;"
        "print([m for m in ('anthropic', 'numpy', 'cv2', 'torch', 'PIL') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
