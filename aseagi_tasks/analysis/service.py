"""The way to Anthropic: one client, its errors in our words, and one rhythm for all workers."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NamedTuple

from redis.exceptions import RedisError

from aseagi_tasks.errors import AnalystUnavailable, NotSetUp, RateLimited, Refused
from aseagi_tasks.stores.pace import Pace

#: Calls of all workers begin at least so far apart, so that not all of them come at once when a pause is over.
INTERVAL_S = 0.05
#: A longer pause is not slept through in a worker: the task comes back when it is over.
PATIENCE_S = 5.0
#: Where the service asks for a pause and does not say how long.
PAUSE_S = 10.0
_KEY, _MODEL = "ASEAGI_ANTHROPIC_API_KEY", "ASEAGI_CLAUDE_MODEL"


class SentBatch(NamedTuple):
    """A message batch as the service lists it."""

    service_id: str
    has_ended: bool
    requests: int


class Service:
    """Anthropic's API.

    Args:
        api_key: of the account.
        base_url: instead of Anthropic's.
        pace: shared by every worker: a pause that the service asks one for is kept by all.
        timeout_s: for one call; the task is tried again after it.
    """

    def __init__(
        self, api_key: str, base_url: str | None = None, *, pace: Pace | None = None, timeout_s: float = 180.0
    ) -> None:
        import anthropic

        # no retries of its own: they would sleep here, each worker for itself
        self._client = anthropic.Anthropic(api_key=api_key, base_url=base_url, timeout=timeout_s, max_retries=0)
        self._pace = pace

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One call of the Messages API.

        Returns:
            The message as JSON values: ``content``, ``stop_reason``, ``usage``.
        Raises:
            RateLimited, AnalystUnavailable, NotSetUp: later. Refused: never.
        """
        import anthropic

        # not messages.parse: it raises on an answer that is no such JSON, and what that call cost would be lost
        with self._said(str(request["model"])):
            message = self._client.messages.create(**request)
        if not isinstance(message, anthropic.types.Message) or not message.usage or message.content is None:
            raise AnalystUnavailable(request["model"], "its answer was no message.")
        return message.model_dump(mode="json")

    def count(self, request: Mapping[str, Any]) -> int | None:
        """Tokens of a request's prompt; None where there is no such endpoint. Free, and limited like calls."""
        import anthropic

        counted = {name: value for name, value in request.items() if name != "max_tokens"}
        try:
            with self._said(str(request["model"])):
                return int(self._client.messages.count_tokens(**counted).input_tokens)
        except NotSetUp as exc:
            if isinstance(exc.__cause__, anthropic.NotFoundError):
                return None
            raise

    def send_batch(self, requests: Iterable[Mapping[str, Any]]) -> str:
        """Submit a message batch; returns its id.

        Raises:
            AnalystUnavailable: it may have been made nevertheless.
        """
        with self._said("Message Batches"):
            return self._client.messages.batches.create(requests=list(requests)).id  # type: ignore[arg-type]

    def batch(self, service_id: str) -> SentBatch | None:
        """How a batch stands; None if there is none of this id."""
        import anthropic

        try:
            with self._said("Message Batches"):
                return _sent(self._client.messages.batches.retrieve(service_id))
        except NotSetUp as exc:
            if isinstance(exc.__cause__, anthropic.NotFoundError):
                return None
            raise

    def batches_since(self, moment: datetime) -> list[SentBatch]:
        """Batches that were made since then, newest first."""
        found = []
        with self._said("Message Batches"):
            for one in self._client.messages.batches.list(limit=100):
                if one.created_at < moment:
                    break
                found.append(_sent(one))
        return found

    def batch_results(self, batch_id: str) -> Iterator[dict[str, Any]]:
        """Results as they come, in no order: ``custom_id`` and ``result``, as JSON values."""
        with self._said("Message Batches"):
            for line in self._client.messages.batches.results(batch_id):
                yield {"custom_id": line.custom_id, "result": line.result.model_dump(mode="json")}

    # -- inside

    @contextmanager
    def _said(self, what: str) -> Iterator[None]:
        """Wait for our turn; the client's errors in our words."""
        import anthropic

        self._wait()
        try:
            yield
        except (anthropic.AuthenticationError, anthropic.PermissionDeniedError) as exc:
            raise NotSetUp(_KEY, "was not accepted by Anthropic.", "Check the key.") from exc
        except anthropic.PaymentRequiredError as exc:
            raise NotSetUp(_KEY, _words(exc) + ".", "Check the account's billing.") from exc
        except anthropic.NotFoundError as exc:
            raise NotSetUp(_MODEL, f"{what!r} is not known there.", "Name another.") from exc
        except (anthropic.RateLimitError, anthropic.OverloadedError) as exc:
            raise RateLimited("Claude", self._hold(exc)) from exc
        except (
            anthropic.APIConnectionError,
            anthropic.InternalServerError,
            anthropic.RequestTimeoutError,
            anthropic.ConflictError,
        ) as exc:
            raise AnalystUnavailable(what, _words(exc)) from exc
        except anthropic.APIStatusError as exc:
            if "credit balance" in _words(exc):  # comes as a 400, and is no document's fault
                raise NotSetUp(_KEY, _words(exc), "Check the account's billing.") from exc
            raise Refused(what, _words(exc)) from exc
        except ValueError as exc:  # a body that is no JSON: something between us and the service answered
            raise AnalystUnavailable(what, "its answer was no message.") from exc

    def _wait(self) -> None:
        """Until this call's turn.

        Raises:
            RateLimited: that is too long to sleep through.
        """
        wait = self._paced(lambda pace: pace.take(INTERVAL_S, within_s=PATIENCE_S))
        if wait > PATIENCE_S:
            raise RateLimited("Claude", wait)
        time.sleep(wait)

    def _hold(self, exc: Any) -> float:
        """A pause for all workers, as long as the service says; how long that is, in seconds."""
        asked = _retry_after(exc) or PAUSE_S * (0.5 + random.random())
        self._paced(lambda pace: pace.hold(asked))
        return asked

    def _paced(self, act: Callable[[Pace], float]) -> float:
        if self._pace is None:
            return 0.0
        try:
            return act(self._pace)
        except RedisError:  # the rhythm is lost; the work is not
            return 0.0


def _sent(batch: Any) -> SentBatch:
    return SentBatch(batch.id, batch.processing_status == "ended", sum(batch.request_counts.model_dump().values()))


def _retry_after(exc: Any) -> float:
    try:
        return max(0.0, float(exc.response.headers.get("retry-after", 0)))
    except ValueError:
        return 0.0


def _words(exc: Any) -> str:
    body = getattr(exc, "body", None)
    error = body.get("error") if isinstance(body, dict) else None
    return str(error.get("message")) if isinstance(error, dict) else type(exc).__name__
