"""The case summary on paper: overview, parties, timeline, open questions, then every document with its facts."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path

from reportlab.lib.utils import ImageReader
from reportlab.platypus import CondPageBreak, Flowable, KeepTogether, PageBreak, Table, TableStyle

from aseagi_tasks import __version__
from aseagi_tasks.analysis.schema import Support
from aseagi_tasks.reports.case_file import CaseFile, Entry, Moment, Place, Shown, type_of
from aseagi_tasks.reports.faces import markup
from aseagi_tasks.reports.questions import KINDS, Question
from aseagi_tasks.reports.sheet import (
    BAD,
    GREY,
    INK,
    NOTE,
    PALE,
    ROOM,
    RULE,
    SMALL,
    TITLE,
    WARN,
    Heading,
    Mark,
    Tiles,
    bold,
    coloured,
    gap,
    marked_up,
    say,
    table,
    text_at,
    to,
    write,
)

#: Places that are named of one thing; the others are counted.
_PLACES = 6
_QUESTIONS = 60
_LONGEST = 200
_PICTURE = 54.0
#: Fields of which a document has several: they share a line.
_JOINED = {"party": "parties", "person": "people"}
_KINDS = {"dated": "dated", "filed": "filed", "named": "named"}


def draw(path: Path, case: CaseFile, open_ones: Sequence[Question], now: datetime, tell: Callable[[int], None]) -> int:
    """Write the summary as PDF; returns its pages. The same case gives the same bytes."""
    story = [*_overview(case, open_ones), *_parties(case), *_timeline(case), *_questions(open_ones), *_documents(case)]
    made = f"{now:%Y-%m-%d %H:%M} UTC"
    foot = f"Made {made} by aseagi {__version__} of what the documents' pages say."
    return write(
        path, story, title=f"Case {case.number}", head=(f"Case {case.number}", "case summary"), foot=foot, tell=tell
    )


def _overview(case: CaseFile, open_ones: Sequence[Question]) -> Iterator[Flowable]:
    yield say(f"Case {case.number}", TITLE)
    first = next((moment.iso for moment in case.timeline), None)
    said = [f"{moment.iso}" for moment in case.timeline]
    span = f"Dates from {first} to {said[-1]}." if first else "No document gives a date."
    yield say(f"Case summary. {span}", SMALL)
    if case.left_out:
        yield marked_up(
            coloured(f"{case.left_out:,} older documents are not in this summary: it takes the newest.", BAD)
        )
    yield gap(8)
    doubted = sum(fact.status == "unverified" for entry in case.entries for fact in entry.facts)
    corrected = sum(fact.corrected is not None for entry in case.entries for fact in entry.facts)
    yield Tiles(
        [
            ("documents", f"{len(case.entries):,}", INK, _types(case)),
            ("pages", f"{case.pages:,}", INK, ""),
            ("parties", f"{len(case.parties):,}", INK, ""),
            ("facts not verified", f"{doubted:,}", WARN if doubted else INK, f"{corrected:,} corrected by people"),
            ("open questions", f"{len(open_ones):,}", WARN if open_ones else INK, ""),
        ]
    )


def _types(case: CaseFile) -> str:
    kinds = {type_of(entry.paper) for entry in case.entries}
    return f"of {len(kinds)} kinds" if len(kinds) > 1 else next(iter(kinds), "")


def _parties(case: CaseFile) -> Iterator[Flowable]:
    yield Heading("Parties", anchor="parties")
    if not case.parties:
        yield say("No document names a party that could be found.")
        return
    rows = []
    for person in case.parties:
        name = bold(person.name) + _mark(person.status)
        if person.others:
            name += "<br/>" + coloured(f"also written: {'; '.join(person.others[:6])}", GREY)
        rows.append([name, markup(", ".join(person.roles)), _where(person.places)])
    yield table(["name", "role", "where"], rows, [0, 110, 160])


def _timeline(case: CaseFile) -> Iterator[Flowable]:
    yield Heading("Timeline", anchor="timeline")
    if not case.timeline:
        yield say("No document gives a date that could be found.")
        return
    yield say("Each line is what the pages behind it say; [3] p. 2 is page 2 of the third document below.", SMALL)
    yield gap(3)
    for year, moments in groupby(case.timeline, key=lambda moment: moment.iso[:4]):
        yield Heading(year, 1)
        rows = [[bold(moment.iso), _happened(moment), _where(moment.places)] for moment in moments]
        # tables of a bounded length: a long one is measured anew on each page that it takes
        for begin in range(0, len(rows), _LONGEST):
            yield table(["date", "what", "where"], rows[begin : begin + _LONGEST], [66, 0, 110])


def _happened(moment: Moment) -> str:
    kind = moment.kind if moment.kind not in _KINDS else ""
    lead = bold(kind.capitalize()) + ": " if kind else ""
    if moment.kind in ("dated", "filed"):
        text = f"{markup(moment.what)} " + coloured(f"({moment.kind})", GREY)
    else:
        text = f"{lead}“{markup(moment.what)}”"
    return text + (_corrected(moment.corrected) if moment.corrected else _mark(moment.status))


def _questions(open_ones: Sequence[Question]) -> Iterator[Flowable]:
    yield Heading(f"Open questions ({len(open_ones):,})", anchor="questions", outlined="Open questions")
    if not open_ones:
        yield say("None of the rules found anything: dates, names, numbers, exhibits, Bates numbers, pages, facts.")
        return
    yield say(
        "Found by rule, for a person to look at. Exhibits and Bates numbers are compared among these documents only.",
        SMALL,
    )
    for kind, heading in KINDS.items():
        some = [question for question in open_ones if question.kind == kind]
        if not some:
            continue
        yield Heading(f"{heading} ({len(some):,})", 1)
        rows = [[_asked(question), _where(question.places)] for question in some[:_QUESTIONS]]
        yield table(["question", "where"], rows, [0, 110])
        if len(some) > _QUESTIONS:
            yield say(f"and {len(some) - _QUESTIONS:,} more of this kind: `aseagi report case --json` has all.", NOTE)


def _asked(question: Question) -> str:
    quote = next((place.quote for place in question.places if place.quote), "")
    shown = question.kind in ("exhibits", "dates") and quote
    return markup(question.text) + ("<br/>" + coloured(f"“{quote[:240]}”", GREY) if shown else "")


def _documents(case: CaseFile) -> Iterator[Flowable]:
    yield PageBreak()
    yield Heading("Documents", anchor="documents")
    for number, entry in enumerate(case.entries, 1):
        yield CondPageBreak(90)
        yield _document(number, entry)
        yield gap(9)


def _document(number: int, entry: Entry) -> Flowable:
    """A picture, and beside it what the document is and says."""
    document = entry.paper.document
    lines: list[Flowable] = [
        Mark(_anchor(number), f"[{number}] {document.name}"),
        marked_up(bold(f"[{number}]  {document.name}")),
        say(_kind(entry), SMALL),
    ]
    lines += [marked_up(_fact(fact)) for fact in entry.facts if fact.label not in _JOINED]
    for label, several in _JOINED.items():
        named = [_value(fact) for fact in entry.facts if fact.label == label]
        if named:
            lines.append(marked_up(f"{coloured(f'{label if len(named) == 1 else several}:', GREY)} {'; '.join(named)}"))
    if entry.paper.analysis is None:
        lines.append(marked_up(coloured("Its results are not complete: nothing is known of what it says.", BAD)))
    for warning in entry.paper.analysis.warnings if entry.paper.analysis else ():
        lines.append(marked_up(coloured(f"{warning}", BAD)))
    lines.append(say(f"{document.document_id} · SHA-256 {document.sha256[:32]}… · {document.key}", SMALL))
    made = Table(
        [[_Picture(entry.paper.picture), lines]], colWidths=[_PICTURE + 14, ROOM - _PICTURE - 14], splitInRow=1
    )
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEABOVE", (0, 0), (-1, 0), 0.5, RULE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 6),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
            ]
        )
    )
    return KeepTogether([made]) if len(entry.facts) < 30 else made


def _kind(entry: Entry) -> str:
    document = entry.paper.document
    pages = f"{document.pages:,} page{'s' if document.pages != 1 else ''}" if document.pages else "pages not counted"
    parts = [type_of(entry.paper), pages, f"taken in {document.created_at:%Y-%m-%d}"]
    if entry.paper.analysis is not None:
        parts.append(f"facts by {entry.paper.analysis.model or entry.paper.analysis.analyst}")
    return " · ".join(parts)


def _fact(fact: Shown) -> str:
    return f"{coloured(fact.label + ':', GREY)} {_value(fact)}"


def _value(fact: Shown) -> str:
    value = markup(fact.value)
    if fact.corrected:
        was = coloured(f"(was: {fact.found})" if fact.found else "(nothing had been found)", GREY)
        return f"{value}{_corrected(fact.corrected)} {was}"
    pages = ", ".join(map(str, fact.pages[:8])) + ("…" if len(fact.pages) > 8 else "")
    nowhere = "(judged, on no page)" if fact.label == "relevancy" else "(no page says so)"
    where = coloured(f"p. {pages}" if fact.pages else nowhere, GREY)
    return f"{value} {where}" + _mark(fact.status)


def _mark(status: Support | None) -> str:
    if status == "unverified":
        return " " + coloured("unverified", WARN, bold=True)
    return ""


def _corrected(said: str) -> str:
    return " " + coloured(said, WARN)


def _where(places: Sequence[Place]) -> str:
    """Links to the documents, with pages; many are counted."""
    seen = list(dict.fromkeys((place.document, place.page) for place in places))
    named = [to(_anchor(number), f"[{number}]" + (f" p. {page}" if page else "")) for number, page in seen[:_PLACES]]
    return ", ".join(named) + (markup(f" and {len(seen) - _PLACES:,} more") if len(seen) > _PLACES else "")


def _anchor(number: int) -> str:
    return f"document-{number}"


class _Picture(Flowable):
    """A thumbnail with a frame around it, or the frame alone, saying so."""

    def __init__(self, body: bytes | None) -> None:
        super().__init__()
        self._body = body
        self.width, self.height = _PICTURE, _PICTURE * 1.3
        if body is not None:
            wide, tall = ImageReader(io.BytesIO(body)).getSize()
            scale = min(_PICTURE / wide, _PICTURE * 1.3 / tall)
            self.width, self.height = wide * scale, tall * scale

    def draw(self) -> None:
        """Draw it."""
        canvas = self.canv
        if self._body is None:
            canvas.setFillColor(PALE)
            canvas.rect(0, 0, self.width, self.height, stroke=0, fill=1)
            text_at(canvas, self.width / 2, self.height / 2, "no picture", size=6.5, colour=GREY, centred=self.width)
        else:
            canvas.drawImage(ImageReader(io.BytesIO(self._body)), 0, 0, self.width, self.height)
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.5)
        canvas.rect(0, 0, self.width, self.height, stroke=1, fill=0)
