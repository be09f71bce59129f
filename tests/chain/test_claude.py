"""Documents that Claude reads, with real workers and a local Anthropic: facts, money, refusals, waiting, batches."""

from __future__ import annotations

import base64
import io
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aseagi_tasks.analysis.prices import BATCH, cost_usd
from tests.chain.conftest import WAIT_S, Up
from tests.chain.test_process import motion
from tests.servers.anthropic import KEY, AnthropicServer

ANSWER: dict[str, Any] = {
    "document_type": {"value": "motion", "quote": "MOTION TO DISMISS", "page": 1},
    "document_date": {"value": "2024-03-04", "quote": "Dated: March 4, 2024", "page": 1},
    "filed_date": None,
    "case_number": None,
    "court": {"value": "Supreme Court of Atlantis", "quote": "SUPREME COURT OF ATLANTIS", "page": 1},
    "title": {"value": "Motion to Dismiss", "quote": "MOTION TO DISMISS", "page": 1},
    "summary": "A motion to dismiss.",
    "relevancy": {"value": 70, "reason": "It is the motion itself."},
    "language": "en",
    "parties": [{"name": "Acorn LLC", "role": "Plaintiff", "quote": "ACORN LLC, Plaintiff,", "page": 1}],
    "people": [],
    "key_dates": [],
}


@pytest.fixture(scope="module")
def server() -> Iterator[AnthropicServer]:
    with AnthropicServer(lambda _body: ANSWER) as one:
        yield one


@pytest.fixture(scope="module")
def up(server: AnthropicServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    settings = {
        **{"ASEAGI_ANTHROPIC_API_KEY": KEY, "ASEAGI_ANTHROPIC_BASE_URL": server.url, "ASEAGI_CPU_WORKERS": "1"},
        **{"ASEAGI_CLAUDE_LOOK_AGAIN_S": "1", "ASEAGI_CLAUDE_BATCH_WAIT_S": "1", "ASEAGI_CLAUDE_DAILY_USD": "0.2"},
    }
    with Up(tmp_path_factory.mktemp("c"), **settings) as one:
        yield one


def filing(folder: Path) -> Path:
    number = f"3:24-cv-{uuid.uuid4().int % 100000:05d}"
    return motion(folder / f"{uuid.uuid4().hex[:8]}.pdf", number)


def queued(up: Up, paths: list[Path], priority: str = "normal") -> list[str]:
    """Hand files in from another process, as somebody at a terminal would; job ids in order."""
    code = (
        "import sys, uuid, pathlib; from aseagi_tasks.tasks import submit\n"
        "for path in sys.argv[2:]:\n"
        "    job = str(uuid.uuid4()); print(job)\n"
        "    submit(pathlib.Path(path), priority=sys.argv[1], requested_by='test', job_id=job)\n"
    )
    arguments = [sys.executable, "-c", code, priority, *map(str, paths)]
    ran = subprocess.run(arguments, env=up.environment, capture_output=True, text=True, check=True)
    return ran.stdout.split()


def records(up: Up) -> Any:
    from aseagi_tasks.stores.sqlite import SqliteRecords

    return SqliteRecords(up.home / "records.sqlite3")


def until(ready: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + WAIT_S
    while not (found := ready()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def completed(up: Up, job_id: str) -> Any:
    job = until(lambda: (j := records(up).job(job_id)).status in ("completed", "error") and j, f"{job_id} ended")
    assert job.status == "completed", job.error_message
    return job


def published(up: Up, job_id: str, name: str) -> Any:
    found = records(up)
    document = found.document(found.job(job_id).document_id)
    return json.loads((up.home / "aseagi-documents" / document.processed / name).read_text())


def status(up: Up) -> Any:
    return json.loads(up.run("status", "--json").stdout)


@contextmanager
def tended(up: Up) -> Iterator[None]:
    """What beat does every minute, several times a second."""
    code = (
        "import time; from aseagi_tasks.celery import app\n"
        "while True: app.send_task('aseagi.control.batches'); time.sleep(0.3)\n"
    )
    beating = subprocess.Popen([sys.executable, "-c", code], env=up.environment)
    try:
        yield
    finally:
        beating.kill()
        beating.wait()


def test_page_goes_as_an_image_and_facts_carry_their_evidence_and_cost(
    up: Up, server: AnthropicServer, tmp_path: Path
) -> None:
    before = len(server.requests)
    (job_id,) = queued(up, [filing(tmp_path)])
    job = completed(up, job_id)
    (asked,) = server.requests[before:]
    image = next(block for block in asked["messages"][0]["content"] if block["type"] == "image")
    with Image.open(io.BytesIO(base64.b64decode(image["source"]["data"]))) as picture:
        assert (picture.format, max(picture.size)) == ("JPEG", 1086)
    analysis, metadata = published(up, job_id, "analysis.json"), published(up, job_id, "metadata.json")
    status_of = {name: analysis[name]["status"] for name in ("document_type", "document_date", "court", "title")}
    assert status_of == {**dict.fromkeys(status_of, "verified"), "court": "unverified"}
    assert analysis["parties"][0]["evidence"][0]["page"] == 1
    assert metadata["cost_usd"] == {"claude": pytest.approx(analysis["cost_usd"])}
    assert job.cost_usd == pytest.approx(analysis["cost_usd"])
    assert 0 < job.cost_usd < analysis["cost_bound_usd"]
    assert metadata["prompt_version"] in records(up).document(job.document_id).versions["analyst"]


def test_pause_that_the_service_asks_for_is_kept_and_the_work_done(
    up: Up, server: AnthropicServer, tmp_path: Path
) -> None:
    server.faults["messages"], server.retry_after = [529, 429, 500, 0], "1"
    for job_id in queued(up, [filing(tmp_path) for _ in range(3)]):
        completed(up, job_id)
    assert server.faults["messages"] == []


def test_wrong_key_lets_documents_wait_readable_and_is_told_once(
    up: Up, server: AnthropicServer, tmp_path: Path
) -> None:
    server.key = "another"
    paths = [filing(tmp_path) for _ in range(2)]
    jobs = queued(up, paths)
    try:
        waiting = until(lambda: len(found := status(up)["waiting"]) == 2 and found, "both wait")
        assert {why["for"] for why in waiting.values()} == {"NotSetUp"}
        assert "ASEAGI_ANTHROPIC_API_KEY: was not accepted" in up.run("status").stdout
        assert "Check the key" in up.run("doctor").stdout
        found = json.loads(up.run("search", '"motion to dismiss"', "--json").stdout)
        assert {paths[0].name, paths[1].name} <= {hit["document"]["name"] for hit in found}
        assert all(records(up).job(job_id).status == "processing" for job_id in jobs)
    finally:
        server.key = KEY
    for job_id in jobs:
        completed(up, job_id)
    assert (up.stack.logs / "analysis.log").read_text().count("Documents wait. ASEAGI_ANTHROPIC_API_KEY") == 1


def test_bulk_documents_go_by_batch_at_half_price_and_no_worker_waits(
    up: Up, server: AnthropicServer, tmp_path: Path
) -> None:
    server.holds, before = True, len(server.requests)
    jobs = queued(up, [filing(tmp_path) for _ in range(4)], "low")
    left = up.home / "aseagi-documents" / "batches" / "requests"
    until(lambda: len(list(left.glob("*.json"))) == 4, "all were left for a batch")
    with tended(up):
        until(lambda: server.batches, "a batch was submitted")
    (batch_id,) = server.batches
    try:
        assert len(server.batches[batch_id]["requests"]) == 4
        (row,) = status(up)["batches"]
        assert (row["state"], row["service_id"], row["requests"]) == ("sent", batch_id, 4)
        now = filing(tmp_path)
        completed(up, queued(up, [now], "high")[0])  # nobody is occupied
        lost = server.batches[batch_id]["requests"][0]["custom_id"]
        server.outcome = lambda custom_id: {"type": "expired"} if custom_id == lost else None
    finally:
        server.holds = False
        server.end(batch_id)
    with tended(up):
        done = [published(up, completed(up, job_id).job_id, "analysis.json") for job_id in jobs]
    server.outcome = lambda _custom_id: None
    assert len(server.requests) == before + 1  # none of them was asked for directly
    assert [len(batch["requests"]) for batch in server.batches.values()] == [4, 1]
    for one in done:
        assert one["cost_usd"] == pytest.approx(BATCH * cost_usd(one["model"], one["usage"]))
        assert one["document_type"]["status"] == "verified"
    assert not list((up.home / "aseagi-documents" / "batches").rglob("*.json"))
    code = f"from aseagi_tasks.celery import app; print(app.AsyncResult({jobs[0]!r}).get(timeout=20)['status'])"
    ran = subprocess.run([sys.executable, "-c", code], env=up.environment, capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "completed", ran.stderr  # whoever called `process.delay(…).get()` has it
    events = [e.stage for e in records(up).events(jobs[0]) if e.kind == "started"]
    assert events[:4] == ["fetch", "rasterize", "ocr", "analyze"] and events[-2:] == ["upload", "record"]


def test_documents_wait_for_money_and_go_on_when_there_is_some(up: Up, server: AnthropicServer, tmp_path: Path) -> None:
    spent = records(up)
    assert spent.reserve(None, "claude", 0.199, once="everything", daily_budget_usd=1)
    (job_id,) = queued(up, [filing(tmp_path)])
    why = until(lambda: status(up)["waiting"].get(job_id), "it waits")
    assert (why["for"], why["stage"]) == ("BudgetExceeded", "analyze")
    assert "ASEAGI_CLAUDE_DAILY_USD leaves no room" in up.run("status").stdout
    assert (spent.job(job_id).status, spent.job(job_id).waits_for) == ("processing", "money"), "others have its place"
    assert spent.settle(0, once="everything", detail={})
    completed(up, job_id)
    assert spent.costs(datetime.now(UTC) - timedelta(hours=1))["claude"] < 0.2
