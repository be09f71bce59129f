"""What was asked about one document and what came back so far. Kept, so that nothing is asked and paid twice. Pure.

A call that was cut off is asked again, larger; one that was malformed is asked once more; what fails then is final.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from aseagi_tasks.analysis import asking, prices
from aseagi_tasks.analysis.question import Answer
from aseagi_tasks.documents import Frozen
from aseagi_tasks.errors import Refused

Outcome = Literal["answered", "cut-off", "malformed", "refused", "rejected", "lost"]
MERGE = "merge"
#: Requests that a batch gave back unanswered (expired, cancelled, its own error) before one is asked directly.
MAX_LOST = 2
_TOKENS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


class Call(NamedTuple):
    """One request: about a part or all of them, the how-manieth about it, and how long the answer may be."""

    name: str
    number: int
    max_tokens: int

    @property
    def key(self) -> str:
        """Names it within its job."""
        return f"{self.name}-{self.number}"


class Exchange(Frozen):
    """A request and what came of it.

    Attributes:
        outcome: ``refused`` by the model, ``rejected`` by the service; a ``lost`` one was not answered and cost
            nothing.
        text: what was said; of the last two why.
    """

    name: str
    number: int
    outcome: Outcome
    text: str = ""
    usage: dict[str, int] = {}
    usd: float = 0.0
    batch: bool = False


class Dialogue(Frozen):
    """Everything about one document.

    Attributes:
        version: of the analyst that began it; another one begins anew.
        shown: the pages that go as images, without their text.
        tokens: of each part's first request, as the service counted them.
        bound_usd: what it can cost at most, reckoned before the first call.
    """

    version: str
    shown: tuple[int, ...]
    tokens: dict[str, int]
    bound_usd: float
    exchanges: tuple[Exchange, ...] = ()

    def of(self, name: str) -> list[Exchange]:
        """What was exchanged about a part."""
        return [one for one in self.exchanges if one.name == name]

    def answer(self, name: str) -> str | None:
        """The answer about a part, as JSON."""
        return next((one.text for one in self.exchanges if one.name == name and one.outcome == "answered"), None)

    def has(self, call: Call) -> bool:
        """Whether something came of a call."""
        return any((one.name, one.number) == (call.name, call.number) for one in self.exchanges)

    def plus(self, exchange: Exchange) -> Dialogue:
        """With one exchange more."""
        return self.model_copy(update={"exchanges": (*self.exchanges, exchange)})

    @property
    def usage(self) -> dict[str, int]:
        """Tokens by kind, over all exchanges."""
        total: dict[str, int] = {}
        for one in self.exchanges:
            for kind, count in one.usage.items():
                total[kind] = total.get(kind, 0) + count
        return total

    @property
    def usd(self) -> float:
        """What it cost so far."""
        return sum(one.usd for one in self.exchanges)


def exchanged(model: str, call: Call, message: Mapping[str, Any], *, batch: bool = False) -> Exchange:
    """What a message of the service means for the call that it answers.

    Args:
        message: as the Messages API gives it: ``content``, ``stop_reason``, ``usage``.
    """
    usage = {kind: int(message["usage"].get(kind) or 0) for kind in _TOKENS}
    text = "".join(block["text"] for block in message["content"] if block["type"] == "text")
    stop, outcome = message.get("stop_reason"), "answered"  # type: tuple[Any, Outcome]
    if stop == "refusal":
        outcome, text = "refused", ""
    elif stop in ("max_tokens", "model_context_window_exceeded"):
        outcome = "cut-off"
    else:
        try:
            Answer.model_validate_json(text)
        except ValidationError:
            outcome = "malformed"
    usd = prices.cost_usd(model, usage, batch=batch)
    return Exchange(name=call.name, number=call.number, outcome=outcome, text=text, usage=usage, usd=usd, batch=batch)


def open_calls(model: str, parts: Sequence[asking.Part], dialogue: Dialogue) -> list[Call]:
    """What is still to be asked; nothing once there is an answer for the whole document.

    Raises:
        Refused: the model refused, or answered a call badly twice.
    """
    calls = [call for part in parts if (call := _next(model, dialogue.of(part.name), part.name))]
    if calls or len(parts) == 1:
        return calls
    last = _next(model, dialogue.of(MERGE), MERGE)
    return [last] if last else []


def final_answer(parts: Sequence[asking.Part], dialogue: Dialogue) -> Answer:
    """The answer for the whole document, once no call is open."""
    text = dialogue.answer(parts[0].name if len(parts) == 1 else MERGE)
    assert text is not None  # open_calls had none left
    return Answer.model_validate_json(text)


def wants_direct(dialogue: Dialogue, call: Call) -> bool:
    """Whether batches have lost it often enough."""
    return sum(one.outcome == "lost" for one in dialogue.of(call.name)) >= MAX_LOST


def _next(model: str, before: Sequence[Exchange], name: str) -> Call | None:
    outcomes = [one.outcome for one in before]
    if "answered" in outcomes:
        return None
    if "refused" in outcomes:
        raise Refused(model, "its safety rules do not let it read this.")
    if "rejected" in outcomes:
        raise Refused(model, before[outcomes.index("rejected")].text)
    if outcomes.count("cut-off") + outcomes.count("malformed") > 1:
        raise Refused(model, "its answer was cut off or malformed twice.")
    return Call(name, len(before) + 1, asking.LARGER if "cut-off" in outcomes else asking.MAX_TOKENS)
