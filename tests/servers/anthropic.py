"""A local server that speaks as much of Anthropic's API as the client uses: ``POST /v1/messages``.

Headers, errors and bodies follow the API reference (Messages; Errors): a key (``x-api-key``, or a bearer token as the
client sends it since 2.0) and ``anthropic-version`` are required, errors are ``{"type": "error", "error": {"type",
"message"}, "request_id"}``, every answer has a ``request-id`` header, and structured output comes as one text block
of JSON.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "sk-ant-test"
Answer = dict[str, Any] | str
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


class AnthropicServer:
    """Answers by script.

    Attributes:
        answer: what the model says to a request body: a JSON object, or text as it is.
        faults: what to do first, one for each request: answer with a status or with a body as it is; 0 closes the
            connection, None says nothing until the server stops.
        stop_reasons: of the next answers; ``end_turn`` when used up.
        requests: bodies as they came, also of those that were answered with a fault.
    """

    def __init__(self, answer: Callable[[dict[str, Any]], Answer]) -> None:
        self.answer = answer
        self.faults: list[int | bytes | None] = []
        self._stopping = threading.Event()
        self.stop_reasons: list[str] = []
        self.retry_after: str | None = None
        self.requests: list[dict[str, Any]] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                owner._post(self)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
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

    def _post(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["content-length"])))
        self.requests.append(body)
        if request.path != "/v1/messages":
            return _send(request, 404, _error(404, "Not found"))
        given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if given != KEY:
            return _send(request, 401, _error(401, "invalid API key"))
        if not request.headers.get("anthropic-version"):
            return _send(request, 400, _error(400, "anthropic-version: header is required"))
        missing = [name for name in ("model", "max_tokens", "messages") if name not in body]
        if missing:
            return _send(request, 400, _error(400, f"{missing[0]}: Field required"))
        if self.faults:
            status = self.faults.pop(0)
            if status is None:
                self._stopping.wait(60)
            if isinstance(status, bytes):
                return _send_bytes(request, 200, status)
            if not status:
                request.close_connection = True
                return None
            headers = {"retry-after": self.retry_after} if self.retry_after else {}
            return _send(request, status, _error(status, "as scripted"), headers)
        said = self.answer(body)
        text = said if isinstance(said, str) else json.dumps(said)
        prompt = json.dumps(body["messages"]) + str(body.get("system", ""))
        message = {
            "id": f"msg_{len(self.requests)}",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [{"type": "text", "text": text}],
            "stop_reason": self.stop_reasons.pop(0) if self.stop_reasons else "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": len(prompt) // 4,
                "output_tokens": len(text) // 4,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
            },
        }
        return _send(request, 200, message)


def _error(status: int, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": ERRORS[status], "message": message}, "request_id": "req_test"}


def _send(
    request: BaseHTTPRequestHandler, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
) -> None:
    _send_bytes(request, status, json.dumps(body).encode(), headers)


def _send_bytes(
    request: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict[str, str] | None = None
) -> None:
    request.send_response(status)
    for name, value in {"content-type": "application/json", "request-id": "req_test", **(headers or {})}.items():
        request.send_header(name, value)
    request.send_header("content-length", str(len(data)))
    request.end_headers()
    request.wfile.write(data)
