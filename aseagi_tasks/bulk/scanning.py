"""What is to be done: the bucket's listing beside what the records know, a thousand keys at a time.

Both come in the order of the keys' bytes, so whoever is stopped goes on behind the last key that was looked at. What is
to be done stands in the bucket, in parts of ``PART`` lines (``bulk/<run_id>/todo-00001.jsonl``), the last one shorter.
A part is written before the scan that counts it is saved: who is stopped in between writes the same part again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Literal, NamedTuple

from aseagi_tasks import keys
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.bulk_records import BulkRecords, Known, Scan, Todo
from aseagi_tasks.stores.storage import Storage, Stored

#: Keys that are looked at together, and lines of a part.
BATCH, PART = 1_000, 1_000
Fate = Literal["todo", "done", "failed", "open", "unrested", "refused"]

#: Endings of what is no document. What a file is, its content says (``stages.fetch.identify``): these are left out so
#: that a folder that is copied as it is does not end in a thousand errors.
_ENDINGS = (
    "7z aac ashx asp avi avif bak bat bin bmp bz2 cfg cpp css csv db dll dmg doc docm docx dot dotx"
    " ds_store dwg eml emlx epub eps exe fdf flac gif gz htm html ico ics ini iso jar java js json jsonl key"
    " lnk lock log m4a m4v md mdb mht mhtml mkv mobi mov mp3 mp4 mpeg mpg msg mts numbers odg odp ods odt ogg opus ost"
    " otf pages plist ppt pptm pptx ps psd pst pub py rar rtf sh sqlite sqlite3 svg swp sys tar tgz"
    " toml ts tsv ttf txt vcf vsd vsdx wav webm webp wma wmv wpd wps xls xlsb xlsm xlsx xml xps xz yaml yml zip zst"
)
_OTHERS = frozenset(_ENDINGS.split())
_NAMES = frozenset(("thumbs.db", "desktop.ini", ".ds_store", "icon\r"))
#: Beginnings of names under which other systems keep something beside a file.
_BESIDE = ("._", ".nfs")


class _Judged(NamedTuple):
    """Keys that were looked at together."""

    counts: dict[str, int]
    todo: list[Todo]


def scan_on(
    run_id: str,
    prefix: str,
    scan: Scan,
    *,
    records: BulkRecords,
    storage: Storage,
    failed: bool,
    rest_s: float,
    now: datetime,
    enough: Callable[[], bool],
    max_bytes: int | None = None,
) -> Scan:
    """Look at more keys, a thousand at least, until it is enough or there are no more.

    Args:
        scan: how far it is; save what is returned before this is called again.
        failed: also what failed before.
        rest_s: what was modified in so many seconds before ``now`` may still be written, and is left alone.
        enough: asked after each thousand keys.
        max_bytes: larger objects are refused; None: as set.
    Raises:
        StorageUnavailable, RecordsUnavailable: nothing is lost; call it again with the scan as it was saved.
    """
    most = max_bytes if max_bytes is not None else _max_bytes()
    listing = storage.list(prefix, scan.behind or "")
    pending = _pending(storage, run_id, scan)
    while not scan.finished:
        some = _some(listing)
        ends = len(some) < BATCH
        behind = next((one.key for one in reversed(some) if _may_be_kept(one.key)), scan.behind)
        found = _judged(some, records, failed=failed, rest_s=rest_s, now=now, max_bytes=most)
        gone = _gone(prefix, scan.behind, None if ends else behind, {one.key for one in some}, records, now)
        pending += found.todo
        whole = scan.todo // PART
        while len(pending) >= PART:
            whole += 1
            storage.put(keys.bulk(run_id, whole), _lines(pending[:PART]))
            del pending[:PART]
        count = found.counts
        scan = scan.model_copy(
            update={
                "keys": scan.keys + len(some),
                "bytes": scan.bytes + sum(one.bytes for one in some),
                "todo": scan.todo + len(found.todo),
                "todo_bytes": scan.todo_bytes + sum(one.bytes for one in found.todo),
                "gone": scan.gone + gone,
                **{name: getattr(scan, name) + count.get(name, 0) for name in _COUNTED},
                "behind": behind,
                "parts": whole + bool(pending),
                "finished": ends,
            }
        )
        if enough():
            break
    if pending:
        storage.put(keys.bulk(run_id, scan.parts), _lines(pending))
    return scan


def todo(storage: Storage, run_id: str, part: int) -> list[Todo]:
    """What a part of the list names, in order.

    Args:
        part: 1 to ``Scan.parts``.
    Raises:
        NotFound: there is no such part.
    """
    return [Todo(**json.loads(line)) for line in storage.get(keys.bulk(run_id, part)).splitlines()]


def judge(there: Stored, known: Known | None, *, failed: bool, rest_s: float, now: datetime, max_bytes: int) -> Fate:
    """What is to become of an object.

    It is done if it was not modified since a job on it was requested that completed. It is done, too, if its key is
    that of intake for a document that was completed (``raw/…/<document_id>.pdf``) and its size is the document's: there
    the name is the hash, and clocks that differ do not matter. A time that lies ahead, of a file that kept a wrong
    clock's, says nothing of when it was modified.

    Args:
        known: what the records say of its key.
        failed: do again what failed.
        rest_s: what was modified in so many seconds before ``now`` may still be written.
    """
    if not _may_be_document(there, max_bytes):
        return "refused"
    is_ahead = there.modified > now and keys.is_at_rest(there.modified, now, rest_s)
    if known is not None:
        if known.status in ("queued", "processing"):
            return "open"
        as_of = known.completed_as_of
        if known.own_bytes == there.bytes or (as_of is not None and (is_ahead or there.modified <= as_of)):
            return "done"
        if known.status == "error" and (is_ahead or there.modified <= known.created_at) and not failed:
            return "failed"
    return "todo" if keys.is_at_rest(there.modified, now, rest_s) else "unrested"


_COUNTED: tuple[Fate, ...] = ("done", "failed", "open", "unrested", "refused")


def _judged(
    some: Sequence[Stored], records: BulkRecords, *, failed: bool, rest_s: float, now: datetime, max_bytes: int
) -> _Judged:
    asked = [one.key for one in some if _may_be_document(one, max_bytes)]
    known: Mapping[str, Known] = records.known_keys(asked) if asked else {}
    counts: dict[str, int] = {}
    found: list[Todo] = []
    for there in some:
        fate = judge(there, known.get(there.key), failed=failed, rest_s=rest_s, now=now, max_bytes=max_bytes)
        if fate == "todo":
            found.append(Todo(key=there.key, bytes=there.bytes))
        else:
            counts[fate] = counts.get(fate, 0) + 1
    return _Judged(counts, found)


def _gone(
    prefix: str, after: str | None, until: str | None, there: set[str], records: BulkRecords, now: datetime
) -> int:
    """How many completed documents' keys lie between two that were listed, and were not listed."""
    gone, behind = 0, after or ""
    while True:
        named = records.original_keys(prefix, after=behind, until=until, before=now, limit=BATCH)
        gone += sum(key not in there for key in named)
        if len(named) < BATCH:
            return gone
        behind = named[-1]


def _some(listing: Iterator[Stored]) -> list[Stored]:
    """The next of them; the last one's name is one that the records can keep, as far as there is one."""
    some = list(islice(listing, BATCH))
    while some and not _may_be_kept(some[-1].key) and (one := next(listing, None)) is not None:
        some.append(one)
    return some


def _may_be_document(there: Stored, max_bytes: int) -> bool:
    name = there.key.rsplit("/", 1)[-1].lower()
    if not name or not 0 < there.bytes <= max_bytes:
        return False
    if name in _NAMES or name.startswith(_BESIDE) or keys.is_partial(name):
        return False
    if "." in name and name.rsplit(".", 1)[1] in _OTHERS:
        return False
    if not _may_be_kept(there.key):
        return False
    try:
        keys.check(there.key)
    except NotFound:
        return False
    return True


def _may_be_kept(key: str) -> bool:
    """Whether both stores keep a key as it is: a scan goes on behind it."""
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in key


def _pending(storage: Storage, run_id: str, scan: Scan) -> list[Todo]:
    """What the last part holds, if it is not full; more than the scan has counted is of a step that was not saved."""
    count = scan.todo % PART
    return todo(storage, run_id, scan.parts)[:count] if count else []


def _lines(found: Sequence[Todo]) -> bytes:
    rows = (json.dumps({"key": one.key, "bytes": one.bytes}, ensure_ascii=False) for one in found)
    return "".join(f"{row}\n" for row in rows).encode()


def _max_bytes() -> int:
    from aseagi_tasks.settings import settings

    return settings().max_bytes
