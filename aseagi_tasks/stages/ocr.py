"""The third stage: page images become lines of text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event

from aseagi_tasks import keys
from aseagi_tasks.documents import Page, Reading
from aseagi_tasks.reading.recognizer import Recognizer


def ocr(
    reading: Reading, scratch: Path, recognizer: Recognizer, go_on: Callable[[int], bool] = lambda _done: True
) -> Reading:
    """Read the pages that are unread; the others stay as they are.

    Args:
        reading: from ``rasterize``, or from an earlier slice.
        scratch: the job's folder; unread pages' images lie at ``keys.page_image``.
        go_on: called after each page with the number of pages read; reading stops where it says no, and what it
            raises ends the reading: what was not begun is dropped.
    Returns:
        The reading with engine and pages; unread pages are left where ``go_on`` said no.
    Raises:
        OutOfMemory, Unreadable: from the recognizer.
    """
    unread = [page for page in reading.pages if page.source is None]
    found: dict[int, Page] = {}
    with closing(_read(unread, scratch, recognizer)) as read:
        for page in read:
            found[page.number] = page
            if not go_on(len(found)):
                break
    pages = tuple(found.get(page.number, page) for page in reading.pages)
    return Reading(engine=recognizer.engine if found else reading.engine, pages=pages)


def _read(pages: list[Page], scratch: Path, recognizer: Recognizer) -> Generator[Page, None, None]:
    """Pages in order, ``recognizer.at_once`` of them being read at a time."""
    if recognizer.at_once == 1:
        for page in pages:
            yield recognizer.read(page, keys.page_image(scratch, page.number))
        return
    stop, begun = Event(), deque[Future[Page]]()
    with ThreadPoolExecutor(recognizer.at_once, "page") as pool:
        try:
            for page in pages:
                begun.append(pool.submit(recognizer.read, page, keys.page_image(scratch, page.number), stop))
                if len(begun) >= recognizer.at_once:
                    yield begun.popleft().result()
            while begun:
                yield begun.popleft().result()
        finally:  # also where the reader stops: lines that wait are dropped, so that nobody waits for them
            stop.set()
            for page_read in begun:
                page_read.cancel()
