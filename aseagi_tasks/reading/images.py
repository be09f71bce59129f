"""Image files as pages: JPEG, PNG and TIFF, whatever their mode, to upright grey at about the wanted resolution."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageOps, UnidentifiedImageError

from aseagi_tasks.errors import NoPages, TooLarge, Unreadable

#: More is not decoded at all; a 600 dpi A0 sheet has 560 million, bitonal.
MAX_DECODED_PIXELS = 600_000_000
#: Resolutions that a file may claim and be believed; phones write 72 into everything.
PLAUSIBLE_DPI = (100.0, 1200.0)
#: A page without a believable resolution is taken to be as long as a letter sheet.
ASSUMED_LONG_EDGE_IN = 11.0
#: Images near the wanted resolution are left as they are; others are scaled, up to this factor.
NEAR, MAX_ENLARGEMENT = (0.8, 1.4), 3.0

Image.MAX_IMAGE_PIXELS = None  # checked below, before anything is decoded


class Frame(NamedTuple):
    """One page of an image file: upright, on white, as stored in colour or grey; ``dpi`` of ``image``."""

    image: Image.Image
    dpi: float


def frames(path: Path, name: str, *, dpi: int, max_pages: int, max_page_pixels: int) -> Iterator[Frame]:
    """The pages of an image file, one in memory at a time.

    Args:
        dpi: wanted; the image is scaled towards it.
        max_page_pixels: a page that would have more is scaled down.
    Raises:
        TooLarge, NoPages, Unreadable.
    """
    try:
        with Image.open(path) as file:
            count = getattr(file, "n_frames", 1)
            if count > max_pages:
                raise TooLarge(name, f"{count:,} pages", f"{max_pages:,}", "ASEAGI_MAX_PAGES")
            if count == 0:
                raise NoPages(name)
            for number in range(count):
                file.seek(number)
                yield _frame(file, name, dpi, max_page_pixels)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as exc:
        raise Unreadable(name, f"its image data is damaged ({exc})") from exc


def _frame(file: Image.Image, name: str, dpi: int, max_page_pixels: int) -> Frame:
    width, height = file.size
    if width * height > MAX_DECODED_PIXELS:
        raise TooLarge(name, f"{width:,} x {height:,} pixels", f"{MAX_DECODED_PIXELS:,}", "fixed")
    across, down = _resolution(file)
    factor_x, factor_y = (_factor(dpi / own) for own in (across, down))
    pixels = width * factor_x * height * factor_y
    if pixels > max_page_pixels:
        shrink = (max_page_pixels / pixels) ** 0.5
        factor_x, factor_y = factor_x * shrink, factor_y * shrink
    size = max(1, round(width * factor_x)), max(1, round(height * factor_y))
    file.draft(None, size)  # JPEG decoders can halve while they decode
    image = _on_white(ImageOps.exif_transpose(file))
    turned = image.width > image.height if file.size[0] <= file.size[1] else image.width < image.height
    wanted = size[::-1] if turned and size[0] != size[1] else size
    if image.size != wanted:
        image = image.resize(wanted, Image.Resampling.LANCZOS if factor_x > 1 else Image.Resampling.BOX)
    return Frame(image, across * factor_x)


def _resolution(file: Image.Image) -> tuple[float, float]:
    """Pixels per inch across and down: as the file says, if that can be."""
    try:
        across, down = (float(value) for value in file.info.get("dpi", (0, 0)))
    except (TypeError, ValueError, ZeroDivisionError):
        across = down = 0.0
    low, high = PLAUSIBLE_DPI
    if low <= across <= high and low / 2 <= down <= high:
        return across, down  # a standard fax has 204 across and 98 down
    assumed = max(low, max(file.size) / ASSUMED_LONG_EDGE_IN)
    return assumed, assumed


def _factor(wanted: float) -> float:
    low, high = NEAR
    return 1.0 if 1 / high <= wanted <= 1 / low else min(wanted, MAX_ENLARGEMENT)


def _on_white(image: Image.Image) -> Image.Image:
    """RGB or grey, without transparency: what is transparent becomes paper."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        return image.convert("I").point(lambda value: value / 257).convert("L")  # type: ignore[arg-type]
    if image.mode == "F":
        return image.convert("L")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, "white")
        paper.alpha_composite(image)
        return paper.convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
