"""A worker gateway in this process, over any records and storage."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr
from redis import Redis
from tornado.httpserver import HTTPServer

from aseagi_tasks.doors.gateway.app import Parts, application
from aseagi_tasks.doors.gateway.claude import ClaudeProxy
from aseagi_tasks.doors.gateway.narrowing import Narrowed, Side
from aseagi_tasks.fleet.authority import Authority
from aseagi_tasks.fleet.enrolment import Credentials
from aseagi_tasks.fleet.invitations import Invitations
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.gateway import Gateway, GatewayStorage, gateway_records
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage


class Everything:
    """A side without limits: for the contract suites, which no machine's jobs would cover."""

    def __init__(self, records: Records, storage: Storage) -> None:
        self._records, self._storage = records, storage

    def records(self, method: str, arguments: dict[str, Any]) -> Any:
        return getattr(self._records, method)(**arguments)

    def storage(self, method: str, arguments: dict[str, Any]) -> Any:
        answer = getattr(self._storage, method)(**arguments)
        return list(answer) if method == "list" else answer


class GatewayServer:
    """``with GatewayServer(…) as server``.

    Args:
        folder: for the certificate authority and requests.
        redis: as the control plane; of a Redis with an ACL file.
        unlimited: machines may do everything.
    """

    def __init__(
        self, folder: Path, redis: Redis, records: Records, storage: Storage, *, unlimited: bool = False, **conf: Any
    ) -> None:
        self.folder, self.redis = folder, redis
        self.conf = Settings(home=folder, **{"gateway_calls_per_s": 10_000, **conf})
        self.authority = Authority(self.conf.ca_folder)
        if not self.authority.exists:
            self.authority.create(datetime.now(UTC))
        self.invitations = Invitations(redis, self.authority, self.conf.tunnel_pid_file)
        self.reports: list[tuple[str, dict[str, Any]]] = []

        claude = ClaudeProxy(self.conf, records, redis)

        def narrowed(instance_id: str) -> Narrowed:
            return Narrowed(instance_id, records, storage, self.conf, for_batch=claude.for_batch)

        def everything(_instance_id: str) -> Side:
            return Everything(records, storage)

        side = cast("Callable[[str], Side]", everything if unlimited else narrowed)
        self.parts = Parts(
            conf=self.conf, redis=redis, invitations=self.invitations, side=side,
            claude=claude, analyzed_job=lambda one: narrowed(one).analyzed_job(),
            given={"ASEAGI_STORAGE": "gateway"}, told=lambda *said: self.reports.append(said),
        )  # fmt: skip

    def enroll(self, instance_id: str) -> str:
        """Let a machine in; its gateway token."""
        request = Credentials(self.folder / instance_id).request(instance_id)
        return self.invitations.enroll(self.invitations.invite(instance_id), request, datetime.now(UTC)).gateway_token

    def gateway(self, instance_id: str) -> Gateway:
        return Gateway(self.url, self.enroll(instance_id), timeout_s=20)

    def storage(self, instance_id: str = "i-1") -> GatewayStorage:
        return GatewayStorage(self.gateway(instance_id))

    def records(self, instance_id: str = "i-1") -> Records:
        return gateway_records(self.gateway(instance_id))

    def __enter__(self) -> GatewayServer:
        started = threading.Event()

        async def serve() -> None:
            self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
            server = HTTPServer(application(self.parts), max_body_size=32 << 20)
            server.listen(0, "127.0.0.1")
            port = next(iter(server._sockets.values())).getsockname()[1]
            self.url = f"http://127.0.0.1:{port}"
            started.set()
            await self._ended.wait()
            server.stop()
            await server.close_all_connections()

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
        self._thread.start()
        assert started.wait(10)
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(20)


def with_key(key: str, url: str) -> dict[str, Any]:
    """Settings for Claude."""
    return {"anthropic_api_key": SecretStr(key), "anthropic_base_url": url}
