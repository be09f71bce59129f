"""The fourth stage: lines become facts with their evidence."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from aseagi_tasks import keys
from aseagi_tasks.analysis import ledger
from aseagi_tasks.analysis.analyst import Analyst, Errand
from aseagi_tasks.analysis.dialogue import Dialogue
from aseagi_tasks.analysis.schema import Analysis, Caution
from aseagi_tasks.documents import Reading
from aseagi_tasks.errors import BudgetExceeded, CapReached, TransientError
from aseagi_tasks.stores.records import Records

if TYPE_CHECKING:
    from aseagi_tasks.stages.workplace import Workplace

#: Of the images that are sent. Grey pages of text have 60-150 KB.
JPEG_QUALITY = 70


def analyze(reading: Reading, name: str, analyst: Analyst, errand: Errand | None = None) -> Analysis:
    """Find a document's facts, and say what of it cannot be seen; one without a word on it goes to nobody.

    Raises:
        RateLimited, AnalystUnavailable, NotSetUp, BudgetExceeded, Refused: from the analyst.
    """
    analysis = analyst.analyze(reading, name, errand) if has_words(reading) else Analysis(analyst=analyst.name)
    return analysis.model_copy(update={"warnings": (*_cautions(reading), *analysis.warnings)})


def find_facts(
    place: Workplace, reading: Reading, analyst: Analyst, records: Records, *, by_batch: bool
) -> Analysis | None:
    """A job's facts, with its pictures, money and memory.

    Args:
        by_batch: ask Claude through Message Batches.
    Returns:
        None: the job waits for a batch, and ``batches.tend`` goes on with it.
    Raises:
        as ``analyze``. Where the job waits, what was read is made findable.
    """
    errand, found = JobErrand(place, reading, records), None
    try:
        if not (by_batch and analyst.name == "claude" and has_words(reading) and _hand_in(errand, analyst)):
            found = analyze(reading, place.source.name, analyst, errand)
    except TransientError:
        _make_findable(place, reading, records)
        raise
    if found is None:
        _make_findable(place, reading, records)
    return found


def _make_findable(place: Workplace, reading: Reading, records: Records) -> None:
    if not records.texts([place.source.document_id]):
        records.add_texts({place.source.document_id: reading.text})


def _hand_in(errand: JobErrand, analyst: Any) -> bool:
    """Leave in the bucket what is still to be asked, by batch; whether the job has to wait."""
    storage, job_id = errand.place.storage, errand.place.job_id
    asked = analyst.requests(errand.reading, errand)
    for call, request in asked:
        key = keys.batch_request(f"{job_id}_{call.key}")
        if storage.stat(key) is None:  # one that is there may be on its way
            left = {"max_tokens": call.max_tokens, "params": request}
            storage.put(key, json.dumps({"custom_id": f"{job_id}_{call.key}", **left}).encode())
    return bool(asked)


def has_words(reading: Reading) -> bool:
    """Whether anything was read."""
    return any(line.text.strip() for page in reading.pages for line in page.lines)


class JobErrand(Errand):
    """A job's pictures, money and memory.

    Args:
        place: where the job works; pages are rendered from its original, which is fetched if it is not on this host.
        reading: its pages.
        records: the ledger.
    """

    def __init__(self, place: Workplace, reading: Reading, records: Records) -> None:
        self.place, self.reading, self._records = place, reading, records
        self._images: dict[tuple[int, int], bytes] = {}

    def images(self, edges_px: Mapping[int, int]) -> dict[int, bytes]:
        """Pages as grey JPEG, rendered from the original at the size that is wanted."""
        for at in edges_px.items():
            if at not in self._images:
                self._images[at] = self._image(*at)
        return {number: self._images[number, edge] for number, edge in edges_px.items()}

    def _image(self, number: int, edge_px: int) -> bytes:
        from aseagi_tasks.analysis.asking import image_size
        from aseagi_tasks.reading.page_picture import upright

        page = next(page for page in self.reading.pages if page.number == number)
        conf, source = self.place.settings, self.place.source
        width, height = image_size(page, edge_px)
        is_pdf = source.media_type == "application/pdf"
        picture = upright(
            self.place.original(),
            source.name,
            source.media_type,
            number,
            # rendered at the size that is sent; of a picture file its own pixels are taken and made smaller
            dpi=float(f"{page.dpi * width / page.width_px:.4g}") if is_pdf else conf.dpi,
            rotation=page.rotation,
            max_pages=conf.max_pages,
            max_page_pixels=conf.max_page_pixels,
            timeout_s=conf.render_timeout_s,
        )
        out = io.BytesIO()
        picture.resize((width, height)).save(out, "JPEG", quality=JPEG_QUALITY)
        return out.getvalue()

    def allow(self, bound_usd: float) -> None:
        """Hold what the document can cost against the limit for one."""
        limit = self.place.settings.claude_document_usd
        if bound_usd > limit:
            raise BudgetExceeded(self.place.source.name, bound_usd, limit, "ASEAGI_CLAUDE_DOCUMENT_USD")

    def reserve(self, key: str, usd: float) -> None:
        """Set money aside in the ledger. Raises CapReached too: that of the job's run leaves no room."""
        limit = self.place.settings.claude_daily_usd
        if not ledger.reserve(self._records, self.place.job_id, key, usd, limit):
            job = self._records.job(self.place.job_id)
            if job.refused_usd is not None:
                raise CapReached(self.place.source.name, usd, job.run_id)
            raise BudgetExceeded(self.place.source.name, usd, limit, "ASEAGI_CLAUDE_DAILY_USD")

    def settle(self, key: str, usd: float, detail: Mapping[str, Any]) -> None:
        """Put it into the ledger, once."""
        ledger.settle(self._records, self.place.job_id, key, usd, detail)

    def free(self, key: str) -> None:
        """Free what was set aside, unless a batch may have the request."""
        if self.place.storage.stat(keys.batch_request(f"{self.place.job_id}_{key}")) is None:
            self.settle(key, 0.0, {})

    def recall(self) -> Dialogue | None:
        """From ``cache/``."""
        return self.place.load("dialogue.json", Dialogue)

    def keep(self, dialogue: Dialogue) -> None:
        """In ``cache/``."""
        self.place.save("dialogue.json", dialogue)


def _cautions(reading: Reading) -> Iterator[Caution]:
    """Text that is in the file and not to be seen. The words themselves are not repeated: they may be redacted."""
    for page in reading.pages:
        for hidden in page.hidden:
            how_much = f"Text of {len(hidden.text):,} characters"
            if hidden.why == "covered":
                message = f"{how_much} lies under an opaque box, and can be copied out of the original."
            elif hidden.why == "contradicted":
                message = f"{how_much} in the file is not what the page shows; what it shows was read instead."
            else:
                message = f"{how_much} in the file cannot be seen on the page."
            yield Caution(kind=hidden.why, message=message, page=page.number, box=hidden.box)
