"""The second stage: what each page's text will come from, and images of the pages that must be recognized."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from PIL import Image
from PIL import __version__ as pillow_version

from aseagi_tasks import keys
from aseagi_tasks.documents import MediaType, Page, Reading
from aseagi_tasks.errors import TooLarge, Unreadable
from aseagi_tasks.reading import ink, poppler, textlayer
from aseagi_tasks.reading.images import frames

#: Pages per call of the renderer: bounds what lies in scratch at once and what one time-out covers.
BATCH = 40
THUMBNAIL_PX = 400


def rasterize(
    path: Path,
    name: str,
    media_type: MediaType,
    scratch: Path,
    *,
    dpi: int,
    max_pages: int,
    max_page_pixels: int,
    timeout_s: int,
) -> Reading:
    """Look at every page and decide where its text comes from.

    A page whose text layer accounts for its ink is done. A page on which nothing looks like writing is blank and goes
    to no model. Every other page is left unread (``source`` None), and its image lies at ``keys.page_image``: grey,
    8 bit, upright as stored, exactly ``width_px`` by ``height_px``. ``scratch/thumbnail.jpg`` is written too.

    Args:
        path, name: the original, and what to call it in errors.
        scratch: the job's folder.
        dpi: of page images; less where a page would pass ``max_page_pixels``.
        timeout_s: for each call of a renderer.
    Raises:
        Encrypted, NoPages, TooLarge, Unreadable.
    """
    (scratch / "pages").mkdir(parents=True, exist_ok=True)
    if media_type == "application/pdf":
        pages = _pdf(path, name, scratch, dpi, max_pages, max_page_pixels, timeout_s)
        return Reading(engine=f"poppler {poppler.version()}", pages=pages)
    return Reading(
        engine=f"pillow {pillow_version}", pages=_image(path, name, scratch, dpi, max_pages, max_page_pixels)
    )


def _pdf(
    path: Path, name: str, scratch: Path, dpi: int, max_pages: int, max_page_pixels: int, timeout_s: int
) -> tuple[Page, ...]:
    count = poppler.count_pages(path, name, timeout_s=timeout_s)
    if count > max_pages:
        raise TooLarge(name, f"{count:,} pages", f"{max_pages:,}", "ASEAGI_MAX_PAGES")
    layers = poppler.text_layer(path, name, timeout_s=timeout_s)
    if len(layers) != count:
        raise Unreadable(name, f"of {count} pages only {len(layers)} could be interpreted")
    pages: list[Page] = []
    for first in range(1, count + 1, BATCH):
        last = min(first + BATCH - 1, count)
        with TemporaryDirectory(dir=scratch) as folder:
            small = poppler.render(
                path, name, first, last, Path(folder), timeout_s=timeout_s, long_edge_px=ink.LONG_EDGE_PX
            )
            for number, file in enumerate(small, first):
                resolution = _affordable(layers[number - 1], dpi, max_page_pixels)
                pages.append(_judge(number, layers[number - 1], file, resolution))
    for resolution, run in _runs(pages):
        _render(path, name, run, resolution, scratch, timeout_s)
    _thumbnail_of_pdf(path, name, _front(pages), scratch, timeout_s)
    # the renderer rounds sizes its own way: a page is as large as its image
    return tuple(page if page.source else _measured(page, scratch) for page in pages)


def _affordable(layer: poppler.PdfPage, dpi: int, max_page_pixels: int) -> int:
    """The wanted resolution, or the one at which the page stays below the limit."""
    inches = max(layer.width * layer.height / 72**2, 1e-6)
    return max(1, min(dpi, int((max_page_pixels / inches) ** 0.5)))


def _judge(number: int, layer: poppler.PdfPage, small: Path, dpi: int) -> Page:
    """Where the page's text comes from."""
    lines = textlayer.to_lines(layer, dpi)
    page = Page(
        number=number,
        width_px=max(1, round(layer.width / 72 * dpi)),
        height_px=max(1, round(layer.height / 72 * dpi)),
        dpi=dpi,
        lines=lines,
    )
    image = cv2.imread(str(small), cv2.IMREAD_GRAYSCALE)
    if image is None or layer.width <= 0 or layer.height <= 0:
        return page.model_copy(update={"lines": (), "source": "blank"})
    found = textlayer.look(layer, image.astype(np.uint8, copy=False))
    if lines and found.accounted_for and not textlayer.is_garbage(page) and (found.covered or found.blank):
        return page.model_copy(update={"source": "text-layer", "confidence": 1.0})
    if found.blank:
        return page.model_copy(update={"lines": (), "source": "blank"})
    return page.model_copy(update={"lines": ()})


def _runs(pages: Sequence[Page]) -> Iterator[tuple[int, list[int]]]:
    """Unread pages that can be rendered in one call: neighbours of one resolution, at most a batch."""
    unread = [page for page in pages if page.source is None]
    by_run = groupby(enumerate(unread), key=lambda at: (at[1].dpi, at[1].number - at[0]))
    for (dpi, _), run in by_run:
        numbers = [page.number for _, page in run]
        for first in range(0, len(numbers), BATCH):
            yield int(dpi), numbers[first : first + BATCH]


def _render(path: Path, name: str, numbers: list[int], dpi: int, scratch: Path, timeout_s: int) -> None:
    if all(keys.page_image(scratch, number).is_file() for number in numbers):
        return
    with TemporaryDirectory(dir=scratch) as folder:
        files = poppler.render(path, name, numbers[0], numbers[-1], Path(folder), timeout_s=timeout_s, dpi=dpi)
        for number, file in zip(numbers, files, strict=True):
            file.replace(keys.page_image(scratch, number))


def _measured(page: Page, scratch: Path) -> Page:
    with Image.open(keys.page_image(scratch, page.number)) as image:
        return page.model_copy(update={"width_px": image.width, "height_px": image.height})


def _front(pages: Sequence[Page]) -> int:
    """The page that stands for the document: the first with something on it."""
    return next((page.number for page in pages if page.source != "blank"), 1)


def _thumbnail_of_pdf(path: Path, name: str, number: int, scratch: Path, timeout_s: int) -> None:
    with TemporaryDirectory(dir=scratch) as folder:
        (file,) = poppler.render(
            path, name, number, number, Path(folder), timeout_s=timeout_s, long_edge_px=THUMBNAIL_PX, color=True
        )
        with Image.open(file) as image:
            _save_thumbnail(image, scratch)


def _save_thumbnail(image: Image.Image, scratch: Path) -> None:
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
    small.save(scratch / "thumbnail.jpg", quality=80, optimize=True)


def _image(path: Path, name: str, scratch: Path, dpi: int, max_pages: int, max_page_pixels: int) -> tuple[Page, ...]:
    pages: list[Page] = []
    for number, frame in enumerate(
        frames(path, name, dpi=dpi, max_pages=max_pages, max_page_pixels=max_page_pixels), 1
    ):
        grey = frame.image.convert("L")
        shrink = ink.LONG_EDGE_PX / max(grey.size)
        small = cv2.resize(np.asarray(grey), None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        blank = ink.measure(small.astype(np.uint8, copy=False)).blank
        page = Page(number=number, width_px=grey.width, height_px=grey.height, dpi=round(frame.dpi, 1))
        if blank:
            page = page.model_copy(update={"source": "blank"})
        else:
            partial = scratch / f".{number}.pgm"
            grey.save(partial)
            partial.replace(keys.page_image(scratch, number))
        if number == 1 or (not blank and all(earlier.source == "blank" for earlier in pages)):
            _save_thumbnail(frame.image, scratch)
        pages.append(page)
    return tuple(pages)
