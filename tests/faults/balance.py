"""Whether everything that went in came out, once: asked of records and bucket alone."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from aseagi_tasks.documents import FINAL
from tests.faults.plant import PRICE_USD, Plant


class Balance(NamedTuple):
    """Counts, and the jobs that are wrong."""

    completed: int
    set_aside: int
    #: completed without a whole published set, or ended in an error that is not theirs
    lost: list[str]
    #: completed or billed more than once, or not billed
    twice: list[str]
    unfinished: list[str]
    #: which still have a lease
    leased: list[str]

    @property
    def is_even(self) -> bool:
        return not (self.lost or self.twice or self.unfinished or self.leased)


def balance(plant: Plant, ids: Sequence[str]) -> Balance:
    completed, set_aside = 0, 0
    wrong = Balance(0, 0, [], [], [], [])
    with sqlite3.connect(plant.home / "records.sqlite3") as db:
        billed = dict(db.execute("SELECT job_id, count(*) FROM costs GROUP BY job_id"))
        leased = {row[0] for row in db.execute("SELECT job_id FROM processing_jobs WHERE lease_until IS NOT NULL")}
    for job_id in ids:
        job = plant.job(job_id)
        if job.status not in FINAL:
            wrong.unfinished.append(job_id)
        elif job_id in leased:
            wrong.leased.append(job_id)
        elif job.error_class == "Quarantined":
            set_aside += 1
        elif job.status != "completed" or not is_published(plant, job.document_id or ""):
            wrong.lost.append(job_id)
        elif plant.events(job_id, "completed") != [None] or billed.get(job_id) != 1 or job.cost_usd != PRICE_USD:
            wrong.twice.append(job_id)
        else:
            completed += 1
    return wrong._replace(completed=completed, set_aside=set_aside)


def is_published(plant: Plant, document_id: str) -> bool:
    """Whether every file that metadata.json names is there with its bytes."""
    folder = plant.records.document(document_id).processed
    metadata = json.loads(plant.bucket.get(f"{folder}/metadata.json"))
    return all(
        hashlib.sha256(plant.bucket.get(f"{folder}/{name}")).hexdigest() == published["sha256"]
        for name, published in metadata["files"].items()
    )
