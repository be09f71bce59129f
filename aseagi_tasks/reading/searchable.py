"""A copy of the document that can be searched: its own pages, with what was read as invisible text on them.

Pages of a PDF stay as they are; images become pages without being encoded again (img2pdf). The text is set in a font
without shapes (Type 3, empty glyphs, one ``ToUnicode`` table), so that any character can be searched and copied and
nothing is drawn.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import img2pdf
import pikepdf
from pikepdf import Array, Dictionary, Name
from PIL import Image, ImageOps, ImageSequence

from aseagi_tasks.documents import Line, MediaType, Page, Reading, Word

RECOGNIZED = ("tesseract", "trocr")
#: Codes of one font; a document with more different characters gets several.
_CODES = range(1, 256)
#: Width of every glyph in thousandths of the font size.
_GLYPH = 500
_EMPTY_GLYPH = f"{_GLYPH} 0 0 0 0 0 d1".encode()


def searchable_pdf(source: Path, media_type: MediaType, reading: Reading, target: Path) -> bool:
    """Write the searchable copy. The same input gives the same bytes.

    Args:
        source: the original.
        reading: recognized lines; boxes in pixels of the upright page.
        target: written whole or not at all.
    Returns:
        False where the original could not be taken apart though it could be read: then the copy is the original
        (a PDF), or nothing was written (an image). A document is not lost for the sake of its searchable copy.
    """
    partial = target.with_name(f".{target.name}.part")
    wanted = any(page.source in RECOGNIZED for page in reading.pages)
    try:
        if media_type == "application/pdf" and not wanted:
            shutil.copyfile(source, partial)
        else:
            original = source if media_type == "application/pdf" else _pages_of_images(source, reading)
            with pikepdf.open(original) as pdf:
                _add_text(pdf, reading.pages)
                pdf.save(
                    partial,
                    deterministic_id=True,
                    encryption=False,
                    object_stream_mode=pikepdf.ObjectStreamMode.generate,
                )
        partial.replace(target)
        return True
    except (pikepdf.PdfError, img2pdf.ImageOpenError, img2pdf.PdfTooLargeError, OSError, ValueError):
        partial.unlink(missing_ok=True)
        if media_type == "application/pdf":
            shutil.copyfile(source, target)
        return False


# -- text


def _add_text(pdf: pikepdf.Pdf, pages: Sequence[Page]) -> None:
    if len(pdf.pages) != len(pages):
        raise ValueError(f"{len(pdf.pages)} pages where {len(pages)} were read")
    characters = sorted(
        {c for page in pages for line in page.lines if line.source in RECOGNIZED for c in line.text} | {" "}
    )
    fonts = _Fonts(pdf, characters)
    for page, read in zip(pdf.pages, pages, strict=True):
        if read.source not in RECOGNIZED:
            continue
        rotation = (_inherited(page.obj, "/Rotate", 0) + read.rotation) % 360
        if read.rotation:
            page.obj.Rotate = rotation
        if not read.lines:
            continue
        for name, font in fonts.objects.items():
            page.add_resource(font, Name.Font, Name(f"/{name}"))
        text = b" ".join(_placed(line, read.height_px, fonts) for line in read.lines)
        matrix = " ".join(f"{value:.5f}" for value in _to_page(page, read, rotation))
        # the page's own content may leave any matrix behind: it is closed in, and ours begins from the page's
        page.contents_add(b"q\n", prepend=True)
        page.contents_add(b"\nQ q " + matrix.encode() + b" cm BT 3 Tr " + text + b" ET Q\n")


def _to_page(page: pikepdf.Page, read: Page, rotation: int) -> tuple[float, ...]:
    """Matrix from the upright image (pixels, y upwards) to the page's own space.

    The image is of the CropBox, shown turned by ``rotation`` degrees clockwise; sizes go by proportion, so that neither
    dpi nor UserUnit matters.
    """
    x0, y0, x1, y1 = (float(value) for value in page.cropbox)
    wide, high = abs(x1 - x0), abs(y1 - y0)
    left, bottom, right, top = min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
    if rotation == 90:
        return 0, high / read.width_px, -wide / read.height_px, 0, right, bottom
    if rotation == 180:
        return -wide / read.width_px, 0, 0, -high / read.height_px, right, top
    if rotation == 270:
        return 0, -high / read.width_px, wide / read.height_px, 0, left, top
    return wide / read.width_px, 0, 0, high / read.height_px, left, bottom


def _placed(line: Line, height_px: int, fonts: _Fonts) -> bytes:
    """The line's words, each stretched over its box, with the spaces between them stretched over the gaps."""
    words = line.words or (Word(line.text, line.box, line.confidence),)
    size = max(1, line.box.bottom - line.box.top)
    # viewers take a quarter of the size below the baseline for descenders: with them the text covers its box
    baseline = height_px - line.box.bottom + size // 4
    parts = []
    for at, word in enumerate(words):
        following = words[at + 1].box.left if at + 1 < len(words) else None
        parts.append(f"1 0 0 1 {word.box.left} {baseline} Tm".encode())
        parts += _shown(word.text, word.box.right - word.box.left, size, fonts)
        if following is not None:
            parts += _shown(" ", max(1, following - word.box.right), size, fonts)
    return b" ".join(parts)


def _shown(text: str, width: int, size: int, fonts: _Fonts) -> Iterator[bytes]:
    stretch = 100 * max(1, width) / (len(text) * size * _GLYPH / 1000) if text else 100
    for name, codes in fonts.runs(text):
        yield f"/{name} {size} Tf {stretch:.2f} Tz <{codes.hex()}> Tj".encode()


class _Fonts:
    """Fonts without shapes for the given characters; ``objects`` by resource name."""

    def __init__(self, pdf: pikepdf.Pdf, characters: Sequence[str]) -> None:
        self._code: dict[str, tuple[str, int]] = {}
        self.objects: dict[str, pikepdf.Object] = {}
        glyph = pdf.make_indirect(pikepdf.Stream(pdf, _EMPTY_GLYPH))
        for first in range(0, len(characters), len(_CODES)):
            name = f"Aseagi{first // len(_CODES)}"
            chosen = dict(zip(_CODES, characters[first : first + len(_CODES)], strict=False))
            self._code |= {character: (name, code) for code, character in chosen.items()}
            self.objects[name] = pdf.make_indirect(_font(pdf, glyph, chosen))

    def runs(self, text: str) -> Iterator[tuple[str, bytes]]:
        """The text as runs of one font each: font name and codes."""
        run: tuple[str, bytearray] | None = None
        for character in text:
            name, code = self._code[character]
            if run is None or run[0] != name:
                if run:
                    yield run[0], bytes(run[1])
                run = (name, bytearray())
            run[1].append(code)
        if run:
            yield run[0], bytes(run[1])


def _font(pdf: pikepdf.Pdf, glyph: pikepdf.Object, characters: dict[int, str]) -> Dictionary:
    names = [Name(f"/g{code}") for code in characters]
    return Dictionary(
        Type=Name.Font,
        Subtype=Name.Type3,
        FontBBox=Array([0, 0, _GLYPH, 1000]),
        FontMatrix=Array([0.001, 0, 0, 0.001, 0, 0]),
        FirstChar=1,
        LastChar=len(characters),
        Widths=Array([_GLYPH] * len(characters)),
        CharProcs=Dictionary({str(name): glyph for name in names}),
        Encoding=Dictionary(Type=Name.Encoding, Differences=Array([1, *names])),
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


def _inherited(page: pikepdf.Object, key: str, default: int) -> int:
    """A page's attribute, its own or an ancestor's; ancestors of a broken file may form a ring."""
    for _ in range(50):
        if key in page:
            return int(page[key])
        if "/Parent" not in page:
            break
        page = page["/Parent"]
    return default


# -- images


def _pages_of_images(source: Path, reading: Reading) -> BytesIO:
    """A PDF of the image's frames, as large on paper as they were read, without text."""
    sizes = iter(_sizes(reading.pages))

    def layout(width_px: int, height_px: int, _dpi: tuple[float, float]) -> tuple[float, float, float, float]:
        short, long = sorted(next(sizes))
        wide, high = (long, short) if width_px > height_px else (short, long)
        return wide, high, wide, high

    options = {"layout_fun": layout, "rotation": img2pdf.Rotation.ifvalid, "nodate": True, "producer": "aseagi"}
    try:
        images: list[str] | list[bytes] = [str(source)]
        if len(reading.pages) == 1 and source.suffix == ".jpg":
            options["include_thumbnails"] = False
        made = img2pdf.convert(*images, **options)
    except (
        img2pdf.AlphaChannelError,
        img2pdf.JpegColorspaceError,
        img2pdf.UnsupportedColorspaceError,
        NotImplementedError,
    ):
        sizes = iter(_sizes(reading.pages))
        made = img2pdf.convert(*_flattened(source), **options)
    return BytesIO(made)


def _sizes(pages: Sequence[Page]) -> list[tuple[float, float]]:
    return [(72 * page.width_px / page.dpi, 72 * page.height_px / page.dpi) for page in pages]


def _flattened(source: Path) -> list[bytes]:
    """The frames on white, without transparency, as PNG: what img2pdf refuses to guess about is decided here."""
    flat = []
    with Image.open(source) as file:
        for frame in ImageSequence.Iterator(file):
            image = ImageOps.exif_transpose(frame).convert("RGBA")
            paper = Image.new("RGBA", image.size, "white")
            paper.alpha_composite(image)
            out = BytesIO()
            paper.convert("RGB").save(out, "PNG")
            flat.append(out.getvalue())
    return flat
