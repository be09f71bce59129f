"""The third stage: page images become lines of text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
        go_on: called after each page with the number of pages read; reading stops where it says no.
    Returns:
        The reading with engine and pages; unread pages are left where ``go_on`` said no.
    Raises:
        OutOfMemory, Unreadable: from the recognizer.
    """
    pages: list[Page] = []
    done, more = 0, True
    for page in reading.pages:
        if page.source is None and more:
            page = recognizer.read(page, keys.page_image(scratch, page.number))
            done += 1
            more = go_on(done)
        pages.append(page)
    return Reading(engine=recognizer.engine if done else reading.engine, pages=tuple(pages))
