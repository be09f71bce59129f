"""The words everybody shares: boxes, words, lines, pages, readings.

Page space: the page as a person reads it (upright, before any deskewing), in pixels at ``Page.dpi``, origin top left.
All models are frozen, validated on the way in and serialised as JSON; nothing here does I/O.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

TextSource = Literal["text-layer", "tesseract", "trocr", "hybrid", "blank"]
MediaType = Literal["application/pdf", "image/jpeg", "image/png", "image/tiff"]
Priority = Literal["high", "normal", "low"]
Status = Literal["queued", "processing", "completed", "error", "cancelled"]
Stage = Literal["fetch", "rasterize", "ocr", "analyze", "upload", "record"]

STAGES: tuple[Stage, ...] = ("fetch", "rasterize", "ocr", "analyze", "upload", "record")
FINAL: frozenset[Status] = frozenset({"completed", "error", "cancelled"})
EXTENSIONS: dict[MediaType, str] = {
    "application/pdf": "pdf",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/tiff": "tif",
}


class Box(NamedTuple):
    """Pixels in page space; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int


class Word(NamedTuple):
    """One word; confidence in [0, 1]."""

    text: str
    box: Box
    confidence: float


class Frozen(BaseModel):
    """Immutable model; an unknown field is an error, so a file of another version is noticed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OtherReading(Frozen):
    """What a second engine read where a line stands, and was less sure of."""

    text: str
    confidence: float
    source: TextSource


class Line(Frozen):
    """One line of text in reading order. ``block`` counts paragraphs within the page, from 0."""

    text: str
    box: Box
    confidence: float
    source: TextSource
    block: int = 0
    words: tuple[Word, ...] = ()
    other: OtherReading | None = None


class HiddenText(Frozen):
    """Words of a PDF's text layer that cannot be seen where they stand. They are in no ``Line``.

    Attributes:
        why: ``covered``: under an opaque box, as in a redaction that can be undone. ``invisible``: of the paper's
            colour, too small, or not drawn at all. ``contradicted``: the page shows other words there.
    """

    text: str
    box: Box
    why: Literal["covered", "invisible", "contradicted"]


class Page(Frozen):
    """One page. ``source`` is None until it has been read.

    Attributes:
        number: 1-based.
        width_px, height_px: of the upright page at ``dpi``.
        rotation: degrees clockwise (0, 90, 180, 270) by which the page as stored had to be turned to be upright.
        skew: degrees by which lines rise (positive: counter-clockwise); measured, not removed from the page.
        confidence: mean over words in [0, 1]; None when nothing was recognized (blank).
    """

    number: int
    width_px: int
    height_px: int
    dpi: float
    rotation: int = 0
    skew: float = 0.0
    source: TextSource | None = None
    confidence: float | None = None
    lines: tuple[Line, ...] = ()
    hidden: tuple[HiddenText, ...] = ()

    @property
    def text(self) -> str:
        """Lines joined by newlines, paragraphs by an empty line."""
        parts: list[str] = []
        previous: int | None = None
        for line in self.lines:
            if previous is not None and line.block != previous:
                parts.append("")
            parts.append(line.text)
            previous = line.block
        return "\n".join(parts)


class Reading(Frozen):
    """A document's pages, read or waiting to be. ``engine`` names what read them, with its version."""

    engine: str
    pages: tuple[Page, ...]

    @property
    def text(self) -> str:
        """Pages joined by form feeds, as pdftotext does; this is ``ocr.txt``."""
        return "\f".join(page.text for page in self.pages)


class Source(Frozen):
    """A document's original bytes: where they are kept and what they are."""

    key: str
    name: str
    sha256: str
    bytes: int
    media_type: MediaType

    @property
    def document_id(self) -> str:
        """First 16 hex digits of the SHA-256: the same bytes are one document."""
        return self.sha256[:16]
