"""Pages for the browser: their picture and the words over it, made once from the searchable PDF and kept a while."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from aseagi_tasks import services
from aseagi_tasks.documents import Box, Line
from aseagi_tasks.errors import NotFound
from aseagi_tasks.reading.poppler import Pdf
from aseagi_tasks.settings import settings
from aseagi_tasks.stages.upload import Metadata, PageRecord
from aseagi_tasks.stores.records import Document

#: Longest side of a page's picture, pixels: 130 dpi of a letter page, sharp on a telephone and on a desk.
LONG_EDGE_PX = 1_430
#: Documents whose files are kept on this machine, and for how long after they were last looked at, seconds.
MOST_DOCUMENTS, KEEP_S = 40, 3_600

_one_at_a_time = threading.Lock()


class Over(NamedTuple):
    """A line of text over its page: percent of the page's width and height."""

    text: str
    left: float
    top: float
    width: float
    height: float


def published(document: Document) -> Metadata:
    """What is published of a document.

    Raises:
        NotFound: nothing is yet.
    """
    if document.processed is None:
        raise NotFound(document.name, "the bucket: no job on this document has completed yet")
    return Metadata.model_validate_json(services.storage().get(f"{document.processed}/metadata.json"))


def page_of(metadata: Metadata, number: int) -> PageRecord:
    """A page by its number, 1-based.

    Raises:
        NotFound
    """
    if not 1 <= number <= len(metadata.pages):
        raise NotFound(f"Page {number}", f"{metadata.name}, which has {len(metadata.pages)}")
    return metadata.pages[number - 1]


def picture(document: Document, metadata: Metadata, number: int) -> Path:
    """A page as a JPEG on this machine.

    Raises:
        NotFound: there is no such page, or no searchable PDF. Unreadable.
    """
    page_of(metadata, number)
    with _files(document, metadata) as (folder, pdf):
        made = folder / f"{number}.jpg"
        if not made.is_file():
            with TemporaryDirectory(dir=folder) as part:
                rendered = Path(part) / "page.jpg"
                pdf.thumbnail(number, rendered, long_edge_px=LONG_EDGE_PX)
                rendered.replace(made)
        return made


def words_over(document: Document, metadata: Metadata, number: int, hidden: Sequence[Box] = ()) -> list[Over]:
    """The lines of a page with their places, to be laid over its picture. Raises as ``picture``.

    Args:
        hidden: boxes in page pixels of what cannot be seen on the page; words in them are left out, since they may be
            redacted.
    """
    import numpy as np

    from aseagi_tasks.reading import textlayer

    page = page_of(metadata, number)
    with _files(document, metadata) as (folder, pdf), TemporaryDirectory(dir=folder) as part:
        out = Path(part) / "text"
        pdf.write_text(out, number)
        found = next(textlayer.read(out), textlayer.NOTHING)
        scale = page.width_px / pdf.sizes[number - 1].width_pt
    middles = (found.boxes[:, :2] + found.boxes[:, 2:]) * scale / 2
    seen = np.ones(len(found.words), bool)
    for box in hidden:
        seen &= ~((middles >= (box.left, box.top)) & (middles <= (box.right, box.bottom))).all(axis=1)
    lines = found.to_lines(scale, page.width_px, page.height_px, seen)
    return [_over(line, page) for line in lines]


def _over(line: Line, page: PageRecord) -> Over:
    across, down = 100 / page.width_px, 100 / page.height_px
    box = line.box
    return Over(
        line.text, box.left * across, box.top * down, (box.right - box.left) * across, (box.bottom - box.top) * down
    )


@contextmanager
def _files(document: Document, metadata: Metadata) -> Iterator[tuple[Path, Pdf]]:
    """The folder of a document's pages, and its PDF; another set of the same document has another folder."""
    there = metadata.files.get("searchable.pdf")
    if there is None:
        raise NotFound("A searchable PDF", f"{document.processed}: the picture could not be made into one")
    conf = settings()
    root = conf.scratch_root / "monitor"
    folder = root / f"{document.document_id}-{there.sha256[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "searchable.pdf"
    with _one_at_a_time:
        if not path.is_file():
            services.storage().download(f"{document.processed}/searchable.pdf", path)
            _forget_old(root, folder)
    os.utime(folder)
    yield folder, Pdf(path, metadata.name, max_pages=conf.max_pages, timeout_s=conf.render_timeout_s)


def _forget_old(root: Path, keep: Path) -> None:
    """Remove what nobody has looked at for a while, and the oldest of too many."""
    import shutil

    folders = sorted((folder for folder in root.iterdir() if folder != keep), key=lambda folder: folder.stat().st_mtime)
    surplus = len(folders) + 1 - MOST_DOCUMENTS
    for at, folder in enumerate(folders):
        if at < surplus or time.time() - folder.stat().st_mtime > KEEP_S:
            shutil.rmtree(folder, ignore_errors=True)
