"""The fifth stage: the published set, ``metadata.json`` last.

Doors import the models from here, so what makes the set is imported when it runs: image libraries take 50 MB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from aseagi_tasks import keys
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import Frozen, MediaType, Page, Reading, Stage, TextSource
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stores.records import Event, Records

if TYPE_CHECKING:
    from aseagi_tasks.stages.workplace import Model, Workplace


class PageRecord(Frozen):
    """What is known of one page; see ``documents.Page``."""

    number: int
    width_px: int
    height_px: int
    dpi: float
    rotation: int
    skew: float
    source: TextSource | None
    confidence: float | None


class StageRun(Frozen):
    """Who did a stage and for how long: slices of a long stage are added up, of their workers the last is kept.

    ``instance`` is a rented machine's id.
    """

    seconds: float
    worker: str | None
    instance: str | None = None


class Published(Frozen):
    """One file of the set, so that the bucket can be checked against it."""

    bytes: int
    sha256: str


class Metadata(Frozen):
    """``metadata.json``: where it is, the set is complete, and these are its files.

    Attributes:
        stages: those before this one; its own time is in the records.
        engine: what read the pages, with its version.
        files: the other files of the set, by name. ``searchable.pdf`` has the original's SHA-256 where the original
            could not be taken apart, and is missing where that was a picture.
    """

    schema_version: Literal[1] = 1
    document_id: str
    job_id: str
    source_key: str
    name: str
    sha256: str
    bytes: int
    media_type: MediaType
    pages: tuple[PageRecord, ...]
    stages: dict[Stage, StageRun]
    engine: str
    analyst: str
    model: str | None
    prompt_version: str | None
    cost_usd: dict[str, float]
    files: dict[str, Published]


def publish(place: Workplace, records: Records) -> Metadata:
    """Make and publish a document's set from what the earlier stages left in ``cache/``.

    The same inputs give the same bytes at the same keys. Over a set that is there, ``metadata.json`` goes first: no
    reader takes new text under old metadata for a complete set.

    Raises:
        NotFound: an earlier stage's result is not there. StorageUnavailable.
    """
    from aseagi_tasks.reading.searchable import searchable_pdf

    reading, analysis = _needed(place, "ocr.json", Reading), _needed(place, "analysis.json", Analysis)
    thumbnail = place.storage.get(keys.cache(place.job_id, "thumbnail.jpg"))
    document = records.document(place.source.document_id)
    folder = keys.processed(document.document_id, document.created_at.date())
    original, searchable = place.original(), place.scratch / "searchable.pdf"
    searchable_pdf(original, place.source.media_type, reading, searchable)

    # in the order of keys.PUBLISHED
    bodies = {
        "ocr.txt": reading.text.encode(),
        "analysis.json": _json(analysis),
        "thumbnail.jpg": thumbnail,
    }
    files = {name: Published(bytes=len(body), sha256=hashlib.sha256(body).hexdigest()) for name, body in bodies.items()}
    if searchable.is_file():
        files["searchable.pdf"] = _of_file(searchable)
    metadata = Metadata(
        job_id=place.job_id,
        document_id=document.document_id,
        source_key=document.key,
        name=document.name,
        sha256=document.sha256,
        bytes=document.bytes,
        media_type=document.media_type,
        pages=tuple(_page(page) for page in reading.pages),
        stages=_runs(records.events(place.job_id)),
        engine=reading.engine,
        analyst=analysis.analyst,
        model=analysis.model,
        prompt_version=analysis.prompt_version,
        cost_usd={"claude": analysis.cost_usd} if analysis.cost_usd else {},
        files=files,
    )

    place.storage.delete(f"{folder}/metadata.json")
    for name in files:
        if name in bodies:
            place.storage.put(f"{folder}/{name}", bodies[name])
        else:
            place.storage.upload(searchable, f"{folder}/{name}")
    place.storage.put(f"{folder}/metadata.json", _json(metadata))
    return metadata


def _needed(place: Workplace, name: str, model: type[Model]) -> Model:
    found = place.load(name, model)
    if found is None:
        raise NotFound(keys.cache(place.job_id, name), "the bucket")
    return found


def _page(page: Page) -> PageRecord:
    return PageRecord(**page.model_dump(include=set(PageRecord.model_fields)))


def _runs(events: Iterable[Event]) -> dict[Stage, StageRun]:
    runs: dict[Stage, StageRun] = {}
    for event in events:
        if event.kind == "finished" and event.stage is not None and event.stage != "upload":
            before = runs[event.stage].seconds if event.stage in runs else 0.0
            seconds, instance = round(before + (event.seconds or 0), 4), event.detail.get("instance")
            runs[event.stage] = StageRun(seconds=seconds, worker=event.worker, instance=instance)
    return runs


def _of_file(path: Path) -> Published:
    with path.open("rb") as file:
        return Published(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=file.tell())


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=2).encode() + b"\n"
