"""Claude for rented machines: the key is added here; what a call costs is set aside before and settled after it.

A request for a message batch is looked at and paid for in the same way, and left in the bucket by this side, so that
no machine can change it afterwards; ``control.batches`` submits it.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx
from redis import Redis

from aseagi_tasks.analysis import ledger, prices
from aseagi_tasks.analysis.service import INTERVAL_S, PATIENCE_S, PAUSE_S
from aseagi_tasks.errors import Malformed, RateLimited
from aseagi_tasks.fleet.allowance import Allowance
from aseagi_tasks.notices import budget_key, notice
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
#: Who has no money left asks again after so long.
NO_MONEY_S = 300.0
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
        self._conf, self._records, self._tell = conf, records, tell
        self._allowance, self._pace = Allowance(redis, conf.gateway_claude_usd), Pace(redis, "claude")
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
        once = f"gateway:{uuid.uuid4().hex}"
        if (why := self._set_aside(instance_id, job_id, most_usd, once)) is not None:
            return refusal(429, why, {"retry-after": f"{NO_MONEY_S:g}"})
        headers = {"x-api-key": self._conf.anthropic_api_key.get_secret_value(), "anthropic-version": version}
        try:
            answer = self._client.post("/v1/messages", json=body, headers=headers)
        except httpx.HTTPError as exc:  # it may have been answered, and is paid for then: the money stays set aside
            return refusal(502, f"Claude did not answer: {type(exc).__name__}")
        if answer.status_code in (429, 529):
            self._pace.hold(_seconds(answer.headers.get("retry-after")))
        if answer.status_code in (401, 403):
            why = "ASEAGI_ANTHROPIC_API_KEY was not accepted by Anthropic."
            self._tell("NotSetUp:gateway", notice("waits", why=why))
        cost_usd, detail = self._cost(answer, body["model"], most_usd)
        self._records.settle(cost_usd, once=once, detail={**detail, "model": body["model"], "instance": instance_id})
        self._allowance.give_back(instance_id, most_usd - cost_usd)
        passed_on = {name: answer.headers[name] for name in ("request-id", "retry-after") if name in answer.headers}
        return Said(answer.status_code, answer.content, passed_on)

    def for_batch(self, instance_id: str, job_id: str, call: str, body: bytes) -> bytes:
        """A request for a message batch as it is left in the bucket; the most that it can cost is set aside.

        Args:
            call: names it within its job.
            body: as a worker would leave it, with ``params``.
        Raises:
            Malformed: it is not of our kind. RateLimited: there is no money for it now.
        """
        try:
            params = json.loads(body)["params"]
        except (ValueError, KeyError, TypeError) as exc:
            raise Malformed("put", "it is no request for a batch") from exc
        if (why := self._objection(params, instance_id)) is not None:
            raise Malformed("put", why)
        most_usd = prices.most_usd(params["model"], _most_tokens(params), params["max_tokens"], batch=True)
        if self._set_aside(instance_id, job_id, most_usd, ledger.once(job_id, call)) is not None:
            raise RateLimited("Claude", NO_MONEY_S)
        left = {"custom_id": f"{job_id}_{call}", "max_tokens": params["max_tokens"], "params": params}
        return json.dumps({**left, "instance": instance_id, "set_aside_usd": most_usd}).encode()

    def _set_aside(self, instance_id: str, job_id: str | None, usd: float, once: str) -> str | None:
        """Set money aside of the machine's and of the day's; why there is none."""
        if not self._allowance.take(instance_id, usd):
            return "This machine has spent what it may."
        daily = self._conf.claude_daily_usd
        if self._records.reserve(job_id, "claude", usd, once=once, daily_budget_usd=daily):
            return None
        self._allowance.give_back(instance_id, usd)
        if job_id is not None and self._records.job(job_id).refused_usd is not None:
            return "The cap of the document's bulk run leaves no room for it."
        setting = "ASEAGI_CLAUDE_DAILY_USD"
        key = budget_key(daily, setting, datetime.now(UTC))
        self._tell(key, notice("budget_spent", setting=setting, limit=daily))
        return "The day's budget is spent."

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
