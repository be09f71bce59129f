"""Records and a bucket with documents whose pages and facts are given, as the chain leaves them; of any day."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from PIL import Image

from aseagi_tasks.analysis.schema import Analysis, Caution, Evidence, Fact, Party, Support
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.records import Document, Job, Records
from aseagi_tasks.stores.sqlite import SqliteRecords

CASE = "23CV998417"
TODAY = date(2026, 11, 20)


def fact(value: str | int, page: int = 1, quote: str = "", status: Support = "supported") -> Fact:
    """A fact with its page."""
    return Fact(value=value, status=status, evidence=(Evidence(page=page, quote=quote or f"{value}"),))


def party(name: str, role: str | None = None, page: int = 1, status: Support = "supported") -> Party:
    """A party with its page."""
    return Party(name=name, role=role, status=status, evidence=(Evidence(page=page, quote=name),))


class PaperOffice:
    """``home/records.sqlite3`` and ``home/aseagi-documents``: where the program looks with ASEAGI_HOME=home."""

    def __init__(self, home: Path, records: Records | None = None) -> None:
        self.records: Records = records or SqliteRecords(home / "records.sqlite3")
        self.storage = FolderStorage(home / "aseagi-documents")
        self.scratch = home / "scratch"
        self._made = 0

    def add(
        self,
        name: str,
        pages: Sequence[str] = ("text",),
        *,
        case: str | None = CASE,
        day: date = TODAY,
        parties: Sequence[Party] = (),
        key_dates: Sequence[Fact] = (),
        warnings: Sequence[Caution] = (),
        unread: Sequence[int] = (),
        faint: Sequence[int] = (),
        picture: bool = False,
        published: bool = True,
        **facts: Fact,
    ) -> Document:
        """A completed document with its published set."""
        document = self._row(name, "\f".join(pages), day)
        folder = f"processed/{day:%Y/%m/%d}/{document['document_id']}"
        if case:
            facts.setdefault("case_number", fact(case))
        analysis = Analysis(
            analyst="rules",
            parties=tuple(parties),
            key_dates=tuple(key_dates),
            warnings=tuple(warnings),
            **facts,  # type: ignore[arg-type]
        )
        values = analysis.facts()
        document |= {
            **{"processed": folder, "pages": len(pages), "case_number": case},
            **{field: values[field] for field in ("document_type", "document_date", "title", "relevancy_score")},
            "parties": [one.name for one in parties],
        }
        self.records.add_rows("documents", "document_id", [document])
        self.records.add_texts({document["document_id"]: "\f".join(pages)})
        self._job(document, "completed", day)
        if published:
            self.storage.put(f"{folder}/ocr.txt", "\f".join(pages).encode())
            self.storage.put(f"{folder}/analysis.json", analysis.model_dump_json().encode())
            made = [
                {
                    **{"number": at, "source": None if at in unread else "tesseract"},
                    "confidence": 0.3 if at in faint else 0.9,
                }
                for at in range(1, len(pages) + 1)
            ]
            if picture:
                self.storage.put(f"{folder}/thumbnail.jpg", _picture(self._made))
            self.storage.put(f"{folder}/metadata.json", json.dumps({"pages": made}).encode())
        return self.records.document(document["document_id"])

    def fail(self, name: str, error_class: str, message: str, *, day: date = TODAY, stage: str = "rasterize") -> None:
        """A document that could not be processed."""
        document = self._row(name, name + error_class, day)
        self.records.add_rows("documents", "document_id", [document])
        self._job(document, "error", day, stage=stage, error_class=error_class, error_message=message)

    def end(self, status: str, day: date = TODAY) -> None:
        """A job without a document."""
        self._job({"document_id": None, "key": "raw/x.pdf"}, status, day)

    def spend(self, kind: str, usd: float, day: date = TODAY) -> None:
        """A line of the ledger."""
        self._made += 1
        row: dict[str, Any] = {"once": f"c{self._made}", "at": _at(day), "kind": kind, "usd": usd, "job_id": None}
        self.records.add_rows("costs", "once", [{**row, "detail": {}}])

    def _row(self, name: str, content: str, day: date) -> dict[str, Any]:
        self._made += 1
        sha256 = hashlib.sha256(f"{self._made}{name}{content}".encode()).hexdigest()
        row = dict.fromkeys(Document.model_fields) | {
            **{"document_id": sha256[:16], "sha256": sha256, "name": name, "bytes": 1, "created_at": _at(day)},
            **{"key": f"raw/{day:%Y/%m/%d}/{sha256[:16]}.pdf", "media_type": "application/pdf"},
        }
        return row | {"parties": [], "versions": {}}

    def _job(self, document: Mapping[str, Any], status: str, day: date, **rest: str) -> None:
        self._made += 1
        row = dict.fromkeys(name for name in Job.model_fields if name != "cost_usd") | {
            **{"job_id": f"j{self._made:06d}", "source": document["key"], "priority": "normal", "status": status},
            **{"document_id": document["document_id"], "created_at": _at(day), "updated_at": _at(day)},
            **{"finished_at": _at(day, self._made), "deliveries": 1, "again": False, "deaths": 0, **rest},
        }
        self.records.add_rows("processing_jobs", "job_id", [row])


def _at(day: date, seconds: int = 0) -> str:
    moment = datetime.combine(day, time(9), UTC) + timedelta(seconds=seconds % 3600)
    return moment.isoformat(timespec="microseconds")


def _picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (255, 330), 200 + seed % 50).save(out, "JPEG")
    return out.getvalue()
