"""Where a stage works: one job's scratch folder on this host and its ``cache/`` in the bucket.

Workers share no disk. Small results travel through ``cache/``; the original and the page images are made again
where they are missing, which costs less than shipping them (DESIGN.md).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from aseagi_tasks import keys
from aseagi_tasks.documents import Page, Reading, Source
from aseagi_tasks.errors import NotFound
from aseagi_tasks.reading.images import write_pgm
from aseagi_tasks.reading.page_picture import upright
from aseagi_tasks.settings import Settings
from aseagi_tasks.stages.fetch import fetch
from aseagi_tasks.stages.rasterize import rasterize
from aseagi_tasks.stores.storage import Storage

Model = TypeVar("Model", bound=BaseModel)


class Workplace:
    """One job's files on this host.

    Args:
        job_id: whose.
        source: the document's original bytes as registered.
        storage: the bucket.
        settings: limits and the scratch folder's place.
    """

    def __init__(self, job_id: str, source: Source, storage: Storage, settings: Settings) -> None:
        self.job_id = job_id
        self.source = source
        self.storage = storage
        self.settings = settings
        self.scratch = settings.scratch_root / job_id

    def original(self) -> Path:
        """The document's bytes on this host, fetched and verified if they are not here."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        return fetch(self.storage, self.source, self.scratch, max_bytes=self.settings.max_bytes)

    def rasterize(self) -> Reading:
        """Pages with their text layers; images of those that want recognition lie in scratch."""
        conf = self.settings
        return rasterize(
            self.original(),
            self.source.name,
            self.source.media_type,
            self.scratch,
            dpi=conf.dpi,
            max_pages=conf.max_pages,
            max_page_pixels=conf.max_page_pixels,
            timeout_s=conf.render_timeout_s,
            read_hidden=conf.hidden_text == "read",
        )

    def ensure_images(self, reading: Reading) -> None:
        """Rasterize again if an unread page's image is not on this host.

        Pages whose text layer is not believed are not among those that rasterize leaves images of: they are rendered.
        """
        if self._missing(reading) and {page.number for page in self._missing(reading)} - self.doubted:
            self.rasterize()
        for page in self._missing(reading):
            keys.page_image(self.scratch, page.number).parent.mkdir(parents=True, exist_ok=True)
            picture = upright(
                self.original(),
                self.source.name,
                self.source.media_type,
                page.number,
                dpi=page.dpi,
                rotation=0,
                max_pages=self.settings.max_pages,
                max_page_pixels=self.settings.max_page_pixels,
                timeout_s=self.settings.render_timeout_s,
            )
            write_pgm(np.asarray(picture), keys.page_image(self.scratch, page.number))

    def _missing(self, reading: Reading) -> list[Page]:
        unread = (page for page in reading.pages if page.source is None)
        return [page for page in unread if not keys.page_image(self.scratch, page.number).is_file()]

    @property
    def doubted(self) -> frozenset[int]:
        """Pages whose text layer is not believed; see ``stages.doubt``."""
        layers = self.load("layers.json", Reading)
        return frozenset(page.number for page in layers.pages) if layers else frozenset()

    def load(self, name: str, model: type[Model]) -> Model | None:
        """A result of an earlier stage or try from ``cache/``; None if there is none of this version."""
        try:
            return model.model_validate_json(self.storage.get(keys.cache(self.job_id, name)))
        except (NotFound, ValidationError):
            return None

    def save(self, name: str, result: BaseModel) -> None:
        """Keep a result for the next stage."""
        self.storage.put(keys.cache(self.job_id, name), result.model_dump_json().encode())

    def clear(self) -> None:
        """Remove the job's scratch folder and its ``cache/``."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.storage.delete_all(keys.cache(self.job_id))
