"""What a rented machine may do with bucket and records: what the jobs need that it was given, and nothing else.

Whoever has taken a job's message knows the job's id, which nobody can guess; with it the machine asks for the job
(``register_job``, ``job``, ``begin_stage``) and has it until another does, or until the machine is dismissed. It
holds leases under the names of its own nodes only (``NODE@INSTANCE/…``), and none for long.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from aseagi_tasks import keys
from aseagi_tasks.documents import Source
from aseagi_tasks.errors import NotOurs, Quarantined
from aseagi_tasks.notices import notice
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.records import Document, Job, Records
from aseagi_tasks.stores.storage import Storage

#: A job that ended is still read from: its result is, and its cache is cleared.
ENDED = timedelta(minutes=15)
#: A claim of which something was heard since is not taken over, whatever a machine says.
QUIET = timedelta(minutes=5)
_OPEN = ("queued", "processing")
#: The longest that an address is good for.
ADDRESS_S = 600
#: The longest lease, and the longest that nobody looks for a job's message.
LEASE_S, PUT_OFF_S = 600, 7_200
_HERE = "what was given to this machine"
#: Keys that say whose they are.
_NAMED = re.compile(r"cache/(?P<job>[^/]+)/|processed/[^/]+/[^/]+/[^/]+/(?P<document>[^/]+)/")
#: A request for a message batch: its job, and which call it is.
_REQUEST = re.compile(r"batches/requests/(?P<job>[^/]+)_(?P<call>(p[1-9][0-9]*|merge)-[1-9][0-9]*)\.json")


class Side(Protocol):
    """What answers a machine's calls."""

    def records(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do a call of ``Records``. Raises NotOurs where it is not allowed."""

    def storage(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do a call of ``Storage``. Raises NotOurs where it is not allowed."""


class Narrowed:
    """One machine's side.

    Args:
        instance_id: whose token came with the call.
        tell: told to operators, once under a key; a machine cannot tell them anything itself.
        for_batch: see ``ClaudeProxy``; without it no request for a message batch is taken.
    """

    def __init__(
        self,
        instance_id: str,
        records: Records,
        storage: Storage,
        conf: Settings,
        tell: Callable[[str, str], object] = lambda _key, _message: None,
        for_batch: Callable[[str, str, str, bytes], bytes] | None = None,
    ) -> None:
        self.instance_id, self._conf, self._tell, self._for_batch = instance_id, conf, tell, for_batch
        self._records, self._storage = records, storage

    # -- records

    def records(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do a call of ``Records``, if the job is this machine's."""
        special: dict[str, Callable[..., Any]] = {
            "register_job": self._take,
            "job": self._take,  # a worker looks at it just before it begins a stage (``leases.place``)
            "start_lease": self._start_lease,
            "begin_stage": self._begin_stage,
            "end_stage": self._end_stage,
            "renew_lease": self._renew_lease,
            "put_off": self._put_off,
            "drop_leases": self._drop_leases,
            "register_document": self._register_document,
            "claim": self._claim,
            "complete": self._complete,
            "fail": self._fail,
            "document": self._document,
            "texts": self._texts,
            "add_texts": self._add_texts,
            # the gateway itself meters what Claude costs: a machine's word on money is not taken
            "charge": lambda **_: True,
            "reserve": lambda **_: True,
            "settle": lambda **_: True,
        }
        if method in special:
            return special[method](**arguments)
        if method in ("events", "add_event"):
            self._given(arguments["job_id"])
            return getattr(self._records, method)(**arguments)
        raise NotOurs(method, _HERE)

    def _take(self, job_id: str, **_asked: Any) -> Job:
        """A job that a door has registered; a machine registers none."""
        job = self._records.give_job(job_id, self.instance_id, self._conf.gateway_jobs)
        return job if job is not None else self._given(job_id)

    def _start_lease(self, job_id: str, holder: str, seconds: float) -> Job | None:
        self._take(job_id)
        return self._records.start_lease(job_id, self._mine(holder), min(seconds, LEASE_S))

    def _begin_stage(self, job_id: str, holder: str | None = None, lease_s: float = 0, **rest: Any) -> Job | None:
        self._take(job_id)
        name = self._mine(holder) if holder is not None else None
        return self._records.begin_stage(job_id, **rest, holder=name, lease_s=min(lease_s, LEASE_S))

    def _end_stage(self, job_id: str, holder: str | None = None, lease_s: float = 0, **rest: Any) -> bool:
        self._given(job_id)
        name = self._mine(holder) if holder is not None else None
        return self._records.end_stage(job_id, **rest, holder=name, lease_s=min(lease_s, LEASE_S))

    def _renew_lease(self, job_id: str, holder: str, seconds: float) -> bool:
        """False, not an error, for a job that was lost: leases are renewed many at a time."""
        return self._has(job_id) and self._records.renew_lease(job_id, self._mine(holder), min(seconds, LEASE_S))

    def _put_off(self, job_id: str, seconds: float, holder: str | None = None, **rest: Any) -> bool:
        name = self._mine(holder) if holder is not None else None
        return self._has(job_id) and self._records.put_off(job_id, min(seconds, PUT_OFF_S), holder=name, **rest)

    def _drop_leases(self, prefix: str, died: bool) -> int:
        return self._records.drop_leases(self._mine(prefix), died=died)

    def _fail(self, job_id: str, **rest: Any) -> bool:
        self._given(job_id)
        failed = self._records.fail(job_id, **rest)
        if failed and rest["error_class"] == Quarantined.__name__:
            self._tell(f"quarantine:{job_id}", notice("quarantine", job_id=job_id, why=rest["message"]))
        return failed

    def _texts(self, document_ids: list[str]) -> dict[str, str]:
        for document_id in document_ids:
            self._document(document_id)
        return self._records.texts(document_ids)

    def _add_texts(self, texts: dict[str, str]) -> None:
        for document_id in texts:
            self._document(document_id)
        self._records.add_texts(texts)

    def _register_document(self, job_id: str, source: Source, now: datetime) -> Document:
        """What the bytes are is found out here: a machine could name another document's hash, and be given that."""
        from aseagi_tasks.stages.intake import from_bucket, key_of, register

        job, now, conf = self._given(job_id), datetime.now(UTC), self._conf
        if job.document_id is not None:
            return self._records.document(job.document_id)
        found = from_bucket(
            key_of(job.source, conf.bucket),
            self._storage,
            self._records,
            scratch=conf.scratch_root,
            today=now.date(),
            max_bytes=conf.max_bytes,
        )
        return register(job_id, found, self._storage, self._records, now)

    def _claim(self, job_id: str, document_id: str, quiet_since: datetime) -> Job:
        if self._given(job_id).document_id != document_id:
            raise NotOurs(document_id, _HERE)
        holder = self._records.claim(job_id, document_id, min(quiet_since, datetime.now(UTC) - QUIET))
        if holder.job_id == job_id:
            return holder
        # of another's job no more is said than that there is one, and whether it waits
        said = {"job_id": "another", "waits_for": "something" if holder.is_held_up else None}
        return self._given(job_id).model_copy(update=said)

    def _complete(self, job_id: str, document: Document | None, text: str | None) -> bool:
        job = self._given(job_id)
        if document is not None:
            there = self._document(document.document_id)
            if job.document_id != there.document_id or document.processed != _folder(there):
                raise NotOurs(document.document_id, _HERE)
        return self._records.complete(job_id, document, text)

    def _document(self, document_id: str) -> Document:
        if not any(job.document_id == document_id for job in self._jobs(document_id)):
            raise NotOurs(document_id, _HERE)
        return self._records.document(document_id)

    # -- storage

    def storage(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do a call of ``Storage``, if the key belongs to a job of this machine."""
        if method == "url_get":
            self._check(arguments["key"], self._may_read)
        elif method == "stat":
            self._check(arguments["key"], self._may_know)
        elif method == "url_put":
            self._check(arguments["key"], self._may_write)
        elif method == "delete":
            self._check(arguments["key"], self._may_delete)
        elif method == "put":
            return self._leave_for_batch(**arguments)
        elif method in ("list", "delete_all"):
            self._check(arguments["prefix"], lambda key, job, _document: key == keys.cache(job.job_id))
        else:
            raise NotOurs(method, _HERE)
        if "expires_s" in arguments:
            arguments["expires_s"] = max(1, min(arguments["expires_s"], ADDRESS_S))
        answer = getattr(self._storage, method)(**arguments)
        return list(answer) if method == "list" else answer

    def _leave_for_batch(self, key: str, body: bytes) -> None:
        """A request for a message batch, once; everything else is written by its signed address."""
        asked = _REQUEST.fullmatch(key)
        if asked is None or self._for_batch is None or self._given(asked["job"]).status not in _OPEN:
            raise NotOurs(key, _HERE)
        if self._storage.stat(key) is None:  # one that is there may be on its way
            self._storage.put(key, self._for_batch(self.instance_id, asked["job"], asked["call"], body))

    def _check(self, key: str, allowed: Callable[[str, Job, Document | None], bool]) -> None:
        for job in self._named(key):
            document = self._records.document(job.document_id) if job.document_id else None
            if allowed(key, job, document):
                return
        raise NotOurs(key, _HERE)

    def _named(self, key: str) -> list[Job]:
        """The machine's jobs that a key may belong to: one has 400 and more, and asks for some key of each."""
        if (asked := _REQUEST.fullmatch(key)) is not None:
            return self._jobs(asked["job"])
        if (named := _NAMED.match(key)) is not None:
            return self._jobs(named["job"] or named["document"])
        return self._jobs(key) or self._jobs(f"s3://{self._conf.bucket}/{key}")

    def _may_read(self, key: str, job: Job, document: Document | None) -> bool:
        if _is_cache(key, job):
            return True
        if document is None:
            from aseagi_tasks.stages.intake import key_of

            return key == key_of(job.source, self._conf.bucket)
        return key == document.key or _is_published(key, document)

    def _may_know(self, key: str, job: Job, document: Document | None) -> bool:
        asked = _REQUEST.fullmatch(key)
        return (asked is not None and asked["job"] == job.job_id) or self._may_read(key, job, document)

    def _may_write(self, key: str, job: Job, document: Document | None) -> bool:
        if job.status not in _OPEN:
            return False
        return _is_cache(key, job) or (document is not None and _is_published(key, document))

    def _may_delete(self, key: str, job: Job, document: Document | None) -> bool:
        is_metadata = document is not None and key == f"{_folder(document)}/metadata.json"
        return _is_cache(key, job) or (is_metadata and job.status in _OPEN)

    # -- jobs

    def _jobs(self, about: str | None = None) -> list[Job]:
        return self._records.given_jobs(self.instance_id, datetime.now(UTC) - ENDED, about)

    def _given(self, job_id: str) -> Job:
        for job in self._jobs(job_id):
            if job.job_id == job_id:
                return job
        raise NotOurs(job_id, _HERE)

    def _has(self, job_id: str) -> bool:
        return any(job.job_id == job_id for job in self._jobs(job_id))

    def _mine(self, holder: str) -> str:
        """A holder's name, or its beginning, if it is of this machine's nodes."""
        node, slash, _ = holder.partition("/")
        if not slash or node.partition("@")[2] != self.instance_id:
            raise NotOurs(holder, "the nodes of this machine")
        return holder

    def analyzed_job(self) -> str | None:
        """The job that this machine analyzes, if it is one only: for the ledger."""
        found = [job.job_id for job in self._jobs() if job.status in _OPEN and job.stage == "analyze"]
        return found[0] if len(found) == 1 else None


def _is_cache(key: str, job: Job) -> bool:
    """One object below the job's cache; keys are checked by the store for parts that climb."""
    return key.startswith(keys.cache(job.job_id)) and key.count("/") == 2 and keys.check_path(key) == key


def _is_published(key: str, document: Document) -> bool:
    """A file of the document's set, or of a version of it."""
    folder = _folder(document)
    if key in {f"{folder}/{name}" for name in keys.PUBLISHED}:
        return True
    made_by, _, name = key.removeprefix(f"{folder}/versions/").partition("/")
    return name in keys.VERSIONED and key == keys.version(folder, made_by, name) == keys.check_path(key)


def _folder(document: Document) -> str:
    return keys.processed(document.document_id, document.created_at.date())
