"""A local server that speaks as much of Telegram's Bot API as the bot uses, and people who write to it.

Written from the API's documentation (core.telegram.org/bots/api, core.telegram.org/bots/faq): answers are
``{"ok", "result"}`` or ``{"ok": false, "error_code", "description", "parameters"}``; an update is given again until a
later ``offset`` is asked for, or its webhook has answered 2xx; texts have 4,096 characters at most, captions 1,024, a
button's data 64 bytes; a bot may fetch 20 MB; editing something into what it is already is an error 400.
"""

from __future__ import annotations

import json
import random
import re
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tornado.httputil import HTTPHeaders, HTTPInputError, parse_body_arguments

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
BOT = {"id": 110201543, "is_bot": True, "first_name": "aseagi", "username": "aseagi_bot"}
MAX_FETCH_BYTES = 20_000_000
_TAGS = {"b", "i", "u", "s", "a", "code", "pre"}


class Refused(Exception):
    """An error of the API."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.code, self.parameters = code, parameters


@dataclass
class Sent:
    """A message of the bot's: how it looks now, and each form it had."""

    message_id: int
    chat_id: int
    text: str
    reply_to: int | None
    keyboard: list[list[dict[str, Any]]]
    #: (moment, text, whether it has a picture)
    forms: list[tuple[float, str, bool]] = field(default_factory=list)
    picture: bytes | None = None
    file: tuple[str, bytes] | None = None
    force_reply: bool = False

    def button(self, label: str) -> str:
        """What the button with this in its label sends."""
        return next(key["callback_data"] for row in self.keyboard for key in row if label in key["text"])


class TelegramServer:
    """One bot's Bot API on a free port of the loopback.

    Attributes:
        faults: by method, what to do first, one for each call: ``(code, description, parameters)``; a code of 0 closes
            the connection without doing it, -1 after it was done.
        blocked: users who have blocked the bot.
        menus: by scope and language, the commands that are offered with their descriptions.
        calls: every method called, with its chat and whether it succeeded.
        burst, per_second: calls that send or edit in one chat before it answers 429, and how fast they come back.
    """

    def __init__(self) -> None:
        self.faults: dict[str, list[tuple[int, str, dict[str, Any]]]] = {}
        self.blocked: set[int] = set()
        self.calls: list[tuple[str, int | None, int]] = []
        self.sent: dict[int, Sent] = {}
        self.acknowledged: dict[str, str | None] = {}
        self.burst, self.per_second = 1e9, 1e9
        self.menus: dict[tuple[Any, str], dict[str, str]] = {}
        self.webhook: dict[str, Any] | None = None
        self._updates: list[dict[str, Any]] = []
        self._files: dict[str, tuple[str, bytes, int]] = {}
        self._buckets: dict[int, tuple[float, float]] = {}
        # unlike those of another server with the same records behind it
        self._next = {"update": random.randrange(10**8, 10**9), "message": random.randrange(10**5, 10**9)}
        self._came = threading.Condition()
        self._stopping = threading.Event()
        owner = self

        class Handler(_Handler):
            server_state = owner

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True),
            threading.Thread(target=self._call_webhook, daemon=True),
        ]

    @property
    def url(self) -> str:
        """What stands in ``ASEAGI_TELEGRAM_BASE_URL``."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> TelegramServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        with self._came:
            self._came.notify_all()
        self._server.shutdown()
        self._server.server_close()
        for thread in self._threads:
            thread.join()

    # -- people

    def write(self, user: int, text: str, *, reply_to: int | None = None, language: str = "en", **more: Any) -> int:
        """Somebody writes; the message's id."""
        message: dict[str, Any] = {"text": text, **more}
        if reply_to is not None:
            question = self.sent[reply_to]
            chat = {"id": user, "type": "private"}
            message["reply_to_message"] = {
                **{"message_id": reply_to, "date": int(time.time()), "chat": chat, "from": BOT},
                "text": question.text,
            }
        return self._message(user, message, language)

    def send(
        self, user: int, content: bytes, name: str, *, caption: str | None = None, size: int | None = None, **more: Any
    ) -> int:
        """Somebody sends a file; the message's id."""
        size = len(content) if size is None else size
        document = {**self._file(name, content, size), "file_name": name, "mime_type": "application/octet-stream"}
        return self._message(user, {"document": document, **({"caption": caption} if caption else {}), **more})

    def photograph(self, user: int, content: bytes, *, album: str | None = None, caption: str | None = None) -> int:
        """Somebody sends a photograph, or one of several together; the message's id."""
        sizes = [
            {**self._file("small.jpg", content[:100], 100), "width": 90, "height": 120},
            {**self._file("photo.jpg", content, len(content)), "width": 960, "height": 1280},
        ]
        more = {"media_group_id": album} if album else {}
        return self._message(user, {"photo": sizes, **({"caption": caption} if caption else {}), **more})

    def tap(self, user: int, message_id: int, data: str) -> str:
        """Somebody taps a button; the query's id."""
        sent = self.sent[message_id]
        message = {
            **{"message_id": message_id, "date": int(time.time()), "chat": {"id": user, "type": "private"}},
            **{"from": BOT, "text": sent.text},
        }
        query = f"q{self._number('message')}"
        self._update(
            {
                "callback_query": {
                    "id": query,
                    "from": _person(user),
                    "message": message,
                    "chat_instance": "1",
                    "data": data,
                }
            }
        )
        return query

    def answers(self, message_id: int) -> list[Sent]:
        """The bot's messages that answer this one."""
        return [sent for sent in list(self.sent.values()) if sent.reply_to == message_id]

    def to(self, user: int) -> list[Sent]:
        """All that the bot wrote to somebody."""
        return [sent for sent in list(self.sent.values()) if sent.chat_id == user]

    @property
    def pending(self) -> int:
        """Updates that are still to be given."""
        return len(self._updates)

    # -- the API

    def call(self, method: str, given: dict[str, Any], files: dict[str, tuple[str, bytes]]) -> Any:
        """Do what a method does."""
        chat = int(given["chat_id"]) if "chat_id" in given else None
        if chat in self.blocked:
            raise Refused(403, "Forbidden: bot was blocked by the user")
        if chat is not None and method.startswith(("send", "edit")):
            self._pace(chat)
        action: Callable[[dict[str, Any], dict[str, tuple[str, bytes]]], Any] | None = getattr(self, f"_{method}", None)
        if action is None:
            raise Refused(404, "Not Found")
        return action(given, files)

    def _getMe(self, given: Any, files: Any) -> Any:  # noqa: N802
        return BOT

    def _getUpdates(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        if self.webhook is not None:
            raise Refused(409, "Conflict: can't use getUpdates method while webhook is active")
        offset, deadline = int(given.get("offset", 0)), time.monotonic() + float(given.get("timeout", 0))
        with self._came:
            self._updates = [update for update in self._updates if update["update_id"] >= offset]
            while not self._updates and time.monotonic() < deadline and not self._stopping.is_set():
                self._came.wait(min(1.0, deadline - time.monotonic()))
            return self._updates[: int(given.get("limit", 100))]

    def _setWebhook(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        with self._came:
            self.webhook = given
            self._came.notify_all()
        return True

    def _deleteWebhook(self, given: Any, files: Any) -> Any:  # noqa: N802
        self.webhook = None
        return True

    def _setMyCommands(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        scope = json.loads(given.get("scope", "{}")) or {"type": "default"}
        commands = {one["command"]: one["description"] for one in json.loads(given["commands"])}
        if not all(re.fullmatch(r"[a-z0-9_]{1,32}", name) and 1 <= len(said) <= 256 for name, said in commands.items()):
            raise Refused(400, "Bad Request: BOT_COMMAND_INVALID")
        self.menus[scope.get("chat_id", scope["type"]), given.get("language_code", "")] = commands
        return True

    def _getFile(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        if given["file_id"] not in self._files:
            raise Refused(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        _name, _content, size = self._files[given["file_id"]]
        if size > MAX_FETCH_BYTES:
            raise Refused(400, "Bad Request: file is too big")
        file_id = given["file_id"]
        return {
            "file_id": file_id,
            "file_unique_id": file_id,
            "file_size": size,
            "file_path": f"documents/{file_id}.bin",
        }

    def _sendMessage(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        return self._say(given, _text(given, given["text"], 4_096))

    def _sendDocument(self, given: dict[str, Any], files: dict[str, tuple[str, bytes]]) -> Any:  # noqa: N802
        content = files["document"]
        made = self._say(given, given.get("caption", ""))
        self.sent[made["message_id"]].file = content
        return made

    def _editMessageText(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        return self._change(given, _text(given, given["text"], 4_096), None)

    def _editMessageMedia(self, given: dict[str, Any], files: dict[str, tuple[str, bytes]]) -> Any:  # noqa: N802
        media = json.loads(given["media"])
        _name, content = files[media["media"].removeprefix("attach://")]
        return self._change(given, _text(media, media.get("caption", ""), 1_024), content)

    def _editMessageCaption(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        return self._change(given, _text(given, given.get("caption", ""), 1_024), self._message_of(given).picture)

    def _editMessageReplyMarkup(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        sent = self._message_of(given)
        return self._change(given, sent.text, sent.picture)

    def _answerCallbackQuery(self, given: dict[str, Any], files: Any) -> Any:  # noqa: N802
        if given["callback_query_id"] in self.acknowledged:
            raise Refused(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        self.acknowledged[given["callback_query_id"]] = given.get("text")
        return True

    # -- inside

    def _say(self, given: dict[str, Any], text: str) -> dict[str, Any]:
        keyboard = _keyboard(given)
        reply = json.loads(given["reply_parameters"])["message_id"] if "reply_parameters" in given else None
        message_id, chat_id = self._number("message"), int(given["chat_id"])
        force = bool(json.loads(given.get("reply_markup", "{}")).get("force_reply"))
        sent = Sent(message_id, chat_id, text, reply, keyboard, [(time.time(), text, False)], force_reply=force)
        self.sent[message_id] = sent
        return _as_message(sent)

    def _change(self, given: dict[str, Any], text: str, picture: bytes | None) -> dict[str, Any]:
        sent, keyboard = self._message_of(given), _keyboard(given)
        if (sent.text, sent.picture, sent.keyboard) == (text, picture, keyboard):
            raise Refused(400, "Bad Request: message is not modified: specified new content is the same")
        if sent.picture is not None and picture is None:
            raise Refused(400, "Bad Request: there is no text in the message to edit")
        sent.text, sent.picture, sent.keyboard = text, picture, keyboard
        sent.forms.append((time.time(), text, picture is not None))
        return _as_message(sent)

    def _message_of(self, given: dict[str, Any]) -> Sent:
        sent = self.sent.get(int(given["message_id"]))
        if sent is None or sent.chat_id != int(given["chat_id"]):
            raise Refused(400, "Bad Request: message to edit not found")
        return sent

    def _pace(self, chat: int) -> None:
        left, at = self._buckets.get(chat, (self.burst, time.monotonic()))
        now = time.monotonic()
        left = min(self.burst, left + (now - at) * self.per_second)
        self._buckets[chat] = (left - 1 if left >= 1 else left, now)
        if left < 1:
            raise Refused(429, "Too Many Requests: retry after 1", retry_after=1)

    def _message(self, user: int, content: dict[str, Any], language: str = "en") -> int:
        message_id = self._number("message")
        chat = {"id": user, "type": "private", "first_name": f"User {user}"}
        message = {"message_id": message_id, "date": int(time.time()), "chat": chat, "from": _person(user, language)}
        self._update({"message": {**message, **content}})
        return message_id

    def _update(self, content: dict[str, Any]) -> None:
        with self._came:
            self._updates.append({"update_id": self._number("update"), **content})
            self._came.notify_all()

    def _number(self, kind: str) -> int:
        with self._came:
            self._next[kind] += 1
            return self._next[kind]

    def _file(self, name: str, content: bytes, size: int) -> dict[str, Any]:
        file_id = f"f{self._number('message')}"
        self._files[file_id] = name, content, size
        return {"file_id": file_id, "file_unique_id": file_id, "file_size": size}

    def _call_webhook(self) -> None:
        """Give updates to the webhook one by one, each until it is taken."""
        while not self._stopping.is_set():
            with self._came:
                if self.webhook is None or not self._updates:
                    self._came.wait(0.1)
                    continue
                update, hook = self._updates[0], self.webhook
            headers = {
                "Content-Type": "application/json",
                "X-Telegram-Bot-Api-Secret-Token": hook.get("secret_token", ""),
            }
            body = json.dumps(update).encode()
            try:
                urllib.request.urlopen(urllib.request.Request(hook["url"], body, headers), timeout=5).close()
            except (OSError, urllib.error.HTTPError):
                self._stopping.wait(0.1)
                continue
            with self._came:
                self._updates.remove(update)


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # a bot that is killed resets its connections
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_state: TelegramServer

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_arguments: Any) -> None:
        pass

    def _serve(self) -> None:
        state, body = self.server_state, self.rfile.read(int(self.headers.get("content-length") or 0))
        fetched = re.fullmatch(rf"/file/bot{TOKEN}/documents/(f\d+).bin", urllib.parse.unquote(self.path))
        if fetched:
            self._send(200, state._files[fetched[1]][1])
            return
        asked = re.fullmatch(rf"/bot{TOKEN}/(\w+)", urllib.parse.unquote(self.path))
        if asked is None:
            self._answer(Refused(401 if self.path.startswith("/bot") else 404, "Unauthorized"))
            return
        method = asked[1]
        try:
            given, files = self._given(body)
        except HTTPInputError:  # who asked was killed while it did
            self.close_connection = True
            return
        chat = int(given["chat_id"]) if "chat_id" in given else None
        fault = state.faults[method].pop(0) if state.faults.get(method) else None
        if fault is not None and fault[0] == 0:
            self.close_connection = True
            return
        try:
            if fault is not None and fault[0] > 0:
                raise Refused(fault[0], fault[1], **fault[2])
            result = state.call(method, given, files)
        except Refused as exc:
            state.calls.append((method, chat, exc.code))
            self._answer(exc)
            return
        state.calls.append((method, chat, 200))
        if fault is not None:
            self.close_connection = True
            return
        self._send(200, json.dumps({"ok": True, "result": result}).encode())

    def _given(self, body: bytes) -> tuple[dict[str, Any], dict[str, tuple[str, bytes]]]:
        if (self.headers.get("content-type") or "").startswith("application/json"):
            return json.loads(body), {}
        arguments: dict[str, list[bytes]] = {}
        files: dict[str, list[Any]] = {}
        headers = HTTPHeaders(dict(self.headers.items()))
        parse_body_arguments(self.headers.get("content-type") or "", body, arguments, files, headers)
        given = {name: values[-1].decode() for name, values in arguments.items()}
        return given, {name: (part[0].filename, part[0].body) for name, part in files.items()}

    def _answer(self, exc: Refused) -> None:
        body = {"ok": False, "error_code": exc.code, "description": str(exc), "parameters": exc.parameters}
        self._send(exc.code, json.dumps(body).encode())

    def _send(self, status: int, body: bytes) -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:  # who asked is gone
            self.close_connection = True


class _Html(HTMLParser):
    """Text of the HTML that Telegram reads; anything else is an error as there."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text, self._open = "", []  # type: tuple[str, list[str]]

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in _TAGS:
            raise Refused(400, f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}"')
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            raise Refused(400, "Bad Request: can't parse entities: Unexpected end tag")

    def handle_data(self, data: str) -> None:
        self.text += data


def _text(given: dict[str, Any], text: str, longest: int) -> str:
    if given.get("parse_mode") == "HTML":
        parser = _Html()
        parser.feed(text)
        parser.close()
        if parser._open:
            raise Refused(400, "Bad Request: can't parse entities: Can't find end tag")
        text = parser.text
    if len(text) > longest:
        raise Refused(400, "Bad Request: message is too long")
    return text.strip()


def _keyboard(given: dict[str, Any]) -> list[list[dict[str, Any]]]:
    rows: list[list[dict[str, Any]]] = json.loads(given.get("reply_markup", "{}")).get("inline_keyboard", [])
    if any(len(key.get("callback_data", "").encode()) > 64 for row in rows for key in row):
        raise Refused(400, "Bad Request: BUTTON_DATA_INVALID")
    return rows


def _as_message(sent: Sent) -> dict[str, Any]:
    chat = {"id": sent.chat_id, "type": "private"}
    return {"message_id": sent.message_id, "date": int(time.time()), "chat": chat, "from": BOT, "text": sent.text}


def _person(user: int, language: str = "en") -> dict[str, Any]:
    return {"id": user, "is_bot": False, "first_name": f"User {user}", "language_code": language}
