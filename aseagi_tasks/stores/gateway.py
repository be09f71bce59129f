"""Bucket and records as a rented machine has them: through the worker gateway, which holds the keys.

Objects come and go by addresses that the gateway signs for minutes; everything else is a call of the protocol.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx

from aseagi_tasks import keys
from aseagi_tasks.errors import AseagiError, ConfigError, NotFound, RateLimited, RecordsUnavailable, StorageUnavailable
from aseagi_tasks.stores.calls import Call, calls_of, error_of
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage, Stored

#: Tries of one call; who called tries again later.
TRIES = 4
FIRST_PAUSE_S = 0.3
#: How long a signed address is good for: one try of a large file.
ADDRESS_S = 600
Answer = TypeVar("Answer")


class Gateway:
    """The way to the worker gateway. Safe from several threads and after a fork.

    Args:
        url: its address, on this machine's loopback: the tunnel's end.
        token: of this machine.
    """

    def __init__(self, url: str, token: str, timeout_s: float = 60) -> None:
        self._url, self._token, self._timeout_s = url, token, timeout_s
        self._lock = threading.Lock()
        self._opened: tuple[int, httpx.Client] | None = None

    def call(self, area: str, call: Call, *args: Any, **kwargs: Any) -> Any:
        """Call a method there.

        Args:
            area: ``records`` or ``storage``.
        """
        doing, arguments = call.name.replace("_", " "), call.arguments(*args, **kwargs)
        unavailable = RecordsUnavailable if area == "records" else StorageUnavailable
        # the same words name a call that is made again, since its answer was lost
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": uuid.uuid4().hex}

        def ask() -> Any:
            answer = self.client.post(f"{self._url}/{area}/{call.name}", json=arguments, headers=headers)
            if answer.status_code == 401:
                cure = "It ends with the machine that it was made for."
                raise ConfigError("ASEAGI_GATEWAY_TOKEN", "is not known to the gateway.", cure)
            if answer.status_code == 429:
                raise RateLimited("The gateway", float(answer.headers.get("retry-after", 1)))
            if answer.status_code >= 500:
                raise unavailable(doing, f"HTTP {answer.status_code} {answer.text[:200]}")
            if not answer.is_success:
                raise error_of(answer.json())
            return call.answered(answer.json()["answer"])

        return tried(ask, partial(unavailable, doing))

    @property
    def client(self) -> httpx.Client:
        """This process's."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                limits = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=20)
                self._opened = os.getpid(), httpx.Client(timeout=self._timeout_s, limits=limits)
            return self._opened[1]


class GatewayStorage:
    """Implements ``Storage`` for a rented machine."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._calls = calls_of(Storage)

    def put(self, key: str, body: bytes) -> None:
        """Write a small object. A request for a message batch is looked at by the gateway, which leaves it itself."""
        if key.startswith(keys.batch_request()):
            self._call("put", keys.check(key), body)
            return
        self._send(key, lambda: body, len(body), hashlib.md5(body, usedforsecurity=False).digest())

    def get(self, key: str) -> bytes:
        """Read a small object."""
        return self._receive(key, lambda answer: b"".join(answer.iter_bytes()))

    def upload(self, path: Path, key: str) -> None:
        """Copy a file in, streaming, checksum verified by the store."""
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, partial(hashlib.md5, usedforsecurity=False)).digest()
                size = file.tell()
        except OSError as exc:
            raise StorageUnavailable(f"writing {key}", str(exc)) from exc
        self._send(key, lambda: _pieces(path), size, digest)

    def download(self, key: str, path: Path) -> None:
        """Copy an object out, streaming; ``path`` appears only when complete."""
        partial_ = path.with_name(f".{path.name}.{uuid.uuid4().hex}")

        def write(answer: httpx.Response) -> None:
            with partial_.open("wb") as file:
                for piece in answer.iter_bytes(1 << 20):
                    file.write(piece)

        try:
            self._receive(key, write)
            partial_.replace(path)
        finally:
            partial_.unlink(missing_ok=True)

    def stat(self, key: str) -> Stored | None:
        """The object as listed, or None."""
        return cast("Stored | None", self._call("stat", keys.check(key)))

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """Objects whose key begins with ``prefix``, behind ``after``, by key."""
        yield from self._call("list", prefix, after)

    def delete(self, key: str) -> None:
        """Remove; a key that is not there is success."""
        self._call("delete", keys.check(key))

    def delete_all(self, prefix: str) -> int:
        """Remove everything below a prefix (not empty, ends with ``/``); returns how many."""
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} does not end with a slash")
        return int(self._call("delete_all", prefix))

    def url_get(self, key: str, expires_s: int) -> str:
        """An address that reads the object for a while. Never logged."""
        return str(self._call("url_get", keys.check(key), expires_s))

    def url_put(self, key: str, expires_s: int) -> str:
        """An address that writes the object for a while. Never logged."""
        return str(self._call("url_put", keys.check(key), expires_s))

    def _call(self, name: str, *args: Any) -> Any:
        return self._gateway.call("storage", self._calls[name], *args)

    def _send(self, key: str, body: Callable[[], bytes | Iterator[bytes]], size: int, md5: bytes) -> None:
        headers = {
            "Content-Type": keys.content_type(key),
            "Content-Length": str(size),
            "Content-MD5": base64.b64encode(md5).decode(),
        }

        def send() -> None:
            url = self.url_put(key, ADDRESS_S)
            answer = self._gateway.client.put(url, content=body(), headers=headers)
            if not answer.is_success:
                raise StorageUnavailable(f"writing {key}", f"HTTP {answer.status_code} {answer.text[:200]}")

        tried(send, partial(StorageUnavailable, f"writing {key}"))

    def _receive(self, key: str, take: Callable[[httpx.Response], Answer]) -> Answer:
        def receive() -> Answer:
            with self._gateway.client.stream("GET", self.url_get(key, ADDRESS_S)) as answer:
                if answer.status_code == 404:
                    raise NotFound(key, "the bucket")
                if not answer.is_success:
                    raise StorageUnavailable(f"reading {key}", f"HTTP {answer.status_code}")
                return take(answer)

        return tried(receive, partial(StorageUnavailable, f"reading {key}"))


class GatewayRecords:
    """Implements ``Records`` for a rented machine: every method of the protocol is a call of the gateway."""

    def __init__(self, gateway: Gateway) -> None:
        for name, call in calls_of(Records).items():
            setattr(self, name, partial(gateway.call, "records", call))


def gateway_records(gateway: Gateway) -> Records:
    """The records of a rented machine."""
    return cast("Records", GatewayRecords(gateway))


def tried(ask: Callable[[], Answer], unavailable: Callable[[str], AseagiError]) -> Answer:
    """What ``ask`` answers, asked again after what may pass.

    Args:
        unavailable: makes the error of a service that did not answer.
    """
    for attempt in range(TRIES):
        try:
            return ask()
        except (httpx.HTTPError, OSError) as exc:
            problem: AseagiError = unavailable(f"{type(exc).__name__}: {_without_address(exc)}")
        except (StorageUnavailable, RecordsUnavailable) as exc:
            problem = exc
        except RateLimited as exc:
            if exc.retry_after_s > 5:
                raise
            problem = exc
            time.sleep(exc.retry_after_s)
        if attempt < TRIES - 1:
            time.sleep(FIRST_PAUSE_S * 2**attempt)
    raise problem


def _without_address(exc: Exception) -> str:
    """An error's words; a signed address is a secret."""
    return "an address with a signature" if "?" in str(exc) and "http" in str(exc) else str(exc)


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            yield piece
