"""A PDF page's own text as lines, and whether it accounts for what is printed on the page."""

from __future__ import annotations

from aseagi_tasks.documents import Box, Line, Page, Word
from aseagi_tasks.reading.ink import Grey, Ink, measure
from aseagi_tasks.reading.poppler import PdfPage

#: Fonts without a table of characters give replacement marks, private-use or control characters: no text to keep.
GARBAGE_SHARE = 0.1


def to_lines(layer: PdfPage, dpi: float) -> tuple[Line, ...]:
    """The text layer as lines in reading order, boxes in page pixels at ``dpi``."""
    scale = dpi / 72
    lines = []
    for number, block in enumerate(layer.blocks):
        for words in block:
            boxed = tuple(Word(word.text, _box(word[1:], scale), 1.0) for word in words)
            lines.append(
                Line(
                    text=" ".join(word.text for word in boxed),
                    box=union([word.box for word in boxed]),
                    confidence=1.0,
                    source="text-layer",
                    block=number,
                    words=boxed,
                )
            )
    return tuple(lines)


def look(layer: PdfPage, image: Grey) -> Ink:
    """The page's ink beside its text layer's boxes, on the small grey image of the page."""
    across, down = image.shape[1] / layer.width, image.shape[0] / layer.height
    boxes = [
        (word.left * across, word.top * down, word.right * across, word.bottom * down)
        for block in layer.blocks
        for line in block
        for word in line
    ]
    return measure(image, boxes)


def is_garbage(page: Page) -> bool:
    """Whether too many characters are none: then the page is recognized, whatever its text layer covers."""
    text = "".join(line.text for line in page.lines)
    bad = sum(c == "\ufffd" or "\ue000" <= c <= "\uf8ff" or ord(c) < 32 for c in text)
    return bad > GARBAGE_SHARE * len(text)


def union(boxes: list[Box]) -> Box:
    """The smallest box around all."""
    left, top, right, bottom = zip(*boxes, strict=True)
    return Box(min(left), min(top), max(right), max(bottom))


def _box(points: tuple[float, ...], scale: float) -> Box:
    left, top, right, bottom = (round(value * scale) for value in points)
    return Box(left, top, max(right, left + 1), max(bottom, top + 1))
