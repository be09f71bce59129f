"""A published document read or analyzed anew to see what would change. Nothing is published and no record moves.

What is asked of Claude is kept below ``cache/preview-…`` for the day, and paid once: looking again costs nothing.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any

from aseagi_tasks import keys
from aseagi_tasks.analysis.analyst import Analyst
from aseagi_tasks.analysis.differences import Difference, differences, text_difference
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import Frozen, Reading, Source
from aseagi_tasks.errors import BudgetExceeded, DocumentError, NotFound, TransientError
from aseagi_tasks.reading.recognizer import Recognizer
from aseagi_tasks.settings import Settings
from aseagi_tasks.stages.analyze import JobErrand, analyze
from aseagi_tasks.stages.doubt import believe, doubt
from aseagi_tasks.stages.ocr import ocr
from aseagi_tasks.stages.upload import reading_of
from aseagi_tasks.stages.workplace import Workplace
from aseagi_tasks.stores.records import Document, Records, Wanted
from aseagi_tasks.stores.storage import Storage

#: Newest documents in which those without a type are looked for.
LOOKED_AT = 200
Read = Callable[[Workplace], Reading]


class Replayed(Frozen):
    """What one document would become.

    Attributes:
        cost_usd: of finding its facts; bound_usd: what that could have cost at most.
        error: why it could not be done; that would be the end of its job, too.
    """

    document_id: str
    name: str
    document_type: str | None
    pages: int | None
    fields: dict[str, Difference] = {}
    cost_usd: float = 0.0
    bound_usd: float = 0.0
    error: str | None = None


class Preview(Frozen):
    """Replayed documents. ``stopped``: why there are fewer than were wanted. ``spent_usd``: now, for this preview."""

    documents: tuple[Replayed, ...]
    spent_usd: float
    stopped: str | None = None


class PreviewErrand(JobErrand):
    """Money of no job: the day's budget and the limit for one document hold all the same."""

    spent_usd = 0.0

    def reserve(self, key: str, usd: float) -> None:
        """Set money aside in the ledger."""
        limit = self.place.settings.claude_daily_usd
        if not self._records.reserve(None, "claude", usd, once=self._once(key), daily_budget_usd=limit):
            raise BudgetExceeded(self.place.source.name, usd, limit, "ASEAGI_CLAUDE_DAILY_USD")

    def settle(self, key: str, usd: float, detail: Mapping[str, Any]) -> None:
        """Put it into the ledger, once."""
        told = {**detail, "preview": self.place.source.document_id}
        paid = self._records.settle(usd, once=self._once(key), detail=told)
        if not paid and usd:
            paid = self._records.charge(None, "claude", usd, once=self._once(key), detail=told)
        self.spent_usd += usd if paid else 0.0

    def _once(self, key: str) -> str:
        return f"{self.place.job_id}:claude:{key}"


def sample(records: Records, wanted: Wanted, counts: Mapping[str, int], size: int) -> list[Document]:
    """Documents that are wanted, spread over their types: each has one before any has two; the newest of each.

    Args:
        counts: how many there are of each type (``records.count_documents``).
    """
    shares = dict.fromkeys(counts, 0)
    while sum(shares.values()) < min(size, sum(counts.values())):
        least = min((kind for kind in counts if shares[kind] < counts[kind]), key=lambda kind: shares[kind])
        shares[least] += 1
    chosen: list[Document] = []
    for kind, share in shares.items():
        if kind:
            chosen += records.find(wanted.model_copy(update={"document_type": kind}), limit=share) if share else []
        elif share:
            newest = records.find(wanted, limit=LOOKED_AT)
            chosen += [document for document in newest if document.document_type is None][:share]
    return chosen


def replay(
    documents: Sequence[Document],
    analyst: Analyst,
    read: Read,
    *,
    stage: str,
    records: Records,
    storage: Storage,
    settings: Settings,
    today: date,
    tell: Callable[[int], None] = lambda _done: None,
) -> Preview:
    """Do it again, document by document.

    Args:
        read: reads a document's pages: for stage ``ocr``, and where no reading is published.
        tell: called with the number of documents done.
    """
    done: list[Replayed] = []
    spent, stopped = 0.0, None
    for document in documents:
        source = Source(**document.model_dump(include=set(Source.model_fields)))
        name = "|".join((document.document_id, document.processed or "", analyst.version, stage, f"{today}"))
        preview_id = f"preview-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
        place = Workplace(preview_id, source, storage, settings)
        errand: PreviewErrand | None = None
        row = {key: getattr(document, key) for key in ("document_id", "name", "document_type", "pages")}
        try:
            folder = document.processed or keys.processed(document.document_id, document.created_at.date())
            old = Analysis.model_validate_json(storage.get(f"{folder}/analysis.json"))
            reading = (None if stage == "ocr" else reading_of(storage, folder)) or read(place)
            errand = PreviewErrand(place, reading, records)
            new = analyze(reading, document.name, analyst, errand)
            corrected = {one.field for one in records.corrections(document.document_id)}
            fields = differences(old, new, corrected)
            if stage == "ocr":
                fields = {"text": text_difference(storage.get(f"{folder}/ocr.txt").decode(), reading.text), **fields}
            done.append(Replayed(**row, fields=fields, cost_usd=new.cost_usd, bound_usd=new.cost_bound_usd))
        except TransientError as exc:  # money, key, service: the next document fares no better
            stopped = str(exc)
            break
        except (DocumentError, NotFound) as exc:
            done.append(Replayed(**row, error=str(exc)))
        finally:
            spent += errand.spent_usd if errand else 0.0
            shutil.rmtree(place.scratch, ignore_errors=True)
        tell(len(done))
    return Preview(documents=tuple(done), spent_usd=spent, stopped=stopped)


def reader(recognizer: Recognizer, read_line: Any) -> Read:
    """What reads a document as the chain does, in one go."""

    def read(place: Workplace) -> Reading:
        reading = doubt(place, place.rasterize(), read_line)
        if any(page.source is None for page in reading.pages):
            place.ensure_images(reading)
            reading = ocr(reading, place.scratch, recognizer)
        return believe(place, reading)

    return read
