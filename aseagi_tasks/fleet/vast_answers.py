"""Vast.ai's answers as our words: offers, instances, charges, errors. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import httpx

from aseagi_tasks.errors import AseagiError, ConfigError, FleetError, FleetUnavailable, NoSuchInstance, OfferGone
from aseagi_tasks.fleet.model import Offer


class Seen(NamedTuple):
    """An instance as the provider lists it. The price is all that runs by the hour, disk included.

    ``status``: None until something is known, then created, loading, running; also stopped, frozen, exited, rebooting,
    unknown, offline. ``intended`` is ``stopped`` where somebody else has bid more.
    """

    provider_id: int
    label: str
    status: str | None
    intended: str
    gpu: str
    machine_id: int
    price_usd_per_hour: float
    disk_usd_per_hour: float
    message: str
    started_at: datetime | None
    down_gb: float
    up_gb: float
    down_usd_per_gb: float
    up_usd_per_gb: float


class Charge(NamedTuple):
    """What the provider billed for one instance in a time, in USD, by ``gpu``, ``disk``, ``bwd``, ``bwu``."""

    provider_id: int
    label: str
    usd: float
    parts: Mapping[str, float]


def problem(status: int, doing: str, said: str) -> AseagiError:
    """Keys are refused with 401, 403 or 404, with and without ``auth_error``: the words decide."""
    words = said.lower()
    if status == 401 or any(known in words for known in ("auth_error", "user key", "requires login", "api key")):
        cure = "console.vast.ai shows keys under Account; it needs the rights to read and change instances."
        return ConfigError("ASEAGI_VAST_API_KEY", f"was refused while {doing}: {said[:120]}.", cure)
    if "no_such_ask" in words or (status == 410):
        return OfferGone(doing, said[:200], None)
    if status == 404:
        return NoSuchInstance(doing, said[:200], None)
    if status >= 500 or status in (408, 425):
        return FleetUnavailable(doing, f"{status}: {said[:200]}")
    return FleetError(doing, f"{status}: {said[:200]}", None)


def words_of(answer: httpx.Response) -> str:
    """What an answer says: ``error`` and ``msg`` if it is JSON, either of which may be missing, else its text."""
    try:
        found = answer.json()
    except ValueError:
        return answer.text.strip()
    if not isinstance(found, dict):
        return answer.text.strip()
    parts = [str(found[name]) for name in ("error", "msg", "detail") if found.get(name)]
    return ": ".join(parts) or answer.text.strip()


def retry_after(answer: httpx.Response) -> float:
    """Seconds that a 429 asks for; 0 where it does not say, as usual."""
    try:
        return max(0.0, float(answer.headers.get("retry-after", "0")))
    except ValueError:
        return 0.0


def listed(found: Mapping[str, Any], name: str, doing: str) -> list[dict[str, Any]]:
    """A list that must be there: taken for empty, it would say that nothing is rented."""
    rows = found.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FleetUnavailable(doing, f"an answer without a list of {name}")
    return rows


def offer_of(row: Mapping[str, Any]) -> Offer:
    """An offer, its price with the disk that was asked for.

    A row without a price or an id is an error: taken for 0 it would be the best of all.
    """
    place = str(row.get("geolocation") or "")
    try:
        return Offer(
            ask_id=row["id"],
            machine_id=row["machine_id"],
            gpu=row["gpu_name"],
            price_usd_per_hour=row["dph_total"],
            download_usd_per_gb=row.get("inet_down_cost") or 0.0,
            reliability=row.get("reliability2") or row.get("reliability") or 0.0,
            verified=row.get("verification") == "verified",
            datacenter=row.get("hosting_type") == 1,
            region=place.rpartition(",")[2].strip()[:2].upper(),
            available_s=row.get("duration") or 0.0,
        )
    except (KeyError, ValueError) as exc:
        raise FleetUnavailable("searching offers", f"an offer that is none: {str(row)[:120]}") from exc


def seen_of(row: Mapping[str, Any]) -> Seen:
    """An instance of a list."""
    hourly = row.get("instance") or row.get("search") or {}
    started = row.get("start_date")
    return Seen(
        provider_id=int(row["id"]),
        label=str(row.get("label") or ""),
        status=row.get("actual_status"),
        intended=str(row.get("intended_status") or ""),
        gpu=str(row.get("gpu_name") or "?"),
        machine_id=int(row.get("machine_id") or 0),
        price_usd_per_hour=float(row.get("dph_total") or 0.0),
        disk_usd_per_hour=float(hourly.get("diskHour") or row.get("storage_total_cost") or 0.0),
        message=str(row.get("status_msg") or "").strip()[:500],
        started_at=None if started is None else datetime.fromtimestamp(float(started), UTC),
        down_gb=float(row.get("inet_down_billed") or 0.0) / 1e6,  # kB by users' measurements; not in the documents
        up_gb=float(row.get("inet_up_billed") or 0.0) / 1e6,
        down_usd_per_gb=float(row.get("inet_down_cost") or 0.0),
        up_usd_per_gb=float(row.get("inet_up_cost") or 0.0),
    )


def charge_of(row: Mapping[str, Any]) -> Charge:
    """A row of charges."""
    parts: dict[str, float] = {}
    for item in row.get("items") or ():
        parts[str(item.get("type"))] = parts.get(str(item.get("type")), 0.0) + float(item.get("amount") or 0.0)
    return Charge(
        provider_id=int(str(row.get("source") or "0").rpartition("-")[2] or 0),
        label=str((row.get("metadata") or {}).get("label") or ""),
        usd=float(row.get("amount") or 0.0),
        parts=parts,
    )
