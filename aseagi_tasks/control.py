"""What beat calls. When is in ``beat_schedule.py``."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from aseagi_tasks import keys, services
from aseagi_tasks.celery import app
from aseagi_tasks.documents import FINAL
from aseagi_tasks.errors import NotFound
from aseagi_tasks.settings import settings

#: Leftovers of jobs that ended without clearing up are kept this long, for a look at what went wrong.
KEEP = timedelta(days=1)


@app.task(name="aseagi.control.clean")
def clean() -> dict[str, int]:
    """Remove what ended jobs left in ``cache/`` and in this host's scratch folder; running jobs' files stay."""
    return {
        "cache": _clean_cache(datetime.now(UTC) - KEEP),
        "scratch": _clean_scratch(time.time() - KEEP.total_seconds()),
    }


@app.task(name="aseagi.control.backup")
def backup() -> str:
    """Back the records up into the bucket; returns the key."""
    from aseagi_tasks.stores.backup import backup as write

    return write(services.records_source(), services.storage(), settings().scratch_root, datetime.now(UTC))


@app.task(name="aseagi.control.autoscale", acks_late=False, expires=15, soft_time_limit=170, time_limit=180)
def autoscale() -> list[str] | None:
    """Rent, drain and destroy machines as the queue wants it, and say why; nothing if none are to be rented.

    Not delivered again if this worker dies: the next tick, a quarter of a minute later, sees what came of it.
    """
    if settings().fleet == "none":
        return None
    from aseagi_tasks.tending.tick import means, tick

    said = tick(means())
    return [decision["reason"] for decision in said.get("decisions", ())] + said.get("errors", [])


@app.task(name="aseagi.control.reconcile")
def reconcile() -> dict[str, Any] | None:
    """Compare what rented machines cost by our ledger with what the provider charged, and book the difference."""
    if settings().fleet == "none":
        return None
    from aseagi_tasks.tending.billing import difference
    from aseagi_tasks.tending.billing import reconcile as compare
    from aseagi_tasks.tending.tick import means

    tools, now = means(), datetime.now(UTC)
    totals = difference(compare(tools, now))
    tools.records.set_control("reconciled", {**totals, "at": now.isoformat(timespec="seconds")}, "beat")
    if abs(totals["difference_usd"]) > 0.01:
        said = "Vast.ai charged ${charged_usd:.2f} in three days for what the ledger has as ${booked_usd:.2f}."
        services.tell_once(f"fleet:reconciled:{now:%Y-%m-%d}", said.format(**totals))
    return dict(totals)


def _has_ended(job_id: str) -> bool:
    try:
        return services.records().job(job_id).status in FINAL
    except NotFound:
        return True


def _clean_cache(before: datetime) -> int:
    storage = services.storage()
    old = {there.key.split("/")[1] for there in storage.list("cache/") if there.modified < before}
    return sum(storage.delete_all(keys.cache(job_id)) for job_id in sorted(old) if _has_ended(job_id))


def _clean_scratch(before: float) -> int:
    root = settings().scratch_root
    gone = 0
    for folder in root.iterdir() if root.is_dir() else ():
        if folder.stat().st_mtime < before and _has_ended(folder.name):
            shutil.rmtree(folder, ignore_errors=True)
            gone += 1
    return gone
