"""What every analyst promises, and what the Claude analyst does with what its service says."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from PIL import Image

from aseagi_tasks.analysis import asking
from aseagi_tasks.analysis.analyst import Analyst, Errand
from aseagi_tasks.analysis.claude import ClaudeAnalyst
from aseagi_tasks.analysis.dialogue import Dialogue
from aseagi_tasks.analysis.prices import cost_usd
from aseagi_tasks.analysis.rules import RulesAnalyst
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.analysis.service import Service
from aseagi_tasks.documents import Box, Line, Page, Reading
from aseagi_tasks.errors import AnalystUnavailable, BudgetExceeded, ConfigError, NotSetUp, RateLimited, Refused
from aseagi_tasks.stages.analyze import analyze
from tests.servers.anthropic import KEY, LOST, AnthropicServer
from tests.servers.anthropic import tokens as server_tokens

ORDER = """UNITED STATES DISTRICT COURT
NORTHERN DISTRICT OF CALIFORNIA
Case No. 3:21-cv-01234-ABC
ORDER GRANTING MOTION TO COMPEL
The motion of the plaintiff is granted, and the answers that are asked for are due within ten days of
this order, by the rules of the court and for the reasons that were given in the hearing of the motion.
Dated: March 15, 2024"""


def reading(text: str) -> Reading:
    lines = tuple(
        Line(text=row, box=Box(300, 300 + 60 * n, 300 + 22 * len(row), 340 + 60 * n), confidence=1, source="tesseract")
        for n, row in enumerate(text.split("\n"))
        if row
    )
    page = Page(number=1, width_px=2550, height_px=3300, dpi=300, source="tesseract" if lines else "blank", lines=lines)
    return Reading(engine="test", pages=(page,))


def said(**fields: Any) -> dict[str, Any]:
    """A whole answer of the model; nothing found but what is given."""
    single = ("document_type", "document_date", "filed_date", "case_number", "court", "title", "summary", "relevancy")
    return {**dict.fromkeys((*single, "language")), "parties": [], "people": [], "key_dates": [], **fields}


ANSWER = said(
    document_type={"value": "order", "quote": "ORDER GRANTING MOTION TO COMPEL", "page": 1},
    case_number={"value": "3:21-cv-01234-ABC", "quote": "Case No. 3:21-cv-01234-ABC", "page": 1},
    document_date={"value": "2024-03-15", "quote": "Dated: March 15, 2024", "page": 1},
    court={"value": "A court that is not there", "quote": "Supreme Court of Atlantis", "page": 1},
    parties=[
        {"name": "the plaintiff", "role": "Plaintiff", "quote": "The motion of the plaintiff is granted", "page": 1}
    ],
    summary="An order grants a motion to compel.",
)


@pytest.fixture
def server() -> Iterator[AnthropicServer]:
    with AnthropicServer(lambda _body: ANSWER) as one:
        yield one


def claude_at(server: AnthropicServer, model: str = "claude-haiku-5-5", key: str = KEY) -> ClaudeAnalyst:
    return ClaudeAnalyst(Service(key, server.url, timeout_s=5), model)


@pytest.fixture
def claude(server: AnthropicServer) -> ClaudeAnalyst:
    return claude_at(server)


class Purse(Errand):
    """Remembers what it is told, and has so much money."""

    def __init__(self, usd: float = 10.0, one_usd: float = 10.0) -> None:
        self.usd, self.one_usd = usd, one_usd
        self.bound: float | None = None
        self.reserved: dict[str, float] = {}
        self.paid: dict[str, float] = {}
        self.said: list[Dialogue] = []

    def images(self, edges_px: Mapping[int, int]) -> dict[int, bytes]:
        out = io.BytesIO()
        Image.new("L", (952, 1232), 255).save(out, "JPEG")
        return dict.fromkeys(edges_px, out.getvalue())

    def allow(self, bound_usd: float) -> None:
        self.bound = bound_usd
        if bound_usd > self.one_usd:
            raise BudgetExceeded("a.pdf", bound_usd, self.one_usd, "ASEAGI_CLAUDE_DOCUMENT_USD")

    def reserve(self, key: str, usd: float) -> None:
        if key not in self.paid and sum(self.paid.values()) + sum(self.reserved.values()) + usd > self.usd:
            raise BudgetExceeded("a.pdf", usd, self.usd, "ASEAGI_CLAUDE_DAILY_USD")
        self.reserved[key] = usd

    def settle(self, key: str, usd: float, detail: Mapping[str, Any]) -> None:
        limit = self.reserved.pop(key, None)
        assert limit is None or usd <= limit
        if usd:
            self.paid[key] = usd

    def recall(self) -> Dialogue | None:
        return self.said[-1] if self.said else None

    def keep(self, dialogue: Dialogue) -> None:
        self.said.append(dialogue)


@pytest.fixture(params=["rules", "claude"])
def analyst(request: pytest.FixtureRequest) -> Analyst:
    if request.param == "rules":
        return RulesAnalyst()
    claude: Analyst = request.getfixturevalue("claude")
    return claude


def test_finds_type_date_and_number_with_their_place(analyst: Analyst) -> None:
    found = analyze(reading(ORDER), "order.pdf", analyst)
    facts = found.facts()
    assert (facts["document_type"], facts["document_date"]) == ("order", "2024-03-15")
    assert facts["case_number"] == "3:21-cv-01234-ABC"
    assert found.case_number and found.case_number.evidence[0].box == (300, 420, 300 + 22 * 26, 460)


def test_every_field_has_evidence_or_is_marked_unverified(analyst: Analyst) -> None:
    found = analyze(reading(ORDER), "order.pdf", analyst)
    facts = [getattr(found, name) for name in found.facts() if name not in ("parties", "people", "key_dates")]
    for fact in (*facts, *found.parties, *found.people, *found.key_dates):
        assert fact is None or fact.evidence or fact.status == "unverified"


def test_blank_document_has_no_facts_and_goes_to_nobody(analyst: Analyst, server: AnthropicServer) -> None:
    found = analyze(reading(""), "blank.pdf", analyst)
    assert not any(found.facts().values())
    assert found.cost_usd == 0
    assert server.requests == []


def test_analysis_survives_json(analyst: Analyst) -> None:
    found = analyze(reading(ORDER), "order.pdf", analyst)
    assert Analysis.model_validate_json(found.model_dump_json()) == found
    assert analyst.version


def test_quote_that_is_not_on_the_page_is_never_verified(claude: ClaudeAnalyst) -> None:
    found = claude.analyze(reading(ORDER), "order.pdf")
    assert found.court and found.court.status == "unverified"
    assert found.case_number and found.case_number.status == "verified"  # the rules find it too
    assert found.parties[0].status == "supported"


def test_cost_is_reckoned_from_usage(claude: ClaudeAnalyst) -> None:
    found = claude.analyze(reading(ORDER), "order.pdf")
    assert found.usage["input_tokens"] > 100
    assert found.cost_usd == pytest.approx(cost_usd("claude-haiku-5-5", found.usage))
    assert cost_usd("claude-haiku-5-5", {"input_tokens": 1_000_000}) == pytest.approx(0.50)
    assert cost_usd("claude-haiku-5-5", {"input_tokens": 100_000, "output_tokens": 100_000}) == pytest.approx(0.06)


def test_tokens_are_counted_and_the_most_it_can_cost_is_known_before_the_first_call(
    claude: ClaudeAnalyst, server: AnthropicServer
) -> None:
    purse = Purse()
    found = claude.analyze(reading(ORDER), "order.pdf", purse)
    (counted,), (asked,) = server.counted, server.requests
    assert counted["messages"] == asked["messages"]
    assert purse.bound and 0 < found.cost_usd < purse.bound == found.cost_bound_usd
    assert sum(purse.paid.values()) == pytest.approx(found.cost_usd)
    server.faults["count_tokens"] = [404]  # a proxy may not have it: then it is reckoned
    purse = Purse()
    assert claude.analyze(reading(ORDER), "order.pdf", purse).cost_usd < (purse.bound or 0)


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"])
def test_every_model_takes_what_is_asked(server: AnthropicServer, model: str) -> None:
    assert claude_at(server, model).analyze(reading(ORDER), "order.pdf").model == model


def test_instructions_are_read_from_the_cache_from_the_second_document_on(claude: ClaudeAnalyst) -> None:
    first, second = (claude.analyze(reading(ORDER), "order.pdf") for _ in range(2))
    assert first.usage["cache_creation_input_tokens"] == second.usage["cache_read_input_tokens"] > 512
    assert second.cost_usd < first.cost_usd


def long_reading(pages: int, letters: int = 3_000) -> Reading:
    page = reading(ORDER).pages[0]
    filler = tuple(
        Line(
            text="the court finds and orders " * (letters // 540),
            box=page.lines[0].box,
            confidence=1,
            source="tesseract",
        )
        for _ in range(20)
    )
    numbered = (
        page.model_copy(update={"number": n, "confidence": 0.95, "lines": (*page.lines, *filler)})
        for n in range(1, pages + 1)
    )
    return Reading(engine="test", pages=tuple(numbered))


def test_hundreds_of_pages_are_read_in_parts_and_merged_within_the_bound(
    claude: ClaudeAnalyst, server: AnthropicServer
) -> None:
    long, purse = long_reading(300), Purse()
    found = claude.analyze(long, "long.pdf", purse)
    *of_parts, merge = server.requests
    assert len(of_parts) == len(asking.parts(long)) == 5
    sent = "".join(block["text"] for body in of_parts for block in body["messages"][0]["content"] if "text" in block)
    assert [f'<page number="{n}">' in sent for n in range(2, 300)] == [True] * 298
    assert "Page 1:" in sent and "Page 300:" in sent  # as images
    assert merge["messages"][0]["content"][0]["text"].count("<part name=") == 5
    assert max(server_tokens(body) for body in server.requests) < 100_000  # where the price is five times higher
    assert found.cost_usd == pytest.approx(sum(purse.paid.values()))
    assert purse.bound and purse.bound == found.cost_bound_usd > found.cost_usd
    assert found.facts()["case_number"] == "3:21-cv-01234-ABC"
    with pytest.raises(BudgetExceeded, match="ASEAGI_CLAUDE_DOCUMENT_USD"):
        claude.analyze(long, "long.pdf", Purse(one_usd=purse.bound / 2))
    assert len(server.requests) == 6  # known before the first call


def test_restart_in_the_middle_asks_and_pays_for_nothing_twice(claude: ClaudeAnalyst, server: AnthropicServer) -> None:
    purse = Purse()
    server.faults["messages"] = [LOST, LOST, 0]
    answers = iter([ANSWER] * 20)
    server.answer = lambda _body: next(answers)
    for _ in range(3):
        with pytest.raises(AnalystUnavailable):
            claude.analyze(long_reading(300), "long.pdf", purse)
    assert len(purse.reserved) == 1  # of the same call, which may have been billed
    server.faults["messages"] = []
    whole = claude.analyze(long_reading(300), "long.pdf", purse)
    asked = len(server.requests)
    assert asked == 3 + 6
    assert len(server.counted) == 5 + 1  # the parts' only once
    assert claude.analyze(long_reading(300), "long.pdf", purse) == whole
    assert len(server.requests) == asked
    assert purse.reserved == {} and len(purse.paid) == 6


def test_calls_that_end_badly_are_settled_too(claude: ClaudeAnalyst, server: AnthropicServer) -> None:
    for stops, answer in ((["refusal"], ANSWER), ([], "never json"), (["max_tokens"] * 2, ANSWER)):
        purse, before = Purse(), len(server.requests)
        server.stop_reasons, server.answer = list(stops), lambda _body, answer=answer: answer
        with pytest.raises(Refused):
            claude.analyze(reading(ORDER), "order.pdf", purse)
        assert len(purse.paid) == len(server.requests) - before
        assert purse.reserved == {}
        with pytest.raises(Refused):  # again, it costs nothing
            claude.analyze(reading(ORDER), "order.pdf", purse)
        assert len(purse.paid) == len(server.requests) - before
    purse = Purse()
    server.faults["messages"] = [400]
    with pytest.raises(Refused):
        claude.analyze(reading(ORDER), "order.pdf", purse)
    assert purse.reserved == purse.paid == {}


def test_empty_purse_stops_before_the_call(claude: ClaudeAnalyst, server: AnthropicServer) -> None:
    with pytest.raises(BudgetExceeded, match="ASEAGI_CLAUDE_DAILY_USD"):
        claude.analyze(reading(ORDER), "order.pdf", Purse(usd=0.0001))
    assert server.requests == []


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (401, NotSetUp, "ASEAGI_ANTHROPIC_API_KEY"),
        (402, NotSetUp, "billing"),
        (403, NotSetUp, "ASEAGI_ANTHROPIC_API_KEY"),
        (404, NotSetUp, "ASEAGI_CLAUDE_MODEL"),
        (429, RateLimited, "retry after 7 s"),
        (500, AnalystUnavailable, "as scripted"),
        (529, RateLimited, "retry after 7 s"),
        (0, AnalystUnavailable, "claude-haiku-5-5"),
        (b"{broken", AnalystUnavailable, "no message"),
        (b"<html>a proxy's page</html>", AnalystUnavailable, "no message"),
        (b"{}", AnalystUnavailable, "no message"),
        (400, Refused, "as scripted"),
        (413, Refused, "as scripted"),
    ],
)
def test_service_errors_become_ours(
    claude: ClaudeAnalyst, server: AnthropicServer, status: int | bytes, error: type[Exception], words: str
) -> None:
    server.faults["messages"], server.retry_after = [status], "7"
    with pytest.raises(error, match=words):
        claude.analyze(reading(ORDER), "order.pdf")


def test_service_that_says_nothing_is_given_up(server: AnthropicServer) -> None:
    server.faults["messages"] = [None]
    with pytest.raises(AnalystUnavailable):
        ClaudeAnalyst(Service(KEY, server.url, timeout_s=0.2), "claude-haiku-5-5").analyze(reading(ORDER), "a")


def test_wrong_key_says_which_setting(server: AnthropicServer) -> None:
    with pytest.raises(NotSetUp, match="ASEAGI_ANTHROPIC_API_KEY"):
        claude_at(server, key="sk-wrong").analyze(reading(ORDER), "order.pdf")


def test_model_without_a_price_is_not_called() -> None:
    with pytest.raises(ConfigError, match="claude-haiku-5-5"):
        ClaudeAnalyst(Service(KEY), "claude-opus-4-20250514")


def test_cut_off_answer_is_asked_for_again_larger_and_both_calls_cost(
    claude: ClaudeAnalyst, server: AnthropicServer
) -> None:
    server.stop_reasons = ["max_tokens"]
    found = claude.analyze(reading(ORDER), "order.pdf")
    first, second = server.requests
    assert second["max_tokens"] > first["max_tokens"]
    prompt = sum(count for kind, count in found.usage.items() if kind != "output_tokens")
    assert prompt == server_tokens(first) + server_tokens(second)


def test_malformed_answer_is_repaired_by_one_more_call_at_most(claude: ClaudeAnalyst, server: AnthropicServer) -> None:
    answers = iter(["{not json", ANSWER])
    server.answer = lambda _body: next(answers)
    assert claude.analyze(reading(ORDER), "order.pdf").facts()["document_type"] == "order"
    server.answer = lambda _body: "never json"
    with pytest.raises(Refused, match="malformed twice"):
        claude.analyze(reading(ORDER), "order.pdf")
    assert len(server.requests) == 4


def test_refusal_is_final(claude: ClaudeAnalyst, server: AnthropicServer) -> None:
    server.stop_reasons = ["refusal"]
    with pytest.raises(Refused):
        claude.analyze(reading(ORDER), "order.pdf")
    assert len(server.requests) == 1
