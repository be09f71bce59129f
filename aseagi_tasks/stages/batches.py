"""Message batches: requests that analyze left in the bucket go out together, and their answers to the jobs.

    batches/requests/<job>_<call>.json   waits for a batch or for its answer; removed when the answer is kept
    batches/sent/<batch>.json            which requests a batch has, written before it is submitted
    message_batches                      one row each: intent → sent → ended, or dropped

Nothing is lost: a request stays in the bucket until its answer is in the job's dialogue. Nothing is submitted twice:
the row says before the call that it will be made, there is one such row at a time, and where nobody knows whether the
call was made, the service's list is looked through before it is made again.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from aseagi_tasks import keys
from aseagi_tasks.analysis import ledger
from aseagi_tasks.analysis.dialogue import Call, Dialogue, Exchange, exchanged
from aseagi_tasks.analysis.service import Service
from aseagi_tasks.documents import FINAL
from aseagi_tasks.errors import AnalystUnavailable, NotFound, Refused, TransientError
from aseagi_tasks.stores.records import Batch, Records
from aseagi_tasks.stores.storage import Storage, Stored

log = logging.getLogger(__name__)

#: The service takes 100,000 requests and 256 MB. A quarter of the bytes: they are in memory, and the Droplet has 2 GB.
MAX_REQUESTS, MAX_BYTES = 100_000, 64_000_000
#: A batch that was to be submitted so long ago is not being submitted any more.
SUBMITTING = timedelta(minutes=15)
#: The service's clock and ours may differ by this much.
CLOCKS = timedelta(minutes=5)
#: However steadily requests come, the oldest waits no longer than so many times the quiet that is waited for.
MOST_WAITS = 10

#: Let a job go on that waits.
GoOn = Callable[[str], object]


class Batches:
    """What beat does every minute.

    Args:
        go_on: called for each job that has an answer. More than once does no harm.
        wait_s: requests are submitted when none came for so long.
        submitting: see ``SUBMITTING``.
        freed: called with a rented machine's id and the USD that were set aside for its request and not needed.
    """

    def __init__(
        self,
        records: Records,
        storage: Storage,
        service: Service,
        go_on: GoOn,
        *,
        wait_s: float,
        submitting: timedelta = SUBMITTING,
        freed: Callable[[str, float], object] = lambda _instance_id, _usd: None,
    ) -> None:
        self._records, self._storage, self._service = records, storage, service
        self._go_on, self._wait_s, self._submitting, self._freed = go_on, wait_s, submitting, freed

    def tend(self, now: datetime) -> dict[str, int]:
        """Take what has ended, find out about what may have been submitted, submit what has been collected.

        Returns:
            How many requests were answered and submitted.
        Raises:
            RateLimited, AnalystUnavailable, NotSetUp: the next turn goes on where this one stopped.
        """
        done = {"answered": 0, "submitted": 0}
        for batch in self._records.open_batches():
            if batch.state == "intent":
                if now - batch.created_at >= self._submitting:
                    self._find_out(batch)
            elif batch.service_id is not None:
                there = self._service.batch(batch.service_id)
                if there is None:  # somebody deleted it there
                    self._take(batch.batch_id, iter(()))
                elif there.has_ended:
                    done["answered"] += self._take(batch.batch_id, self._service.batch_results(batch.service_id))
        done["submitted"] = self._submit(now)
        return done

    # -- answers

    def _take(self, batch_id: str, results: Iterator[dict[str, Any]]) -> int:
        """Give every answer to its job, in whatever order they come; what has none is asked for again by its job.

        Interrupted, all of it is done again, and changes nothing that was done.
        """
        members, answered = self._members(batch_id), 0
        left = set(members)
        jobs: dict[str, None] = {}  # in the order of their answers
        for line in results:
            if line["custom_id"] in left:
                left.discard(line["custom_id"])
                answered += 1
                self._give(line["custom_id"], line["result"], jobs)
        for custom_id in sorted(left):
            self._give(custom_id, {"type": "expired"}, jobs)
        for job_id in jobs:
            self._go_on(job_id)
        for custom_id in members:
            self._storage.delete(keys.batch_request(custom_id))
        self._records.move_batch(batch_id, "ended")
        self._storage.delete(keys.batch_members(batch_id))
        return answered

    def _give(self, custom_id: str, result: dict[str, Any], jobs: dict[str, None]) -> None:
        """Keep an answer in its job's dialogue, and put its cost into the ledger."""
        job_id, name, number = _parts(custom_id)
        try:
            asked = json.loads(self._storage.get(keys.batch_request(custom_id)))
        except NotFound:  # it was taken before
            return
        call, model = Call(name, number, asked["max_tokens"]), asked["params"]["model"]
        if result["type"] == "succeeded":
            exchange = exchanged(model, call, result["message"], batch=True)
        else:
            exchange = Exchange(name=name, number=number, outcome="lost", text=_why(result), batch=True)
            if _is_refusal(result):
                exchange = exchange.model_copy(update={"outcome": "rejected"})
        try:
            said = Dialogue.model_validate_json(self._storage.get(keys.cache(job_id, "dialogue.json")))
        except (NotFound, ValidationError):
            said = None  # the job has ended otherwise; what its answer cost is a cost all the same
        if said is not None and not said.has(call):
            self._storage.put(keys.cache(job_id, "dialogue.json"), said.plus(exchange).model_dump_json().encode())
            if "instance" in asked:
                self._freed(asked["instance"], asked["set_aside_usd"] - exchange.usd)
        ledger.settle(self._records, job_id, call.key, exchange.usd, {"model": model, "batch": True, **exchange.usage})
        if said is not None:
            jobs.setdefault(job_id)

    # -- what may have been submitted

    def _find_out(self, batch: Batch) -> None:
        """Whether a batch whose submitter died, or heard no answer, was made."""
        members = set(self._members(batch.batch_id))
        known = {one.service_id for one in self._records.open_batches()}
        for one in self._service.batches_since(batch.created_at - CLOCKS):
            if one.service_id in known or one.requests != len(members):
                continue
            if not one.has_ended:
                return  # it may be this one: its results will tell
            first = next(self._service.batch_results(one.service_id), None)
            if first is not None and first["custom_id"] in members:
                log.info("batch %s was submitted, as %s", batch.batch_id, one.service_id)
                self._records.move_batch(batch.batch_id, "sent", one.service_id)
                return
        self._drop(batch.batch_id)

    def _drop(self, batch_id: str) -> None:
        """It was not submitted: its requests wait for another."""
        self._records.move_batch(batch_id, "dropped")
        self._storage.delete(keys.batch_members(batch_id))

    # -- submitting

    def _submit(self, now: datetime) -> int:
        taken = {custom_id for one in self._records.open_batches() for custom_id in self._members(one.batch_id)}
        waiting = [one for one in self._storage.list(keys.batch_request()) if _id(one.key) not in taken]
        if not self._is_time(waiting, now):
            return 0
        requests = list(self._wanted(waiting))
        if not requests:
            return 0
        batch_id = uuid.uuid4().hex
        ids = [request["custom_id"] for request in requests]
        self._storage.put(keys.batch_members(batch_id), json.dumps(ids).encode())
        if not self._records.intend_batch(batch_id, len(ids)):
            self._storage.delete(keys.batch_members(batch_id))
            return 0
        try:
            service_id = self._service.send_batch(requests)
        except AnalystUnavailable:
            raise  # it may have been made: ``_find_out``
        except Refused as exc:
            # not one document's fault, or not to be told whose: asked directly, each says it for itself
            log.warning("batch %s was refused: %s", batch_id, exc)
            self._records.move_batch(batch_id, "sent")
            self._take(batch_id, iter(()))
            return 0
        except TransientError:
            self._drop(batch_id)
            raise
        self._records.move_batch(batch_id, "sent", service_id)
        return len(ids)

    def _is_time(self, waiting: list[Stored], now: datetime) -> bool:
        if not waiting:
            return False
        times = [one.modified for one in waiting]
        quiet, oldest = (now - max(times)).total_seconds(), (now - min(times)).total_seconds()
        enough = sum(one.bytes for one in waiting) >= MAX_BYTES or len(waiting) >= MAX_REQUESTS
        return enough or quiet >= self._wait_s or oldest >= MOST_WAITS * self._wait_s

    def _wanted(self, waiting: list[Stored]) -> Iterator[dict[str, Any]]:
        """Requests of jobs that have not ended, as many as fit; others are removed and their money freed."""
        size = count = 0
        for one in waiting:
            if count == MAX_REQUESTS or (count and size + one.bytes > MAX_BYTES):
                return
            job_id, name, number = _parts(_id(one.key))
            asked = json.loads(self._storage.get(one.key))
            try:
                ended = self._records.job(job_id).status in FINAL
            except NotFound:
                ended = True
            if ended:
                ledger.settle(self._records, job_id, f"{name}-{number}", 0.0, {})
                self._storage.delete(one.key)
                self._go_on(job_id)
                continue
            size, count = size + one.bytes, count + 1
            yield {"custom_id": asked["custom_id"], "params": asked["params"]}

    def _members(self, batch_id: str) -> list[str]:
        try:
            found: list[str] = json.loads(self._storage.get(keys.batch_members(batch_id)))
        except NotFound:
            return []
        return found


def let_go(storage: Storage, go_on: GoOn) -> int:
    """Give every request back to its job, since nobody asks Claude any more; returns how many there were."""
    waiting = list(storage.list(keys.batch_request()))
    for one in waiting:
        storage.delete(one.key)
        go_on(_parts(_id(one.key))[0])
    return len(waiting)


def _id(key: str) -> str:
    return key.rsplit("/", 1)[-1].removesuffix(".json")


def _parts(custom_id: str) -> tuple[str, str, int]:
    """Job, call's name, and its number."""
    job_id, _, key = custom_id.rpartition("_")
    name, _, number = key.rpartition("-")
    return job_id, name, int(number)


def _is_refusal(result: dict[str, Any]) -> bool:
    """Whether a request can never be answered."""
    return result["type"] == "errored" and _error(result).get("type") in ("invalid_request_error", "request_too_large")


def _why(result: dict[str, Any]) -> str:
    return str(_error(result).get("message") or result["type"])


def _error(result: dict[str, Any]) -> dict[str, Any]:
    error = result.get("error") or {}
    return error.get("error") or {} if isinstance(error, dict) else {}
