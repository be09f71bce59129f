"""What is put in order at night. Each step says how much it did, may be killed at any line, and run twice at once."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from aseagi_tasks import keys, services
from aseagi_tasks.documents import FINAL
from aseagi_tasks.errors import AseagiError, NotFound
from aseagi_tasks.notices import notice
from aseagi_tasks.settings import settings

if TYPE_CHECKING:
    from aseagi_tasks.stores.manifest import Gone

log = logging.getLogger(__name__)

#: Leftovers of jobs that ended without clearing up are kept this long, for a look at what went wrong.
KEEP = timedelta(days=1)
#: Telegram gives an update again for a day; that it was dealt with is remembered longer.
KEEP_UPDATES = timedelta(days=7)
#: Events are rolled up so long each night, in seconds; what is left is the next night's.
ROLL_UP_S = 600.0
_ROLLED_TOGETHER = 50


def clean() -> dict[str, int]:
    """Do every step; how much each did.

    Raises:
        AseagiError: of the first step that failed, when the others are done.
    """
    now, conf, done = datetime.now(UTC), settings(), {}
    records, old = services.records(), timedelta(days=conf.keep_events_days)
    steps: dict[str, Callable[[], int]] = {
        "cache": lambda: clean_cache(now - KEEP),
        "scratch": lambda: clean_scratch(now - KEEP),
        "updates": lambda: records.forget_updates(now - KEEP_UPDATES),
        "answers": lambda: records.forget_answers(now - old),
        "jobs_rolled_up": lambda: roll_up(now - old),
        "exports": lambda: clean_exports(now, conf.keep_exports_days, conf.keep_certificates_days),
    }
    failed: AseagiError | None = None
    for name, step in steps.items():
        try:
            done[name] = step()
        except AseagiError as exc:
            log.warning("housekeeping: %s: %s", name, exc)
            failed = failed or exc
    log.info("housekeeping: %s", ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in done.items()))
    if failed is not None:
        raise failed
    return done


def clean_cache(before: datetime) -> int:
    """Remove what ended jobs left in ``cache/``; how many objects."""
    storage, gone = services.storage(), 0
    old = {there.key for there in storage.list("cache/") if there.modified < before}
    for stray in sorted(key for key in old if key.count("/") == 1):  # no job's
        storage.delete(stray)
        gone += 1
    for job_id in sorted({key.split("/", 2)[1] for key in old if key.count("/") > 1}):
        gone += storage.delete_all(keys.cache(job_id)) if _has_ended(job_id) else 0
    return gone


def clean_scratch(before: datetime) -> int:
    """Remove what ended jobs, backups and drills left in this host's scratch folder; how many."""
    root, gone = settings().scratch_root, 0
    for left in root.iterdir() if root.is_dir() else ():
        try:
            if left.stat().st_mtime >= before.timestamp() or not _has_ended(left.name):
                continue
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
            gone += 1
        except FileNotFoundError:  # another was faster
            continue
    return gone


def roll_up(ended_before: datetime) -> int:
    """Keep one row of the events of jobs that ended before then, for a while; how many jobs."""
    until, rolled = time.monotonic() + ROLL_UP_S, 0
    while time.monotonic() < until:
        some = services.records().roll_up_events(ended_before, _ROLLED_TOGETHER)
        rolled += some
        if some < _ROLLED_TOGETHER:
            break
    return rolled


def clean_exports(now: datetime, days: int, certificate_days: int) -> int:
    """Remove reports older than ``days``, certificates older than ``certificate_days`` (0: none); how many."""
    storage, gone = services.storage(), 0
    for there in storage.list("exports/") if days or certificate_days else ():
        keep = certificate_days if there.key.startswith(keys.certificates()) else days
        if keep and there.modified < now - timedelta(days=keep):
            storage.delete(there.key)
            gone += 1
    return gone


def back_up() -> dict[str, Any]:
    """Back the records up, write down what is in the bucket, remove old backups, tell operators what is gone.

    Returns:
        ``key, bytes, manifest, objects, gone, removed``.
    Raises:
        ConfigError, RecordsUnavailable, StorageUnavailable.
    """
    from aseagi_tasks.stores import manifest
    from aseagi_tasks.stores.backup import backup, thin

    storage, scratch, now = services.storage(), settings().scratch_root, datetime.now(UTC)
    made = backup(services.records_source(), storage, scratch, now)
    key = keys.manifest(made.key)
    about = made._asdict() | {"made_at": now.isoformat(timespec="seconds")}
    totals, missing = manifest.write(storage, services.records(), key, scratch, now, about)
    if missing:
        # again when there are others, or more
        name = hashlib.sha256(" ".join(sorted(one.key for one in missing)).encode("utf-8", "replace")).hexdigest()[:16]
        said = notice("originals_gone", count=totals.gone, key=missing[0].key)
        services.tell_once(f"gone:{totals.gone}:{name}", said, every_s=30 * 86_400)
    return {
        **{"key": made.key, "bytes": made.bytes, "manifest": key, "objects": totals.objects, "gone": totals.gone},
        "removed": thin(storage),
    }


def gone() -> Iterator[Gone]:
    """Documents' files that are not in the bucket now, compared as a stream; nothing is done about them.

    Raises:
        RecordsUnavailable, StorageUnavailable.
    """
    from aseagi_tasks.stores.manifest import gone_now

    return gone_now(services.storage(), services.records(), settings().scratch_root)


def _has_ended(job_id: str) -> bool:
    try:
        return services.records().job(job_id).status in FINAL
    except NotFound:
        return True
