"""The restore drill: the newest backup is put into an empty store, and looked at as if all else were lost.

A backup that was never restored is a hope. Nothing that is in use is written to; the store is removed again, and so is
one that a killed drill left behind.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from aseagi_tasks import keys
from aseagi_tasks.documents import Frozen
from aseagi_tasks.errors import BackupDamaged, NotFound, RecordsUnavailable
from aseagi_tasks.stores import manifest
from aseagi_tasks.stores.backup import counted, kind_of, list_backups, made_at, restore_dump
from aseagi_tasks.stores.migrations import connect
from aseagi_tasks.stores.sqlite_file import VERSION
from aseagi_tasks.stores.storage import Storage

#: Objects that are read and compared, if not told otherwise.
SAMPLE = 20
#: A scratch database that is older was left by a drill that was killed.
LEFT_BEHIND = timedelta(hours=6)
_DATABASE = "aseagi_drill_"
_CURE = "Make a new one (`aseagi backup`), and keep the older ones until a drill holds."


class Drill(Frozen):
    """What a drill found.

    Attributes:
        rows: by table, in the restored store.
        objects: in the manifest; None without one. looked_at: how many of them were read.
        gone: what documents named and the bucket had not, when the manifest was made.
        found: what is wrong, in words; nothing: the backup holds.
        lost: rows by table that came since, and would be lost. None: the records in use do not answer.
    """

    backup: str
    made_at: datetime
    bytes: int
    rows: dict[str, int]
    objects: int | None
    looked_at: int
    gone: int
    found: tuple[str, ...]
    lost: dict[str, int] | None
    seconds: float


def drill(
    source: Path | str, storage: Storage, scratch: Path, now: datetime, *, sample: int = SAMPLE, seed: int | None = None
) -> Drill:
    """Restore the newest backup into a store of its own, compare, and clear up.

    Args:
        source: the records in use: they say which kind of backup, and on which server a scratch database is made.
        sample: objects to read.
        seed: chooses them.
    Raises:
        NotFound: there is no backup. BackupDamaged: it cannot be restored. RecordsUnavailable, StorageUnavailable.
    """
    begun, found = time.monotonic(), list[str]()
    newest = next((one for one in list_backups(storage) if one.key.endswith("." + kind_of(source))), None)
    if newest is None:
        raise NotFound(f"A backup of these records (.{kind_of(source)})", "the bucket: `aseagi backup` makes one")
    folder = scratch / f"drill-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        copy, listing = folder / "records", folder / "manifest.jsonl.gz"
        storage.download(newest.key, copy)
        totals = _manifest(storage, newest.key, listing)
        if totals is None:
            found.append(f"{keys.manifest(newest.key)} is not there: the backup was not finished, or it was removed")
        elif (_sha256(copy), copy.stat().st_size) != (totals.records["sha256"], totals.records["bytes"]):
            cure = "It was cut or altered in the bucket. " + _CURE
            raise BackupDamaged(newest.key, "it is not what its manifest says that was written.", cure)
        with _restored(source, copy, newest.key, now) as store:
            rows = counted(store)
            if totals is not None:
                found += _rows_differ(rows, totals.records["tables"])
                found += _documents_differ(store, listing, folder)
        looked_at = 0
        if totals is not None:
            chosen = _choose(listing, sample, random.Random(seed))
            looked_at = len(chosen)
            found += [said for line in chosen if (said := _look(storage, line, folder))]
        return Drill(
            backup=newest.key,
            made_at=made_at(newest.key),
            bytes=newest.bytes,
            rows=rows,
            objects=totals.objects if totals else None,
            looked_at=looked_at,
            gone=totals.gone if totals else 0,
            found=tuple(found),
            lost=_since(source, rows),
            seconds=round(time.monotonic() - begun, 1),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _manifest(storage: Storage, backup: str, path: Path) -> manifest.Totals | None:
    key = keys.manifest(backup)
    try:
        storage.download(key, path)
    except NotFound:
        return None
    return manifest.read(path, key)


@contextmanager
def _restored(source: Path | str, copy: Path, key: str, now: datetime) -> Iterator[Path | str]:
    """A store with the backup in it, and nothing else."""
    if isinstance(source, Path):
        try:
            with closing(sqlite3.connect(copy)) as db:
                said = db.execute("PRAGMA integrity_check").fetchone()[0]
                version = db.execute("PRAGMA user_version").fetchone()[0]
                astray = db.execute("PRAGMA foreign_key_check").fetchall()
        except sqlite3.Error as exc:
            raise BackupDamaged(key, f"it cannot be opened ({exc}).", _CURE) from exc
        if said != "ok" or astray:
            raise BackupDamaged(key, f"its tables are damaged ({said}, {len(astray)} rows astray).", _CURE)
        if version != VERSION:
            cure = "Restore it with the program of that version; " + _CURE[0].lower() + _CURE[1:]
            raise BackupDamaged(key, f"it is of version {version}, and this program reads version {VERSION}.", cure)
        yield copy
        return
    name = f"{_DATABASE}{now:%Y%m%d%H%M%S}_{uuid.uuid4().hex[:8]}"
    try:
        with connect(source) as db:
            _drop_left_behind(db, now)
            db.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    except psycopg.Error as exc:
        raise RecordsUnavailable("making a scratch database", str(exc)) from exc
    url = make_conninfo(source, dbname=name)
    try:
        try:
            restore_dump(url, copy)
        except RecordsUnavailable as exc:
            raise BackupDamaged(key, f"it cannot be restored ({exc}).", _CURE) from exc
        yield url
    finally:
        with connect(source) as db:
            _drop(db, name)


def _drop_left_behind(db: psycopg.Connection[Any], now: datetime) -> None:
    oldest = f"{_DATABASE}{now - LEFT_BEHIND:%Y%m%d%H%M%S}"
    for (name,) in db.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND datname < %s", (_DATABASE, oldest)
    ).fetchall():
        _drop(db, name)


def _drop(db: psycopg.Connection[Any], name: str) -> None:
    db.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _rows_differ(rows: dict[str, int], said: dict[str, int]) -> list[str]:
    return [
        f"table {name} has {rows.get(name, 0):,} rows, and {said.get(name, 0):,} were backed up"
        for name in sorted(rows.keys() | said.keys())
        if rows.get(name, 0) != said.get(name, 0)
    ]


def _documents_differ(store: Path | str, listing: Path, folder: Path) -> list[str]:
    """Documents of the restored store whose originals the manifest neither has nor says to be gone."""
    with closing(manifest.Objects(folder / "objects.sqlite3")) as objects:
        objects.add(
            (line["key"], line["bytes"], line["modified"], None, line.get("sha256"))
            for line in manifest.lines(listing)
            if "key" in line
        )
        objects.add((one.key, one.bytes, "", None, None) for one in manifest.gone_of(listing) if one.bytes is not None)
        count, example = 0, ""
        for key, length in _originals(store):
            if objects.bytes_of(key) != length:
                count, example = count + 1, key
    return [f"{count:,} documents have no original in the manifest, {example} is one"] if count else []


def _originals(store: Path | str) -> Iterator[tuple[str, int]]:
    asked = "SELECT key, bytes FROM documents"
    if isinstance(store, Path):
        with closing(sqlite3.connect(store)) as file:
            yield from file.execute(asked)
        return
    with connect(store) as db, db.transaction(), db.cursor(name="documents") as cursor:  # on the server, in pieces
        cursor.execute(asked)
        yield from cursor


def _choose(listing: Path, sample: int, rng: random.Random) -> list[dict[str, Any]]:
    """Originals and ends of sets of results, any of them as likely as any other."""
    chosen: list[dict[str, Any]] = []
    eligible = 0
    for line in manifest.lines(listing):
        key = line.get("key", "")
        if not (line.get("sha256") or (key.startswith("processed/") and key.endswith("/metadata.json"))):
            continue
        eligible += 1
        if len(chosen) < sample:
            chosen.append(line)
        elif (place := rng.randrange(eligible)) < sample:
            chosen[place] = line
    return chosen


def _look(storage: Storage, line: dict[str, Any], folder: Path) -> str | None:
    """What is wrong with an object; None: it is as it was. Of a set of results every file is read."""
    key, path = line["key"], folder / "object"
    try:
        storage.download(key, path)
        if line.get("sha256") is not None:
            return None if _sha256(path) == line["sha256"] else f"{key} is not the original that was taken in"
        parent = key.rsplit("/", 1)[0]
        for name, file in json.loads(path.read_bytes())["files"].items():
            storage.download(f"{parent}/{name}", path)
            if _sha256(path) != file["sha256"]:
                return f"{parent}/{name} is not what was published"
    except NotFound as exc:
        return f"{exc.args[0]} was there when the manifest was made, and is gone"
    except (ValueError, KeyError, TypeError):
        return f"{key} cannot be read as metadata"
    finally:
        path.unlink(missing_ok=True)
    return None


def _since(source: Path | str, rows: dict[str, int]) -> dict[str, int] | None:
    """Rows by table that the records in use have and the backup has not."""
    try:
        live = counted(source)
    except RecordsUnavailable:
        return None
    return {name: live[name] - rows.get(name, 0) for name in sorted(live) if live[name] > rows.get(name, 0)}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def newest_age(storage: Storage, now: datetime) -> timedelta | None:
    """How old the newest backup is; None: there is none."""
    newest = next(iter(list_backups(storage)), None)
    return None if newest is None else now - made_at(newest.key)
