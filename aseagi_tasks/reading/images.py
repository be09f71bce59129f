"""Pictures of pages (JPEG, PNG, TIFF): decoded, upright, grey, near the resolution that recognition wants.

What a picture says about its resolution is believed if it is plausible; telephones and screens say 72 or 96. Otherwise
the picture is taken for a page of eleven inches.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageChops, ImageOps, TiffImagePlugin
from PIL import __version__ as pillow_version

from aseagi_tasks.documents import MediaType
from aseagi_tasks.errors import NoPages, TooLarge, Unreadable
from aseagi_tasks.reading.ink import Grey

#: What reads pictures, for ``Reading.engine``.
VERSION = f"pillow {pillow_version}"
#: A picture may take this many bytes decoded for each pixel that a page may have: with 40 megapixels 640 MB, which is
#: 640 megapixels in grey or 160 in colour. Checked before anything is decoded.
DECODED_BYTES_PER_PAGE_PIXEL = 16
#: Recognition gains nothing from pixels that are made up.
MAX_ENLARGEMENT = 3.0
#: Tesseract and OpenCV take no longer edges than 32,767 pixels.
MAX_EDGE_PX = 32_000
#: Nearer than this to the wanted resolution a picture is left as it is.
CLOSE_ENOUGH = 0.1

_FORMATS: dict[MediaType, tuple[str, ...]] = {
    "image/jpeg": ("JPEG", "MPO"),
    "image/png": ("PNG",),
    "image/tiff": ("TIFF",),
}
_ONE_BYTE = ("1", "L", "P")
_TWO_BYTES = ("I;16", "I;16L", "I;16B", "I;16N")
_PLAUSIBLE_DPI = (100.0, 1200.0)
_LONGEST_IN = 24.0
_STRIP_BYTES = 64 << 20
_ORIENTATION = 274  # EXIF and TIFF tag
_SIDEWAYS = (5, 6, 7, 8)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The pictures come from strangers: these are all the errors that Pillow raises for broken ones.
_BROKEN = (OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, struct.error)

# The limit here is by bytes, per mode and set by ASEAGI_MAX_PAGE_PIXELS; Pillow's own would refuse a 1-bit plan of
# 180 megapixels.
Image.MAX_IMAGE_PIXELS = None


class Picture(NamedTuple):
    """One page. ``grey`` is upright, h x w; ``small`` is the same in colour for the thumbnail, at most 400 pixels."""

    grey: Grey
    dpi: float
    small: Image.Image


def pictures(
    path: Path, name: str, media_type: MediaType, *, dpi: float, max_pages: int, max_page_pixels: int, small_px: int
) -> Iterator[Picture]:
    """The pages of a picture file, one at a time.

    Args:
        name: for messages.
        dpi: wanted resolution.
        max_page_pixels: larger pages come at a lower resolution.
        small_px: long edge of the small ones.
    Raises:
        TooLarge, NoPages, Unreadable.
    """
    number = 0
    try:
        image: Image.Image = Image.open(path, formats=_FORMATS[media_type])
    except _BROKEN as exc:
        raise Unreadable(name, _reason(exc)) from exc
    with image:
        for frame in _frames(image, name):
            number += 1
            if number > max_pages:
                raise TooLarge(name, f"more than {max_pages:,} pages", f"{max_pages:,}", "ASEAGI_MAX_PAGES")
            yield _picture(frame, name, dpi=dpi, max_page_pixels=max_page_pixels, small_px=small_px)
    if number == 0:
        raise NoPages(name)


def resolution(width: int, height: int, stated: tuple[float, float] | None) -> tuple[float, float]:
    """Pixels per inch across and down.

    Args:
        stated: what the file says; believed if plausible. Fax machines have half the resolution down the page.
    """
    if stated is not None and min(stated) > 0:
        low, high = sorted(stated)
        plausible = _PLAUSIBLE_DPI[0] <= high <= _PLAUSIBLE_DPI[1] and high <= 2.2 * low
        if plausible and max(width / stated[0], height / stated[1]) <= _LONGEST_IN:
            return stated
    # A strip (a receipt, a screen, a few lines of a page) is as wide as a page.
    is_strip = max(width, height) > 1.8 * min(width, height)
    inferred = width / 8.5 if is_strip else max(width, height) / 11.0
    return inferred, inferred


def write_pgm(grey: Grey, path: Path) -> None:
    """Write 8-bit grey; the file is there whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}")
    with part.open("wb") as file:
        file.write(b"P5\n%d %d\n255\n" % (grey.shape[1], grey.shape[0]))
        file.write(np.ascontiguousarray(grey).data)
    part.replace(path)


def _frames(image: Image.Image, name: str) -> Iterator[Image.Image]:
    """A TIFF's pages, without its reduced copies and masks; of other formats the first picture (a phone's depth map
    and an animation are no pages).
    """
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        yield image
        return
    frame = 0
    while True:
        try:
            image.seek(frame)
        except EOFError:
            return
        except _BROKEN as exc:
            raise Unreadable(name, f"page {frame + 1}: {_reason(exc)}") from exc
        if not int(image.tag_v2.get(254, 0)) & 0b101:
            yield image
        frame += 1


def _picture(image: Image.Image, name: str, *, dpi: float, max_page_pixels: int, small_px: int) -> Picture:
    try:
        is_jpeg = image.format in ("JPEG", "MPO")
        if not is_jpeg:
            _check_decoded_size(image, name, max_page_pixels)  # before anything: asking a PNG for its EXIF decodes it
        orientation = _orientation(image)
        is_tiff = image.format == "TIFF"  # Pillow gives its size upright, and turns it on loading
        width, height = image.size
        stated = _stated(image)
        if orientation in _SIDEWAYS:
            stated = stated and (stated[1], stated[0])
            width, height = (width, height) if is_tiff else (height, width)
        across, down = resolution(width, height, stated)
        size = _wanted_size(width, height, dpi / across, dpi / down, max_page_pixels)
        if is_jpeg:  # decodes straight to a half, a quarter or an eighth
            image.draft(image.mode, size if orientation not in _SIDEWAYS else (size[1], size[0]))
            _check_decoded_size(image, name, max_page_pixels)
        image.load()
        flat = _flat(image, max(1, min(width // size[0], height // size[1])))
        small = ImageOps.contain(flat, (small_px, small_px)) if max(flat.size) > small_px else flat
        grey = flat.convert("L")
        if not is_tiff and orientation in _TURNS:
            small, grey = (part.transpose(_TURNS[orientation]) for part in (small, grey))
    except _BROKEN as exc:
        raise Unreadable(name, _reason(exc)) from exc
    pixels = np.asarray(grey, np.uint8)
    if grey.size != size:
        method = cv2.INTER_AREA if size[0] <= grey.width and size[1] <= grey.height else cv2.INTER_CUBIC
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)
    return Picture(pixels, round(across * size[0] / width, 1), small.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """How the picture lies (1 to 8), 1 if that is not said or the EXIF block is broken."""
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except _BROKEN:
        return 1
    return orientation if orientation in _TURNS else 1


def _stated(image: Image.Image) -> tuple[float, float] | None:
    """Resolution in pixels per inch as the file says it."""
    try:
        across, down = (float(value) for value in image.info["dpi"])
    except _BROKEN:  # not said, or not in numbers
        return None
    return (across, down) if np.isfinite(across + down) else None


def _wanted_size(width: int, height: int, across: float, down: float, max_page_pixels: int) -> tuple[int, int]:
    """Size after scaling by those factors, within the limits."""
    if max(abs(across - 1), abs(down - 1)) <= CLOSE_ENOUGH:
        across = down = 1.0
    too_much = max(1.0, max(across, down) / MAX_ENLARGEMENT)
    across, down = across / too_much, down / too_much
    too_many = across * width * down * height / max_page_pixels
    too_much = max(too_many**0.5, across * width / MAX_EDGE_PX, down * height / MAX_EDGE_PX)
    if too_much > 1:
        return max(1, int(width * across / too_much)), max(1, int(height * down / too_much))
    return max(1, round(width * across)), max(1, round(height * down))


def _check_decoded_size(image: Image.Image, name: str, max_page_pixels: int) -> None:
    each = 1 if image.mode in _ONE_BYTE else 2 if image.mode in _TWO_BYTES else 4
    limit = DECODED_BYTES_PER_PAGE_PIXEL * max_page_pixels // each
    if image.width * image.height > limit:
        measured = f"a picture of {image.width:,} x {image.height:,} pixels"
        raise TooLarge(name, measured, f"{limit / 1e6:,.0f} megapixels", "ASEAGI_MAX_PAGE_PIXELS")


def _flat(image: Image.Image, factor: int) -> Image.Image:
    """Grey or RGB on white paper, reduced by an integer; a strip at a time, so that there are no two of full size."""
    extrema: Any = image.getextrema() if image.mode in ("I", "F", *_TWO_BYTES) else None
    # Pillow takes every CMYK JPEG for an inverted one, as Adobe writes them; those of others are not.
    inverted = image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info
    if factor == 1:
        return _flat_strip(image, extrema, inverted)
    flat: Image.Image | None = None
    rows = factor * max(1, _STRIP_BYTES // (4 * factor * image.width))
    for top in range(0, image.height, rows):
        box = (0, top, image.width, min(top + rows, image.height))
        strip = _flat_strip(image.crop(box), extrema, inverted).reduce(factor)
        if flat is None:
            flat = Image.new(strip.mode, (strip.width, -(-image.height // factor)))
        flat.paste(strip, (0, top // factor))
    assert flat is not None  # no picture is without rows
    return flat


def _flat_strip(image: Image.Image, extrema: tuple[float, float] | None, inverted: bool) -> Image.Image:
    if extrema is not None:
        return _eight_bits(image, *extrema)
    if image.has_transparency_data or image.mode in ("LA", "PA", "La", "RGBA", "RGBa"):
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image.convert("RGBA"))
        return paper.convert("RGB")
    if image.mode == "CMYK":
        return (ImageChops.invert(image) if inverted else image).convert("RGB")
    if image.mode == "LAB":
        return image.getchannel(0)
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _eight_bits(image: Image.Image, low: float, high: float) -> Image.Image:
    """16- and 32-bit grey as 8-bit; Pillow's own conversion cuts off at 255."""
    levels = np.asarray(image)
    if image.mode in _TWO_BYTES:  # 10 and 12 bit scanners leave the upper bits empty
        return Image.fromarray((levels >> max(0, int(high).bit_length() - 8)).astype(np.uint8))
    span = (high - low) or 1.0
    return Image.fromarray(((levels.astype(np.float32) - low) * (255.0 / span)).astype(np.uint8))


def _reason(exc: BaseException) -> str:
    return f"the picture is damaged ({exc})"[:200]
