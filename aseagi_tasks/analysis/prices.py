"""What Claude costs, and what of its models a request must respect. Data with its date and source. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aseagi_tasks.errors import ConfigError

#: When the rows below were last held against the source.
AS_OF = "2026-10-24"
SOURCE = "https://platform.claude.com/docs/en/about-claude/pricing"


class Price(NamedTuple):
    """One model, for prompts up to ``up_to_tokens``; a longer one costs what the model's next row says, all of it."""

    model: str
    up_to_tokens: int | None
    input_usd: float
    output_usd: float


class Model(NamedTuple):
    """What else differs between models.

    Attributes:
        cache_read: part of the input price for a token that is read from the prompt cache.
        cacheable_tokens: a shorter beginning of a prompt is not cached (no error, no cost). Where no source names the
            model, the larger of its forerunners'.
        always_thinks: thinking cannot be switched off.
    """

    cache_read: float
    cacheable_tokens: int
    always_thinks: bool


#: USD per million tokens.
PRICES = (
    Price("claude-haiku-5-5", 100_000, 0.10, 0.50),
    Price("claude-haiku-5-5", None, 0.50, 2.50),
    Price("claude-sonnet-5-5", None, 2.0, 10.0),
    Price("claude-opus-5-5", None, 4.0, 20.0),
)
MODELS = {
    "claude-haiku-5-5": Model(0.10, 512, always_thinks=False),
    "claude-sonnet-5-5": Model(0.05, 1_024, always_thinks=False),
    "claude-opus-5-5": Model(0.05, 1_024, always_thinks=True),
}
#: Part of the input price for a token that is written to the cache for five minutes.
CACHE_WRITE = 1.25
#: Part of every price in the Message Batches API.
BATCH = 0.5


def check(model: str) -> str:
    """The model's name, if its price is known: nothing is called whose cost cannot be told.

    Raises:
        ConfigError
    """
    if model not in MODELS:
        raise ConfigError(
            "ASEAGI_CLAUDE_MODEL", f"{model!r} has no known price.", f"Known: {', '.join(sorted(MODELS))}."
        )
    return model


def cost_usd(model: str, usage: Mapping[str, int], *, batch: bool = False) -> float:
    """What a call cost.

    Args:
        usage: ``input_tokens``, ``output_tokens``, ``cache_read_input_tokens``, ``cache_creation_input_tokens``.
        batch: whether it was made through the Message Batches API.
    """
    fresh, read, written = (
        usage.get(kind, 0) for kind in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    price = _price(model, fresh + read + written)
    tokens = price.input_usd * (fresh + MODELS[model].cache_read * read + CACHE_WRITE * written)
    whole = (tokens + price.output_usd * usage.get("output_tokens", 0)) / 1_000_000
    return whole * BATCH if batch else whole


def most_usd(model: str, input_tokens: int, max_tokens: int, *, batch: bool = False) -> float:
    """What a call can cost at most: everything written to the cache, and an answer as long as is allowed."""
    return cost_usd(model, {"cache_creation_input_tokens": input_tokens, "output_tokens": max_tokens}, batch=batch)


def _price(model: str, prompt_tokens: int) -> Price:
    rows = (row for row in PRICES if row.model == model)
    return next(row for row in rows if row.up_to_tokens is None or prompt_tokens <= row.up_to_tokens)
