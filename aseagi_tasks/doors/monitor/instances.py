"""Rented machines: what there are, what they cost and why; launch, drain, destroy, pause, limits, panic."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from tornado.web import HTTPError, url

from aseagi_tasks.doors.monitor.page import Page
from aseagi_tasks.errors import FleetError
from aseagi_tasks.settings import settings

#: Decisions that are shown, newest first.
DECISIONS = 12


def what_there_is() -> dict[str, Any]:
    """The overview and the latest decisions; ``overview`` is None where nothing is rented by setting."""
    conf = settings()
    if conf.fleet == "none":
        return {"overview": None, "ticks": [], "gpus": []}
    from aseagi_tasks.tending.overview import overview
    from aseagi_tasks.tending.tick import means

    tools = means()
    ticks = [{"at": tick.at, **tick.detail} for tick in tools.records.ticks(200)]
    told = [tick for tick in ticks if any(not _is_calm(one) for one in tick.get("decisions", ()))]
    return {"overview": overview(tools), "ticks": (told or ticks)[:DECISIONS], "gpus": sorted(conf.fleet_price_caps)}


def _is_calm(decision: dict[str, Any]) -> bool:
    return str(decision.get("reason", "")).startswith("wait: nothing waits")


def order(action: str, who: str, instance: str, gpu: str | None, limits: str) -> str:
    """Do what an operator asks for; what came of it, in words.

    Raises:
        NotFound, ConfigError, FleetError, FleetUnavailable: nothing was done, or the sentence says what.
    """
    from aseagi_tasks.tending import orders
    from aseagi_tasks.tending.tick import means

    tools = means()
    if action == "launch":
        return orders.launch(tools, who, gpu)
    if action in ("drain", "destroy"):
        return (orders.drain if action == "drain" else orders.destroy)(tools, instance, who)
    if action in ("pause", "resume"):
        orders.pause(tools, who, paused=action == "pause")
        return "Nothing more is rented until it is resumed." if action == "pause" else "Renting goes on."
    if action == "limits":
        orders.set_limits(tools, who, dict(_changes(limits)))
        return "The limits hold from the next decision on."
    ended = orders.panic(tools, who)
    if not ended.proven:
        raise FleetError("destroying everything", "it is not proven that nothing is left; look at the provider", None)
    return f"{len(ended.destroyed)} destroyed; two lists in a row have nothing of ours. Launching is paused."


def _changes(text: str) -> list[tuple[str, Any]]:
    found = []
    for part in text.split():
        name, equals, value = part.partition("=")
        if not equals:
            raise HTTPError(400, "Limits are written NAME=VALUE, NAME= takes one back.")
        try:
            found.append((name, json.loads(value) if value else None))
        except ValueError:
            found.append((name, value))
    return found


class Instances(Page):
    """The page."""

    tab = "instances"

    async def get(self) -> None:
        """To the page's own script only what changes."""
        name = "aseagi-instances-now.html" if self.wants_fragment else "aseagi-instances.html"
        self.show(name, said=self.text("said"), **await self.read(what_there_is))

    async def post(self) -> None:
        """An order; leads back with what came of it."""
        action, instance = self.get_body_argument("action", ""), self.get_body_argument("instance", "")
        if action not in ("launch", "drain", "destroy", "pause", "resume", "limits", "panic"):
            raise HTTPError(400, "There is no such order.")
        gpu, limits = self.get_body_argument("gpu", "") or None, self.get_body_argument("limits", "")
        detail = {name: value for name, value in (("instance", instance), ("gpu", gpu), ("limits", limits)) if value}
        said = await self.change(f"fleet {action}", detail, order, action, self.who.name, instance, gpu, limits)
        self.redirect(f"{self.reverse_url('instances')}?{urlencode({'said': said})}")


ROUTES = [url(r"/instances", Instances, name="instances")]
