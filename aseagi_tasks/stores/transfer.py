"""Moving all records from one store to another by way of a file: streaming, checked, and resumable at any point.

The file is JSON lines: ``{"table", "row"}`` for each row, ``{"page", "after"}`` behind each page of them (where an
interrupted export goes on), and last ``{"end": {table: {"rows", "sum"}}}``. Without that line it is not complete. A sum
is that of the SHA-256 of its rows, so it does not depend on their order. Claims and leases do not travel: whoever
works on a document when it is moved, works on it no more; nor does what the Telegram bot is about to answer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from aseagi_tasks.errors import ConfigError
from aseagi_tasks.stores.bulk_records import BulkRun
from aseagi_tasks.stores.fleet_records import MachineRow
from aseagi_tasks.stores.records import Batch, Document, Event, Job, Records
from aseagi_tasks.stores.user_records import Correction, User

FORMAT = 1
PAGE = 500
#: Texts are sent so many bytes at a time.
BATCH_BYTES = 1_000_000


class Table(NamedTuple):
    """What travels of a table: ``key`` names a row in every store, ``order`` is how this store goes through them."""

    name: str
    key: str
    order: str
    columns: tuple[str, ...]


#: The fleet's latest decisions stay where they are: they are a log of a day.
_INSTANCE: tuple[str, ...] = (
    "instance_id",
    "label",
    "state",
    "gpu_name",
    "price_usd_per_hour",
    "created_at",
    "updated_at",
)
_INSTANCE += ("provider_id", "machine_id", "state_since", "billed_until", "detail")
TABLES = (
    Table("documents", "document_id", "document_id", tuple(Document.model_fields)),
    # before the jobs and what they cost: that is added up to their runs as it comes in
    Table("bulk_runs", "run_id", "run_id", tuple(name for name in BulkRun.model_fields if name != "spent_usd")),
    Table("processing_jobs", "job_id", "job_id", tuple(name for name in Job.model_fields if name != "cost_usd")),
    Table("processing_events", "once", "event_id", ("once", *Event.model_fields)),
    Table("costs", "once", "cost_id", ("once", "at", "kind", "usd", "job_id", "detail")),
    Table("cost_reservations", "once", "once", ("once", "at", "kind", "usd", "job_id")),
    Table("users", "telegram_id", "telegram_id", (*User.model_fields, "created_at", "updated_at")),
    Table("corrections", "once", "correction_id", ("once", *Correction.model_fields)),
    Table("message_batches", "batch_id", "batch_id", (*Batch.model_fields, "updated_at")),
    Table("instances", "instance_id", "instance_id", _INSTANCE),
    Table("fleet_machines", "machine_id", "machine_id", (*MachineRow.model_fields, "failed_instance")),
    Table("fleet_controls", "name", "name", ("name", "value", "set_by", "updated_at")),
)
_FLOATS = ("_usd", "_usd_per_hour", "seconds_per_page")
_BY_NAME = {table.name: table for table in TABLES}
#: Documents' texts travel behind each page of documents.
TEXTS = "texts"
Tell = Callable[[str, int], None]


class Imported(NamedTuple):
    """How an import ended: rows in the file by table, and how many differ in the target, where they were before."""

    rows: dict[str, int]
    different: dict[str, int]


class _Sums:
    """Rows and checksum of each table."""

    def __init__(self) -> None:
        self.rows = dict.fromkeys((*_BY_NAME, TEXTS), 0)
        self._sums = dict.fromkeys(self.rows, 0)

    def add(self, table: str, row: dict[str, Any]) -> None:
        digest = hashlib.sha256(_line(row).encode()).digest()
        self.rows[table] += 1
        self._sums[table] = (self._sums[table] + int.from_bytes(digest, "big")) % 2**256

    def as_json(self) -> dict[str, Any]:
        return {name: {"rows": self.rows[name], "sum": f"{self._sums[name]:064x}"} for name in self.rows}


def export_records(records: Records, path: Path, tell: Tell = lambda _table, _rows: None) -> dict[str, Any]:
    """Write every row to ``path``, which appears when it is complete; an interrupted export goes on where it was.

    Args:
        tell: called with a table and how many of its rows are written, after each page.
    Returns:
        The last line: rows and checksum of each table.
    Raises:
        ConfigError: ``path`` is there already. RecordsUnavailable: call again.
    """
    if path.exists():
        raise ConfigError(str(path), "is there already.", "Choose another name, or move it away.")
    part, sums = path.with_name(path.name + ".part"), _Sums()
    try:
        table_at, after = _go_on(part, sums)
        file = part.open("a", encoding="utf-8")
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be written: {exc.strerror}.", "Choose another place.") from exc
    with file:
        if not file.tell():
            file.write(_line({"aseagi_records": FORMAT}) + "\n")
        for table in TABLES[table_at:]:
            for rows, texts, behind in _pages(records, table, after):
                for name, row in [(table.name, row) for row in rows] + [(TEXTS, row) for row in texts]:
                    file.write(_line({"table": name, "row": row}) + "\n")
                    sums.add(name, row)
                file.write(_line({"page": table.name, "after": behind}) + "\n")
                file.flush()
                tell(table.name, sums.rows[table.name])
            after = None
        end = {"end": sums.as_json()}
        file.write(_line(end) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return end["end"]


def import_records(records: Records, path: Path, tell: Tell = lambda _table, _rows: None) -> Imported:
    """Add every row of a complete export, and read each one back; what is there stays as it is.

    Interrupted, it goes on where it was: ``path`` with ``.imported`` added holds how far it came.

    Args:
        tell: called with a table and how many of its rows are there, after each batch.
    Raises:
        ConfigError: the file is not a complete export, or was altered. RecordsUnavailable: call again.
    """
    _check(path)
    mark = path.with_name(path.name + ".imported")
    done: dict[str, Any] = json.loads(mark.read_text()) if mark.exists() else {"offset": 0, "different": {}}
    rows, different = dict.fromkeys((*_BY_NAME, TEXTS), 0), dict.fromkeys((*_BY_NAME, TEXTS), 0)
    different |= done["different"]
    for name, batch, offset in _batches(path):
        rows[name] += len(batch)
        if offset > done["offset"]:
            different[name] += _put(records, name, batch)
            mark.write_text(json.dumps({"offset": offset, "different": different}))
        tell(name, rows[name])
    mark.unlink(missing_ok=True)
    return Imported(rows, {name: count for name, count in different.items() if count})


def _pages(
    records: Records, table: Table, after: Any
) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]], Any]]:
    """Rows, texts, and the place behind them, a page at a time."""
    columns = tuple(dict.fromkeys((table.order, *table.columns)))
    while found := records.page(table.name, columns, table.order, after, PAGE):
        after = found[-1][table.order]
        rows = [_canonical(row, table) for row in found]
        texts = records.texts([row["document_id"] for row in rows]) if table.name == "documents" else {}
        yield rows, [{"document_id": key, "text": texts[key]} for key in sorted(texts)], after


def _go_on(part: Path, sums: _Sums) -> tuple[int, Any]:
    """Where an interrupted export stands: table and last row. What follows its last whole page is cut off."""
    table_at, after, good = 0, None, 0
    pending: list[tuple[str, dict[str, Any]]] = []
    if part.exists():
        with part.open("rb") as file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    break
                line = json.loads(raw)
                if "row" in line:
                    pending.append((line["table"], line["row"]))
                    continue
                for name, row in pending:
                    sums.add(name, row)
                pending = []
                good = file.tell()
                if "page" in line:
                    table_at, after = [table.name for table in TABLES].index(line["page"]), line["after"]
                elif "end" in line:
                    good -= len(raw)
        os.truncate(part, good)
    return table_at, after


def _check(path: Path) -> None:
    """Read the file once: every row counted, sums as the last line says.

    Raises:
        ConfigError: they are not, or there is no last line.
    """
    sums, end, first = _Sums(), None, None
    cure = "Export again; an interrupted export goes on where it was."
    try:
        with path.open(encoding="utf-8") as file:
            for raw in file:
                line = json.loads(raw)
                first = line if first is None else first
                if "row" in line:
                    sums.add(line["table"], line["row"])
                end = line.get("end")
    except OSError as exc:
        raise ConfigError(str(path), f"cannot be read: {exc.strerror}.", "Give a file of `export-records`.") from exc
    except (ValueError, KeyError, UnicodeDecodeError) as exc:
        raise ConfigError(str(path), f"is no export of records ({exc}).", cure) from exc
    if first != {"aseagi_records": FORMAT}:
        raise ConfigError(str(path), "is no export of records, or one of another version.", cure)
    if end is None:
        raise ConfigError(str(path), "is not complete.", cure)
    if end != sums.as_json():
        wrong = next(name for name, value in sums.as_json().items() if value != end.get(name))
        raise ConfigError(str(path), f"was altered: the rows of {wrong} do not add up to its last line.", cure)


def _batches(path: Path) -> Iterator[tuple[str, list[dict[str, Any]], int]]:
    """Rows of one table at a time, at most a page, and the place in the file behind them."""
    name, batch = "", []  # type: tuple[str, list[dict[str, Any]]]
    with path.open("rb") as file:
        offset = size = 0
        for raw in file:
            line = json.loads(raw)
            if "row" in line:
                if batch and (line["table"] != name or len(batch) == PAGE or size > BATCH_BYTES):
                    yield name, batch, offset
                    batch, size = [], 0
                name = line["table"]
                batch.append(line["row"])
                size += len(raw)
            offset += len(raw)
    if batch:
        yield name, batch, offset


def _put(records: Records, name: str, batch: list[dict[str, Any]]) -> int:
    """Write a batch and read it back; how many are not as they were sent."""
    if name == TEXTS:
        sent = {row["document_id"]: row["text"] for row in batch}
        there = records.texts(list(sent))
        records.add_texts({key: text for key, text in sent.items() if key not in there})
        there = records.texts(list(sent))
        return sum(there.get(key) != text for key, text in sent.items())
    table = _BY_NAME[name]
    records.add_rows(name, table.key, batch)
    found = records.rows_of(name, table.key, [row[table.key] for row in batch], table.columns)
    kept = {row[table.key]: _canonical(row, table) for row in found}
    return sum(kept.get(row[table.key]) != row for row in batch)


def _canonical(row: dict[str, Any], table: Table) -> dict[str, Any]:
    """A row as every store would write it: moments in UTC, money and durations as floats, yes and no."""
    found = {}
    for name in table.columns:
        value = row[name]
        if value is not None and (name in ("at", "deadline") or name.endswith(("_at", "_since", "_until"))):
            value = datetime.fromisoformat(value).astimezone(UTC).isoformat(timespec="microseconds")
        elif value is not None and (name in ("usd", "seconds", "boot_s") or name.endswith(_FLOATS)):
            value = float(value)
        elif name in ("again", "failed", "unattended"):
            value = bool(value)
        found[name] = value
    return found


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
