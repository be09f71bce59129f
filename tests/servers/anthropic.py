"""A local server that speaks Anthropic's API as the client uses it: messages, token counting and message batches.

Headers, errors and bodies follow the API reference (Messages, Count tokens, Message Batches, Errors): a key
(``x-api-key``, or a bearer token as the client sends it since 2.0) and ``anthropic-version`` are required, errors are
``{"type": "error", "error": {"type", "message"}, "request_id"}``, every answer has a ``request-id`` header, structured
output comes as one text block of JSON, and a batch's results are lines of JSON in no order. Streaming is not spoken:
nothing here uses it.
"""

from __future__ import annotations

import base64
import io
import json
import math
import random
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

KEY = "sk-ant-test"
Answer = dict[str, Any] | str
#: An answer with a status, with a body as it is; no answer: at once, never, or after the work was done.
Fault = int | bytes | None | str
LOST = "done, and its answer lost"
ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}
MODELS = {"claude-haiku-5-5": 512, "claude-sonnet-5-5": 1_024, "claude-opus-5-5": 1_024}


class AnthropicServer:
    """Answers by script.

    Attributes:
        answer: what the model says to a request's parameters: a JSON object, or text as it is.
        faults: what to do first, by endpoint (``messages``, ``count_tokens``, ``batches``, ``results``), one for each
            request: answer with a status or with a body as it is; 0 closes the connection, None says nothing until the
            server stops, LOST does the work and closes it then.
        key: the one that is accepted.
        limited_until: by ``time.monotonic()``; before it everything that is asked for is answered with 429.
        limited: how many were.
        stop_reasons: of the next answers; ``end_turn`` when used up.
        requests: parameters of the messages that were asked for, also of those that were answered with a fault.
        counted: those whose tokens were counted.
        batches: by id, with their requests; they end at once unless ``holds`` is set.
        outcome: of a request of a batch, by its custom id, instead of its answer: ``{"type": "expired"}`` for instance.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self.answer = answer
        self.key = KEY
        self.faults: dict[str, list[Fault]] = {"messages": [], "count_tokens": [], "batches": [], "results": []}
        self.limited_until, self.limited = 0.0, 0
        self.stop_reasons: list[str] = []
        self.retry_after: str | None = None
        self.requests: list[dict[str, Any]] = []
        self.counted: list[dict[str, Any]] = []
        self.batches: dict[str, dict[str, Any]] = {}
        self.holds = False
        self.outcome: Callable[[str], dict[str, Any] | None] = lambda _custom_id: None
        self._cached: set[str] = set()
        self._stopping = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner._serve(self)

            def do_GET(self) -> None:
                owner._serve(self)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> AnthropicServer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def end(self, batch_id: str) -> None:
        """End a batch that is held."""
        self.batches[batch_id]["ended_at"] = _now()

    # -- inside

    def _serve(self, http: BaseHTTPRequestHandler) -> None:
        length = int(http.headers.get("content-length") or 0)
        body = json.loads(http.rfile.read(length)) if length else {}
        path = http.path.partition("?")[0]
        endpoint = next((name for name in ("count_tokens", "results", "batches") if name in path), "messages")
        if endpoint == "messages" and http.command == "POST":
            self.requests.append(body)
        given = http.headers.get("x-api-key") or http.headers.get("authorization", "").removeprefix("Bearer ")
        if given != self.key:
            return _send(http, 401, _error(401, "invalid API key"))
        if not http.headers.get("anthropic-version"):
            return _send(http, 400, _error(400, "anthropic-version: header is required"))
        if http.command == "POST" and time.monotonic() < self.limited_until:
            self.limited += 1
            return _send(http, 429, _error(429, "as scripted"), {"retry-after": self.retry_after or "5"})
        if self.faults[endpoint] and not (endpoint == "batches" and http.command == "GET"):
            fault = self.faults[endpoint].pop(0)
            if fault is None:
                self._stopping.wait(60)
            if isinstance(fault, bytes):
                return _send_bytes(http, 200, fault)
            if not fault:
                http.close_connection = True
                return None
            if isinstance(fault, int):
                headers = {"retry-after": self.retry_after} if self.retry_after else {}
                return _send(http, fault, _error(fault, "as scripted"), headers)
            self._answer(http.command, path, body)
            http.close_connection = True
            return None
        status, answer = self._answer(http.command, path, body)
        if isinstance(answer, bytes):
            return _send_bytes(http, status, answer, {"content-type": "application/binary"})
        return _send(http, status, answer)

    def _answer(self, verb: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any] | bytes]:
        found = re.fullmatch(r"/v1/messages/batches/([\w-]+)(/results)?", path)
        if (verb, path) == ("POST", "/v1/messages"):
            problem = _problem(body, ("model", "max_tokens", "messages"))
            return (400, _error(400, problem)) if problem else self._message(body)
        if (verb, path) == ("POST", "/v1/messages/count_tokens"):
            self.counted.append(body)
            problem = _problem(body, ("model", "messages")) or ("max_tokens: Extra inputs" * ("max_tokens" in body))
            return (400, _error(400, problem)) if problem else (200, {"input_tokens": tokens(body)})
        if (verb, path) == ("POST", "/v1/messages/batches"):
            return self._create(body.get("requests") or [])
        if (verb, path) == ("GET", "/v1/messages/batches"):
            rows = [self._shown(batch_id) for batch_id in reversed(self.batches)]
            ends = {"first_id": rows[0]["id"], "last_id": rows[-1]["id"]} if rows else {}
            return 200, {"data": rows, "has_more": False, "first_id": None, "last_id": None, **ends}
        if verb == "GET" and found and found[1] in self.batches:
            if not found[2]:
                return 200, self._shown(found[1])
            return 200, self._results(found[1])
        return 404, _error(404, "Not found")

    def _message(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if body["model"] not in MODELS:
            return 404, _error(404, f"model: {body['model']}")
        said = self.answer(body)
        text = said if isinstance(said, str) else json.dumps(said)
        prompt, prefix = tokens(body), json.dumps([body["model"], body.get("system"), body.get("output_config")])
        cached = 0
        if "cache_control" in json.dumps(body.get("system")):
            cached = tokens({**body, "messages": []})
            cached = cached if cached >= MODELS[body["model"]] else 0
        read = cached if prefix in self._cached else 0
        self._cached |= {prefix} if cached else set()
        usage = {"input_tokens": prompt - cached, "output_tokens": math.ceil(len(text) / 3)}
        usage |= {"cache_creation_input_tokens": cached - read, "cache_read_input_tokens": read}
        stop = self.stop_reasons.pop(0) if self.stop_reasons else "end_turn"
        content = [] if stop == "refusal" else [{"type": "text", "text": text}]
        message = {"id": f"msg_{random.getrandbits(60)}", "type": "message", "role": "assistant"}
        return 200, {
            **message,
            **{"model": body["model"], "content": content, "stop_reason": stop, "stop_sequence": None, "usage": usage},
        }

    def _create(self, requests: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        ids = [str(request.get("custom_id")) for request in requests]
        if not ids or len(set(ids)) < len(ids) or not all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in ids):
            return 400, _error(400, "requests: custom_id: must be unique, of 1 to 64 letters, digits, - and _")
        if len(ids) > 100_000 or len(json.dumps(requests)) > 256_000_000:
            return 413, _error(413, "batch is too large")
        batch_id = f"msgbatch_{len(self.batches):03}"
        self.batches[batch_id] = {"requests": requests, "created_at": _now(), "ended_at": None}
        if not self.holds:
            self.end(batch_id)
        return 200, self._shown(batch_id)

    def _shown(self, batch_id: str) -> dict[str, Any]:
        batch = self.batches[batch_id]
        ended, number = batch["ended_at"], len(batch["requests"])
        counts = dict.fromkeys(("processing", "succeeded", "errored", "canceled", "expired"), 0)
        counts["succeeded" if ended else "processing"] = number
        expires = (datetime.fromisoformat(batch["created_at"]) + timedelta(hours=24)).isoformat()
        return {
            **{"id": batch_id, "type": "message_batch", "request_counts": counts, "ended_at": ended},
            **{"created_at": batch["created_at"], "expires_at": expires, "archived_at": None},
            **{"cancel_initiated_at": None, "processing_status": "ended" if ended else "in_progress"},
            "results_url": f"{self.url}/v1/messages/batches/{batch_id}/results" if ended else None,
        }

    def _results(self, batch_id: str) -> bytes:
        batch = self.batches[batch_id]
        if "results" not in batch:
            lines = []
            for request in batch["requests"]:
                problem = _problem(request["params"], ("model", "max_tokens", "messages"))
                result = self.outcome(request["custom_id"])
                if problem:
                    result = {"type": "errored", "error": _error(400, problem)}
                if result is None:
                    status, message = self._message(request["params"])
                    result = {"type": "succeeded", "message": message}
                    if status != 200:
                        result = {"type": "errored", "error": message}
                lines.append(json.dumps({"custom_id": request["custom_id"], "result": result}))
            random.shuffle(lines)
            batch["results"] = "".join(line + "\n" for line in lines).encode()
        found: bytes = batch["results"]
        return found


def tokens(body: dict[str, Any]) -> int:
    """A prompt's tokens: three letters of text make one, and so do 28 x 28 pixels of an image."""
    text, patches = json.dumps([body.get("system") or "", (body.get("output_config") or {}).get("format")]), 0
    count = len(text) / 3
    for message in body["messages"]:
        blocks = message["content"]
        for block in [{"type": "text", "text": blocks}] if isinstance(blocks, str) else blocks:
            if block["type"] == "text":
                count += len(block["text"]) / 3
            else:
                with Image.open(io.BytesIO(base64.b64decode(block["source"]["data"], validate=True))) as image:
                    patches += math.ceil(image.width / 28) * math.ceil(image.height / 28)
    return math.ceil(count) + patches


def _problem(body: dict[str, Any], wanted: tuple[str, ...]) -> str:
    """Why a request is refused; empty if it is not."""
    missing = [name for name in wanted if name not in body]
    if missing:
        return f"{missing[0]}: Field required"
    if {"temperature", "top_p", "top_k"} & set(body):
        return "temperature: not supported by this model"
    if body["model"] == "claude-opus-5-5" and body.get("thinking") == {"type": "disabled"}:
        return "thinking: cannot be disabled for this model"
    if any(message["role"] == "assistant" for message in body["messages"][-1:]):
        return "messages: prefill is not supported by this model"
    return ""


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _error(status: int, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": ERRORS[status], "message": message}, "request_id": "req_test"}


def _send(
    http: BaseHTTPRequestHandler, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
) -> None:
    _send_bytes(http, status, json.dumps(body).encode(), headers)


def _send_bytes(http: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
    http.send_response(status)
    for name, value in {"content-type": "application/json", "request-id": "req_test", **(headers or {})}.items():
        http.send_header(name, value)
    http.send_header("content-length", str(len(data)))
    http.end_headers()
    http.wfile.write(data)
