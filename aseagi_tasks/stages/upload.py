"""The fifth stage: the published set, ``metadata.json`` last.

Doors import the models from here, so what makes the set is imported when it runs: image libraries take 50 MB.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ValidationError

from aseagi_tasks import keys
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import Frozen, MediaType, Page, Reading, Stage, TextSource
from aseagi_tasks.errors import NotFound, Overtaken
from aseagi_tasks.stores.records import Event, Records
from aseagi_tasks.stores.storage import Storage

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


class Version(Frozen):
    """A set that a later job replaced: what had made it, and its files that are kept, by name."""

    engine: str
    analyst: str
    model: str | None
    prompt_version: str | None
    files: dict[str, Published]


class Metadata(Frozen):
    """``metadata.json``: where it is, the set is complete, and these are its files.

    Attributes:
        stages: those before this one; its own time is in the records.
        engine: what read the pages, with its version.
        files: the other files of the set, by name. ``searchable.pdf`` has the original's SHA-256 where the original
            could not be taken apart, and is missing where that was a picture. ``ocr.json.gz`` is the ``Reading``.
        versions: the sets that this one replaced, by the jobs that had made them, oldest first; see ``keys.version``.
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
    versions: dict[str, Version] = {}


def publish(place: Workplace, records: Records) -> Metadata:
    """Make and publish a document's set from what the earlier stages left in ``cache/``.

    The same inputs give the same bytes at the same keys. Over a set that is there, ``metadata.json`` goes first: no
    reader takes new text under old metadata for a complete set. Facts and metadata of that set are kept as a version.
    Where a job began with the reading of the set that is there (``begin_with``), the files made of that stay.

    Raises:
        NotFound: an earlier stage's result is not there. StorageUnavailable.
        Overtaken: it began with the reading of a set that is not there any more.
    """
    reading, analysis = _needed(place, "ocr.json", Reading), _needed(place, "analysis.json", Analysis)
    document = records.document(place.source.document_id)
    folder = keys.processed(document.document_id, document.created_at.date())
    kept, before = place.load("kept.json", Metadata), _before(place, folder)
    if kept is not None and (before is None or before.job_id != kept.job_id):
        raise Overtaken(document.name)

    bodies = {"analysis.json": _json(analysis)} if kept else _bodies(place, reading, analysis)
    files = dict(kept.files) if kept else {}
    files |= {name: _of_bytes(body) for name, body in bodies.items()}
    searchable = place.scratch / "searchable.pdf"
    if kept is None and _make_searchable(place, reading, searchable):
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
        stages={**(kept.stages if kept else {}), **_runs(records.events(place.job_id))},
        engine=reading.engine,
        analyst=analysis.analyst,
        model=analysis.model,
        prompt_version=analysis.prompt_version,
        cost_usd={"claude": analysis.cost_usd} if analysis.cost_usd else {},
        files=files,
        versions=_versions(place.storage, folder, before) if before else {},
    )

    place.storage.delete(f"{folder}/metadata.json")
    for name, body in bodies.items():
        place.storage.put(f"{folder}/{name}", body)
    if kept is None and "searchable.pdf" in files:
        place.storage.upload(searchable, f"{folder}/searchable.pdf")
    place.storage.put(f"{folder}/metadata.json", _json(metadata))
    return metadata


def begin_with(place: Workplace, folder: str) -> bool:
    """Put the reading of the published set where ``ocr`` would have left its own; whether there was one.

    Sets from before readings were kept have none. ``kept.json`` is written last: without it nothing was begun.
    """
    there = metadata_of(place.storage, folder)
    reading = reading_of(place.storage, folder) if there else None
    if there is None or reading is None:
        return False
    try:
        thumbnail = place.storage.get(f"{folder}/thumbnail.jpg")
    except NotFound:
        return False
    place.save("ocr.json", reading)
    place.storage.put(keys.cache(place.job_id, "thumbnail.jpg"), thumbnail)
    place.save("kept.json", there)
    return True


def metadata_of(storage: Storage, folder: str) -> Metadata | None:
    """Of the complete set in a folder; None if there is none of this version."""
    try:
        return Metadata.model_validate_json(storage.get(f"{folder}/metadata.json"))
    except (NotFound, ValidationError):
        return None


def reading_of(storage: Storage, folder: str) -> Reading | None:
    """The published reading; None if there is none of this version."""
    try:
        return Reading.model_validate_json(gzip.decompress(storage.get(f"{folder}/ocr.json.gz")))
    except (NotFound, ValidationError, OSError, EOFError, zlib.error):
        return None


def _before(place: Workplace, folder: str) -> Metadata | None:
    """The set that this one replaces, with its facts kept as a version; remembered, since publishing removes it."""
    before = place.load("before.json", Metadata)
    if before is None and (there := metadata_of(place.storage, folder)) and there.job_id != place.job_id:
        for name in keys.VERSIONED:
            body = place.storage.get(f"{folder}/{name}")
            place.storage.put(keys.version(folder, there.job_id, name), body)
        place.save("before.json", there)
        before = there
    return before


def _versions(storage: Storage, folder: str, before: Metadata) -> dict[str, Version]:
    kept = {name: _of_bytes(storage.get(keys.version(folder, before.job_id, name))) for name in keys.VERSIONED}
    version = Version(**before.model_dump(include=set(Version.model_fields) - {"files"}), files=kept)
    return {**before.versions, before.job_id: version}


def _bodies(place: Workplace, reading: Reading, analysis: Analysis) -> dict[str, bytes]:
    """Files of a set, in the order of ``keys.PUBLISHED``."""
    return {
        "ocr.txt": reading.text.encode(),
        "ocr.json.gz": gzip.compress(reading.model_dump_json().encode(), mtime=0),
        "analysis.json": _json(analysis),
        "thumbnail.jpg": place.storage.get(keys.cache(place.job_id, "thumbnail.jpg")),
    }


def _make_searchable(place: Workplace, reading: Reading, to: Path) -> bool:
    from aseagi_tasks.reading.searchable import searchable_pdf

    searchable_pdf(place.original(), place.source.media_type, reading, to)
    return to.is_file()


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


def _of_bytes(body: bytes) -> Published:
    return Published(bytes=len(body), sha256=hashlib.sha256(body).hexdigest())


def _of_file(path: Path) -> Published:
    with path.open("rb") as file:
        return Published(sha256=hashlib.file_digest(file, "sha256").hexdigest(), bytes=file.tell())


def _json(model: BaseModel) -> bytes:
    return model.model_dump_json(indent=2).encode() + b"\n"
