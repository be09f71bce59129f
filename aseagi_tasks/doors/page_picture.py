"""One page of a document as a picture, with boxes around what was found on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from aseagi_tasks import services
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import Box
from aseagi_tasks.doors.lookup import Found
from aseagi_tasks.errors import NotFound
from aseagi_tasks.reading.page_picture import upright
from aseagi_tasks.settings import settings
from aseagi_tasks.stages.upload import Metadata, PageRecord

COLOURS = {"verified": "#0a7d2c", "supported": "#1256c4", "caution": "#c41212"}


class Mark(NamedTuple):
    """A box on a page, what it is, and how sure: a key of ``COLOURS``."""

    box: Box
    label: str
    how: str


def draw(found: Found, number: int, *, facts: bool) -> Image.Image:
    """The page as a person reads it.

    Args:
        number: 1-based.
        facts: draw the boxes of the evidence and of the warnings.
    Raises:
        NotFound: nothing was published yet, or the document has no such page.
    """
    document = found.document
    if document is None or document.processed is None or found.analysis is None:
        raise NotFound("The page", "the bucket: no job on this document has completed")
    storage = services.storage()
    metadata = Metadata.model_validate_json(storage.get(f"{document.processed}/metadata.json"))
    if not 1 <= number <= len(metadata.pages):
        raise NotFound(f"Page {number}", f"{document.name}, which has {len(metadata.pages)}")
    page = metadata.pages[number - 1]
    with TemporaryDirectory() as folder:
        original = Path(folder) / "original"
        storage.download(metadata.source_key, original)
        picture = _upright(original, metadata, page)
    if facts:
        by = picture.width / page.width_px
        places: dict[Box, list[Mark]] = {}
        for mark in marks(found.analysis, number):
            places.setdefault(Box(*(round(edge * by) for edge in mark.box)), []).append(mark)
        _draw(picture, places)
    return picture


def marks(analysis: Analysis, number: int) -> Iterator[Mark]:
    """What was found on a page."""
    found = [(name, fact) for name, fact in analysis if hasattr(fact, "evidence")]
    found += [("party", party) for party in analysis.parties]
    found += [("person", fact) for fact in analysis.people]
    found += [("date", fact) for fact in analysis.key_dates]
    for name, fact in found:
        for evidence in fact.evidence:
            if evidence.page == number and evidence.box is not None:
                yield Mark(evidence.box, name.replace("_", " "), fact.status)
    for caution in analysis.warnings:
        if caution.page == number and caution.box is not None:
            yield Mark(caution.box, f"{caution.kind} text", "caution")


def _upright(original: Path, metadata: Metadata, page: PageRecord) -> Image.Image:
    conf = settings()
    picture = upright(
        original,
        metadata.name,
        metadata.media_type,
        page.number,
        dpi=page.dpi if metadata.media_type == "application/pdf" else conf.dpi,
        rotation=page.rotation,
        max_pages=conf.max_pages,
        max_page_pixels=conf.max_page_pixels,
        timeout_s=conf.render_timeout_s,
    )
    return picture.convert("RGB")


def _draw(picture: Image.Image, places: dict[Box, list[Mark]]) -> None:
    pen = ImageDraw.Draw(picture)
    thick = max(2, picture.width // 800)
    font = ImageFont.load_default(size=max(10, picture.width // 90))
    for box, found in places.items():
        label = ", ".join(dict.fromkeys(mark.label for mark in found))
        colour = COLOURS.get(found[0].how, COLOURS["supported"])
        pen.rectangle(box, outline=colour, width=thick)
        left, top, right, bottom = pen.textbbox((box.left, box.top), label, font=font, anchor="lb")
        if top < 0:  # below, where there is no room above
            left, top, right, bottom = pen.textbbox((box.left, box.bottom), label, font=font, anchor="lt")
        pen.rectangle((left - thick, top - thick, right + thick, bottom + thick), fill=colour)
        pen.text((left, top), label, font=font, fill="white", anchor="lt")
