"""One page of a document as a picture, as a person reads it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from aseagi_tasks.documents import MediaType
from aseagi_tasks.reading import images
from aseagi_tasks.reading.poppler import Pdf


def upright(
    path: Path,
    name: str,
    media_type: MediaType,
    number: int,
    *,
    dpi: float,
    rotation: int,
    max_pages: int,
    max_page_pixels: int,
    timeout_s: float,
) -> Image.Image:
    """Render one page of an original.

    Args:
        path, name, media_type: the document's bytes, and what it is called in messages.
        number: 1-based.
        dpi: of the picture, where the document is a PDF; for a picture file the resolution that is wanted at most.
        rotation: degrees clockwise that make the page upright.
    Raises:
        Unreadable, TooLarge.
    """
    if media_type == "application/pdf":
        pdf = Pdf(path, name, max_pages=max_pages, timeout_s=timeout_s)
        with TemporaryDirectory(dir=path.parent) as folder:
            rendered = pdf.render(Path(folder), number, number, dpi=dpi)
            with Image.open(rendered.images[number]) as opened:
                picture = opened.convert("L")
    else:
        pictures = images.pictures(
            path, name, media_type, dpi=dpi, max_pages=max_pages, max_page_pixels=max_page_pixels, small_px=16
        )
        picture = Image.fromarray(next(islice(pictures, number - 1, None)).grey)
    return picture.rotate(-rotation, expand=True) if rotation else picture
