"""A copy of the document that can be searched: its own pages, with what was read as invisible text on them.

Pages of a PDF stay as they are; pictures become pages without loss, JPEG data as they are. The text is set in a font
without shapes (Type 3, one empty glyph, a ``ToUnicode`` table), so that any character can be searched and copied and
nothing is drawn. It lies below the page's own content: what that leaves behind (matrices, clips, a missing ``Q``)
cannot reach it.
"""

from __future__ import annotations

import math
import re
import shutil
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name

from aseagi_tasks.documents import Line, MediaType, Page, Reading, Word
from aseagi_tasks.reading.embedding import bound

RECOGNIZED = ("tesseract", "trocr")
#: Codes of one font, without those that a string would have to escape; more different characters get more fonts.
_CODES = [code for code in range(32, 256) if code not in b"()\\"]
#: Width of every glyph, and how far text reaches above and below its baseline, in thousandths of the font size.
_WIDTH, _ASCENT, _DESCENT = 500, 750, -250
_EMPTY_GLYPH = f"{_WIDTH} 0 0 {_DESCENT} {_WIDTH} {_ASCENT} d1".encode()
#: How far a line may rise from end to end, in font sizes. With 0.3 pdftotext keeps every line of a skewed page together
#: (18 of 18 at 0.3 to 3 degrees), with 0.5 it keeps 2; so at 2 degrees a long line's ends are off by its height.
_MAX_RISE = 0.3
#: Least space between words, in font sizes; pdftotext takes less than 0.1 for none.
_MIN_GAP = 0.15
#: Control characters and halves of surrogate pairs are no text.
_NO_TEXT = re.compile("[\x00-\x20\x7f-\x9f\ud800-\udfff]+")
# Originals come from strangers: these are what pikepdf and Pillow raise for those that they cannot take apart.
_BROKEN = (
    pikepdf.PdfError,
    OSError,
    RuntimeError,
    SyntaxError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    ArithmeticError,
    struct.error,
)


def searchable_pdf(source: Path, media_type: MediaType, reading: Reading, target: Path) -> bool:
    """Write the searchable copy. The same input gives the same bytes.

    Args:
        source: the original.
        reading: recognized lines; boxes in pixels of the upright page.
        target: written whole or not at all.
    Returns:
        False where the original could not be taken apart though it could be read: then the copy is the original
        (a PDF), or nothing was written (a picture). A document is not lost for the sake of its searchable copy.
    Raises:
        OSError: the disk is full or cannot be read: another try may do.
    """
    partial = target.with_name(f".{target.name}.part")
    is_pdf = media_type == "application/pdf"
    target.unlink(missing_ok=True)
    try:
        if is_pdf and not any(_wants_text(page) or page.rotation for page in reading.pages):
            shutil.copyfile(source, partial)
        else:
            with pikepdf.open(source) if is_pdf else bound(source, reading.pages) as pdf:
                _add_text(pdf, reading.pages)
                pdf.save(
                    partial,
                    deterministic_id=True,
                    encryption=False,
                    object_stream_mode=pikepdf.ObjectStreamMode.generate,
                )
        partial.replace(target)
        return True
    except _BROKEN as exc:
        partial.unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.errno is not None:  # the system's; Pillow's have no number
            raise
        if is_pdf:
            shutil.copyfile(source, partial)
            partial.replace(target)
        return False


# -- text


def _wants_text(page: Page) -> bool:
    return page.source in RECOGNIZED and any(_words(line) for line in page.lines)


def _words(line: Line) -> list[Word]:
    """What is to be laid over a recognized line: its words, else its text as one."""
    if line.source not in RECOGNIZED:
        return []
    words = line.words or (Word(line.text, line.box, line.confidence),)
    cleaned = (word._replace(text=_NO_TEXT.sub(" ", word.text).strip()) for word in words)
    return [word for word in cleaned if word.text]


def _add_text(pdf: pikepdf.Pdf, pages: Sequence[Page]) -> None:
    if len(pdf.pages) != len(pages):
        raise ValueError(f"{len(pdf.pages)} pages where {len(pages)} were read")
    recognized = [page for page in pages if page.source in RECOGNIZED]
    fonts = _Fonts(pdf, {c for page in recognized for line in page.lines for word in _words(line) for c in word.text})
    for page, read in zip(pdf.pages, pages, strict=True):
        if read.source not in RECOGNIZED:
            continue
        rotation = (_own_rotation(page.obj) + read.rotation) % 360
        if read.rotation:
            page.obj.Rotate = rotation
        if not _wants_text(read):
            continue
        for name, font in fonts.objects.items():
            page.add_resource(font, Name.Font, Name(f"/{name}"))
        matrix = " ".join(f"{value:.6g}" for value in _to_page(_crop_box(page.obj), read, rotation)).encode()
        text = b"\n".join(_laid(line, read, fonts) for line in read.lines if _words(line))
        page.contents_add(b"q " + matrix + b" cm 3 Tr\n" + text + b"\nQ\n", prepend=True)


def _to_page(crop: tuple[float, float, float, float], read: Page, rotation: int) -> tuple[float, ...]:
    """Matrix from the upright image (pixels, y upwards) to the page's own space.

    The image is of the crop box, shown turned by ``rotation`` degrees clockwise; sizes go by proportion, so that
    neither dpi nor UserUnit matters.
    """
    left, bottom, right, top = crop
    wide, high = right - left, top - bottom
    if rotation == 90:
        return 0, high / read.width_px, -wide / read.height_px, 0, right, bottom
    if rotation == 180:
        return -wide / read.width_px, 0, 0, -high / read.height_px, right, top
    if rotation == 270:
        return 0, -high / read.width_px, wide / read.height_px, 0, left, top
    return wide / read.width_px, 0, 0, high / read.height_px, left, bottom


def _laid(line: Line, page: Page, fonts: _Fonts) -> bytes:
    """The line's words on one baseline, each stretched over its box; upright letters, also where the line rises.

    The space behind a word goes with it: with a stretch of its own it would double the text's size.
    """
    words, box = _words(line), line.box
    slope, wide = math.tan(math.radians(page.skew)), max(1, box.right - box.left)
    high = box.bottom - box.top - abs(slope) * wide
    size = max(1, round(max(high, min(word.box.bottom - word.box.top for word in words) / 2)))
    slope = max(-_MAX_RISE * size / wide, min(slope, _MAX_RISE * size / wide))
    baseline = page.height_px - (box.top + box.bottom) / 2 - size * (_ASCENT + _DESCENT) / 2000
    parts, used, pen = [], "", (0, 0)
    for at, word in enumerate(words):
        left, right = word.box.left, word.box.right
        rest = words[at + 1 : at + 2]
        if rest and left < rest[0].box.left:  # nearer words are one to pdftotext, overlapping ones two lines
            right = min(right, rest[0].box.left - round(_MIN_GAP * size))
        up = round(baseline + slope * (left + right - box.left - box.right) / 2)
        stretch = 100 * max(1, right - left) / (len(word.text) * size * _WIDTH / 1000)
        parts.append(f"{left - pen[0]} {up - pen[1]} Td {max(1, round(stretch))} Tz")
        pen = left, up
        for name, codes in fonts.runs(word.text + (" " if rest else "")):
            if name != used:
                parts.append(f"/{name} {size} Tf")
                used = name
            parts.append(f"({codes}) Tj")
    return f"BT {' '.join(parts)} ET".encode("latin-1")


class _Fonts:
    """Fonts without shapes for the given characters; ``objects`` by resource name. Every font has the space."""

    def __init__(self, pdf: pikepdf.Pdf, characters: set[str]) -> None:
        self._at: dict[str, tuple[str, str]] = {}
        self.objects: dict[str, pikepdf.Object] = {}
        glyph = pdf.make_indirect(pikepdf.Stream(pdf, _EMPTY_GLYPH))
        others = sorted(characters - {" "})
        for first in range(0, len(others), len(_CODES) - 1):
            chosen = dict(zip(_CODES, [" ", *others[first : first + len(_CODES) - 1]], strict=False))
            # by its content: a page that was made searchable before may have others
            name = f"Aseagi{zlib.crc32(_to_unicode(chosen)):08x}"
            self._at |= {character: (name, chr(code)) for code, character in chosen.items()}
            self.objects[name] = pdf.make_indirect(_font(pdf, glyph, chosen))

    def runs(self, text: str) -> Iterator[tuple[str, str]]:
        """The text as runs of one font each: font name and codes (as Latin-1). A space is of the font before it."""
        run, codes = "", ""
        for character in text:
            name, code = self._at[character]
            if run and name != run and character != " ":
                yield run, codes
                codes = ""
            run = run if run and character == " " else name
            codes += code
        yield run, codes


def _font(pdf: pikepdf.Pdf, glyph: pikepdf.Object, characters: dict[int, str]) -> Dictionary:
    last = max(characters)
    box = Array([0, _DESCENT, _WIDTH, _ASCENT])
    return Dictionary(
        Type=Name.Font,
        Subtype=Name.Type3,
        FontBBox=box,
        FontMatrix=Array([0.001, 0, 0, 0.001, 0, 0]),
        FirstChar=_CODES[0],
        LastChar=last,
        Widths=Array([_WIDTH] * (last - _CODES[0] + 1)),
        CharProcs=Dictionary(empty=glyph),
        Encoding=Dictionary(Type=Name.Encoding, Differences=Array([_CODES[0], *[Name.empty] * (last - _CODES[0] + 1)])),
        FontDescriptor=pdf.make_indirect(
            Dictionary(
                Type=Name.FontDescriptor,
                FontName=Name.Aseagi,
                Flags=4,
                FontBBox=box,
                ItalicAngle=0,
                Ascent=_ASCENT,
                Descent=_DESCENT,
            )
        ),
        Resources=Dictionary(),
        ToUnicode=pdf.make_indirect(pikepdf.Stream(pdf, _to_unicode(characters))),
    )


def _to_unicode(characters: dict[int, str]) -> bytes:
    rows = [f"<{code:02x}> <{character.encode('utf-16-be').hex()}>" for code, character in characters.items()]
    blocks = [rows[first : first + 100] for first in range(0, len(rows), 100)]  # the format's limit
    body = "\n".join(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks)
    return (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /Aseagi def /CMapType 2 def\n"
        f"1 begincodespacerange <00> <ff> endcodespacerange\n{body}\n"
        "endcmap CMapName currentdict /CMap defineresource pop end end"
    ).encode()


# -- pages


def _inherited(page: pikepdf.Object, key: str) -> Any:
    """A page's attribute, its own or an ancestor's; ancestors of a broken file may form a ring."""
    for _ in range(50):
        if key in page:
            return page[key]
        if "/Parent" not in page:
            break
        page = page["/Parent"]
    return None


def _own_rotation(page: pikepdf.Object) -> int:
    """As poppler takes it: what is no quarter turn is none."""
    rotation = int(_inherited(page, "/Rotate") or 0) % 360
    return rotation if rotation in (90, 180, 270) else 0


def _crop_box(page: pikepdf.Object) -> tuple[float, float, float, float]:
    """Left, bottom, right, top as poppler takes them: within the media box, which is a letter's if there is none."""
    media = _box(_inherited(page, "/MediaBox")) or (0.0, 0.0, 612.0, 792.0)
    crop = _box(_inherited(page, "/CropBox")) or media
    left, bottom = max(media[0], crop[0]), max(media[1], crop[1])
    right, top = min(media[2], crop[2]), min(media[3], crop[3])
    return (left, bottom, right, top) if left < right and bottom < top else media


def _box(corners: Any) -> tuple[float, float, float, float] | None:
    if corners is None or len(corners) != 4:
        return None
    x0, y0, x1, y1 = (float(corner) for corner in corners)
    box = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
    return box if box[0] < box[2] and box[1] < box[3] else None
