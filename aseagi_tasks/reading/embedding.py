"""Pictures as pages of a PDF, without loss: JPEG data as they are, bitonal pictures as faxes, others deflated.

Not through img2pdf: it does not turn mirrored pictures, lays a fax with half the resolution down the page on its side,
makes pages of a telephone's second pictures, and refuses 12-bit and 32-bit grey, LAB and YCbCr.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
from pikepdf import Array, Dictionary, Name
from PIL import Image, ImageOps, TiffImagePlugin

from aseagi_tasks.documents import Page

# Rasterize has held the picture to ASEAGI_MAX_PAGE_PIXELS; Pillow's own limit would refuse what was read.
Image.MAX_IMAGE_PIXELS = None

#: From a picture's unit square as stored to its unit square upright, by EXIF orientation.
_PLACED = {
    1: (1, 0, 0, 1, 0, 0),
    2: (-1, 0, 0, 1, 1, 0),
    3: (-1, 0, 0, -1, 1, 1),
    4: (1, 0, 0, -1, 0, 1),
    5: (0, -1, -1, 0, 1, 1),
    6: (0, -1, 1, 0, 0, 1),
    7: (0, 1, 1, 0, 0, 0),
    8: (0, 1, -1, 0, 1, 0),
}


def bound(source: Path, pages: Sequence[Page]) -> pikepdf.Pdf:
    """A PDF of the picture's frames, as large on paper as they were read, without text."""
    pdf = pikepdf.new()
    with Image.open(source, formats=("JPEG", "PNG", "TIFF")) as file:
        for page, frame in zip(pages, _frames(file), strict=True):
            wide, high = 72 * page.width_px / page.dpi, 72 * page.height_px / page.dpi
            if page.rotation % 180:
                wide, high = high, wide
            picture, placed = _picture(pdf, frame, source)
            made = pdf.add_blank_page(page_size=(wide, high))
            made.add_resource(picture, Name.XObject, Name.Im)
            a, b, c, d, e, f = (factor * size for factor, size in zip(placed, (wide, high) * 3, strict=True))
            made.contents_add(f"q {a:.6g} {b:.6g} {c:.6g} {d:.6g} {e:.6g} {f:.6g} cm /Im Do Q\n".encode())
    return pdf


def _frames(file: Image.Image) -> Iterator[Image.Image]:
    """The same that rasterize makes pages of: a TIFF's, without reduced copies and masks; of others the first."""
    if not isinstance(file, TiffImagePlugin.TiffImageFile):
        yield file
        return
    for frame in range(getattr(file, "n_frames", 1)):
        file.seek(frame)
        kind: Any = file.tag_v2.get(254, 0)
        if not int(kind) & 0b101:
            yield file


def _picture(pdf: pikepdf.Pdf, frame: Image.Image, source: Path) -> tuple[pikepdf.Object, tuple[int, ...]]:
    """The frame as the PDF's own kind of picture, and how it is placed on its page."""
    if frame.format in ("JPEG", "MPO"):
        return _jpeg(pdf, frame, source.read_bytes()), _PLACED.get(frame.getexif().get(274, 1), _PLACED[1])
    if frame.format == "PNG":
        made = _png(pdf, source.read_bytes())
        if made is not None:
            return made, _PLACED.get(frame.getexif().get(274, 1), _PLACED[1])
    frame.load()  # Pillow turns a TIFF upright when it loads it
    flat = _flat(frame if frame.format == "TIFF" else ImageOps.exif_transpose(frame))
    if flat.mode == "1":
        return _fax(pdf, flat), _PLACED[1]
    if flat.mode == "CMYK":
        inks = zlib.compress(flat.tobytes())
        return _image(pdf, inks, flat.size, Name.DeviceCMYK, Filter=Name.FlateDecode), _PLACED[1]
    out = BytesIO()
    flat.save(out, "PNG")
    made = _png(pdf, out.getvalue())
    assert made is not None  # nothing is left that a PDF could not hold
    return made, _PLACED[1]


def _flat(frame: Image.Image) -> Image.Image:
    """On white paper, in a mode that a PDF has: bitonal, grey (8 or 16 bit), palette, RGB or CMYK."""
    if frame.has_transparency_data or frame.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        paper = Image.new("RGBA", frame.size, "white")
        paper.alpha_composite(frame.convert("RGBA"))
        return paper.convert("L" if frame.mode in ("LA", "La") else "RGB")
    if frame.mode.startswith("I;16"):
        # scanners of 10 and 12 bit leave the upper bits empty
        deep = np.asarray(frame).astype(np.uint16)
        return Image.fromarray(deep << (16 - max(8, int(deep.max()).bit_length())))
    if frame.mode in ("I", "F"):  # no PDF holds them; they are shown as rasterize shows them
        levels = np.asarray(frame).astype(np.float32)
        low = levels.min()
        return Image.fromarray(((levels - low) * (255.0 / ((levels.max() - low) or 1.0))).astype(np.uint8))
    if frame.mode == "LAB":
        return frame.getchannel(0)
    return frame if frame.mode in ("1", "L", "P", "RGB", "CMYK") else frame.convert("RGB")


def _jpeg(pdf: pikepdf.Pdf, frame: Image.Image, data: bytes) -> pikepdf.Object:
    """A JPEG's data as they are; of a telephone's several pictures in one file only the first."""
    extents = getattr(frame, "mpinfo", None)
    if extents:
        first = extents[0xB002][0]
        data = data[: first["Size"]] if first["DataOffset"] == 0 and first["Size"] else data
    given: dict[str, Any] = {"Filter": Name.DCTDecode}
    if frame.mode == "CMYK" and "adobe" in frame.info:  # Adobe's are inverted
        given["Decode"] = Array([1, 0] * 4)
    return _image(pdf, data, frame.size, _space(pdf, frame), **given)


def _png(pdf: pikepdf.Pdf, data: bytes) -> pikepdf.Object | None:
    """A PNG's data as they are: a PDF can hold them, unless they are interlaced or transparent."""
    at, chunks = 8, dict[bytes, list[bytes]]()
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        chunks.setdefault(kind, []).append(data[at + 8 : at + 8 + length])
        at += 12 + length
    wide, high, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"][0])
    if interlaced or colour not in (0, 2, 3) or b"tRNS" in chunks:
        return None
    space: Any = {0: Name.DeviceGray, 2: Name.DeviceRGB}.get(colour)
    if colour == 3:
        palette = chunks[b"PLTE"][0]
        space = Array([Name.Indexed, Name.DeviceRGB, len(palette) // 3 - 1, pikepdf.String(palette)])
    given: dict[str, Any] = {
        "Filter": Name.FlateDecode,
        "DecodeParms": Dictionary(Predictor=15, Colors=3 if colour == 2 else 1, BitsPerComponent=depth, Columns=wide),
    }
    return _image(pdf, b"".join(chunks[b"IDAT"]), (wide, high), space, depth, **given)


def _fax(pdf: pikepdf.Pdf, bitonal: Image.Image) -> pikepdf.Object:
    """CCITT group 4, in one strip: a scanned page takes half of what deflating makes of it."""
    out = BytesIO()
    bitonal.save(out, "TIFF", compression="group4", tiffinfo={278: bitonal.height})
    with Image.open(out, formats=("TIFF",)) as written:
        tags: Any = written.tag_v2  # type: ignore[attr-defined]
        (start,), (length,) = tags[273], tags[279]
        black_is_1 = tags[262] == 1
    parameters = Dictionary(K=-1, Columns=bitonal.width, Rows=bitonal.height, BlackIs1=black_is_1)
    data = out.getvalue()[start : start + length]
    given = {"Filter": Name.CCITTFaxDecode, "DecodeParms": parameters}
    return _image(pdf, data, bitonal.size, Name.DeviceGray, 1, **given)


def _space(pdf: pikepdf.Pdf, frame: Image.Image) -> Any:
    """The colours of a JPEG, by its own profile if it has one for them: telephones' are no sRGB."""
    device, components, mark = {
        "L": (Name.DeviceGray, 1, b"GRAY"),
        "RGB": (Name.DeviceRGB, 3, b"RGB "),
        "CMYK": (Name.DeviceCMYK, 4, b"CMYK"),
    }[frame.mode]
    profile = frame.info.get("icc_profile") or b""
    if len(profile) < 128 or profile[16:20] != mark or profile[36:40] != b"acsp":
        return device
    return Array([Name.ICCBased, pdf.make_stream(profile, N=components, Alternate=device)])


def _image(
    pdf: pikepdf.Pdf, data: bytes, size: tuple[int, int], space: Any, depth: int = 8, **given: Any
) -> pikepdf.Object:
    wide, high = size
    return pdf.make_stream(
        data,
        Type=Name.XObject,
        Subtype=Name.Image,
        Width=wide,
        Height=high,
        ColorSpace=space,
        BitsPerComponent=depth,
        **given,
    )


def bound_together(sources: Sequence[Path], target: Path) -> None:
    """Photographs of the pages of one document as one PDF, in order. The same pictures give the same bytes.

    Args:
        sources: JPEG, PNG or TIFF; each becomes a sheet of 11 inches at its longer edge, upright.
    Raises:
        OSError, ValueError: a picture cannot be read.
    """
    with ExitStack() as leaves, pikepdf.new() as pdf:
        for source in sources:
            with Image.open(source, formats=("JPEG", "PNG", "TIFF")) as picture:
                wide, high = picture.size
                if picture.getexif().get(274, 1) >= 5:
                    wide, high = high, wide
            page = Page(number=1, width_px=wide, height_px=high, dpi=max(wide, high) / 11.0)
            pdf.pages.extend(leaves.enter_context(bound(source, [page])).pages)
        pdf.save(target, deterministic_id=True, object_stream_mode=pikepdf.ObjectStreamMode.generate)
