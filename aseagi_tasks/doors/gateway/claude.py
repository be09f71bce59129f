"""Claude for rented machines: the key is added here; what a call costs is set aside before and settled after it."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
from redis import Redis

from aseagi_tasks.analysis import prices
from aseagi_tasks.analysis.service import INTERVAL_S, PATIENCE_S, PAUSE_S
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.pace import Pace
from aseagi_tasks.stores.records import Records

ANTHROPIC = "https://api.anthropic.com"
TIMEOUT_S = 180.0
MAX_TOKENS = 16_000
#: What a request may hold: no tools, no stream, nothing that costs otherwise than by its tokens.
FIELDS = {"model", "max_tokens", "system", "messages", "output_config", "thinking"}
#: More than any picture of 1568 pixels, of which each square of 28 is a token.
IMAGE_TOKENS = 3_200
#: What was spent through a machine is kept for so long.
_KEPT_S = 2 * 86_400
#: Add to what a machine has spent, if it stays below its cap.
_SPEND = """
local spent = tonumber(redis.call('GET', KEYS[1]) or 0) + tonumber(ARGV[1])
if spent > tonumber(ARGV[2]) then return 0 end
redis.call('SET', KEYS[1], tostring(spent), 'EX', ARGV[3])
return 1
"""
_ERRORS = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error", 502: "api_error"}


class Said(NamedTuple):
    """An answer of Anthropic's API, or one in its form."""

    status: int
    body: bytes | dict[str, Any]
    headers: dict[str, str] = {}  # a tuple's default, never changed


class ClaudeProxy:
    """Calls of ``POST /v1/messages`` for machines.

    Args:
        conf: key, model, and what a day and a machine may cost.
        tell: told to operators, once under a key.
    """

    def __init__(
        self,
        conf: Settings,
        records: Records,
        redis: Redis,
        tell: Callable[[str, str], object] = lambda _key, _message: None,
    ) -> None:
        self._conf, self._records, self._redis, self._tell = conf, records, redis, tell
        self._pace = Pace(redis, "claude")
        self._client = httpx.Client(base_url=conf.anthropic_base_url or ANTHROPIC, timeout=TIMEOUT_S)

    def ask(self, instance_id: str, job_id: str | None, body: Any, version: str) -> Said:
        """Ask, if the request is of our kind and there is money for the most that it can cost.

        Args:
            job_id: whose cost it is.
            version: of the API, as the client says.
        """
        if self._conf.anthropic_api_key is None:
            return refusal(401, "There is no key here.")
        if (why := self._objection(body, instance_id)) is not None:
            return refusal(400, why)
        if (wait_s := self._pace.take(INTERVAL_S, within_s=PATIENCE_S)) > PATIENCE_S:
            return refusal(429, "All wait.", {"retry-after": f"{wait_s:.1f}"})
        time.sleep(wait_s)
        most_usd = prices.most_usd(body["model"], _most_tokens(body), body["max_tokens"])
        once, name = f"gateway:{uuid.uuid4().hex}", f"aseagi:gateway:claude_usd:{instance_id}"
        if not self._redis.eval(_SPEND, 1, name, str(most_usd), str(self._conf.gateway_claude_usd), str(_KEPT_S)):
            return refusal(429, "This machine has spent what it may.", {"retry-after": "300"})
        daily = self._conf.claude_daily_usd
        if not self._records.reserve(job_id, "claude", most_usd, once=once, daily_budget_usd=daily):
            self._redis.incrbyfloat(name, -most_usd)
            words = f"Documents wait. The day's budget for Claude (ASEAGI_CLAUDE_DAILY_USD={daily}) is spent."
            self._tell(f"BudgetExceeded:{daily}:ASEAGI_CLAUDE_DAILY_USD", words)
            return refusal(429, "The day's budget is spent.", {"retry-after": "300"})
        headers = {"x-api-key": self._conf.anthropic_api_key.get_secret_value(), "anthropic-version": version}
        try:
            answer = self._client.post("/v1/messages", json=body, headers=headers)
        except httpx.HTTPError as exc:  # it may have been answered, and is paid for then: the money stays set aside
            return refusal(502, f"Claude did not answer: {type(exc).__name__}")
        if answer.status_code in (429, 529):
            self._pace.hold(_seconds(answer.headers.get("retry-after")))
        if answer.status_code in (401, 403):
            self._tell("NotSetUp:gateway", "Documents wait. ASEAGI_ANTHROPIC_API_KEY was not accepted by Anthropic.")
        cost_usd, detail = self._cost(answer, body["model"], most_usd)
        self._records.settle(cost_usd, once=once, detail={**detail, "model": body["model"], "instance": instance_id})
        self._redis.incrbyfloat(name, cost_usd - most_usd)
        passed_on = {name: answer.headers[name] for name in ("request-id", "retry-after") if name in answer.headers}
        return Said(answer.status_code, answer.content, passed_on)

    def _objection(self, body: Any, instance_id: str) -> str | None:
        """Why a request is not passed on."""
        if not isinstance(body, dict) or not set(body) <= FIELDS or not isinstance(body.get("messages"), list):
            return f"Only these fields are passed on: {', '.join(sorted(FIELDS))}."
        if body.get("model") != self._conf.claude_model and body.get("model") not in self._asked(instance_id):
            return f"Only {self._conf.claude_model} is passed on."
        if body.get("thinking", {"type": "disabled"}) != {"type": "disabled"}:
            return "Thinking is disabled."
        tokens = body.get("max_tokens")
        if not isinstance(tokens, int) or isinstance(tokens, bool) or not 0 < tokens <= MAX_TOKENS:
            return f"max_tokens is 1 to {MAX_TOKENS}."
        return None

    def _asked(self, instance_id: str) -> set[str]:
        """Models that jobs of this machine are to be analyzed by instead of the settings'."""
        given = self._records.given_jobs(instance_id, datetime.now(UTC))
        return {job.analyst for job in given if job.analyst in prices.MODELS}

    def _cost(self, answer: httpx.Response, model: str, most_usd: float) -> tuple[float, dict[str, Any]]:
        """What an answer cost, and its tokens; an error costs nothing, an answer that cannot be read the most."""
        if not answer.is_success:
            return 0.0, {}
        try:
            usage = {kind: count for kind, count in answer.json()["usage"].items() if isinstance(count, int)}
            return prices.cost_usd(model, usage), usage
        except (ValueError, KeyError, TypeError, AttributeError):
            return most_usd, {}


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> Said:
    """An error in the form of Anthropic's."""
    return Said(status, {"type": "error", "error": {"type": _ERRORS[status], "message": message}}, headers or {})


def _seconds(said: str | None) -> float:
    try:
        return max(0.0, float(said or PAUSE_S))
    except ValueError:
        return PAUSE_S


def _most_tokens(value: Any) -> int:
    """A bound: no token is shorter than a byte, and a picture's data is not read as text."""
    if isinstance(value, dict):
        if value.get("type") == "image":
            return IMAGE_TOKENS
        return sum(map(_most_tokens, value.values())) + 8 * len(value)
    if isinstance(value, list):
        return sum(map(_most_tokens, value)) + 8
    return len(str(value).encode(errors="replace"))
