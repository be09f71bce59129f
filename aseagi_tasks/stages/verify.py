"""A certificate against the bucket: what is missing, altered, added, or was made anew since."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from aseagi_tasks.errors import NotFound
from aseagi_tasks.reports.certificate import Certificate, Entry
from aseagi_tasks.stages.certify import READERS, published
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage

Kind = Literal["missing", "altered", "added", "reprocessed", "moved"]
#: They are told: a later job has replaced the set; the original, with the same bytes, has another key.
NO_FAULTS: tuple[Kind, ...] = ("reprocessed", "moved")
Tell = Callable[[int], None]


class Finding(NamedTuple):
    """One key that is not as certified. ``job_id``: of ``reprocessed`` the later job, else the certified one."""

    kind: Kind
    key: str
    name: str
    job_id: str
    detail: str = ""


def verify(
    certificate: Certificate,
    *,
    storage: Storage,
    records: Records,
    scratch: Path,
    tell: Tell = lambda _entries: None,
) -> list[Finding]:
    """Read every certified file back and hash it, each key once.

    Args:
        records: say whether a set that was replaced was replaced by a job of ours.
        scratch: a folder with space for the largest files at work.
        tell: called with the number of entries looked at.
    Raises:
        StorageUnavailable, RecordsUnavailable: nothing can be said.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    found: list[Finding] = []

    def fresh() -> Iterator[tuple[Entry, dict[str, str]]]:
        for entry in certificate.entries:
            wanted = dict(entry.files)
            if entry.sha256:
                wanted[entry.source] = entry.sha256
            yield entry, {key: digest for key, digest in wanted.items() if key not in seen}
            seen.update(wanted)

    with TemporaryDirectory(dir=scratch) as folder, ThreadPoolExecutor(READERS) as readers:

        def look(pair: tuple[Entry, dict[str, str]]) -> list[Finding]:
            entry, wanted = pair
            work = Path(folder) / entry.job_id.replace("/", "_")
            return list(_look(entry, wanted, storage, records, work)) if wanted else []

        for number, some in enumerate(readers.map(look, fresh()), 1):
            found += some
            tell(number)
    return found


def _look(entry: Entry, wanted: dict[str, str], storage: Storage, records: Records, work: Path) -> Iterator[Finding]:
    metadata = next((key for key in wanted if key in entry.files and key.endswith("/metadata.json")), None)
    if metadata is not None:
        folder = metadata.rpartition("/")[0]
        now = published(storage, folder)
        if now is not None and now.made.job_id != entry.made_by and _is_later(now.made.job_id, entry, records):
            yield Finding("reprocessed", folder, entry.name, now.made.job_id, "a later job has replaced the set")
            wanted = {key: digest for key, digest in wanted.items() if key not in entry.files} | now.files
        for stored in storage.list(folder + "/"):
            if stored.key not in wanted:
                yield Finding("added", stored.key, entry.name, entry.job_id, "is not of the set")
    for key, digest in wanted.items():
        try:
            there = sha256(storage, key, work)
        except NotFound:
            moved = _moved_to(entry, records) if key == entry.source else None
            if moved is not None and _sha256_of(storage, moved, work) == digest:
                yield Finding("moved", key, entry.name, entry.job_id, f"its bytes are at {moved}")
            else:
                yield Finding("missing", key, entry.name, entry.job_id)
            continue
        if there != digest:
            yield Finding("altered", key, entry.name, entry.job_id, f"SHA-256 {there}, certified {digest}")


def _moved_to(entry: Entry, records: Records) -> str | None:
    """The key that the records have for an original now, if it is another than the certified one."""
    try:
        key = records.document(entry.document_id or "").key
    except NotFound:
        return None
    return key if key != entry.source else None


def _sha256_of(storage: Storage, key: str, work: Path) -> str | None:
    try:
        return sha256(storage, key, work)
    except NotFound:
        return None


def sha256(storage: Storage, key: str, work: Path) -> str:
    """Of an object, by way of a file: it may be larger than memory.

    Args:
        work: the file; removed again.
    Raises:
        NotFound.
    """
    try:
        storage.download(key, work)
        with work.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    finally:
        work.unlink(missing_ok=True)


def _is_later(job_id: str, entry: Entry, records: Records) -> bool:
    """Whether the records know this job as one on the same document that began after the certified one.

    Else somebody has written another job's id into an altered set.
    """
    try:
        job = records.job(job_id)
    except NotFound:
        return False
    is_same = job.job_id == job_id and job.document_id == entry.document_id
    return is_same and job.created_at >= datetime.fromisoformat(entry.created_at)
