"""The notebook runs from end to end, and its pieces say what is true when things go wrong."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import uuid
from pathlib import Path
from typing import Any

import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from PIL import Image

from aseagi_tasks import services
from aseagi_tasks.doors.notebook import Result, Results, costs, follow, ready, search, show
from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.tasks import process
from tests.chain.test_process import motion

ROOT = Path(__file__).parents[2]
WAIT_S = 120


@pytest.fixture
def filing(tmp_path: Path) -> Path:
    return motion(tmp_path / "a <b>filing.pdf", f"3:24-cv-{uuid.uuid4().int % 100000:05d}")


@pytest.mark.usefixtures("samples")  # made once: the notebook makes the same bytes again
def test_the_notebook_runs_and_shows_what_it_promises(stack: Stack, tmp_path: Path) -> None:
    notebook: Any = nbformat.read(ROOT / "notebooks" / "process.ipynb", as_version=4)
    assert all(not cell.get("outputs") for cell in notebook.cells), "outputs are not kept"
    client = NotebookClient(notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}})
    client.execute(env={**os.environ, "PYTHONPATH": str(ROOT)})
    shown = [_shown(cell) for cell in notebook.cells if cell.cell_type == "code"]
    together = "\n".join(shown)
    assert "control" in shown[0] and "reading" in shown[0]
    assert "23CV998417" in shown[1]
    assert "data:image/jpeg;base64," in shown[2] and "p. 1" in shown[2]
    assert "18 of 20 completed" in together and "NotADocument" in together and "web page" in together
    assert "01-motion.pdf" in together and "police report" in together
    assert "this month" in shown[-1]
    assert "Traceback" not in together


def test_a_result_is_typed_and_shows_itself(stack: Stack, filing: Path) -> None:
    queued = process.delay(str(filing))
    plain = queued.get(timeout=WAIT_S)
    assert type(plain) is dict
    (one,) = follow(queued, progress=False)
    assert one == Result.of(plain)
    assert (one.file, one.document_type, one.pages, one.status) == (filing.name, "motion", 1, "completed")
    assert one.case_number in one.text and one.analysis.document_type is not None
    assert show(one.document_id[:12] if one.document_id else "") == one
    html = one._repr_html_()
    assert "a &lt;b&gt;filing.pdf" in html and "<b>filing" not in html
    picture = re.search(r"data:image/jpeg;base64,([^\"]+)", html)
    assert picture and Image.open(io.BytesIO(base64.b64decode(picture[1]))).width > 50
    assert one.page(1).width > 1000
    found = search(f'"{one.case_number}"')
    assert [hit.file for hit in found] == [filing.name] and "<b>" in found._repr_html_()
    assert "Nothing found" in search("thesewordsarenowhere")._repr_html_()


def test_failures_are_results_with_a_reason_and_the_rest_goes_on(stack: Stack, filing: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.pdf"
    page.write_text("<html>no letter</html>")
    results = follow([process.delay(str(page)), process.delay(str(filing))], progress=False)
    assert [one.status for one in results] == ["error", "completed"]
    assert results.failed == [results[0]] and results[0].error_class == "NotADocument"
    assert "web page" in results._repr_html_() and "1 of 2 completed" in results._repr_html_()
    table = pd.DataFrame(results)
    assert list(table["status"]) == ["error", "completed"]
    assert {"file", "case_number", "document_date", "parties", "relevancy_score", "cost_usd"} <= set(table.columns)
    assert pd.DataFrame(Results()).empty


def test_progress_is_a_bar_or_lines_where_there_is_no_bar(
    stack: Stack, filing: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    follow([process.delay(str(filing))])
    assert "1/1" in capfd.readouterr().err
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    follow([process.delay(str(filing))])
    assert "1 of 1 done" in capfd.readouterr().out


def test_waiting_ends_when_asked_and_the_work_goes_on(stack: Stack, filing: Path) -> None:
    results = follow([process.AsyncResult(str(uuid.uuid4()))], timeout_s=0.05, progress=False)
    assert (results[0].status, results[0].document_id) == ("queued", None)
    assert "queued" in results._repr_html_()


def test_costs_add_up(stack: Stack, filing: Path) -> None:
    plain = process.delay(str(filing)).get(timeout=WAIT_S)
    before = costs()
    services.records().charge(plain["job_id"], "claude", 0.25, once=uuid.uuid4().hex, detail={})
    after = costs()
    assert after.today["claude"] == pytest.approx(before.today.get("claude", 0) + 0.25)
    assert after.month["claude"] == pytest.approx(before.month.get("claude", 0) + 0.25)
    assert after.per_thousand_usd is not None and after.per_thousand_usd > 0
    assert f"{after.completed:,} completed" in after._repr_html_()


def test_ready_says_the_cure(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "reading" in ready()
    from redis import Redis

    monkeypatch.setattr(services, "redis", lambda: Redis(unix_socket_path="/nonexistent/redis.sock"))
    with pytest.raises(ConfigError, match="aseagi up"):
        ready()


def _shown(cell: Any) -> str:
    """All that a cell put out, as text."""
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        parts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(parts)
