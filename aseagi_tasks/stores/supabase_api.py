"""The way to Supabase: one client a process, tries and pauses, its errors as ours."""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import httpx
from postgrest import APIError
from supabase import Client, ClientOptions, create_client

from aseagi_tasks.errors import AseagiError, ConfigError, NotFound, RecordsUnavailable
from aseagi_tasks.stores.query import storable

log = logging.getLogger(__name__)
#: Tries of one call; who called tries again later. The pause doubles, and is taken 0.5 to 1.5 times.
TRIES = 4
FIRST_PAUSE_S = 0.2
#: Supabase cuts answers off here (its setting "Max rows"), silently.
MAX_ROWS = 1_000


class SupabaseApi:
    """Functions and tables of one project, as one role.

    Args:
        url: of the project, ``https://….supabase.co``.
        key: a secret (service) key, or a publishable one together with ``token``.
        token: a JWT that says for whom to act (see ``tokens.py``); without one, whom the key says.
        timeout_s: how long one answer may take.
    Raises:
        ConfigError: url or key are no such thing.
    """

    def __init__(self, url: str, key: str, token: str | None = None, timeout_s: float = 20) -> None:
        self._url, self._key, self._token = url, key, token
        self._timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 5))
        self._lock = threading.Lock()
        self._opened: tuple[int, Client] | None = None
        self._client()

    def _call(self, function: str, values: Mapping[str, Any]) -> Any:
        stored = {name: storable(value) for name, value in values.items()}
        return self._try(function.replace("_", " "), lambda client: client.rpc(function, stored).execute().data)

    def _rows(self, doing: str, ask: Callable[[Client], Any]) -> list[dict[str, Any]]:
        """What ``ask`` answers, which must be a list: the client passes text on that is no JSON."""

        def checked(client: Client) -> Any:
            rows = ask(client)
            if not isinstance(rows, list):
                raise httpx.RemoteProtocolError(f"an answer that is no list: {str(rows)[:80]}")
            return rows

        found: list[dict[str, Any]] = self._try(doing, checked)
        return found

    def _all_rows(self, doing: str, ask: Callable[..., Any]) -> Iterator[dict[str, Any]]:
        """Rows page by page: an answer has no more than ``MAX_ROWS``, however many there are."""
        offset = 0
        while True:
            rows = self._rows(doing, partial(ask, offset=offset))
            yield from rows
            offset += len(rows)
            if len(rows) < MAX_ROWS:
                return

    def _try(self, doing: str, ask: Callable[[Client], Any]) -> Any:
        """Ask, and ask again after what may pass; translate what does not."""
        for pause in [*_pauses(), None]:
            try:
                return ask(self._client())
            except httpx.HTTPError as exc:
                problem, cause = f"{type(exc).__name__}: {exc}", exc
            except APIError as exc:
                if not _may_pass(exc):
                    raise _translated(exc, doing) from exc
                problem, cause = f"{exc.code}: {exc.message}", exc  # type: ignore[assignment]
            if pause is None:
                raise RecordsUnavailable(doing, problem) from cause
            log.info("records: %s while %s, again in %.1f s", problem, doing, pause)
            time.sleep(pause)
        raise AssertionError  # the last pause is None

    def _client(self) -> Client:
        """This process's: connections that were carried over a fork would be used by two."""
        with self._lock:
            if self._opened is None or self._opened[0] != os.getpid():
                headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
                limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=30)
                options = ClientOptions(
                    auto_refresh_token=False,
                    persist_session=False,
                    headers=headers,
                    httpx_client=httpx.Client(timeout=self._timeout, limits=limits),
                    postgrest_client_retry=False,  # ours retries writes too, which it can since they are made once
                )
                try:
                    self._opened = os.getpid(), create_client(self._url, self._key, options)
                except Exception as exc:  # the client has an exception of its own, not exported, and TypeError
                    cure = "See the project's settings, under API."
                    raise ConfigError("ASEAGI_SUPABASE_URL", f"cannot be used: {exc}.", cure) from exc
            return self._opened[1]


def _pauses() -> list[float]:
    return [FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1.5) for attempt in range(TRIES - 1)]


def _may_pass(exc: APIError) -> bool:
    """5xx and 408/429 of gateway or PostgREST, lost connections, deadlocks, a database that restarts or is full."""
    code = str(exc.code or "")
    if code.isdigit() and len(code) == 3:
        return code[0] == "5" or code in ("408", "429")
    return code[:2] in ("08", "40", "53", "55", "57", "58") or code in ("PGRST000", "PGRST001", "PGRST002", "PGRST003")


def _translated(exc: APIError, doing: str) -> Exception:
    code, message = str(exc.code or ""), exc.message or "?"
    if code == "PT404":
        return NotFound(message.rsplit(" ", 1)[-1], f"the {exc.details or 'records'}")
    if code in ("PGRST202", "PGRST204", "PGRST205", "42P01", "42883", "42703"):
        return ConfigError("ASEAGI_SUPABASE_URL", f"its database lacks our tables: {message}.", "Run `aseagi migrate`.")
    if code == "42501" or code in ("401", "403", "PGRST301", "PGRST302", "PGRST303") or not code:
        return ConfigError(
            "ASEAGI_SUPABASE_KEY", f"may not do this ({doing}): {message}.", "See README, Cloud records."
        )
    return AseagiError(f"The records refused {doing}: {code}: {message}")  # final: asked again, they refuse again
