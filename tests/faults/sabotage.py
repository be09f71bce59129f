"""Loaded into workers by ``celery -I tests.faults.sabotage``: does to them what files in ``ASEAGI_HOME/sabotage`` say.

    kill-before-STAGE, kill-after-STAGE   once: the process dies before its work, or when its result is written and the
                                          message not yet acknowledged
    hang-STAGE, sleep-STAGE               once: the process sits there for a minute, deaf to signals or not
    wait-STAGE                            once: the stage waits for something for a second and a half
    storage                               the bucket answers ``503`` or is ``full``, as long as the file is there
    records                               the records do not answer, as long as the file is there

    poison                                documents whose names begin so kill every process that reads them, as long

Each analysis costs a cent.
"""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from celery.signals import task_postrun

from aseagi_tasks import delivery, services
from aseagi_tasks.analysis.analyst import Errand
from aseagi_tasks.analysis.rules import RulesAnalyst
from aseagi_tasks.celery import app
from aseagi_tasks.documents import STAGES, Reading
from aseagi_tasks.errors import StorageUnavailable
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite_file import SqliteFile

ORDERS = settings().home / "sabotage"
PRICE_USD = 0.01  # as in plant.py, which a worker need not load


def taken(order: str) -> bool:
    """Whether an order was given; one process takes it."""
    try:
        (ORDERS / order).rename(ORDERS / f"done-{order}-{os.getpid()}")
    except FileNotFoundError:
        return False
    return True


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wrapped(stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
    def sabotaged(task: Any, place: Any, *args: Any) -> Any:
        if place.source.name.startswith("poison") and stage == "ocr" and (ORDERS / "poison").exists():
            die()
        if taken(f"kill-before-{stage}"):
            die()
        if taken(f"hang-{stage}"):
            for number in (signal.SIGTERM, signal.SIGUSR1):
                with suppress(ValueError):  # in a thread nobody is asked
                    signal.signal(number, signal.SIG_IGN)
            time.sleep(60)
        if taken(f"sleep-{stage}"):
            time.sleep(60)
        if taken(f"wait-{stage}"):
            task.wait(place.job_id, "a test", 1.5)
        return work(task, place, *args)

    return sabotaged


@task_postrun.connect
def _after(task: Any, **_kwargs: Any) -> None:
    if taken(f"kill-after-{task.name.removeprefix('aseagi.')}"):
        die()


def storage_fault() -> None:
    try:
        kind = (ORDERS / "storage").read_text()
    except FileNotFoundError:
        return
    if kind == "full":
        raise StorageUnavailable("writing", "no space") from OSError(errno.ENOSPC, "No space left on device")
    raise StorageUnavailable("asking", kind)


def faulty(method: Callable[..., Any]) -> Callable[..., Any]:
    def asked(self: FolderStorage, *args: Any) -> Any:
        storage_fault()
        return method(self, *args)

    return asked


def connection(self: SqliteFile, ask: Any = SqliteFile._connection) -> sqlite3.Connection:
    if (ORDERS / "records").exists():
        raise sqlite3.OperationalError("they are away")
    answer: sqlite3.Connection = ask(self)
    return answer


class Billed(RulesAnalyst):
    """The rules, at a price."""

    def analyze(self, reading: Reading, name: str, errand: Errand | None = None) -> Any:
        assert errand is not None
        errand.reserve("facts-1", PRICE_USD)
        errand.settle("facts-1", PRICE_USD, {"model": "cent"})
        found = super().analyze(reading, name, errand)
        return found.model_copy(update={"cost_usd": PRICE_USD, "model": "cent"})


for _stage in STAGES:
    _task = app.tasks[f"aseagi.{_stage}"]
    _task.work = wrapped(_stage, _task.work)
for _name in ("put", "upload", "download", "get"):
    setattr(FolderStorage, _name, faulty(getattr(FolderStorage, _name)))
SqliteFile._connection = connection  # type: ignore[method-assign]
delivery.DISK_PAUSE_S = 1
services.analyst = lambda _asked=None: Billed()  # type: ignore[assignment]
