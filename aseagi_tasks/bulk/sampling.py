"""How many pages there are, told by some of the files: they are fetched, and their pages are counted."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from aseagi_tasks.analysis.differences import whole_usd
from aseagi_tasks.bulk.scanning import todo
from aseagi_tasks.errors import DocumentError, NotFound
from aseagi_tasks.stores.bulk_records import Scan, Todo
from aseagi_tasks.stores.storage import Storage

#: Files that are opened, parts of the list that they are taken from, and how long that may take in all.
FILES, PARTS, SECONDS = 30, 12, 8.0
#: A larger one is not fetched to be counted; more than this in all neither.
FILE_BYTES, ALL_BYTES = 48_000_000, 200_000_000
#: What is taken for a document's pages where nothing tells.
GUESSED = (1.0, 10.0)


class Opened(NamedTuple):
    """A file whose pages were counted; 0: it cannot be read."""

    bytes: int
    pages: int


class Pages(NamedTuple):
    """A range of pages, and how it was reckoned."""

    low: int
    high: int
    how: str


def sample(
    storage: Storage, run_id: str, scan: Scan, scratch: Path, *, max_pages: int, timeout_s: float
) -> list[Opened]:
    """Open some of what is to be done, of every size: of ``FILES`` groups by size the middle one each.

    Stops after ``SECONDS``, or ``ALL_BYTES``, and has what it has by then. A file that is gone is left out.

    Args:
        max_pages, timeout_s: as for a document that is processed.
    Raises:
        ConfigError: poppler is not installed.
    """
    until, fetched = time.monotonic() + SECONDS, 0
    opened: list[Opened] = []
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="sample-") as folder:
        for one in chosen(_some_of(storage, run_id, scan)):
            if time.monotonic() > until or fetched + one.bytes > ALL_BYTES:
                break
            path = Path(folder) / "file"
            try:
                storage.download(one.key, path)
            except NotFound:
                continue
            fetched += one.bytes
            opened.append(Opened(one.bytes, _pages(path, one.key, max_pages, timeout_s)))
            path.unlink()
    return opened


def chosen(found: Sequence[Todo], count: int = FILES) -> list[Todo]:
    """So many, the middle one each of as many groups by size; in an order in which the first few are spread too."""
    found = sorted((one for one in found if one.bytes <= FILE_BYTES), key=lambda one: (one.bytes, one.key))
    if len(found) <= count:
        return found
    spread = [found[(2 * at + 1) * len(found) // (2 * count)] for at in range(count)]
    return [one for first in range(4) for one in spread[first::4]]


def reckon(documents: int, todo_bytes: int, opened: Sequence[Opened], finished: Sequence[Opened] = ()) -> Pages:
    """Pages of so many documents.

    The range is twice the standard error around what the opened ones have, widened to what their pages per byte say.

    Args:
        opened: some of them. finished: documents that were done before, if none could be opened.
    """
    if documents == 0:
        return Pages(0, 0, "There is nothing to do.")
    counts = [one.pages for one in opened]
    if opened and len(opened) == documents:
        return Pages(sum(counts), sum(counts), f"All {documents:,} were opened and their pages counted.")
    told = opened or finished
    whole = whole_usd([float(one.pages) for one in told], documents)
    if whole is None or not sum(one.pages for one in told):
        low, high = (round(documents * each) for each in GUESSED)
        return Pages(low, high, f"None could be opened: {GUESSED[0]:.0f} to {GUESSED[1]:.0f} pages each are assumed.")
    by_bytes = sum(one.pages for one in told) / max(1, sum(one.bytes for one in told)) * todo_bytes
    low, high = round(min(whole[0], by_bytes)), round(max(whole[1], by_bytes))
    mean = sum(one.pages for one in told) / len(told)
    if not opened:
        said = f"None could be opened: {len(finished):,} documents done before have {mean:.1f} pages on average."
        return Pages(low, high, said)
    unread = sum(not pages for pages in counts)
    said = f"{len(opened)} of {documents:,} were opened: {min(counts)} to {max(counts)} pages, {mean:.1f} on average"
    return Pages(low, high, f"{said}{f'; {unread} of them cannot be read' if unread else ''}.")


def _some_of(storage: Storage, run_id: str, scan: Scan) -> list[Todo]:
    """What some parts of the list name, from its beginning to its end."""
    count = min(PARTS, scan.parts)
    parts = {1 + at * (scan.parts - 1) // max(1, count - 1) for at in range(count)}
    return [one for part in sorted(parts) for one in todo(storage, run_id, part)]


def _pages(path: Path, key: str, max_pages: int, timeout_s: float) -> int:
    """Pages of a file; 0 if it is no document that can be read."""
    from aseagi_tasks.reading.poppler import Pdf
    from aseagi_tasks.stages.fetch import identify
    from aseagi_tasks.stages.heic import is_heic

    if is_heic(path):
        return 1
    try:
        media_type = identify(path, key)
        if media_type == "application/pdf":
            return len(Pdf(path, key, max_pages=max_pages, timeout_s=min(timeout_s, SECONDS)).sizes)
        return _frames(path) if media_type == "image/tiff" else 1
    except DocumentError:
        return 0


def _frames(path: Path) -> int:
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return int(getattr(picture, "n_frames", 1))
    except Exception:  # of damaged ones Pillow raises TypeError and KeyError too, and the run must not wait for one
        return 0
