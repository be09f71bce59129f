"""What a rented machine may do with bucket and records: what the jobs need that it was given, and nothing else.

Whoever has taken a job's message knows the job's id, which nobody can guess; with it the machine asks for the job
(``register_job``, ``begin_stage``) and has it until another does, or until the machine is dismissed.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from aseagi_tasks import keys
from aseagi_tasks.errors import NotFound
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
_HERE = "what was given to this machine"


class Side(Protocol):
    """What answers a machine's calls."""

    def records(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do a call of ``Records``. Raises NotFound where it is not allowed."""

    def storage(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do a call of ``Storage``. Raises NotFound where it is not allowed."""


class Narrowed:
    """One machine's side.

    Args:
        instance_id: whose token came with the call.
    """

    def __init__(self, instance_id: str, records: Records, storage: Storage, conf: Settings) -> None:
        self.instance_id, self._conf = instance_id, conf
        self._records, self._storage = records, storage

    # -- records

    def records(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do a call of ``Records``, if the job is this machine's."""
        special: dict[str, Callable[..., Any]] = {
            "register_job": self._take,
            "begin_stage": self._begin_stage,
            "register_document": self._register_document,
            "claim": self._claim,
            "complete": self._complete,
            "document": self._document,
            # the gateway itself meters what Claude costs: a machine's word on money is not taken
            "charge": lambda **_: True,
            "reserve": lambda **_: True,
            "settle": lambda **_: True,
        }
        if method in special:
            return special[method](**arguments)
        if method in ("job", "events", "end_stage", "add_event", "fail", "start_lease", "renew_lease", "put_off"):
            self._given(arguments["job_id"])
            return getattr(self._records, method)(**arguments)
        raise NotFound(method, _HERE)

    def _take(self, job_id: str, **_asked: Any) -> Job:
        """A job that a door has registered; a machine registers none."""
        job = self._records.give_job(job_id, self.instance_id, self._conf.gateway_jobs)
        return job if job is not None else self._given(job_id)

    def _begin_stage(self, job_id: str, **rest: Any) -> Job:
        self._take(job_id)
        return self._records.begin_stage(job_id, **rest)

    def _register_document(self, job_id: str, source: Any, now: datetime) -> Document:
        """What the bytes are is found out here: a machine could name another document's hash, and be given that."""
        from aseagi_tasks.stages.intake import examine, key_of

        job = self._given(job_id)
        if job.document_id is not None:
            return self._records.document(job.document_id)
        key = key_of(job.source, self._conf.bucket)
        self._conf.scratch_root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=self._conf.scratch_root) as folder:
            path = Path(folder) / "intake"
            self._storage.download(key, path)
            found = examine(path, key.rsplit("/", 1)[-1], key, max_bytes=self._conf.max_bytes)
        return self._records.register_document(job_id, found, datetime.now(UTC))

    def _claim(self, job_id: str, document_id: str, quiet_since: datetime) -> Job:
        if self._given(job_id).document_id != document_id:
            raise NotFound(document_id, _HERE)
        holder = self._records.claim(job_id, document_id, min(quiet_since, datetime.now(UTC) - QUIET))
        # of another's job no more is said than that there is one
        return holder if holder.job_id == job_id else self._given(job_id).model_copy(update={"job_id": "another"})

    def _complete(self, job_id: str, document: Document | None, text: str | None) -> bool:
        job = self._given(job_id)
        if document is not None:
            there = self._document(document.document_id)
            if job.document_id != there.document_id or document.processed != _folder(there):
                raise NotFound(document.document_id, _HERE)
        return self._records.complete(job_id, document, text)

    def _document(self, document_id: str) -> Document:
        if document_id not in [job.document_id for job in self._jobs()]:
            raise NotFound(document_id, _HERE)
        return self._records.document(document_id)

    # -- storage

    def storage(self, method: str, arguments: dict[str, Any]) -> Any:
        """Do a call of ``Storage``, if the key belongs to a job of this machine."""
        if method in ("url_get", "stat"):
            self._check(arguments["key"], self._may_read)
        elif method == "url_put":
            self._check(arguments["key"], self._may_write)
        elif method == "delete":
            self._check(arguments["key"], self._may_delete)
        elif method in ("list", "delete_all"):
            self._check(arguments["prefix"], lambda key, job, _document: key == keys.cache(job.job_id))
        else:
            raise NotFound(method, _HERE)
        if "expires_s" in arguments:
            arguments["expires_s"] = max(1, min(arguments["expires_s"], ADDRESS_S))
        answer = getattr(self._storage, method)(**arguments)
        return list(answer) if method == "list" else answer

    def _check(self, key: str, allowed: Callable[[str, Job, Document | None], bool]) -> None:
        def is_named(job: Job) -> bool:
            return job.job_id in key or (job.document_id or "-") in key

        for job in sorted(self._jobs(), key=is_named, reverse=True):  # mostly the first is it
            document = self._records.document(job.document_id) if job.document_id else None
            if allowed(key, job, document):
                return
        raise NotFound(key, _HERE)

    def _may_read(self, key: str, job: Job, document: Document | None) -> bool:
        if _is_cache(key, job):
            return True
        if document is None:
            from aseagi_tasks.stages.intake import key_of

            return key == key_of(job.source, self._conf.bucket)
        return key in {document.key, *(f"{_folder(document)}/{name}" for name in keys.PUBLISHED)}

    def _may_write(self, key: str, job: Job, document: Document | None) -> bool:
        if job.status not in _OPEN:
            return False
        published = document is not None and key in {f"{_folder(document)}/{name}" for name in keys.PUBLISHED}
        return _is_cache(key, job) or published

    def _may_delete(self, key: str, job: Job, document: Document | None) -> bool:
        is_metadata = document is not None and key == f"{_folder(document)}/metadata.json"
        return _is_cache(key, job) or (is_metadata and job.status in _OPEN)

    # -- jobs

    def _jobs(self) -> list[Job]:
        return self._records.given_jobs(self.instance_id, datetime.now(UTC) - ENDED)

    def _given(self, job_id: str) -> Job:
        for job in self._jobs():
            if job.job_id == job_id:
                return job
        raise NotFound(job_id, _HERE)

    def analyzed_job(self) -> str | None:
        """The job that this machine analyzes, if it is one only: for the ledger."""
        found = [job.job_id for job in self._jobs() if job.status in _OPEN and job.stage == "analyze"]
        return found[0] if len(found) == 1 else None


def _is_cache(key: str, job: Job) -> bool:
    """One object below the job's cache; keys are checked by the store for parts that climb."""
    return key.startswith(keys.cache(job.job_id)) and key.count("/") == 2 and keys.check(key) == key


def _folder(document: Document) -> str:
    return keys.processed(document.document_id, document.created_at.date())
