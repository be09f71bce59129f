"""What is in the bucket, written down beside each backup of the records: any number of objects in bounded memory.

JSON lines, gzipped. First ``{"aseagi_manifest", "made_at"}``; then each object by key (``key, bytes, modified``, and
``etag`` and ``sha256`` where they are known); then what documents name and the bucket lacks (``gone``); last ``end``:
totals, the backup that it stands beside, and the SHA-256 of all lines before. A file without that line is not complete.
What comes and goes (``cache/``) is left out. The SHA-256 is the records', of originals: no object is read.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from aseagi_tasks.errors import BackupDamaged, NotAKey
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage

FORMAT = 1
PAGE = 500
LEFT_OUT = ("cache/",)
_TOGETHER = 5_000
#: Of what seems gone, so many are looked for one by one.
LOOKED_AT = 1_000
_DOCUMENT = ("document_id", "key", "sha256", "bytes", "processed")
_CURE = "Take an older backup, or make a new one (`aseagi backup`)."


class Gone(NamedTuple):
    """What a document names, and the bucket has not: its original, or the end of its set of results.

    ``why``: ``missing``, or ``replaced`` by an object of another size than the original's ``bytes``.
    """

    document_id: str
    key: str
    bytes: int | None
    why: Literal["missing", "replaced"]


class Totals(NamedTuple):
    """The last line. ``below``: objects by their first folder; ``records``: the backup, with its rows by table."""

    objects: int
    bytes: int
    below: Mapping[str, int]
    gone: int
    records: Mapping[str, Any]
    sha256: str


class Objects:
    """A listing in a file of its own, to be asked by key. Keys are bytes: a folder may hold names that are no text."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "locking_mode = EXCLUSIVE"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(
            "CREATE TABLE objects (key BLOB PRIMARY KEY, bytes INTEGER, modified TEXT, etag TEXT, sha256 TEXT)"
            " WITHOUT ROWID"
        )

    def add(self, rows: Iterable[tuple[str, int, str, str | None, str | None]]) -> None:
        """Key, bytes, modified, etag, SHA-256 of each."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "INSERT OR REPLACE INTO objects VALUES (?, ?, ?, ?, ?)",
            ((os.fsencode(key), *rest) for key, *rest in rows),
        )
        self._db.execute("COMMIT")

    def bytes_of(self, key: str) -> int | None:
        """Its length; None if it is not there."""
        row = self._db.execute("SELECT bytes FROM objects WHERE key = ?", (os.fsencode(key),)).fetchone()
        return None if row is None else row[0]

    def know(self, rows: Iterable[tuple[str, str]]) -> None:
        """SHA-256 of keys."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "UPDATE objects SET sha256 = ? WHERE key = ?", ((sha256, os.fsencode(key)) for key, sha256 in rows)
        )
        self._db.execute("COMMIT")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Each as a line, by key."""
        for row in self._db.execute("SELECT key, bytes, modified, etag, sha256 FROM objects ORDER BY key"):
            names = ("key", "bytes", "modified", "etag", "sha256")
            line = dict(zip(names, (os.fsdecode(row[0]), *row[1:]), strict=True))
            yield {name: value for name, value in line.items() if value not in (None, "")}

    def close(self) -> None:
        """The file may be removed."""
        self._db.close()


def write(
    storage: Storage, records: Records, key: str, scratch: Path, now: datetime, about: Mapping[str, Any]
) -> tuple[Totals, list[Gone]]:
    """Write down what is in the bucket, and which documents' files are not.

    Args:
        key: where to; the object appears when it is complete.
        scratch: a folder with space for it: some 150 bytes an object.
        about: the backup that it stands beside.
    Returns:
        Its last line, and the first thousand of what is gone.
    """
    with _listed(scratch) as (objects, path):
        _list(storage, objects)
        missing: list[Gone] = []
        with _Writer(path, now) as file:
            # before the objects are written: a document's row says what its original's hash is
            gone_path = path.with_suffix(".gone")
            with gone_path.open("w", encoding="utf-8") as gone_file:
                for gone in still_gone(storage, _compare(records, objects)):
                    gone_file.write(json.dumps(gone._asdict()) + "\n")
                    if len(missing) < 1_000:
                        missing.append(gone)
            for line in objects:
                file.object(line)
            with gone_path.open(encoding="utf-8") as gone_file:
                for text in gone_file:
                    file.gone(json.loads(text))
            gone_path.unlink()
            totals = file.end(about)
        storage.upload(path, key)
    return totals, missing


def gone_now(storage: Storage, records: Records, scratch: Path) -> Iterator[Gone]:
    """What documents name and the bucket has not; nothing is written down.

    Args:
        scratch: a folder with space for a listing: some 150 bytes an object.
    """
    with _listed(scratch) as (objects, _):
        _list(storage, objects)
        yield from still_gone(storage, _compare(records, objects))


def read(path: Path, key: str) -> Totals:
    """Check a manifest's hash; its last line.

    Raises:
        BackupDamaged: it is incomplete or was altered.
    """
    digest, end = hashlib.sha256(), None
    try:
        for raw in _raw_lines(path):
            if raw.startswith(b'{"end":'):
                end = json.loads(raw)["end"]
                break
            digest.update(raw)
    except (OSError, EOFError, ValueError) as exc:
        raise BackupDamaged(key, f"it cannot be read ({exc}).", _CURE) from exc
    if end is None:
        raise BackupDamaged(key, "it is not complete.", _CURE)
    if end["sha256"] != digest.hexdigest():
        raise BackupDamaged(key, "it was altered: its lines do not have the hash that its last line says.", _CURE)
    return Totals(**end)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """A checked manifest's lines between the first and the last."""
    for raw in _raw_lines(path):
        line = json.loads(raw)
        if "aseagi_manifest" not in line and "end" not in line:
            yield line


def gone_of(path: Path) -> Iterator[Gone]:
    """What a checked manifest says is gone."""
    return (Gone(**line["gone"]) for line in lines(path) if "gone" in line)


class _Writer:
    """Writes lines and counts them."""

    def __init__(self, path: Path, now: datetime) -> None:
        self._zipped = gzip.GzipFile(path, "wb", compresslevel=4, mtime=0)
        self._file = io.BufferedWriter(self._zipped, 1 << 18)  # type: ignore[arg-type]  # half the time of line by line
        self._digest = hashlib.sha256()
        self._objects = self._bytes = self._gone = 0
        self._below: dict[str, int] = {}
        self._line({"aseagi_manifest": FORMAT, "made_at": now.astimezone(UTC).isoformat(timespec="seconds")})

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()  # which closes what is below

    def object(self, line: dict[str, Any]) -> None:
        folder = line["key"].split("/", 1)[0]
        self._objects, self._bytes = self._objects + 1, self._bytes + line["bytes"]
        self._below[folder] = self._below.get(folder, 0) + 1
        self._line(line)

    def gone(self, line: dict[str, Any]) -> None:
        self._gone += 1
        self._line({"gone": line})

    def end(self, about: Mapping[str, Any]) -> Totals:
        totals = Totals(self._objects, self._bytes, self._below, self._gone, dict(about), self._digest.hexdigest())
        self._line({"end": totals._asdict()})
        return totals

    def _line(self, line: dict[str, Any]) -> None:
        raw = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        self._digest.update(raw)
        self._file.write(raw)


@contextmanager
def _listed(scratch: Path) -> Iterator[tuple[Objects, Path]]:
    """A place for a listing, and one for the manifest; both are gone afterwards."""
    scratch.mkdir(parents=True, exist_ok=True)
    listing, path = (scratch / f"manifest-{uuid.uuid4().hex}{ending}" for ending in (".sqlite3", ".jsonl.gz"))
    try:
        with closing(Objects(listing)) as objects:
            yield objects, path
    finally:
        for left in (listing, path, path.with_suffix(".gone")):
            left.unlink(missing_ok=True)


def _list(storage: Storage, objects: Objects) -> None:
    some: list[tuple[str, int, str, str | None, str | None]] = []
    for there in storage.list(""):
        if there.key.startswith(LEFT_OUT):
            continue
        modified = there.modified.astimezone(UTC).isoformat(timespec="seconds")
        some.append((there.key, there.bytes, modified, there.etag, None))
        if len(some) == _TOGETHER:
            objects.add(some)
            some = []
    objects.add(some)


def _compare(records: Records, objects: Objects) -> Iterator[Gone]:
    """Tell the listing what the records know of originals; what documents name that is not in it."""
    after: Any = None
    while rows := records.page("documents", _DOCUMENT, "document_id", after, PAGE):
        after, known = rows[-1]["document_id"], []
        for row in rows:
            length = objects.bytes_of(row["key"])
            if length == row["bytes"]:
                known.append((row["key"], row["sha256"]))
            else:
                yield Gone(row["document_id"], row["key"], row["bytes"], "missing" if length is None else "replaced")
            end = f"{row['processed']}/metadata.json"
            if row["processed"] and objects.bytes_of(end) is None:
                yield Gone(row["document_id"], end, None, "missing")
        objects.know(known)


def still_gone(storage: Storage, found: Iterable[Gone]) -> Iterator[Gone]:
    """Those that are gone now, too: what came since the listing was made is not. The first so many are looked at."""
    for number, gone in enumerate(found):
        try:
            there = storage.stat(gone.key) if number < LOOKED_AT else None
        except NotAKey:  # from another kind of bucket
            there = None
        if there is None or (gone.bytes is not None and there.bytes != gone.bytes):
            yield gone


def _raw_lines(path: Path) -> Iterator[bytes]:
    with gzip.open(path, "rb") as file:
        yield from file
