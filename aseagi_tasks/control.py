"""What beat calls. When is in ``beat_schedule.py``."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime, timedelta

from aseagi_tasks import keys, services
from aseagi_tasks.celery import app
from aseagi_tasks.documents import FINAL
from aseagi_tasks.errors import NotFound
from aseagi_tasks.fleet import broker_access
from aseagi_tasks.fleet.marks import HEARTBEAT_KEY
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


@app.task(name="aseagi.control.heartbeat")
def heartbeat() -> None:
    """Tell rented machines that clock, control worker and broker live; without it they destroy themselves."""
    services.redis().set(HEARTBEAT_KEY, datetime.now(UTC).isoformat(), ex=3600)


@app.task(name="aseagi.control.give_back_overdue")
def give_back_overdue() -> int:
    """Put back what rented machines took longer ago than the visibility time-out and have not done; how many messages.

    For other workers Celery does this; a rented machine may not.
    """
    before = time.time() - app.conf.broker_transport_options["visibility_timeout"]
    redis = services.redis()
    return sum(broker_access.give_back(redis, instance, before) for instance in broker_access.users(redis))


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
