"""The whole chain with its records in Postgres, and what users see while those are away."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.chain.conftest import ASEAGI, WAIT_S, Up, until
from tests.servers.cloud import Project


@pytest.fixture
def up(project: Project) -> Iterator[Up]:
    """A stack whose records are the project's."""
    with (
        TemporaryDirectory(prefix="aseagi-cloud-", ignore_cleanup_errors=True) as folder,
        Up(
            Path(folder),
            ASEAGI_RECORDS="supabase",
            ASEAGI_SUPABASE_URL=project.api.url,
            ASEAGI_SUPABASE_KEY=project.api.token("service_role"),
            ASEAGI_POSTGRES_URL=project.url,
        ) as running,
    ):
        yield running


def status(up: Up) -> dict[str, Any]:
    ran = up.run("status", "--json")
    return {**json.loads(ran.stdout), "code": ran.returncode}


def status_with_waiting(up: Up) -> dict[str, Any]:
    """A status in which a job waits for the records; while that job is tried again, it does not."""
    seen: list[dict[str, Any]] = []

    def waits() -> bool:
        seen[:] = [status(up)]
        return bool(seen[0]["waiting_for_records"])

    until(waits, lambda: up.said)
    return seen[0]


def test_finished_document_waits_for_the_records_is_seen_and_is_recorded(
    up: Up, project: Project, samples: Path
) -> None:
    project.api.broken_paths = {"rpc/complete_job"}
    process = subprocess.Popen(
        [*ASEAGI, "process", str(samples / "02-order.pdf"), "--json"],
        env=up.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        found = status_with_waiting(up)
        (waiting,) = found["waiting_for_records"].values()
        assert waiting["stage"] == "record" and "503" in waiting["error"]
        assert found["counts"]["processing"] == 1 and found["counts"]["completed"] == 0
        (metadata,) = up.home.glob("aseagi-documents/processed/*/*/*/*/metadata.json")
        assert json.loads(metadata.read_text())["name"] == "02-order.pdf"

        project.api.broken = 502  # now nothing of them answers
        until(lambda: "1 waiting" in up.run("status").stdout, lambda: up.said)  # it does not while it is tried again
        away = up.run("status")
        assert away.returncode == 4
        assert "1 waiting for the records, 1 of them finished" in away.stdout
        assert "RecordsUnavailable" in away.stderr and "Traceback" not in away.stderr

        project.api.broken, project.api.broken_paths = False, set()
        said, errors = process.communicate(timeout=WAIT_S)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    (result,) = json.loads(said)
    assert result["status"] == "completed" and result["facts"]["case_number"] == "3:21-cv-01234-ABC"
    found = status(up)
    assert found["waiting_for_records"] == {}
    assert found["counts"]["completed"] == 1
    records = project.records()
    assert [event.kind for event in records.events(result["job_id"])].count("completed") == 1
    assert (
        json.loads(up.run("search", "Tamsworth", "--json").stdout)[0]["document"]["case_number"] == "3:21-cv-01234-ABC"
    )


def test_refused_document_is_recorded_as_such_once_the_records_are_back(
    up: Up, project: Project, tmp_path: Path
) -> None:
    locked = tmp_path / "broken.pdf"
    locked.write_bytes(b"%PDF-1.7\nthis is no PDF\n%%EOF\n")
    project.api.broken_paths = {"rpc/end_job"}
    process = subprocess.Popen(
        [*ASEAGI, "process", str(locked), "--json"], env=up.environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert status_with_waiting(up)["counts"]["processing"] == 1
        project.api.broken_paths = set()
        said, _ = process.communicate(timeout=200)
    finally:
        process.kill()
    assert process.returncode == 3
    (result,) = json.loads(said)
    assert (result["status"], result["error_class"]) == ("error", "Unreadable")


def test_records_are_backed_up_and_checked_by_command(up: Up) -> None:
    made = up.run("backup")
    assert made.returncode == 0 and made.stdout.startswith("backups/")
    key = made.stdout.split()[0]
    listed = json.loads(up.run("restore", "--json").stdout)
    assert [stored["key"] for stored in listed] == [key]
    refused = up.run("restore", key)
    assert refused.returncode == 5 and "Restore into an empty one" in refused.stderr
    checked = {check["what"]: check for check in json.loads(up.run("doctor", "--json").stdout)}
    assert checked["records"]["cure"] == "" and "127.0.0.1" in checked["records"]["found"]
    assert up.run("migrate").stdout.startswith("Nothing to apply")
