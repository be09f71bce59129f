"""The Claude analyst: pages to the model, facts with quotes back, every quote looked up.

    question   instructions and schema           asking     which pages, as what, in how many calls
    dialogue   what was asked and answered        answers    facts, held against the pages and the rules
    prices     what it costs                      service    the way to Anthropic

What the document says is data: it is fenced, and the instructions say so. Money is set aside before a call and settled
after it, however it ended; what was answered is kept at once, so that a restart asks and pays for nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from aseagi_tasks.analysis import asking, dialogue, prices, question
from aseagi_tasks.analysis.analyst import Errand
from aseagi_tasks.analysis.answers import analysis_of
from aseagi_tasks.analysis.dialogue import Call, Dialogue
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.analysis.service import Service
from aseagi_tasks.documents import Reading
from aseagi_tasks.errors import AnalystUnavailable, BudgetExceeded


class ClaudeAnalyst:
    """Implements ``Analyst`` with Anthropic's Messages API, and ``requests`` of it with Message Batches.

    Args:
        service: the way to it.
        model: one whose price is known.
    """

    name: Literal["claude"] = "claude"

    def __init__(self, service: Service, model: str) -> None:
        self.service = service
        self.model = prices.check(model)
        self.version = f"{model} prompt {question.version()}"

    def analyze(self, reading: Reading, name: str, errand: Errand | None = None) -> Analysis:
        """Ask what is not answered yet, part by part; facts when all of it is."""
        errand = errand or Errand()
        parts, said = self._begin(reading, errand)
        while calls := dialogue.open_calls(self.model, parts, said):
            for call in calls:
                said = self._ask(call, parts, said, errand)
        return self._conclude(reading, parts, said)

    def requests(self, reading: Reading, errand: Errand) -> list[tuple[Call, dict[str, Any]]]:
        """What is to be asked next, for a batch; nothing if all is answered. Money for each is set aside.

        Calls that batches have lost too often are made directly, here and now.
        """
        parts, said = self._begin(reading, errand, batch=True)
        asked: list[tuple[Call, dict[str, Any]]] = []
        while not asked and (calls := dialogue.open_calls(self.model, parts, said)):
            for call in calls:
                if dialogue.wants_direct(said, call):
                    said = self._ask(call, parts, said, errand)
                    continue
                try:
                    request = self._paid_for(call, parts, said, errand, batch=True)
                except BudgetExceeded:  # none goes without the others, which another document may go with
                    for before, _ in asked:
                        errand.free(before.key)
                    raise
                asked.append((call, asking.uncached(request)))
        return asked

    def _begin(
        self, reading: Reading, errand: Errand, *, batch: bool = False
    ) -> tuple[Sequence[asking.Part], Dialogue]:
        """The parts, and what was said about them; before the first call, what all can cost at most."""
        parts, said = asking.parts(reading), errand.recall()
        if said is not None and said.version == self.version:
            for one in said.exchanges:  # the last may not have been settled
                errand.settle(f"{one.name}-{one.number}", one.usd, {"model": self.model, **one.usage})
            return parts, said
        tokens: dict[str, int] = {}
        shown: list[int] = []
        for part in parts:
            images = errand.images(part.shown)
            shown += images
            request = asking.request(self.model, part, images, len(parts), asking.MAX_TOKENS)
            tokens[part.name] = self._count(request, part.tokens + asking.frame_tokens())
        bound = asking.bound_usd(self.model, tokens, batch=batch)
        errand.allow(bound)
        said = Dialogue(version=self.version, shown=tuple(shown), tokens=tokens, bound_usd=bound)
        errand.keep(said)
        return parts, said

    def _ask(self, call: Call, parts: Sequence[asking.Part], said: Dialogue, errand: Errand) -> Dialogue:
        request = self._paid_for(call, parts, said, errand)
        try:
            message = self.service.ask(request)
        except AnalystUnavailable:
            raise  # it may have been done and billed: the money stays set aside, for the next try
        except Exception:
            errand.settle(call.key, 0.0, {})
            raise
        exchange = dialogue.exchanged(self.model, call, message)
        said = said.plus(exchange)
        errand.keep(said)
        errand.settle(call.key, exchange.usd, {"model": self.model, **exchange.usage})
        return said

    def _paid_for(
        self, call: Call, parts: Sequence[asking.Part], said: Dialogue, errand: Errand, *, batch: bool = False
    ) -> dict[str, Any]:
        """A call's request, once the money for it is set aside; where there is none, no page is rendered."""
        request, tokens = None, said.tokens.get(call.name)
        if tokens is None:  # of the answers that are merged: they have been counted by nobody
            request = self._request(call, parts, said, errand)
            tokens = self._count(request, asking.frame_tokens() + len(parts) * asking.LARGER)
        errand.reserve(call.key, prices.most_usd(self.model, tokens, call.max_tokens, batch=batch))
        return request or self._request(call, parts, said, errand)

    def _request(self, call: Call, parts: Sequence[asking.Part], said: Dialogue, errand: Errand) -> dict[str, Any]:
        if call.name == dialogue.MERGE:
            answers = {part.name: said.answer(part.name) or "" for part in parts}
            return asking.merge_request(self.model, answers, call.max_tokens)
        part = next(part for part in parts if part.name == call.name)
        return asking.request(self.model, part, errand.images(part.shown), len(parts), call.max_tokens)

    def _count(self, request: Mapping[str, Any], reckoned: int) -> int:
        """As the service counts; what we reckon where it has no such endpoint (a proxy)."""
        counted = self.service.count(request)
        return reckoned if counted is None else counted

    def _conclude(self, reading: Reading, parts: Sequence[asking.Part], said: Dialogue) -> Analysis:
        found = analysis_of(dialogue.final_answer(parts, said), reading, said.shown)
        return found.model_copy(
            update={
                "model": self.model,
                "prompt_version": question.version(),
                "usage": said.usage,
                "cost_usd": said.usd,
                "cost_bound_usd": said.bound_usd,
            }
        )
