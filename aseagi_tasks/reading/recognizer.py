"""What every recognizer can do: one page image to lines."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Protocol

from aseagi_tasks.documents import Page

#: For callers that read to the end.
NEVER = Event()


class Recognizer(Protocol):
    """Reads one page at a time; several pages may be read from several threads at once."""

    #: name and version, e.g. ``tesseract 5.5.4 eng``: results of another engine are not taken for its own
    engine: str
    #: how many pages of one document are worth reading at a time
    at_once: int

    def read(self, page: Page, image: Path, stop: Event = NEVER) -> Page:
        """Recognize a page.

        Args:
            page: the unread page (``source`` is None).
            image: grey 8-bit image of it, ``page.width_px`` by ``page.height_px`` at ``page.dpi``.
            stop: one for each reading of a document; once set, what of it was not begun is dropped.
        Returns:
            The page with lines in reading order, confidence, source, rotation and skew; width and height swapped
            where it was turned by 90 or 270 degrees. Boxes are in the upright page, before deskewing.
        Raises:
            OutOfMemory, Unreadable.
            Cancelled: ``stop`` was set before the page was read.
        """
