"""Message batches with a real bucket, real records and a local Anthropic: nothing lost, nothing submitted twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks import keys
from aseagi_tasks.analysis import asking
from aseagi_tasks.analysis.claude import ClaudeAnalyst
from aseagi_tasks.analysis.prices import BATCH, cost_usd
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.analysis.service import Service
from aseagi_tasks.documents import Reading
from aseagi_tasks.errors import AnalystUnavailable, BudgetExceeded, NotSetUp, RateLimited, Refused
from aseagi_tasks.settings import Settings
from aseagi_tasks.stages.analyze import JobErrand, find_facts
from aseagi_tasks.stages.batches import SUBMITTING, Batches, let_go
from aseagi_tasks.stages.fetch import identify
from aseagi_tasks.stages.intake import examine
from aseagi_tasks.stages.workplace import Workplace
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.storage import Storage
from tests.contract.test_analyst import ANSWER
from tests.servers.anthropic import KEY, LOST, AnthropicServer


class Run:
    """A bulk run of some documents up to analyze, and what would be queued."""

    def __init__(self, home: Path, server: AnthropicServer, documents: int = 3, storage: Storage | None = None) -> None:
        self.settings = Settings(home=home, _env_file=None)  # type: ignore[call-arg]
        self.server = server
        self.storage = storage or FolderStorage(home / "bucket")
        self.records = SqliteRecords(home / "records.sqlite3")
        self.analyst = ClaudeAnalyst(Service(KEY, server.url, timeout_s=5), "claude-haiku-5-5")
        self.went_on: list[str] = []
        self.jobs: dict[str, tuple[Workplace, Reading]] = {}
        for number in range(documents):
            self._add(home / f"{number}.pdf", f"job-{number}")

    def _add(self, path: Path, job_id: str) -> None:
        canvas = Canvas(str(path), invariant=True)
        for row, words in enumerate(
            (f"Document of {job_id}", "ORDER GRANTING MOTION TO COMPEL", "Dated: March 15, 2024")
        ):
            canvas.drawString(72, 720 - 20 * row, words)
        canvas.save()
        assert identify(path, path.name) == "application/pdf"
        key = f"raw/2026/11/25/{path.name}"
        self.storage.upload(path, key)
        source = examine(path, path.name, key, max_bytes=10**6)
        self.records.register_job(job_id, key, "low", None)
        self.records.register_document(job_id, source, datetime.now(UTC))
        self.records.begin_stage(job_id, "analyze", "w")
        place = Workplace(job_id, source, self.storage, self.settings)
        self.jobs[job_id] = place, place.rasterize()

    def analyze(self, job_id: str) -> Analysis | None:
        place, reading = self.jobs[job_id]
        return find_facts(place, reading, self.analyst, self.records, by_batch=True)

    def tend(self, wait_s: float = 0.0, later: timedelta = timedelta()) -> dict[str, int]:
        """One turn, as by a process that has just started."""
        tending = Batches(
            self.records,
            self.storage,
            self.analyst.service,
            self.went_on.append,
            wait_s=wait_s,
        )
        return tending.tend(datetime.now(UTC) + later)

    @property
    def waiting(self) -> list[str]:
        return [there.key for there in self.storage.list(keys.batch_request())]

    @property
    def submitted(self) -> list[str]:
        return [request["custom_id"] for batch in self.server.batches.values() for request in batch["requests"]]

    @property
    def paid(self) -> float:
        return self.records.costs(datetime.now(UTC) - timedelta(days=1)).get("claude", 0.0)


@pytest.fixture
def server() -> Iterator[AnthropicServer]:
    with AnthropicServer(lambda _body: ANSWER) as one:
        yield one


@pytest.fixture
def run(server: AnthropicServer, tmp_path: Path) -> Run:
    return Run(tmp_path, server)


def test_requests_of_a_run_go_together_and_answers_in_any_order_find_their_jobs(run: Run) -> None:
    assert [run.analyze(job_id) for job_id in run.jobs] == [None] * 3
    assert run.records.search("granting")  # readable meanwhile
    assert run.tend(wait_s=60) == {"answered": 0, "submitted": 0}  # more may come
    assert run.tend() == {"answered": 0, "submitted": 3}
    assert run.tend() == {"answered": 3, "submitted": 0}
    assert sorted(run.went_on) == list(run.jobs)
    assert run.waiting == [] and run.records.open_batches() == []
    for job_id in run.jobs:
        found = run.analyze(job_id)
        assert found and found.facts()["document_type"] == "order"
        assert found.cost_usd == pytest.approx(BATCH * cost_usd("claude-haiku-5-5", found.usage))
        assert run.records.job(job_id).cost_usd == pytest.approx(found.cost_usd)
    assert [len(batch["requests"]) for batch in run.server.batches.values()] == [3]


def test_analyze_delivered_again_leaves_nothing_twice(run: Run) -> None:
    for _ in range(2):
        assert run.analyze("job-0") is None
    run.tend()
    assert run.analyze("job-0") is None  # sent, and not answered
    run.tend()
    assert run.submitted == ["job-0_p1-1"]
    assert run.analyze("job-0") is not None


def test_document_that_has_no_money_for_all_of_its_parts_holds_none(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    place, reading = run.jobs["job-0"]
    (page,) = reading.pages
    run.jobs["job-0"] = place, Reading(engine=reading.engine, pages=(page, page.model_copy(update={"number": 2})))
    monkeypatch.setattr(asking, "PART_TOKENS", 1)
    monkeypatch.setattr(JobErrand, "images", lambda *_: {})
    reserve = JobErrand.reserve

    def refused(errand: JobErrand, key: str, usd: float) -> None:
        if key == "p2-1":
            raise BudgetExceeded("0.pdf", usd, 1.0, "ASEAGI_CLAUDE_DAILY_USD")
        reserve(errand, key, usd)

    monkeypatch.setattr(JobErrand, "reserve", refused)
    with pytest.raises(BudgetExceeded):
        run.analyze("job-0")
    assert run.waiting == []
    assert not run.records.settle(0.0, once="job-0:claude:p1-1", detail={}), "nothing was set aside any more"


@pytest.mark.parametrize("dies_at", ["before-the-call", "answer-lost", "after-the-call"])
def test_restart_around_the_submission_loses_nothing_and_submits_nothing_twice(run: Run, dies_at: str) -> None:
    for job_id in run.jobs:
        run.analyze(job_id)
    if dies_at == "answer-lost":
        run.server.faults["batches"] = [LOST]
        with pytest.raises(AnalystUnavailable):
            run.tend()
    else:  # the process dies there
        send = run.analyst.service.send_batch

        def dies(requests: Any) -> str:
            if dies_at == "after-the-call":
                send(requests)
            raise KeyboardInterrupt

        run.analyst.service.send_batch = dies  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            run.tend()
        run.analyst.service.send_batch = send  # type: ignore[method-assign]
    assert [batch.state for batch in run.records.open_batches()] == ["intent"]
    assert run.tend() == {"answered": 0, "submitted": 0}  # perhaps somebody is at it
    assert len(run.server.batches) == (dies_at != "before-the-call")
    later = SUBMITTING + timedelta(minutes=1)
    for _ in range(3):
        run.tend(later=later)
    assert sorted(run.submitted) == [f"{job_id}_p1-1" for job_id in run.jobs]
    assert len(run.server.batches) == 1
    assert sorted(run.went_on) == list(run.jobs)
    assert all(run.analyze(job_id) for job_id in run.jobs)


def test_batch_that_may_be_ours_is_waited_for(run: Run) -> None:
    run.analyze("job-0")
    run.server.holds, run.server.faults["batches"] = True, [LOST]
    with pytest.raises(AnalystUnavailable):
        run.tend()
    later = SUBMITTING + timedelta(minutes=1)
    assert run.tend(later=later) == {"answered": 0, "submitted": 0}
    assert [batch.state for batch in run.records.open_batches()] == ["intent"]
    run.server.end("msgbatch_000")
    run.tend(later=later)
    run.tend(later=later)
    assert run.went_on == ["job-0"] and len(run.server.batches) == 1


def test_restart_while_answers_are_given_changes_nothing(run: Run) -> None:
    for job_id in run.jobs:
        run.analyze(job_id)
    run.tend()
    results = run.analyst.service.batch_results

    def breaks(batch_id: str) -> Iterator[dict[str, Any]]:
        yield next(results(batch_id))
        raise AnalystUnavailable("Message Batches", "the line broke")

    run.analyst.service.batch_results = breaks  # type: ignore[method-assign]
    with pytest.raises(AnalystUnavailable):
        run.tend()
    run.analyst.service.batch_results = results  # type: ignore[method-assign]
    once = run.paid
    assert once > 0 and run.went_on == []
    run.tend()
    assert run.paid == pytest.approx(3 * once, rel=0.3)
    assert sorted(run.went_on) == list(run.jobs)
    assert sum(run.records.job(job_id).cost_usd for job_id in run.jobs) == pytest.approx(run.paid)


def test_each_request_has_its_own_end(run: Run) -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": "too strange"}}
    ends = {
        "job-0_p1-1": {"type": "errored", "error": error},
        "job-1_p1-1": {"type": "expired"},
        "job-1_p1-2": {"type": "errored", "error": {"type": "error", "error": {"type": "api_error", "message": "oh"}}},
    }
    run.server.outcome = ends.get
    for job_id in run.jobs:
        run.analyze(job_id)
    run.tend()
    run.tend()
    with pytest.raises(Refused, match="too strange"):
        run.analyze("job-0")
    assert run.analyze("job-2") is not None
    assert run.analyze("job-1") is None  # into another batch
    run.tend()
    run.tend()
    found = run.analyze("job-1")  # batches have lost it twice: asked directly
    assert found and found.facts()["document_type"] == "order"
    assert [body["max_tokens"] for body in run.server.requests] == [4_000]
    assert run.submitted.count("job-1_p1-1") == run.submitted.count("job-1_p1-2") == 1


def test_answer_that_was_cut_off_goes_into_another_batch_larger(run: Run) -> None:
    run.server.stop_reasons = ["max_tokens"]
    run.analyze("job-0")
    run.tend()
    run.tend()
    assert run.analyze("job-0") is None
    run.tend()
    run.tend()
    assert run.analyze("job-0") is not None
    sizes = [request["params"]["max_tokens"] for batch in run.server.batches.values() for request in batch["requests"]]
    assert sizes == [4_000, 16_000]
    assert run.server.requests == []


def test_job_that_ended_meanwhile_is_not_asked_about_and_its_money_is_free(run: Run) -> None:
    run.analyze("job-0")
    run.records.cancel("job-0")
    assert run.tend() == {"answered": 0, "submitted": 0}
    assert run.waiting == [] and run.server.batches == {}
    assert run.went_on == ["job-0"]  # whose chain says that it was cancelled
    assert run.records.reserve(None, "claude", 5.0, once="all of it", daily_budget_usd=5.0)


@pytest.mark.parametrize(("status", "error"), [(401, NotSetUp), (429, RateLimited)])
def test_service_that_says_no_leaves_the_requests_waiting(run: Run, status: int, error: type[Exception]) -> None:
    run.analyze("job-0")
    run.server.faults["batches"] = [status]
    with pytest.raises(error):
        run.tend()
    assert run.records.open_batches() == [] and len(run.waiting) == 1
    assert run.tend()["submitted"] == 1


def test_batch_that_is_refused_as_a_whole_is_asked_one_by_one(run: Run) -> None:
    run.server.faults["batches"] = [413, 413]
    for _ in range(2):
        assert run.analyze("job-0") is None
        run.tend()
    assert run.analyze("job-0") is not None
    assert run.server.batches == {} and len(run.server.requests) == 1


def test_batch_that_somebody_deleted_is_asked_for_again(run: Run) -> None:
    run.analyze("job-0")
    run.tend()
    run.server.batches.clear()
    run.tend()
    assert run.went_on == ["job-0"] and run.analyze("job-0") is None


def test_without_claude_the_jobs_get_their_requests_back(run: Run) -> None:
    run.analyze("job-0")
    assert let_go(run.storage, run.went_on.append) == 1
    assert run.went_on == ["job-0"] and run.waiting == []


def test_more_than_fits_goes_in_several_batches(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aseagi_tasks.stages.batches.MAX_REQUESTS", 2)
    for job_id in run.jobs:
        run.analyze(job_id)
    assert run.tend(wait_s=60)["submitted"] == 2  # enough for one
    assert run.tend() == {"answered": 2, "submitted": 1}
    assert run.tend()["answered"] == 1
    assert json.loads(json.dumps(sorted(run.went_on))) == list(run.jobs)
