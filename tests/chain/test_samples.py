"""The samples through the real chain by the command line: nothing wrong, nothing invented, nothing done twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from aseagi_tasks import services
from aseagi_tasks.samples import read_truth
from aseagi_tasks.samples.truth import Truth

pytestmark = pytest.mark.usefixtures("stack")
ASEAGI = str(Path(sys.executable).with_name("aseagi"))


def aseagi(*arguments: str) -> Any:
    """What a command prints as JSON."""
    ran = subprocess.run(
        [ASEAGI, *arguments, "--json"], env=os.environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.fixture(scope="module")
def processed(samples: Path) -> list[tuple[Truth, dict[str, Any]]]:
    """Each sample's truth and what came of it."""
    return [(read_truth(Path(result["file"])), result) for result in aseagi("process", str(samples))]


def test_every_sample_completes_with_a_whole_published_set(processed: list[tuple[Truth, dict[str, Any]]]) -> None:
    assert len(processed) >= 8
    for truth, result in processed:
        assert result["status"] == "completed", truth.file
        assert result["pages"] == len(truth.pages)
        for key in result["keys"].values():
            assert services.storage().stat(key) is not None


def test_truth_table(processed: list[tuple[Truth, dict[str, Any]]], capsys: pytest.CaptureFixture[str]) -> None:
    """Type, date and case number; what is filled in is right, and at least seven of eight are found."""
    rows, invented = [], []
    for truth, result in processed:
        facts = result["facts"]
        row = []
        for field in ("document_type", "document_date", "case_number"):
            true, found = getattr(truth, field), facts.get(field)
            true = None if true is None else str(true)
            row.append("=" if true == found else "miss" if found is None else f"WRONG {found!r}, is {true!r}")
            if found is not None and found != true:
                invented.append((truth.file, field, found, true))
        rows.append((truth.file, row))
    with capsys.disabled():
        print()
        for file, row in rows:
            print(f"  {file:34}" + "  ".join(f"{cell:16}" for cell in row))
    whole = sum(all(cell == "=" for cell in row) for _, row in rows)
    assert invented == []
    assert whole / len(rows) >= 7 / 8


def test_text_comes_from_where_it_should(processed: list[tuple[Truth, dict[str, Any]]]) -> None:
    """Born-digital pages never reach Tesseract; stamped scans all do; blank pages reach nothing."""
    wanted = {"text-layer": "text-layer", "scan": "tesseract", "stamped-scan": "tesseract", "blank": "blank"}
    for truth, result in processed:
        metadata = json.loads(services.storage().get(result["keys"]["metadata.json"]))
        got = {page["number"]: page["source"] for page in metadata["pages"]}
        assert got == {page.number: wanted[page.kind] for page in truth.pages}, truth.file


def test_pages_are_turned_upright(processed: list[tuple[Truth, dict[str, Any]]]) -> None:
    for truth, result in processed:
        metadata = json.loads(services.storage().get(result["keys"]["metadata.json"]))
        for page, true in zip(metadata["pages"], truth.pages, strict=True):
            if true.kind != "blank":
                assert page["rotation"] == true.rotation_applied, (truth.file, true.number)


def test_second_run_reprocesses_nothing(samples: Path, processed: list[tuple[Truth, dict[str, Any]]]) -> None:
    began = time.monotonic()
    again = aseagi("process", str(samples))
    seconds = time.monotonic() - began
    assert [one["facts"] for one in again] == [result["facts"] for _, result in processed]
    for one in again:
        assert [event.stage for event in services.records().events(one["job_id"]) if event.stage] == []
    print(f"second run: {seconds:.1f} s")


def test_what_was_read_is_found_and_shown(processed: list[tuple[Truth, dict[str, Any]]]) -> None:
    numbers = [(truth, result) for truth, result in processed if truth.case_number]
    assert numbers
    for truth, result in numbers:
        found = [hit["document"]["document_id"] for hit in aseagi("search", f'"{truth.case_number}"')]
        assert result["document_id"] in found, truth.file
        shown = aseagi("show", result["document_id"][:8])
        assert shown["analysis"]["case_number"]["evidence"]
        assert shown["jobs"][0]["status"] == "completed"
    text = subprocess.run(
        [ASEAGI, "show", numbers[0][1]["document_id"], "--text"],
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert numbers[0][0].case_number in text.stdout


def test_status_counts_what_was_done(processed: list[tuple[Truth, dict[str, Any]]]) -> None:
    status = aseagi("status", "--limit", "1000")
    assert status["counts"]["completed"] >= len(processed)
    assert {child["name"] for child in status["stack"]} >= {"reading", "analysis", "control", "beat", "redis"}
    assert {result["job_id"] for _, result in processed} <= {job["job_id"] for job in status["jobs"]}
