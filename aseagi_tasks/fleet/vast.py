"""Vast.ai's API, as far as a fleet needs it: HTTP with httpx, its errors as ours, its rhythm kept.

The vendor's SDK is not used: it sends the create, which is billed, up to three times when an answer is late. What the
OpenAPI files do not say and practice does is noted where it matters.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

import httpx

from aseagi_tasks.errors import (
    AseagiError,
    ConfigError,
    CreateUnresolved,
    FleetError,
    FleetUnavailable,
    NoSuchInstance,
    OfferGone,
    RateLimited,
)
from aseagi_tasks.fleet.model import Offer
from aseagi_tasks.fleet.vast_answers import (
    Charge,
    Seen,
    charge_of,
    listed,
    offer_of,
    problem,
    retry_after,
    seen_of,
    words_of,
)

#: Seconds between calls of an endpoint, for all processes together; as documented, or as observed where that is more.
INTERVALS_S = {
    "search": 6.0,  # 10 a minute
    "create": 4.5,
    "destroy": 3.0,
    "list": 1.0,
    "show": 2.0,
    "manage": 1.0,
    "logs": 1.0,
    "charges": 1.0,
    "user": 1.0,
}
#: A pause after a 429 that names none: the documented penalty of the create, the slowest endpoint.
PENALTY_S = 12.0
#: A container's environment takes values no longer than this, args and onstart together ``MAX_ARGS``.
MAX_ENV_VALUE, MAX_ARGS = 256, 4_096
PAGE = 25
MAX_PAGES = 400
#: A new instance may be missing from the list for some seconds: looks for a label, and the pause between them.
LOOKS, LOOK_PAUSE_S = 3, 2.0


class Rhythm(Protocol):
    """Turns and pauses shared by every process that calls; opened in ``services.py`` over ``stores/pace.py``."""

    def turn(self, endpoint: str, interval_s: float) -> None:
        """Wait for this endpoint's next turn.

        Raises:
            RateLimited: it is too far away to wait for.
        """

    def hold(self, endpoint: str, seconds: float) -> None:
        """Nobody's turn comes for so long."""


class Vast:
    """One account.

    Args:
        api_key: of the account. Never logged.
        rhythm: whose turn it is.
        url: ``https://console.vast.ai``, or a server like it.
        timeout_s: how long an answer may take. A create that takes longer is looked for by its label.
        sleep: between looks for a label.
    """

    def __init__(
        self,
        api_key: str,
        rhythm: Rhythm,
        url: str = "https://console.vast.ai",
        timeout_s: float = 20,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rhythm, self._sleep = rhythm, sleep
        timeout = httpx.Timeout(timeout_s, connect=min(timeout_s, 5))
        self._http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {api_key}"}, timeout=timeout, follow_redirects=False
        )

    # -- offers

    def search(
        self,
        gpu_prices: Mapping[str, float],
        *,
        disk_gb: float,
        min_reliability: float,
        verified: bool = True,
        datacenter: bool = False,
        regions: Sequence[str] = (),
        interruptible: bool = False,
        limit: int = 64,
    ) -> list[Offer]:
        """Machines with one GPU that can be rented now, cheapest first.

        Args:
            gpu_prices: highest price for each kind, USD an hour for all: ``{"RTX 3090": 0.25}``.
            disk_gb: allocated; its price is in the offer's.
            regions: country codes; none: everywhere.
            interruptible: bid prices; such an instance is stopped without notice when somebody bids more.
        """
        wanted: dict[str, Any] = {
            "type": "bid" if interruptible else "ondemand",
            "rentable": {"eq": True},
            "rented": {"eq": False},
            "num_gpus": {"eq": 1},
            "gpu_name": {"in": sorted(gpu_prices)},
            "dph_total": {"lte": max(gpu_prices.values(), default=0.0)},
            "reliability": {"gte": min_reliability},
            "disk_space": {"gte": disk_gb},
            "allocated_storage": disk_gb,
            "order": [["dph_total", "asc"]],
            "limit": limit,
        }
        if verified:
            wanted["verified"] = {"eq": True}
        if datacenter:
            wanted["datacenter"] = {"eq": True}
        if regions:
            wanted["geolocation"] = {"in": list(regions)}
        found = self._call("search", "searching offers", "POST", "/api/v0/bundles/", wanted)
        offers = listed(found, "offers", "searching offers")
        made = [offer_of(row) for row in offers]
        return [offer for offer in made if offer.price_usd_per_hour <= gpu_prices.get(offer.gpu, 0.0)]

    # -- instances

    def create(
        self,
        ask_id: int,
        *,
        label: str,
        image: str,
        disk_gb: float,
        env: Mapping[str, str],
        args: Sequence[str] = (),
        bid_usd_per_hour: float | None = None,
    ) -> int:
        """Rent an offer; the new instance's id. Called once for a label: it is billed and not idempotent.

        An answer that is late, lost or an error may have left an instance behind: it is looked for by its label.

        Raises:
            OfferGone: somebody was faster, and nothing is listed under the label.
            CreateUnresolved: nothing is listed yet under the label, and it may come.
            RateLimited, ConfigError: it was refused before anything was made.
        """
        too_long = [name for name, value in env.items() if len(value) > MAX_ENV_VALUE]
        if too_long or sum(map(len, args)) > MAX_ARGS:
            what = f"environment value {too_long[0]}" if too_long else "arguments"
            raise ConfigError(what, "is too long for Vast.ai.", f"At most {MAX_ENV_VALUE} and {MAX_ARGS} characters.")
        asked: dict[str, Any] = {
            **{"image": image, "label": label, "disk": disk_gb, "env": dict(env), "runtype": "args"},
            **{"args": list(args), "target_state": "running", "cancel_unavail": True},
        }
        if bid_usd_per_hour is not None:
            asked["price"] = bid_usd_per_hour
            asked["cancel_unavail"] = False
        doing = f"creating {label}"
        try:
            made = self._call("create", doing, "PUT", f"/api/v0/asks/{ask_id}/", asked)
            if not isinstance(made.get("new_contract"), int):
                raise FleetUnavailable(doing, f"an answer without new_contract: {str(made)[:120]}")
            return int(made["new_contract"])
        except (RateLimited, ConfigError):
            raise
        except AseagiError as exc:
            gone = isinstance(exc, OfferGone)
            there = self._look_for(label, 1 if gone else LOOKS)
            if there is not None:
                return there
            if gone:
                raise
            raise CreateUnresolved(label, str(exc.args[1]), None) from exc

    def instances(self, prefix: str = "") -> list[Seen]:
        """Every instance of the account whose label begins so, page by page; an incomplete list is an error."""
        found: list[Seen] = []
        after: str | None = None
        for _ in range(MAX_PAGES):
            asked = {
                "limit": str(PAGE),
                "order_by": '[{"col":"id","dir":"asc"}]',
                **({"after_token": after} if after else {}),
            }
            page = self._call("list", "listing instances", "GET", "/api/v1/instances/", params=asked)
            found += [seen_of(row) for row in listed(page, "instances", "listing instances")]
            after = page.get("next_token")
            if not after:
                once = {seen.provider_id: seen for seen in found}  # what changed places while we read
                return [seen for seen in once.values() if seen.label.startswith(prefix)]
        raise FleetUnavailable("listing instances", f"more than {MAX_PAGES} pages")

    def instance(self, provider_id: int) -> Seen | None:
        """One instance; None if there is none."""
        doing = f"showing {provider_id}"
        try:
            row = self._call("show", doing, "GET", f"/api/v0/instances/{provider_id}/").get("instances")
        except NoSuchInstance:
            return None
        if not row:
            return None
        if not isinstance(row, dict):
            raise FleetUnavailable(doing, "an answer that is no instance")
        return seen_of(row)

    def destroy(self, provider_id: int) -> None:
        """Destroy; one that is not there is destroyed. It is gone only when two lists lack it."""
        try:
            self._call("destroy", f"destroying {provider_id}", "DELETE", f"/api/v0/instances/{provider_id}/")
        except NoSuchInstance:
            return
        except AseagiError as exc:
            if isinstance(exc, (RateLimited, ConfigError)):
                raise
            raise FleetError(str(exc.args[0]), str(exc.args[1]), provider_id) from exc

    def label(self, provider_id: int, label: str) -> None:
        """Give an instance another label."""
        doing = f"labelling {provider_id}"
        self._call("manage", doing, "PUT", f"/api/v0/instances/{provider_id}/", {"label": label})

    def logs(self, provider_id: int, lines: int = 200) -> str:
        """The end of a container's output. It is uploaded first: an empty text means that it is not there yet."""
        doing = f"asking for the logs of {provider_id}"
        body = {"tail": str(lines)}
        said = self._call("logs", doing, "PUT", f"/api/v0/instances/request_logs/{provider_id}", body)
        address = said.get("result_url")
        if not isinstance(address, str):
            raise FleetUnavailable(doing, f"no address in the answer: {str(said)[:120]}")
        try:
            answer = httpx.get(address, timeout=self._http.timeout)  # another server: without our key
        except httpx.HTTPError as exc:
            raise FleetUnavailable(doing, type(exc).__name__) from exc
        return answer.text if answer.status_code == 200 else ""

    # -- money

    def charges(self, since: datetime, until: datetime) -> list[Charge]:
        """What was billed for instances from ``since`` to ``until``."""
        days = {
            "day": {"gte": int(since.timestamp()), "lte": math.ceil(until.timestamp())},
            "type": {"in": ["instance"]},
        }
        found, after = [], None
        for _ in range(MAX_PAGES):
            asked = {"select_filters": json.dumps(days), "limit": "500", **({"after_token": after} if after else {})}
            page = self._call("charges", "asking for charges", "GET", "/api/v0/charges/", params=asked)
            found += [charge_of(row) for row in listed(page, "results", "asking for charges")]
            after = page.get("next_token")
            if not after:
                return found
        raise FleetUnavailable("asking for charges", f"more than {MAX_PAGES} pages")

    def balance(self) -> float:
        """What is left of the account's credit, USD."""
        return float(
            self._call("user", "asking for the balance", "GET", "/api/v0/users/current/").get("balance") or 0.0
        )

    # -- inside

    def _look_for(self, label: str, looks: int) -> int | None:
        for look in range(looks):
            if look:
                self._sleep(LOOK_PAUSE_S)
            try:
                for seen in self.instances(label):
                    if seen.label == label:
                        return seen.provider_id
            except (RateLimited, FleetUnavailable):
                continue  # the caller learns that it is not known
        return None

    def _call(
        self,
        endpoint: str,
        doing: str,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        self._rhythm.turn(endpoint, INTERVALS_S[endpoint])
        try:
            answer = self._http.request(method, path, json=body, params=params)
        except httpx.HTTPError as exc:
            raise FleetUnavailable(doing, type(exc).__name__) from exc
        said = words_of(answer)
        if answer.status_code == 429:
            pause = max(retry_after(answer), PENALTY_S if endpoint == "create" else INTERVALS_S[endpoint])
            self._rhythm.hold(endpoint, pause)
            raise RateLimited("Vast.ai", pause)
        if answer.status_code >= 400:
            raise problem(answer.status_code, doing, said)
        try:
            found = answer.json()
        except ValueError as exc:
            raise FleetUnavailable(doing, f"an answer that is no JSON: {said[:120]}") from exc
        if not isinstance(found, dict):
            raise FleetUnavailable(doing, f"an answer that is no object: {said[:120]}")
        if found.get("success") is False:  # with status 200: the SDK passes this on as if it were done
            raise problem(400, doing, said)
        return found
