"""Pages that watch: a word to the browser whenever jobs have changed, as server-sent events.

However many look on, the records are asked once a second, and not at all while nobody does. A browser that does not
take its words loses them (the next one says the same); a connection ends after ``OPEN_FOR_S``, and the browser opens a
new one: a page that is left open for a day holds one connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from tornado.iostream import StreamClosedError
from tornado.web import url

from aseagi_tasks import services
from aseagi_tasks.doors.monitor.access import in_background
from aseagi_tasks.doors.monitor.page import Page
from aseagi_tasks.errors import AseagiError
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.bulk_records import OPEN_RUNS

EVERY_S, OPEN_FOR_S, SAY_SOMETHING_S = 1.0, 300.0, 15.0


def _state() -> dict[str, Any]:
    records = services.records()
    running = records.jobs(status="processing", limit=50)
    runs = services.bulk_records().runs(statuses=OPEN_RUNS, limit=20)
    state: dict[str, Any] = {
        "counts": records.counts(),
        "running": [[job.job_id, job.stage, job.deliveries] for job in running],
        "bulk": [[run.run_id, run.status, run.scan.keys, run.fed, run.trouble] for run in runs],
    }
    if settings().fleet != "none":
        state["instances"] = [[row.instance_id, row.state] for row in services.fleet_records().instances()]
    return state


class Pulse:
    """Asks the records while somebody listens."""

    def __init__(self) -> None:
        self.listeners: set[asyncio.Queue[str]] = set()
        self._task: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def listening(self) -> Any:
        """A queue of one: the newest state, as JSON."""
        queue: asyncio.Queue[str] = asyncio.Queue(1)
        self.listeners.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._ask())
        try:
            yield queue
        finally:
            self.listeners.discard(queue)

    async def _ask(self) -> None:
        last = ""
        while self.listeners:
            with contextlib.suppress(AseagiError):  # the records are away: the page stays as it is
                now = json.dumps(await in_background(_state))
                if now != last:
                    for queue in self.listeners:
                        while not queue.empty():
                            queue.get_nowait()
                        queue.put_nowait(now)
                last = now
            await asyncio.sleep(EVERY_S)


pulse = Pulse()


class Live(Page):
    """The stream of changes."""

    async def get(self) -> None:
        """Say what changed until the browser leaves or the time is over."""
        self.set_header("Content-Type", "text/event-stream")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Accel-Buffering", "no")  # nginx would keep it back
        until = asyncio.get_running_loop().time() + OPEN_FOR_S
        with contextlib.suppress(StreamClosedError), pulse.listening() as queue:
            self.write("retry: 2000\n\n")
            await self.flush()
            while asyncio.get_running_loop().time() < until:
                try:
                    state = await asyncio.wait_for(queue.get(), SAY_SOMETHING_S)
                    self.write(f"event: changed\ndata: {state}\n\n")
                except TimeoutError:
                    self.write(": still here\n\n")
                await self.flush()


ROUTES = [url(r"/live", Live, name="live")]
