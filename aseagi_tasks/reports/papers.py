"""Documents as reports read them: facts, corrections, and what their pages say of exhibits, Bates numbers and events.

From the published sets, some at a time: of a document's text only what was found in it stays in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from pydantic import BaseModel, ValidationError

from aseagi_tasks.analysis import bates, events, exhibits
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.records import Document, Records, Wanted
from aseagi_tasks.stores.storage import Storage
from aseagi_tasks.stores.user_records import Correction, latest

#: Documents that are read together.
BATCH = 40
#: Reads from the bucket at a time: over S3 each waits some 20-50 ms.
READERS = 8
#: A page below it was hardly readable, by the word of what read it: the mean over its words.
FAINT = 0.5
#: Long edge of a picture in a report: 0.75 inch at 200 dpi, 4-6 kB.
PICTURE_PX = 150
Tell = Callable[[int], None]


class _PageMade(BaseModel):
    number: int
    source: str | None
    confidence: float | None = None


class _Made(BaseModel):
    """What is read of a ``metadata.json``, whichever version wrote it (``stages.upload.Metadata``)."""

    pages: tuple[_PageMade, ...]


class Paper(NamedTuple):
    """A document, and what is known of it.

    Attributes:
        analysis: None where its published set is not complete; then nothing else is known either.
        corrections: what people said instead of what was found, by field; the last of each counts.
        unread, faint: pages that nothing was read of, and that were hardly readable.
        picture: its thumbnail as a small JPEG; None where there is none.
    """

    document: Document
    analysis: Analysis | None
    corrections: dict[str, Correction]
    citations: tuple[exhibits.Citation, ...] = ()
    marks: tuple[exhibits.Mark, ...] = ()
    runs: tuple[bates.Run, ...] = ()
    told: tuple[events.Told, ...] = ()
    unread: tuple[int, ...] = ()
    faint: tuple[int, ...] = ()
    picture: bytes | None = None


def of_case(records: Records, case_number: str) -> Iterator[Document]:
    """A case's documents, newest first, some at a time."""
    wanted, behind = Wanted(case_number=case_number), None
    while some := records.find(wanted, limit=500, behind=behind):
        yield from some
        behind = some[-1]


def read(
    documents: Iterable[Document],
    records: Records,
    storage: Storage,
    *,
    pictures: bool,
    tell: Tell = lambda _done: None,
) -> Iterator[Paper]:
    """Documents as papers, in their order.

    Args:
        pictures: read thumbnails too.
        tell: called with the number of documents read, after each batch.
    Raises:
        StorageUnavailable, RecordsUnavailable.
    """
    rest, done = iter(documents), 0
    with ThreadPoolExecutor(READERS) as readers:
        while batch := list(islice(rest, BATCH)):
            said = _corrections(records, [document.document_id for document in batch])
            yield from readers.map(
                lambda document, said=said: _paper(document, said.get(document.document_id, {}), storage, pictures),
                batch,
            )
            done += len(batch)
            tell(done)


def _corrections(records: Records, ids: Sequence[str]) -> dict[str, dict[str, Correction]]:
    rows = records.rows_of("corrections", "document_id", ids, (*Correction.model_fields, "correction_id"))
    found: dict[str, list[Correction]] = {}
    for row in sorted(rows, key=lambda row: row["correction_id"]):
        moment = row["at"] if isinstance(row["at"], datetime) else datetime.fromisoformat(row["at"])
        said = {name: row[name] for name in Correction.model_fields}
        found.setdefault(row["document_id"], []).append(Correction(**{**said, "at": moment}))
    return {document_id: latest(corrections) for document_id, corrections in found.items()}


def _paper(document: Document, corrections: dict[str, Correction], storage: Storage, pictures: bool) -> Paper:
    if document.processed is None:
        return Paper(document, None, corrections)
    try:
        made = _Made.model_validate_json(storage.get(f"{document.processed}/metadata.json"))
        analysis = Analysis.model_validate_json(storage.get(f"{document.processed}/analysis.json"))
        pages = storage.get(f"{document.processed}/ocr.txt").decode(errors="replace").split("\f")
    except (NotFound, ValidationError):
        return Paper(document, None, corrections)
    numbers = [page.number for page in made.pages] or list(range(1, len(pages) + 1))
    seen = list(zip(numbers, pages, strict=False))
    title = f"{analysis.title.value}" if analysis.title else ""
    return Paper(
        document,
        analysis,
        corrections,
        citations=tuple(one for number, text in seen for one in exhibits.cited(text, number)),
        marks=(
            *(one for number, text in seen for one in exhibits.marked(text, number)),
            *exhibits.named(document.name),
            *(exhibits.named(title) if title.lower().startswith("ex") else ()),
        ),
        runs=tuple(bates.runs(one for number, text in seen for one in bates.stamps(text, number))),
        told=tuple(one for number, text in seen for one in events.events(text, number)),
        unread=tuple(page.number for page in made.pages if page.source is None),
        faint=tuple(page.number for page in made.pages if page.confidence is not None and page.confidence < FAINT),
        picture=_picture(storage, f"{document.processed}/thumbnail.jpg") if pictures else None,
    )


def _picture(storage: Storage, key: str) -> bytes | None:
    """A thumbnail, smaller still: 2,000 of them are 10 MB of a report."""
    from PIL import Image

    with suppress(NotFound, OSError, ValueError), Image.open(io.BytesIO(storage.get(key))) as picture:
        picture.thumbnail((PICTURE_PX, PICTURE_PX))
        out = io.BytesIO()
        picture.convert("RGB").save(out, "JPEG", quality=70)
        return out.getvalue()
    return None
