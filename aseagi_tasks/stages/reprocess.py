"""Documents that are processed again: what was ordered, and how its jobs come into the records a few at a time.

An order lies in the bucket (``reprocess/<run>.json``) and says how far it is. Its jobs are requested by
``reprocess:<run>`` and their ids follow from run and document, so whoever is stopped in the middle goes on, and two at
once do no harm. There are ``AHEAD`` open jobs, while what it has cost and what they may cost stay below its cap.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from aseagi_tasks import keys
from aseagi_tasks.documents import Frozen
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.records import Document, Records, Requested, Wanted
from aseagi_tasks.stores.storage import Storage

State = Literal["running", "done", "cap", "cancelled"]
#: Open jobs of one order; the rest waits as nothing but a place in the list of documents.
AHEAD, PAGE = 1_000, 500
_NAMES = uuid.UUID("6f1c1c7e-8f5b-4c0e-9d1b-0c7b6f6a5d11")


class Order(Frozen):
    """What is to be done again.

    Attributes:
        where: as it was typed. wanted: what that means.
        analyst, ocr_engine: instead of the settings'. versions: of analyst and engine when it was ordered.
        everything: also what those versions have made.
        documents: how many there were. limit: at most so many.
        cap_usd: what it may cost; document_usd: what one document may.
        behind: the last document whose job is registered, by age and id.
        fed: how many were registered.
    """

    run_id: str
    where: tuple[str, ...]
    wanted: Wanted
    stage: Literal["ocr", "analyze"]
    analyst: str | None = None
    ocr_engine: str | None = None
    versions: dict[str, str]
    everything: bool = False
    documents: int
    limit: int | None = None
    cap_usd: float
    document_usd: float
    ordered_by: str
    ordered_at: datetime
    state: State = "running"
    behind: tuple[datetime, str] | None = None
    fed: int = 0

    @property
    def requested_by(self) -> str:
        """Of its jobs."""
        return f"reprocess:{self.run_id}"

    def job_id(self, document_id: str) -> str:
        """Of the job on a document."""
        return str(uuid.uuid5(_NAMES, f"{self.run_id}:{document_id}"))


def wanted_of(wanted: Wanted, stage: str, versions: dict[str, str], *, everything: bool) -> Wanted:
    """Documents with a published set that other versions have made than would now; or, of those asked for, all."""
    if everything:
        return wanted.model_copy(update={"not_of_analyst": ""})  # which is nobody's
    others = {"not_of_analyst": versions["analyst"]}
    return wanted.model_copy(update=others | ({"not_of_ocr": versions["ocr"]} if stage == "ocr" else {}))


def save(storage: Storage, order: Order) -> None:
    """Keep an order, or how far it is."""
    storage.put(keys.reprocess(order.run_id), order.model_dump_json(indent=2).encode())


def load(storage: Storage, run_id: str) -> Order:
    """An order; the beginning of its id will do if it is the only one.

    Raises:
        NotFound.
    """
    found = [order for order in orders(storage) if order.run_id.startswith(run_id)]
    if not run_id or len(found) != 1:
        raise NotFound(run_id or "An empty id", "the orders to reprocess (`aseagi reprocess --runs` lists them)")
    return found[0]


def orders(storage: Storage) -> Iterator[Order]:
    """All, by id."""
    for there in storage.list(keys.reprocess()):
        try:
            yield Order.model_validate_json(storage.get(there.key))
        except (NotFound, ValidationError):
            continue


def feed(order: Order, records: Records, storage: Storage) -> Order:
    """Register the next jobs, as many as there is room and money for; the order as it is then."""
    order = load(storage, order.run_id)
    while order.state == "running":
        stands = records.requested(order.requested_by)
        is_full = order.limit is not None and order.fed >= order.limit
        room = 0 if is_full else _room(order, stands)
        found = records.find(order.wanted, limit=room, behind=_behind(order)) if room > 0 else []
        if not found:
            if not _open(stands):
                state = "done" if is_full or room > 0 else "cap"
                order = _moved(storage, order, state=state)
            break
        records.register_again(
            {order.job_id(document.document_id): document.document_id for document in found},
            order.requested_by,
            begins="analyze" if order.stage == "analyze" else None,
            analyst=order.analyst,
            ocr_engine=order.ocr_engine,
            again=order.everything,
        )
        last = found[-1]
        order = _moved(storage, order, behind=(last.created_at, last.document_id), fed=order.fed + len(found))
    return order


def cancel(order: Order, records: Records, storage: Storage) -> tuple[Order, list[str]]:
    """Register no more of it; the order, and the ids of its jobs that may be open."""
    order = _moved(storage, load(storage, order.run_id), state="cancelled")
    jobs, behind = [], None
    while found := records.find(Wanted(requested_by=order.requested_by), limit=PAGE, behind=behind):
        jobs += [order.job_id(document.document_id) for document in found]
        behind = found[-1]
    return order, jobs


def _room(order: Order, stands: Requested) -> int:
    """How many more jobs there may be now."""
    room = min(AHEAD - _open(stands), PAGE)
    if order.limit is not None:
        room = min(room, order.limit - order.fed)
    if order.document_usd > 0:
        room = min(room, int((order.cap_usd - stands.usd) / order.document_usd + 1e-9) - _open(stands))
    return room


def _open(stands: Requested) -> int:
    return stands.jobs.get("queued", 0) + stands.jobs.get("processing", 0)


def _behind(order: Order) -> Document | None:
    if order.behind is None:
        return None
    created_at, document_id = order.behind
    nothing = {"sha256": "", "key": "", "name": "", "bytes": 0, "media_type": "application/pdf"}
    return Document(**nothing, document_id=document_id, created_at=created_at)


def _moved(storage: Storage, order: Order, **changes: object) -> Order:
    moved = order.model_copy(update=changes)
    if moved != order:
        save(storage, moved)
    return moved
