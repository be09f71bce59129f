"""Documents processed again with another model: previewed, confirmed, cancelled; real workers, a local Anthropic."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aseagi_tasks import keys
from aseagi_tasks.documents import Source
from tests.chain.conftest import ASEAGI, WAIT_S, Up
from tests.chain.test_claude import ANSWER, completed, filing, published, queued, records, until
from tests.servers.anthropic import KEY, AnthropicServer

SONNET = "claude-sonnet-5-5"


@pytest.fixture(scope="module")
def server() -> Iterator[AnthropicServer]:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if body["model"] != SONNET:
            return ANSWER
        quoted = {"value": "A Motion to Dismiss", "quote": "MOTION TO DISMISS", "page": 1}
        return {**ANSWER, "title": quoted, "court": None}

    with AnthropicServer(answer) as one:
        yield one


@pytest.fixture(scope="module")
def up(server: AnthropicServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    settings = {
        **{"ASEAGI_ANTHROPIC_API_KEY": KEY, "ASEAGI_ANTHROPIC_BASE_URL": server.url, "ASEAGI_CPU_WORKERS": "1"},
        "ASEAGI_CLAUDE_BATCHES": "never",
    }
    with Up(tmp_path_factory.mktemp("r"), **settings) as one:
        yield one


def said(up: Up, *arguments: str, **settings: str) -> Any:
    """What a command says as JSON."""
    ran = subprocess.run(
        [*ASEAGI, *arguments, "--json"],
        env={**up.environment, **settings},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def bucket(up: Up) -> dict[str, bytes]:
    """All that is published, taken in or ordered."""
    root = up.home / "aseagi-documents"
    files = (path for path in root.rglob("*") if path.is_file())
    found = {str(path.relative_to(root)): path.read_bytes() for path in files}
    return {key: body for key, body in found.items() if key.split("/")[0] in ("raw", "processed", "reprocess")}


def ended(up: Up, run_id: str) -> Any:
    """An order whose jobs have ended."""
    return until(
        lambda: (
            (row := said(up, "reprocess", "--run", run_id)[0])
            and row["fed"]
            and not {"queued", "processing"} & set(row["jobs"])
            and row
        ),
        f"{run_id} ended",
    )


def test_other_model_is_previewed_and_then_applied_to_what_needs_it(
    up: Up, server: AnthropicServer, tmp_path: Path
) -> None:
    first = queued(up, [filing(tmp_path) for _ in range(3)])
    documents = [completed(up, job_id).document_id for job_id in first]
    store = records(up)
    store.correct(documents[0], "title", "As a person has it", "somebody", once="x")
    certified = said(up, "certificate", *(word for job_id in first for word in ("--job", job_id)))
    (up.home / "aseagi-documents" / store.document(documents[2]).key).unlink()
    before, rows, asked = bucket(up), store.documents(), len(server.requests)

    seen = said(up, "reprocess", "--model", SONNET, "--sample", "3")
    assert (seen["documents"], seen["by_type"], seen["run_id"]) == (3, {"motion": 3}, None)
    replayed = {one["document_id"]: one for one in seen["preview"]["documents"]}
    assert [bool(replayed[document_id]["error"]) for document_id in documents] == [False, False, True]
    assert seen["fields"]["title"]["changed"] == seen["fields"]["court"]["lost"] == 2
    assert seen["fields"]["document_type"]["same"] == 2
    assert replayed[documents[0]]["fields"]["title"]["is_corrected"]
    spent = seen["preview"]["spent_usd"]
    low, high = seen["whole_usd"]
    assert spent > 0 and 0 < low < high
    assert (bucket(up), records(up).documents()) == (before, rows)
    assert len(server.requests) == asked + 2
    assert said(up, "reprocess", "--model", SONNET, "--sample", "3")["preview"]["spent_usd"] == 0
    assert len(server.requests) == asked + 2  # answers are kept for the day

    run_id = said(up, "reprocess", "--model", SONNET, "--sample", "3", "--yes")["run_id"]
    order = ended(up, run_id)
    assert order["jobs"] == {"completed": 2, "error": 1}
    assert 0 < order["spent_usd"] <= order["cap_usd"]
    folder = store.document(documents[1]).processed
    for document_id, job_id in zip(documents[:2], first, strict=False):
        job = next(job for job in store.jobs(document_id=document_id) if job.job_id != job_id)
        stages = [event.stage for event in store.events(job.job_id) if event.kind == "finished"]
        assert stages == ["analyze", "upload"]  # and `record`, whose end is the job's
        analysis, metadata = (published(up, job.job_id, name) for name in keys.VERSIONED)
        assert (analysis["title"]["value"], analysis["court"]) == ("A Motion to Dismiss", None)
        assert (metadata["model"], list(metadata["versions"])) == (SONNET, [job_id])
        was = said(up, "show", document_id, "--version", job_id[:8])
        assert was["title"]["value"] == "Motion to Dismiss"
    titles = [store.document(document_id).title for document_id in documents]
    assert titles == ["As a person has it", "A Motion to Dismiss", "Motion to Dismiss"]
    assert store.document(documents[1]).versions["ocr"] == rows[0].versions["ocr"]
    failed = next(job for job in store.jobs(status="error"))
    assert failed.document_id == documents[2] and "raw/" in failed.error_message
    after = bucket(up)
    kept = store.document(documents[2]).processed
    assert {key: after[key] for key in after if key.startswith(kept)} == {
        key: before[key] for key in before if key.startswith(kept)
    }

    # the certificate from before says so, and a new one holds
    checked = json.loads(up.run("verify", certified["key"], "--json").stdout)
    assert {one["kind"] for one in checked["files"]} == {"missing", "reprocessed"}
    assert sum(one["kind"] == "reprocessed" for one in checked["files"]) == 2
    jobs = [job.job_id for job in store.jobs(status="completed") if job.document_id == documents[1]]
    anew = said(up, "certificate", *(word for job_id in jobs for word in ("--job", job_id)))
    assert said(up, "verify", anew["key"])["holds"]
    assert f"{folder}/versions/{first[1]}/analysis.json" in after

    left = said(up, "reprocess", "--model", SONNET, "--sample", "0")
    assert left["documents"] == 1  # the one whose original is gone
    assert said(up, "reprocess", "--model", SONNET, "--where", f"id={documents[0]}")["documents"] == 0


def test_budget_that_is_reached_ends_the_preview(up: Up, tmp_path: Path) -> None:
    completed(up, queued(up, [filing(tmp_path)])[0])
    seen = said(up, "reprocess", "--model", "claude-opus-5-5", ASEAGI_CLAUDE_DAILY_USD="0.000001")
    assert not any(one["fields"] for one in seen["preview"]["documents"])
    assert "ASEAGI_CLAUDE_DAILY_USD" in seen["preview"]["stopped"]
    assert seen["whole_usd"] is None


def test_cap_that_is_too_small_begins_nothing(up: Up, tmp_path: Path) -> None:
    document_id = completed(up, queued(up, [filing(tmp_path)])[0]).document_id
    arguments = ("--where", f"id={document_id}", "--model", SONNET, "--cap", "0.000001", "--yes")
    run_id = said(up, "reprocess", *arguments)["run_id"]
    (order,) = said(up, "reprocess", "--run", run_id)
    assert (order["state"], order["jobs"]) == ("cap", {})
    assert said(up, "reprocess", "--run", run_id, "--cancel")[0]["state"] == "cancelled"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--where", "colour=red"), 5, "'colour' is no field"),
        (("--where", "id=ffffffff"), 3, "ffffffff"),
        (("--model", "claude-0"), 5, "has no known price"),
        (("--ocr", "tesseract"), 2, "--stage ocr"),
        (("--stage", "ocr", "--ocr", "eyes"), 5, "is not known"),
        (("--run", "nothing"), 3, "nothing"),
        (("--cancel",), 2, "--run"),
    ],
)
def test_what_is_not_understood_changes_nothing(up: Up, arguments: tuple[str, ...], code: int, words: str) -> None:
    ran = up.run("reprocess", *arguments)
    assert (ran.returncode, words in ran.stderr + ran.stdout) == (code, True), ran.stderr


def test_document_that_another_job_works_on_is_done_after_that(up: Up, tmp_path: Path) -> None:
    store, document_id = records(up), completed(up, queued(up, [filing(tmp_path)])[0]).document_id
    document = store.document(document_id)
    source = Source(**document.model_dump(include=set(Source.model_fields)))
    store.register_job("other", document.key, "low", "somebody", again=True)
    assert store.start_lease("other", "elsewhere/1", 600) is not None
    store.register_document("other", source, document.created_at)
    now = datetime.now(UTC)
    assert store.claim("other", document_id, now - timedelta(minutes=5)).job_id == "other"
    seen = said(up, "reprocess", "--where", f"id={document_id}", "--model", SONNET, "--yes")
    assert seen["preview"]["documents"][0]["fields"]["title"]["kind"] == "changed"
    job = next(job for job in store.jobs(document_id=document_id) if job.requested_by == f"reprocess:{seen['run_id']}")
    assert store.job(job.job_id).stage is None
    store.cancel("other")
    completed(up, job.job_id)
    assert store.document(document_id).title == "A Motion to Dismiss"
