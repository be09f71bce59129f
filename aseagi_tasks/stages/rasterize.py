"""The second stage: a document's pages, those with a text layer read, blank ones known, the others as images.

1. A PDF's text layer is read for the whole file at once.
2. Pages that have one are rendered small; where it accounts for the page's ink (``reading.ink``) the page is complete.
3. The others are rendered as recognition wants them; blank ones are dropped, since models invent text on blank pages.

A born-digital page is never rendered large: it takes 8 ms in all instead of 17 for the rendering alone.
"""

from __future__ import annotations

import math
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aseagi_tasks import keys
from aseagi_tasks.documents import HiddenText, MediaType, Page, Reading
from aseagi_tasks.errors import Unreadable
from aseagi_tasks.reading import images, ink, poppler, textlayer
from aseagi_tasks.reading.ink import Account, Boxes, Grey
from aseagi_tasks.reading.poppler import PageSize, Pdf, Rendered
from aseagi_tasks.reading.textlayer import TextPage

#: Pages per call of the renderer: its start costs 9 ms, and the time-out is for one call.
BATCH_PAGES = 25
#: Pages without a text layer that are rendered small along with their neighbours rather than starting another process.
GAP_PAGES = 3
#: Pages larger than about 17 by 23 inches are judged at a lower resolution.
MAX_JUDGED_PIXELS = 4_000_000
#: Long edge of ``thumbnail.jpg``.
THUMBNAIL_PX = 400

#: Complaints that mean that a picture or a whole content stream is missing; others are about fonts and syntax.
_LOSS = re.compile("decod|stream|image|filter|memory|JPX|JBIG2|DCT|JPEG|CCITT|LZW|xobject", re.I)


def rasterize(
    path: Path,
    name: str,
    media_type: MediaType,
    scratch: Path,
    *,
    dpi: float,
    max_pages: int,
    max_page_pixels: int,
    timeout_s: float,
    read_hidden: bool = False,
) -> Reading:
    """Turn a document into pages.

    Args:
        path: the document's bytes.
        name: what it is called in messages.
        scratch: the job's folder; page images and ``thumbnail.jpg`` are written into it.
        dpi: resolution of the images.
        max_page_pixels: larger pages come at a lower resolution.
        timeout_s: for each call of one of poppler's programs.
        read_hidden: whether words that cannot be seen are read like others.
    Returns:
        All pages: of ``text-layer`` with their lines, ``blank``, or unread (source None). An unread page's image is at
        ``keys.page_image``: grey, 8 bit, ``width_px`` by ``height_px``.
    Raises:
        Encrypted, NoPages, TooLarge, Unreadable: final for this document. ConfigError: poppler is not installed.
    """
    (scratch / "pages").mkdir(parents=True, exist_ok=True)
    if media_type != "application/pdf":
        return _pictures(path, name, media_type, scratch, dpi, max_pages, max_page_pixels)
    pdf = Pdf(path, name, max_pages=max_pages, timeout_s=timeout_s)
    sheets = {number: _sheet(number, size, dpi, max_page_pixels) for number, size in enumerate(pdf.sizes, 1)}
    with tempfile.TemporaryDirectory(dir=scratch, prefix="render-") as folder:
        work = Path(folder)
        pages = dict(_judged_small(pdf, sheets, work, read_hidden=read_hidden))
        sheets |= {number: page for number, page in pages.items() if page.source is None}
        pages = {number: page for number, page in pages.items() if page.source is not None}
        pages |= _rendered(pdf, {number: sheets[number] for number in sheets if number not in pages}, scratch, work)
        shown = next((number for number in sheets if pages[number].source != "blank"), 1)
        pdf.thumbnail(shown, work / "thumbnail.jpg", long_edge_px=THUMBNAIL_PX)
        (work / "thumbnail.jpg").replace(scratch / "thumbnail.jpg")
    return Reading(engine=f"poppler {poppler.version()}", pages=tuple(pages[number] for number in sheets))


def _judged_small(pdf: Pdf, sheets: dict[int, Page], work: Path, *, read_hidden: bool) -> Iterator[tuple[int, Page]]:
    """The pages whose text layer accounts for them, and blank ones among their neighbours.

    Of others, without source, those that have words under something opaque. (Other words that cannot be seen are what
    another program recognized on a scan, and where it thought that they stand.)
    """
    pdf.write_text(work / "text")
    layers = dict(enumerate(textlayer.read(work / "text"), 1))
    wanted = [number for number in sheets if number in layers and layers[number].words]
    dpis = {number: _dpi_within(pdf.sizes[number - 1], ink.INK_DPI, MAX_JUDGED_PIXELS) for number in sheets}
    for batch in _batches(wanted, dpis, GAP_PAGES):
        small = dpis[batch[0]]
        rendered = pdf.render(work, batch[0], batch[-1], dpi=small, smooth=False)
        for number, image in sorted(rendered.images.items()):
            grey = _taken(image, pdf.name)
            layer = layers.get(number, textlayer.NOTHING)
            words = layer.boxes * (small / 72)
            account = ink.account(grey, words, small)
            if account.is_complete and not layer.is_garbage:
                if account.covered < ink.SPARSE_SQIN:
                    _check_shown(pdf, number, rendered, grey, words, work)
                yield number, _with_text(sheets[number], layer, account, read_hidden=read_hidden)
            elif not account.visible.any() and ink.is_blank(grey, small):
                _check_shown(pdf, number, rendered, grey, words[:0], work)
                hidden = _hidden(sheets[number], layer, account)
                yield number, _blank(sheets[number]).model_copy(update={"hidden": hidden})
            elif account.barred.any() and not layer.is_garbage:
                covered = tuple(w for w in _hidden(sheets[number], layer, account) if w.why == "covered")
                yield number, sheets[number].model_copy(update={"hidden": covered})


def _rendered(pdf: Pdf, sheets: dict[int, Page], scratch: Path, work: Path) -> Iterator[tuple[int, Page]]:
    """Pages as images for recognition; of blank ones none is kept."""
    for batch in _batches(list(sheets), {number: sheet.dpi for number, sheet in sheets.items()}, 0):
        rendered = pdf.render(work, batch[0], batch[-1], dpi=sheets[batch[0]].dpi)
        for number, image in sorted(rendered.images.items()):
            grey = _read(image, pdf.name)
            height, width = grey.shape
            sheet = sheets[number].model_copy(update={"width_px": width, "height_px": height})
            if ink.is_blank(*ink.shrink(grey, sheet.dpi)):
                _check_shown(pdf, number, rendered, grey, np.empty((0, 4)), work)
                image.unlink()
                sheet = _blank(sheet)
            else:
                image.replace(keys.page_image(scratch, number))
            yield number, sheet


def _pictures(
    path: Path, name: str, media_type: MediaType, scratch: Path, dpi: float, max_pages: int, max_page_pixels: int
) -> Reading:
    """A picture file's pages; the thumbnail is of the first that is not blank."""
    pages: list[Page] = []
    shown = None
    found = images.pictures(
        path, name, media_type, dpi=dpi, max_pages=max_pages, max_page_pixels=max_page_pixels, small_px=THUMBNAIL_PX
    )
    for number, picture in enumerate(found, 1):
        height, width = picture.grey.shape
        page = Page(number=number, width_px=width, height_px=height, dpi=picture.dpi)
        if ink.is_blank(*ink.shrink(picture.grey, picture.dpi)):
            page = _blank(page)
        else:
            images.write_pgm(picture.grey, keys.page_image(scratch, number))
        if shown is None or (page.source is None and all(earlier.source == "blank" for earlier in pages)):
            shown = picture.small
        pages.append(page)
    assert shown is not None  # a file without pages is an error
    part = scratch / f".thumbnail.{os.getpid()}"
    shown.save(part, "JPEG", quality=80)
    part.replace(scratch / "thumbnail.jpg")
    return Reading(engine=images.VERSION, pages=tuple(pages))


def _sheet(number: int, size: PageSize, dpi: float, max_page_pixels: int) -> Page:
    """A page as yet without its text, of the size that poppler gives it."""
    within = _dpi_within(size, dpi, max_page_pixels)
    width, height = (max(1, math.ceil(points * within / 72 - 1e-6)) for points in size)
    return Page(number=number, width_px=width, height_px=height, dpi=within)


def _dpi_within(size: PageSize, dpi: float, max_pixels: int) -> float:
    """The wanted resolution, or one at which the page has that many pixels, in as many digits as poppler is given."""
    too_many = size.pixels_at(dpi) / max_pixels
    too_long = max(size) * dpi / 72 / images.MAX_EDGE_PX
    too_much = max(math.sqrt(too_many), too_long)
    return dpi if too_much <= 1 else float(f"{dpi / too_much * 0.999:.4g}")


def _batches(numbers: list[int], dpis: dict[int, float], gap: int) -> Iterator[list[int]]:
    """First and last pages of the renderer's calls: near one another, of one resolution, not too many."""
    batch: list[int] = []
    for number in numbers:
        near = batch and number - batch[-1] <= gap + 1 and number - batch[0] < BATCH_PAGES
        if near and all(dpis[between] == dpis[batch[0]] for between in range(batch[-1] + 1, number + 1)):
            batch.append(number)
            continue
        if batch:
            yield batch
        batch = [number]
    if batch:
        yield batch


def _with_text(sheet: Page, layer: TextPage, account: Account, *, read_hidden: bool) -> Page:
    visible = np.ones_like(account.visible) if read_hidden else account.visible
    lines = layer.to_lines(sheet.dpi / 72, sheet.width_px, sheet.height_px, visible)
    hidden = _hidden(sheet, layer, account)
    return sheet.model_copy(update={"source": "text-layer", "lines": lines, "confidence": 1.0, "hidden": hidden})


def _hidden(sheet: Page, layer: TextPage, account: Account) -> tuple[HiddenText, ...]:
    if account.visible.all():
        return ()
    return layer.hidden(sheet.dpi / 72, sheet.width_px, sheet.height_px, account.visible, account.barred)


def _blank(sheet: Page) -> Page:
    return sheet.model_copy(update={"source": "blank"})


def _check_shown(pdf: Pdf, number: int, rendered: Rendered, grey: Grey, words: Boxes, work: Path) -> None:
    """Poppler shows a picture that it cannot decode as empty paper, says so, and ends with success: notice that.

    Args:
        words: all that is to be seen on the page.
    Raises:
        Unreadable: there is nothing else on the page, and the renderer complained when it rendered it.
    """
    if not _lost(rendered) or not ink.is_bare(grey, words):
        return
    if len(rendered.images) > 1:  # it does not say of which page
        rendered = pdf.render(work, number, number, dpi=ink.INK_DPI)
    if lost := _lost(rendered):
        raise Unreadable(pdf.name, f"page {number} is damaged ({lost})")


def _lost(rendered: Rendered) -> str:
    """A complaint that means that something is not shown, if there is one."""
    return next((complaint for complaint in sorted(rendered.complaints) if _LOSS.search(complaint)), "")


def _read(image: Path, name: str) -> Grey:
    try:
        return ink.read_pgm(image)
    except OSError as exc:
        raise Unreadable(name, f"its renderer wrote half a page ({exc})") from exc


def _taken(image: Path, name: str) -> Grey:
    grey = _read(image, name)
    image.unlink()
    return grey
