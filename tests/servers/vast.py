"""A local server that speaks as much of Vast.ai's API as the fleet uses, with its moods, and keeps the true bill.

Paths, fields and errors follow the vendor's OpenAPI files; what practice adds: statuses between the documented ones,
creates that time out and are billed all the same, a list that lags behind, 429 as text or JSON, keys refused with any
of 401, 403 and 404, two creates accepted on one ask, containers that are started again whenever they exit.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.servers.vast_machines import Machine, Rented, asked_as, meets

__all__ = ["KEY", "Machine", "Rented", "VastServer"]

KEY = "vast-key-for-tests"
#: Documented thresholds, in real seconds: a call sooner than that after the one before is refused.
THRESHOLDS_S = {"create": 4.5, "destroy": 3.0, "list": 1.0, "show": 2.0, "manage": 1.0, "charges": 1.0}
SEARCHES_A_MINUTE = 10
#: Within so many seconds a second create on the same ask is accepted; one of the two never runs.
DOUBLE_S = 5.0

Launcher = Callable[[Rented], "subprocess.Popen[bytes] | None"]


class VastServer:
    """One account on a free port of the loopback.

    Args:
        machines: what is offered.
        speed: seconds of the server's clock (boots, bills) for one real second.
        launcher: starts what an instance's container runs; None: containers do nothing.
        image_gb: is pulled, and billed, before an instance runs.
        lag_s: a new instance is missing from lists for so long (server's clock).
        keep_limits: whether calls that come too fast are refused.

    Attributes:
        faults: endpoint → what to do first, one for each call: a status; ``lost`` (done, no answer), ``late`` (done,
            answered after the client has given up), ``refuse`` (not done, no answer), ``done-500``, ``unsuccessful``
            (200 with ``success: false``), ``done-unsuccessful``, ``garbage``.
        calls: (endpoint, status) of every call, 0 for one without an answer.
    """

    def __init__(
        self,
        machines: list[Machine],
        *,
        speed: float = 1.0,
        launcher: Launcher | None = None,
        image_gb: float = 4.0,
        lag_s: float = 0.0,
        keep_limits: bool = True,
        search_quota: int = 10_000,
        price_moves: float = 0.0,
        seed: int = 1,
    ) -> None:
        self.machines = {machine.number: machine for machine in machines}
        self.speed, self.launcher, self.image_gb, self.lag_s = speed, launcher, image_gb, lag_s
        self.keep_limits, self.search_quota, self.price_moves = keep_limits, search_quota, price_moves
        self.faults: dict[str, list[int | str]] = {}
        self.calls: list[tuple[str, int]] = []
        self.rented: dict[int, Rented] = {}
        self.credit = 100.0
        self.restart_s, self.late_s = 0.5, 30.0
        self.lock = threading.RLock()
        self._began, self._epoch = time.monotonic(), time.time()
        self._random, self._numbers = random.Random(seed), iter(range(7_000, 10**9))
        self._last: dict[str, float] = {}
        self._searches: list[float] = []
        self._refused = 0
        self._stopping = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # headers and body are two writes: the second would wait 40 ms

            def _any(self) -> None:
                owner._answer(self)

            def __getattr__(self, name: str) -> Any:
                if name.startswith("do_"):
                    return self._any
                raise AttributeError(name)

            def log_message(self, *_arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._threads = [
            threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True),
            threading.Thread(target=self._live, daemon=True),
        ]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> VastServer:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()
        for rented in self.rented.values():
            self._end(rented)

    # -- what tests ask and do

    def now(self) -> float:
        """The server's clock, seconds since the epoch."""
        return self._epoch + (time.monotonic() - self._began) * self.speed

    def alive(self) -> list[Rented]:
        """What is billed now."""
        with self.lock:
            return [rented for rented in self.rented.values() if rented.destroyed_at is None]

    def bill(self) -> float:
        """The true bill, USD, of everything that ever was."""
        with self.lock:
            return sum(sum(rented.bill(0, self.now()).values()) for rented in self.rented.values())

    def become(self, number: int, status: str | None, intended: str | None = None) -> None:
        """Put an instance into a status; its container ends unless it runs there."""
        with self.lock:
            rented = self.rented[number]
            self._move(rented, status)
            rented.boots_at = None
            if intended is not None:
                rented.intended = intended
            if status != "running":
                self._end(rented)

    def preempt(self, number: int) -> None:
        """Somebody bid more: killed without notice; it would start again by itself later."""
        self.become(number, "stopped", "stopped")

    def resume(self, number: int) -> None:
        """The other one has left."""
        self.become(number, "running", "running")

    # -- time

    def _live(self) -> None:
        """Boots, and containers that have exited and are started again."""
        while not self._stopping.wait(0.05):
            with self.lock:
                for rented in self.alive():
                    self._boot(rented)
                    process = rented.process
                    if rented.status == "running" and self.launcher is not None:
                        if process is not None and process.poll() is not None:
                            rented.process = None
                            rented.message = f"container exited ({process.returncode}), restarting"
                            self._after(self.restart_s, rented)
                        elif process is None and rented.starts == 0:
                            self._start(rented)

    def _boot(self, rented: Rented) -> None:
        age = self.now() - rented.created_at
        boot = None if rented.boots_at is None else rented.boots_at - rented.created_at
        if rented.status is None and age > 0.1 * min(boot or 1, 1):
            self._move(rented, "created")
        elif rented.status == "created" and age > 0.3 * min(boot or 10, 10) and rented.message != "in use":
            self._move(rented, "loading")
        elif rented.status == "loading" and boot is not None and age >= boot:
            rented.down_gb += self.image_gb
            rented.message = "success, running"
            self._move(rented, "running")

    def _after(self, seconds: float, rented: Rented) -> None:
        def again() -> None:
            with self.lock:
                if rented.destroyed_at is None and rented.status == "running" and not self._stopping.is_set():
                    self._start(rented)

        timer = threading.Timer(seconds, again)
        timer.daemon = True
        timer.start()

    def _start(self, rented: Rented) -> None:
        rented.starts += 1
        assert self.launcher is not None
        rented.process = self.launcher(rented)

    def _end(self, rented: Rented) -> None:
        process, rented.process = rented.process, None
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def _move(self, rented: Rented, status: str | None) -> None:
        rented.timeline.append((self.now(), status))

    # -- HTTP

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("content-length") or 0))
        address = urlsplit(request.path)
        parts = [part for part in address.path.split("/") if part]
        endpoint = self._endpoint(request.command, parts)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        fault = self.faults[endpoint].pop(0) if self.faults.get(endpoint) else None
        if isinstance(fault, int):
            return self._send(request, endpoint, fault, "<html>as scripted</html>")
        if fault == "refuse":
            return self._hang_up(request, endpoint)
        if fault == "garbage":
            return self._send(request, endpoint, 200, "<html>welcome</html>")
        if fault == "unsuccessful":
            return self._send(request, endpoint, 200, {"success": False, "msg": "something went wrong"})
        if endpoint == "log":
            with self.lock:
                log = self.rented[int(parts[1].removesuffix(".log"))].log
            return self._send(request, endpoint, 200, log.read_text() if log and log.exists() else "")
        with self.lock:
            refused = self._authorize(request, endpoint, parts) or self._too_fast(endpoint)
            try:
                asked = json.loads(body) if body else {}
            except ValueError:
                refused = 400, {"error": "invalid_request", "msg": "Invalid json body"}
            answer = refused or getattr(self, f"_{endpoint}")(parts, query, asked)
        if fault in ("lost", "late"):
            self._hang_up(request, endpoint)
            self._stopping.wait(self.late_s if fault == "late" else 0)
            return None
        if fault == "done-500":
            answer = 500, {"success": False}
        if fault == "done-unsuccessful":
            answer = 200, {"success": False, "error": "internal", "msg": "please try again"}
        return self._send(request, endpoint, *answer)

    def _endpoint(self, method: str, parts: list[str]) -> str:
        match method, parts:
            case "POST", ["api", "v0", "bundles"]:
                return "search"
            case "PUT", ["api", "v0", "asks", _]:
                return "create"
            case "GET", ["api", "v1", "instances"]:
                return "list"
            case "GET", ["api", "v0", "instances", _]:
                return "show"
            case "DELETE", ["api", "v0", "instances", _]:
                return "destroy"
            case "PUT", ["api", "v0", "instances", "request_logs", _]:
                return "logs"
            case "PUT", ["api", "v0", "instances", _]:
                return "manage"
            case "GET", ["api", "v0", "charges"]:
                return "charges"
            case "GET", ["api", "v0", "users", "current"]:
                return "user"
            case "GET", ["logs", _]:
                return "log"
        return "unknown"

    def _authorize(self, request: BaseHTTPRequestHandler, endpoint: str, parts: list[str]) -> Any:
        given = (request.headers.get("authorization") or "").removeprefix("Bearer ")
        if given == KEY:
            return None
        own = next((r for r in self.rented.values() if r.key == given and str(r.number) in parts), None)
        if own is not None and endpoint in ("destroy", "show", "manage"):
            return None
        if not given:
            return 403, {"success": False, "error": "auth_error", "msg": "This action requires login."}
        self._refused += 1  # whichever it is this time
        return (
            (401, {"success": False, "error": "auth_error", "msg": "Invalid user key"}),
            (404, {"success": False, "error": "auth_error", "msg": "Invalid user key"}),
            (403, {"msg": "Invalid user key"}),
        )[self._refused % 3]

    def _too_fast(self, endpoint: str) -> Any:
        if not self.keep_limits:
            return None
        moment, last = time.monotonic(), self._last.get(endpoint, float("-inf"))
        if endpoint == "search":
            self._searches = [at for at in self._searches if moment - at < 60]
            if len(self._searches) >= SEARCHES_A_MINUTE:
                return 429, "Too many requests, please slow down"
            self._searches.append(moment)
        threshold = THRESHOLDS_S.get(endpoint, 0.0)
        if moment - last < threshold - 0.05:
            text = f"API requests too frequent endpoint threshold={threshold}"
            return 429, text if self._random.random() < 0.5 else {"detail": text}
        self._last[endpoint] = moment
        return None

    def _search(self, _parts: list[str], _query: Mapping[str, str], asked: Mapping[str, Any]) -> Any:
        if self.search_quota <= 0:
            return 429, {"success": False, "error": "quota", "msg": "daily search quota exceeded"}
        self.search_quota -= 1
        storage = float(asked.get("allocated_storage") or 8)
        offers = [
            machine.offer(self.now(), storage, self.price_moves)
            for machine in self.machines.values()
            if self._is_free(machine)
        ]
        kinds = {"bid": True, "ondemand": False, "on-demand": False}
        offers = [o for o in offers if o["is_bid"] == kinds.get(asked.get("type", "ondemand"))]
        for name, condition in asked.items():
            if isinstance(condition, dict):
                if offers and name not in offers[0]:
                    return 400, {"error": "invalid_request", "msg": f"{name} is not a valid search key"}
                offers = [offer for offer in offers if meets(asked_as(name, offer[name]), condition)]
        for name, direction in reversed(asked.get("order") or []):
            offers.sort(key=lambda offer, name=name: offer[name], reverse=direction == "desc")
        return 200, {"offers": offers[: asked.get("limit", 64)]}

    def _create(self, parts: list[str], _query: Mapping[str, str], asked: dict[str, Any]) -> Any:
        number = int(parts[3])
        env = asked.get("env") or {}
        if "image" not in asked or not isinstance(env, dict) or any(len(str(v)) > 256 for v in env.values()):
            return 400, {
                "success": False,
                "error": "invalid_args",
                "msg": "error 400/3467: Invalid args",
                "ask_id": number,
            }
        machine = self.machines.get(number)
        doubled = None
        if machine is not None and not self._is_free(machine):
            doubled = next((r for r in self.alive() if r.machine is machine), None)
            if doubled is None or self.now() - doubled.created_at > DOUBLE_S:
                machine = None
        if machine is None:
            said = f"error 404/3603: no_such_ask Instance type by id {number} is not available."
            return 404, {"success": False, "error": "invalid_args", "msg": said, "ask_id": number}
        offer, now = machine.offer(self.now(), float(asked.get("disk") or 8), self.price_moves), self.now()
        rented = Rented(
            number=next(self._numbers),
            machine=machine,
            asked=asked,
            gpu_usd_per_hour=offer["dph_base"],
            disk_usd_per_hour=offer["storage_total_cost"],
            created_at=now,
            timeline=[(now, None)],
            boots_at=None if machine.boot_s is None or doubled else now + machine.boot_s,
        )
        if doubled:
            rented.message = "in use"
        self.rented[rented.number] = rented
        return 200, {"success": True, "new_contract": rented.number}

    def _list(self, _parts: list[str], query: Mapping[str, str], _asked: Any) -> Any:
        after, limit = -1, min(int(query.get("limit", 25)), 25)
        if "after_token" in query:
            try:
                after = json.loads(base64.b64decode(query["after_token"]))["values"]["id"]
            except (ValueError, KeyError, TypeError):
                return 400, {"error": "invalid_token", "msg": "Invalid pagination token"}
        shown = [r for r in self.alive() if self.now() - r.created_at >= self.lag_s]
        rows = sorted((r for r in shown if r.number > after), key=lambda r: r.number)
        page = rows[:limit]
        token = None
        if len(rows) > limit:
            token = base64.b64encode(json.dumps({"values": {"id": page[-1].number}}).encode()).decode()
        return 200, {
            **{"success": True, "instances_found": len(page), "total_instances": len(shown)},
            **{"next_token": token, "instances": [rented.row(self.now()) for rented in page]},
        }

    def _show(self, parts: list[str], _query: Any, _asked: Any) -> Any:
        rented = self.rented.get(int(parts[3]))
        there = rented is not None and rented.destroyed_at is None
        return 200, {"instances": rented.row(self.now()) if there and rented else None}

    def _destroy(self, parts: list[str], _query: Any, _asked: Any) -> Any:
        rented = self.rented.get(int(parts[3]))
        if rented is None or rented.destroyed_at is not None:
            return 404, {"success": False, "error": "not_found", "msg": "Instance not found"}
        rented.destroyed_at = self.now()
        self._end(rented)
        return 200, {"success": True, "msg": "Instance destroyed successfully"}

    def _manage(self, parts: list[str], _query: Any, asked: Mapping[str, Any]) -> Any:
        rented = self.rented.get(int(parts[3]))
        if rented is None or rented.destroyed_at is not None:
            return 404, {"success": False, "error": "no_such_instance"}
        if "label" in asked:
            rented.asked["label"] = asked["label"]
        return 200, {"success": True}

    def _logs(self, parts: list[str], _query: Any, _asked: Any) -> Any:
        rented = self.rented.get(int(parts[4]))
        if rented is None or rented.destroyed_at is not None:
            return 404, {"error": "invalid_id", "msg": "Invalid instance id."}
        return 200, {"success": True, "result_url": f"{self.url}/logs/{rented.number}.log"}

    def _charges(self, _parts: list[str], query: Mapping[str, str], _asked: Any) -> Any:
        try:
            day = json.loads(query.get("select_filters", "{}"))["day"]
            since, until = float(day["gte"]), float(day["lte"])
        except (KeyError, ValueError):
            return 400, {"success": False, "msg": "Must provide both 'day' gte and lte filters for instance charges"}
        results = []
        for rented in self.rented.values():
            parts = rented.bill(since, min(until, self.now()))
            if not any(parts.values()):
                continue
            common = {"start": int(rented.created_at), "end": int(rented.destroyed_at or self.now())}
            items = [{**common, "type": kind, "amount": round(usd, 3)} for kind, usd in parts.items() if usd]
            results.append(
                {
                    **common,
                    **{"type": "instance", "source": f"instance-{rented.number}", "items": items},
                    **{"amount": round(sum(parts.values()), 3), "metadata": {"label": rented.label}},
                }
            )
        return 200, {
            "success": True,
            "count": len(results),
            "total": len(results),
            "next_token": None,
            "results": results,
        }

    def _user(self, *_asked: Any) -> Any:
        return 200, {"id": 1, "email": "user@example.com", "balance": self.credit - self.bill()}

    def _unknown(self, *_asked: Any) -> Any:
        return 404, {"msg": "no such page"}

    def _is_free(self, machine: Machine) -> bool:
        return not machine.withdrawn and not any(r.machine is machine for r in self.alive())

    def _send(self, request: BaseHTTPRequestHandler, endpoint: str, status: int, body: Any) -> None:
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.calls.append((endpoint, status))
        with contextlib.suppress(OSError):  # who asked may have gone
            request.send_response(status)
            request.send_header("content-type", "text/plain" if isinstance(body, str) else "application/json")
            request.send_header("content-length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)

    def _hang_up(self, request: BaseHTTPRequestHandler, endpoint: str) -> None:
        self.calls.append((endpoint, 0))
        request.close_connection = True
