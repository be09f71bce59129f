"""What Claude costs. Data with its date and source, not code: a price that changes is a row that changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from aseagi_tasks.errors import ConfigError

#: Vendor's price page, October 2026; USD per million tokens.
AS_OF = "2026-10"


class Price(NamedTuple):
    """One model, for prompts up to ``up_to_tokens``; longer ones cost what the next row of the model says."""

    model: str
    up_to_tokens: int | None
    input_usd: float
    output_usd: float


PRICES = (
    Price("claude-haiku-5-5", 100_000, 0.10, 0.50),
    Price("claude-haiku-5-5", None, 0.50, 2.50),
    Price("claude-sonnet-5-5", None, 2.0, 10.0),
    Price("claude-opus-5-5", None, 4.0, 20.0),
)
#: Parts of the input price: tokens read from the prompt cache, and written to it.
CACHE_READ, CACHE_WRITE = 0.1, 1.25


def check(model: str) -> str:
    """The model's name, if its price is known: nothing is called whose cost cannot be told.

    Raises:
        ConfigError
    """
    known = sorted({price.model for price in PRICES})
    if model not in known:
        raise ConfigError("ASEAGI_CLAUDE_MODEL", f"{model!r} has no known price.", f"Known: {', '.join(known)}.")
    return model


def cost_usd(model: str, usage: Mapping[str, int]) -> float:
    """What a call cost.

    Args:
        usage: ``input_tokens``, ``output_tokens``, ``cache_read_input_tokens``, ``cache_creation_input_tokens``.
    """
    fresh, read, written = (
        usage.get(kind, 0) for kind in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    )
    prompt = fresh + read + written
    price = next(
        row for row in PRICES if row.model == model and (row.up_to_tokens is None or prompt <= row.up_to_tokens)
    )
    tokens = price.input_usd * (fresh + CACHE_READ * read + CACHE_WRITE * written)
    return (tokens + price.output_usd * usage.get("output_tokens", 0)) / 1_000_000
