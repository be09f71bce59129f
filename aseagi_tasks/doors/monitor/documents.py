"""The documents: search as it is typed, filters, one document with its pages, facts and files; files taken in."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args
from urllib.parse import urlencode

from tornado.web import HTTPError, url

from aseagi_tasks import services
from aseagi_tasks.analysis.schema import Analysis, DocumentType, Fact, Party
from aseagi_tasks.documents import Box
from aseagi_tasks.doors.lookup import look_up
from aseagi_tasks.doors.monitor import pictures
from aseagi_tasks.doors.monitor.jobs import MOST_AT_ONCE
from aseagi_tasks.doors.monitor.page import Page
from aseagi_tasks.doors.monitor.sending import Named, Sending
from aseagi_tasks.doors.monitor.taking import Taking
from aseagi_tasks.doors.showing import words
from aseagi_tasks.errors import NotFound
from aseagi_tasks.services import ENGINES
from aseagi_tasks.settings import settings
from aseagi_tasks.stages.upload import Metadata, PageRecord
from aseagi_tasks.stores.records import Hit, Wanted

ON_A_PAGE = 50
_DATE = re.compile(r"\d{4}(-\d\d(-\d\d)?)?$")


class Asked(NamedTuple):
    """What the list is asked for: words, filters, and where on it."""

    words: str | None
    wanted: Wanted
    behind: str | None
    offset: int

    def address(self, **change: str | int | None) -> str:
        """The query of the same list elsewhere."""
        values = {"q": self.words, **self.wanted.conditions, **change}
        return urlencode({name: value for name, value in values.items() if value is not None})


class Listed(NamedTuple):
    """One page of the list. ``more`` is the query of the next one."""

    hits: list[Hit]
    more: str | None


def listed(asked: Asked) -> Listed:
    """Best first where words were typed, else newest first."""
    records = services.records()
    if asked.words:
        hits = records.search(asked.words, limit=ON_A_PAGE + 1, offset=asked.offset, wanted=asked.wanted)
        more = asked.address(offset=asked.offset + ON_A_PAGE) if len(hits) > ON_A_PAGE else None
        return Listed(hits[:ON_A_PAGE], more)
    behind = records.document(asked.behind) if asked.behind else None
    found = records.find(asked.wanted, limit=ON_A_PAGE + 1, behind=behind)
    more = asked.address(after=found[ON_A_PAGE - 1].document_id) if len(found) > ON_A_PAGE else None
    return Listed([Hit(document=document, snippet="", rank=0) for document in found[:ON_A_PAGE]], more)


class Home(Page):
    """The first address leads to the documents."""

    async def get(self) -> None:
        """Lead there."""
        self.redirect(self.reverse_url("documents"))


class Documents(Taking, Page):
    """The list, and the way in for files."""

    tab = "documents"
    changes = "write"

    async def get(self) -> None:
        """The list; to the page's own script only its rows."""
        asked = self._asked()
        found = await self.read(listed, asked)
        template = "aseagi-documents-rows.html" if self.wants_fragment else "aseagi-documents.html"
        self.show(
            template,
            asked=asked,
            found=found,
            kinds=get_args(DocumentType),
            engines=ENGINES,
            marked=_marked,
            most=settings().max_bytes,
        )

    async def post(self) -> None:
        """Take files in; leads to their jobs."""
        taken = []
        for path in await self.sent():
            taken.append(await self.change("upload", {"name": path.name}, partial(take_in, path, self.who.name)))
        self.redirect(f"{self.reverse_url('jobs')}?{urlencode({'ids': ','.join(taken[:MOST_AT_ONCE])})}")

    def _asked(self) -> Asked:
        kind, relevancy = self.text("document_type"), self.whole_number("relevancy", 0, 0, 100)
        if kind is not None and kind not in get_args(DocumentType):
            raise HTTPError(400, "document_type is one of those that are offered.")
        for name in ("dated_since", "dated_until"):
            if (given := self.text(name)) and not _DATE.match(given):
                raise HTTPError(400, f"{name} is a date, YYYY-MM-DD.")
        wanted = Wanted(
            document_type=kind,
            case_number=self.text("case_number"),
            requested_by=self.text("requested_by"),
            dated_since=self.text("dated_since"),
            dated_until=self.text("dated_until"),
            relevancy=relevancy or None,
        )
        return Asked(self.text("q"), wanted, self.text("after"), self.whole_number("offset", 0, 0, 1_000))


def take_in(path: Path, who: str) -> str:
    """Take a file that was sent in, checked as the chain checks; the id of its job.

    Raises:
        TooLarge, NotADocument, Unreadable, DiskFull: nothing was queued.
    """
    from aseagi_tasks.tasks import submit

    job_id = str(uuid.uuid4())
    submit(path, priority="high", requested_by=who, job_id=job_id)
    return job_id


class Place(NamedTuple):
    """A box on the page, percent of its width and height, and the fact (by its number) or warning that it is of."""

    left: float
    top: float
    width: float
    height: float
    number: int
    how: str


class Row(NamedTuple):
    """One row of the facts: its number on the page, field, value, how sure, pages and quotes."""

    number: int
    field: str
    value: str
    status: str
    pages: list[int]
    quotes: list[str]


class One(Page):
    """One document."""

    tab = "documents"

    async def get(self, ident: str) -> None:
        """Its page ``?page=N`` with the words over it, facts with their places, warnings, files, history."""
        number = self.whole_number("page", 1, 1)
        self.show("aseagi-document.html", **await self.read(_one, ident, number))

    async def post(self, ident: str) -> None:
        """Process it again; leads to the new job."""
        engine = self.text("engine")
        job_id = await self.change("reprocess", {"document": ident, "engine": engine}, _again, ident, engine)
        self.redirect(self.reverse_url("job", job_id))


def _one(ident: str, number: int) -> dict[str, Any]:
    found = look_up(ident)
    document = found.document
    if document is None:
        raise NotFound(ident, "the documents: the file was never taken in; its job says why")
    records = services.records()
    events = {job.job_id: records.events(job.job_id) for job in found.jobs[:5]}
    values: dict[str, Any] = {
        **{"document": document, "jobs": found.jobs, "events": events, "engines": ENGINES},
        **{"metadata": None, "facts": [], "places": [], "lines": [], "warnings": [], "number": 1, "files": []},
        **{"has_picture": False, "summary": None, "corrections": found.corrections().values()},
    }
    if document.processed is None:
        return values
    metadata, analysis = pictures.published(document), found.analysis
    page = pictures.page_of(metadata, number)
    has_picture = "searchable.pdf" in metadata.files
    facts = list(_facts(analysis)) if analysis else []
    cautions = analysis.warnings if analysis else ()
    hidden = [caution.box for caution in cautions if caution.page == number and caution.box is not None]
    return {
        **values,
        "metadata": metadata,
        "number": number,
        "page": page,
        "has_picture": has_picture,
        "lines": pictures.words_over(document, metadata, number, hidden) if has_picture else [],
        "facts": facts,
        "places": list(_places(analysis, page)) if analysis else [],
        "warnings": cautions,
        "summary": analysis.summary.value if analysis and analysis.summary else None,
        "files": [*metadata.files, "original"],
    }


def _evidenced(analysis: Analysis) -> Iterator[tuple[str, Fact | Party]]:
    """Every fact in the order in which it is shown; its place here is its number."""
    for name, found in analysis:
        if isinstance(found, Fact) and name != "summary":
            yield name, found
        elif name in ("parties", "people", "key_dates"):
            singular = {"parties": "party", "people": "person", "key_dates": "date"}[name]
            for one in found:
                yield singular, one


def _facts(analysis: Analysis) -> Iterator[Row]:
    for number, (field, fact) in enumerate(_evidenced(analysis)):
        value = str(fact.value) if isinstance(fact, Fact) else fact.name + (f" ({fact.role})" if fact.role else "")
        pages = sorted({evidence.page for evidence in fact.evidence})
        if field == "document_type":
            value = words(value)
        yield Row(number, field, value, fact.status, pages, [evidence.quote for evidence in fact.evidence])


def _places(analysis: Analysis, page: PageRecord) -> Iterator[Place]:
    for number, (_, fact) in enumerate(_evidenced(analysis)):
        for evidence in fact.evidence:
            if evidence.page == page.number and evidence.box is not None:
                yield _place(evidence.box, page, number, fact.status)
    for number, caution in enumerate(analysis.warnings):
        if caution.page == page.number and caution.box is not None:
            yield _place(caution.box, page, number, "caution")


def _place(box: Box, page: PageRecord, number: int, how: str) -> Place:
    across, down = 100 / page.width_px, 100 / page.height_px
    size = ((box.right - box.left) * across, (box.bottom - box.top) * down)
    return Place(box.left * across, box.top * down, *size, number, how)


def _again(ident: str, engine: str | None) -> str:
    from aseagi_tasks.tasks import resubmit

    found = look_up(ident)
    if not found.jobs:
        raise NotFound(f"A job of {ident}", "the records")
    return resubmit(found.jobs[0], "high", engine)


class Picture(Page):
    """A page as a JPEG."""

    async def get(self, ident: str, number: str) -> None:
        """The picture; a browser keeps it, since another set of the document has another address."""
        path = await self.read(_picture, ident, int(number))
        self.set_header("Content-Type", "image/jpeg")
        self.set_header("Cache-Control", "private, max-age=86400")
        self.write(await self.read(path.read_bytes))


def _picture(ident: str, number: int) -> Path:
    document = services.records().document(ident)
    return pictures.picture(document, pictures.published(document), number)


class File(Sending):
    """The original or a file of the published set."""

    async def get(self, ident: str, name: str) -> None:
        """An address of the bucket, or the bytes where there is none."""
        await self.send(lambda: Named(*file_key(ident, name), is_shown=name == "thumbnail.jpg"))


def file_key(ident: str, name: str) -> tuple[str, str]:
    """Key and file name of the original or a published file.

    Raises:
        NotFound
    """
    document = services.records().document(ident)
    if name == "original":
        return document.key, document.name
    metadata: Metadata = pictures.published(document)
    if name not in (*metadata.files, "metadata.json"):
        raise NotFound(name, f"the published set of {document.name}")
    stem = document.name.rsplit(".", 1)[0]
    return f"{document.processed}/{name}", f"{stem}-{name}"


def _marked(hit: Hit) -> list[tuple[str, bool]]:
    """A snippet in pieces: text, and whether it was searched for."""
    pieces = re.split(r"\[([^\[\]]*)\]", " ".join(hit.snippet.split()))
    return [(piece, bool(at % 2)) for at, piece in enumerate(pieces) if piece]


ROUTES = [
    url(r"/documents", Documents, name="documents"),
    url(r"/documents/([0-9a-f]{4,16})", One, name="document"),
    url(r"/documents/([0-9a-f]{16})/pages/([0-9]{1,5})\.jpg", Picture, name="picture"),
    url(r"/documents/([0-9a-f]{16})/files/([a-z.]+)", File, name="file"),
]
