"""``aseagi bulk`` on real records and files: what it says, asks and leaves behind."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aseagi_tasks import services
from aseagi_tasks.bulk import orders, tending
from aseagi_tasks.doors import bulk_cli
from aseagi_tasks.doors.cli import app
from aseagi_tasks.errors import AseagiError, BulkRefused, NotFound, StorageUnavailable
from aseagi_tasks.settings import settings


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation of its own, with three papers of two pages and a text."""
    import pikepdf

    opened = (services.storage, services.records, services.bulk_records, services.fleet_records, settings)
    for name in [name for name in os.environ if name.startswith("ASEAGI_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASEAGI_HOME", str(tmp_path))
    monkeypatch.setenv("ASEAGI_BULK_REST_S", "0")
    monkeypatch.setattr(tending, "feed_if_possible", lambda limit: None)
    for one in opened:
        one.cache_clear()
    folder = tmp_path / "aseagi-documents"
    (folder / "raw/box [17]").mkdir(parents=True)
    for number in range(3):
        with pikepdf.new() as pdf:
            for _ in range(2):
                pdf.add_blank_page()
            pdf.docinfo["/Title"] = f"{number}"
            pdf.save(folder / f"raw/box [17]/{number}.pdf")
    (folder / "raw/notes.txt").write_text("words")
    yield folder
    for one in opened:
        one.cache_clear()


def bulk(*arguments: str, said: str | None = None) -> Result:
    return CliRunner().invoke(app, ["bulk", *arguments], input=said)


def as_json(*arguments: str) -> Any:
    found = bulk(*arguments, "--json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def words(found: Result) -> str:
    assert found.exit_code == 0, found.output
    return re.sub(r"\s+", " ", found.stdout)


def test_quote_is_shown_and_nothing_begun_where_nobody_can_be_asked(bucket: Path) -> None:
    said = words(bulk("raw/"))
    assert "4 files below raw/: 3 to be done; 1 no documents" in said
    assert re.search(r"pages 6 6 All 3 were opened", said) and "in all $0.00 $0.00" in said
    assert "nothing is asked of Claude" in said and "No machines are rented" in said
    run_id = re.search(r"aseagi bulk confirm (\S+)", said)[1]  # type: ignore[index]
    assert as_json("show", run_id)["status"] == "waiting"
    assert "waits to be confirmed" in words(bulk("show", run_id[:16]))


def test_run_is_confirmed_paused_resumed_and_cancelled(bucket: Path) -> None:
    found = as_json("--yes", "raw/box [17]/")
    run_id, quote = found["run_id"], found["quote"]
    assert (found["status"], found["cap_usd"], found["requested_by"]) == ("confirmed", 0.0, found["confirmed_by"])
    assert (quote["documents"], quote["pages"], quote["usd"]) == (3, [6, 6], [0.0, 0.0])
    assert tending.step(run_id).status == "running"
    shown = words(bulk("show", run_id))
    assert "0 of 3 documents are done" in shown and "jobs: 3 queued" in shown and "raw/box [17]/" in shown
    assert "is paused" in words(bulk("pause", run_id))
    assert isinstance(bulk("pause", run_id).exception, BulkRefused)
    assert as_json("resume", run_id, "--cap", "2")["cap_usd"] == 2
    assert "cancelling" in words(bulk("cancel", run_id))
    assert tending.step(run_id).status == "cancelled"
    assert "0 of 3" in words(bulk("show", run_id)) and run_id in words(bulk("list"))
    assert as_json("list")[0]["run_id"] == run_id


def test_person_is_asked_and_may_say_no(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        """Where somebody sits."""

        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(bulk_cli.sys, "stdin", Terminal())
    asked: list[str] = []
    monkeypatch.setattr(bulk_cli.typer, "confirm", lambda text: asked.append(text) or len(asked) > 1)
    runs = []
    for _ in range(2):
        bulk_cli.start("raw/")
        runs.append(as_json("list")[0])
    assert asked == ["Do 3 documents, at no cost?"] * 2
    assert [run["status"] for run in runs] == ["cancelled", "confirmed"]


def test_unattended_run_confirms_itself_within_its_limit(bucket: Path) -> None:
    assert as_json("raw/", "--unattended")["status"] == "confirmed"


def test_nothing_to_do_is_said(bucket: Path) -> None:
    (bucket / "raw/empty").mkdir()
    said = words(bulk("raw/empty/"))
    assert "0 files below raw/empty/: 0 to be done" in said and "There is nothing to do." in said


def test_refusals_teach(bucket: Path) -> None:
    refused = bulk("processed/")
    assert isinstance(refused.exception, BulkRefused) and "raw/" in str(refused.exception)
    assert isinstance(bulk("show", "2026").exception, NotFound)
    assert bulk("raw/", "--cap", "-1").exit_code == 2
    for arguments in ((), ("--help",)):
        said = re.sub(r"\s+", " ", bulk(*arguments).output)
        assert "Nothing is begun until you say yes" in said and "confirm" in said
    assert "No run yet" in words(bulk("list"))


def test_what_another_looks_after_is_not_asked_for_all_the_time(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records, pauses = services.bulk_records(), list[float]()

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            for run in records.runs():
                records.let_run(run.run_id, "another")

    run_id = orders.start("raw/", requested_by="me")
    tending.step(run_id, until=0.0)  # the scan is finished, and another opens files for the quote
    assert records.run(run_id).scan.finished and records.hold_run(run_id, "another", 60)
    monkeypatch.setattr(bulk_cli, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
    bulk_cli._scan(run_id, "raw/", as_json=True)
    assert pauses == [0, 0.5, 0.5] and records.run(run_id).status == "waiting"


def test_scan_that_fails_again_and_again_is_left(bucket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise StorageUnavailable("listing raw/", "as told")

    monkeypatch.setattr(tending, "scan_on", broken)
    monkeypatch.setattr(bulk_cli.time, "sleep", lambda _seconds: None)
    failed = bulk("raw/").exception
    assert isinstance(failed, AseagiError) and "as told" in str(failed) and "bulk show" in str(failed)
