"""The HTTP API's bulk runs: begin, list, look at, confirm, pause, resume, cancel."""

from __future__ import annotations

from typing import Any

from tornado.web import url

from aseagi_tasks.bulk import orders
from aseagi_tasks.doors.monitor.api import Api
from aseagi_tasks.doors.monitor.bulk import ACTIONS, IDENT, LISTED, order, tend_soon
from aseagi_tasks.doors.monitor.description import BASE, Cap, ListedRun, NewRun, Run, RunList


class Runs(Api):
    """Begin one; list."""

    async def get(self) -> None:
        """Runs, newest first."""
        limit = self.number("limit", LISTED, 1, 500)
        await self.answer(lambda: RunList(runs=[ListedRun.model_validate(run) for run in orders.listed(limit)]))

    async def post(self) -> None:
        """Have a prefix looked through and quoted."""
        new = self.body(NewRun)
        await self.change("bulk start", new.model_dump(exclude_none=True), self._begin, new)

    def _begin(self, new: NewRun) -> Run:
        given: dict[str, Any] = new.model_dump(exclude={"prefix"})
        run_id = orders.start(new.prefix, requested_by=self.who.name, **given)
        tend_soon()
        return _shown(run_id)


class OneRun(Api):
    """One run."""

    async def get(self, run_id: str) -> None:
        """How it stands."""
        await self.answer(_shown, run_id)


class ChangeRun(Api):
    """Confirm, pause, resume or cancel one."""

    async def post(self, run_id: str, action: str) -> None:
        """How it stands then."""
        cap = self.body(Cap).cap_usd if self.request.body else None
        detail = {"run": run_id, **({} if cap is None else {"cap_usd": cap})}
        await self.change(f"bulk {action}", detail, lambda: _shown(order(action, run_id, self.who.name, cap)))


def _shown(run_id: str) -> Run:
    return Run.model_validate(orders.show(run_id))


ROUTES = [
    url(rf"{BASE}/bulk", Runs),
    url(rf"{BASE}/bulk/({IDENT})", OneRun),
    url(rf"{BASE}/bulk/({IDENT})/({'|'.join(ACTIONS)})", ChangeRun),
]
