"""Paper for reports: page with head and foot, headings, tables, tiles, links. What a report says is elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import LETTER
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph, Spacer, Table, TableStyle

from aseagi_tasks.reports.faces import BOLD, PLAIN, markup, runs, width

WIDTH, HEIGHT = LETTER
LEFT, RIGHT = 54.0, WIDTH - 54.0
ROOM = RIGHT - LEFT
INK, GREY, RULE, PALE = HexColor("#1c2430"), HexColor("#667085"), HexColor("#d0d5dd"), HexColor("#f5f7fa")
GOOD, BAD, WARN, LINK = HexColor("#157347"), HexColor("#b42318"), HexColor("#b54708"), HexColor("#175cd3")
#: Names in markup.
_NAMES = {GOOD: "#157347", BAD: "#b42318", WARN: "#b54708", GREY: "#667085", LINK: "#175cd3", INK: "#1c2430"}

BODY = ParagraphStyle("body", fontName=PLAIN, fontSize=8, leading=11, textColor=INK)
SMALL = ParagraphStyle("small", parent=BODY, fontSize=7, leading=9.5, textColor=GREY)
#: Below a table.
NOTE = ParagraphStyle("note", parent=SMALL, spaceBefore=4)
RIGHTS = ParagraphStyle("right", parent=BODY, alignment=TA_RIGHT)
HEAD_CELL = ParagraphStyle("head", parent=BODY, fontSize=7, leading=9, textColor=GREY)
HEAD_RIGHT = ParagraphStyle("head-right", parent=HEAD_CELL, alignment=TA_RIGHT)
TITLE = ParagraphStyle("title", parent=BODY, fontName=BOLD, fontSize=19, leading=24)
HEADINGS = (
    ParagraphStyle("h1", parent=BODY, fontName=BOLD, fontSize=12, leading=15, spaceBefore=14, spaceAfter=5),
    ParagraphStyle("h2", parent=BODY, fontName=BOLD, fontSize=9, leading=12, spaceBefore=8, spaceAfter=3),
)
#: A heading with less room below it goes to the next page, in points: the head of a table and two rows.
_BELOW = 70.0
_PAGES = "pages-in-all"


def say(text: str, style: ParagraphStyle = BODY) -> Paragraph:
    """Plain text as a paragraph."""
    return Paragraph(markup(text, bold=style.fontName == BOLD), style)


def marked_up(text: str, style: ParagraphStyle = BODY) -> Paragraph:
    """Text that is markup already."""
    return Paragraph(text, style)


def coloured(text: str, colour: Color, *, bold: bool = False) -> str:
    """Plain text as markup in a colour."""
    inner = markup(text, bold=bold)
    return f'<font color="{_NAMES[colour]}"' + (f' name="{BOLD}"' if bold else "") + f">{inner}</font>"


def bold(text: str) -> str:
    """Plain text as bold markup."""
    return f'<font name="{BOLD}">{markup(text, bold=True)}</font>'


def to(anchor: str, text: str) -> str:
    """Markup of a link to a place of this report."""
    unbroken = markup(text).replace(" ", "\N{NO-BREAK SPACE}")
    return f'<a href="#{anchor}" color="{_NAMES[LINK]}">{unbroken}</a>'


class Heading(Paragraph):
    """A heading; it stands in the reader's outline, and can be linked to."""

    def __init__(self, text: str, level: int = 0, anchor: str | None = None, outlined: str | None = None) -> None:
        super().__init__(markup(text, bold=True), HEADINGS[level])
        self._level, self._anchor, self._outlined = level, anchor, outlined or text

    def wrap(self, wide: float, tall: float) -> tuple[float, float]:
        """Too high for what is left of the page, where what follows would not stand below it."""
        taken, height = super().wrap(wide, tall)
        return taken, height if height + _BELOW <= tall else tall + 1

    def split(self, _wide: float, _tall: float) -> list[Flowable]:
        """It is not split."""
        return []

    def draw(self) -> None:
        """Draw, and set the bookmark."""
        key = self._anchor or f"at-{id(self)}"
        self.canv.bookmarkHorizontal(key, 0, self.height + 6)
        self.canv.addOutlineEntry(self._outlined[:120], key, self._level, closed=self._level == 0)
        super().draw()


class Mark(Flowable):
    """A place that can be linked to, without height; ``outlined``: and its line in the reader's outline."""

    def __init__(self, anchor: str, outlined: str | None = None) -> None:
        super().__init__()
        self.width = self.height = 0
        self._anchor, self._outlined = anchor, outlined

    def draw(self) -> None:
        """Set the bookmark."""
        self.canv.bookmarkHorizontal(self._anchor, 0, 8)
        if self._outlined:
            self.canv.addOutlineEntry(self._outlined[:120], self._anchor, 1, closed=True)


class Tiles(Flowable):
    """Large numbers side by side, each with its name and a small line: name, value, colour, note."""

    def __init__(self, tiles: Sequence[tuple[str, str, Color, str]]) -> None:
        super().__init__()
        self._tiles = tiles
        self.width, self.height = ROOM, 54.0

    def wrap(self, _width: float, _height: float) -> tuple[float, float]:
        """As wide as the page."""
        return self.width, self.height + 10

    def draw(self) -> None:
        """Boxes with text that is made small enough."""
        gap = 8.0
        each = (self.width - gap * (len(self._tiles) - 1)) / len(self._tiles)
        for number, (name, value, colour, note) in enumerate(self._tiles):
            x = number * (each + gap)
            self.canv.setFillColor(PALE)
            self.canv.roundRect(x, 8, each, self.height, 5, stroke=0, fill=1)
            text_at(self.canv, x + each / 2, 42, value, size=15, bold=True, colour=colour, centred=each - 10)
            text_at(self.canv, x + each / 2, 28, name, size=7.5, colour=INK, centred=each - 8)
            text_at(self.canv, x + each / 2, 16, note, size=6.5, colour=GREY, centred=each - 8)


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Flowable | Sequence[Flowable]]],
    widths: Sequence[float],
    *,
    right: Sequence[int] = (),
) -> Table:
    """A table whose head comes again on each page.

    Args:
        rows: cells as markup, or flowables.
        widths: in points; 0: what is left.
        right: columns of numbers.
    """
    rest = ROOM - sum(widths)
    columns = [width or rest / max(1, sum(not one for one in widths)) for width in widths]
    head = [marked_up(markup(text), HEAD_RIGHT if at in right else HEAD_CELL) for at, text in enumerate(heads)]
    cells = [
        [
            marked_up(cell, RIGHTS if at in right else BODY) if isinstance(cell, str) else cell
            for at, cell in enumerate(row)
        ]
        for row in rows
    ]
    made = Table([head, *cells], colWidths=columns, repeatRows=1, hAlign="LEFT", splitInRow=1)
    made.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LINEBELOW", (0, 0), (-1, 0), 0.7, GREY),
                ("LINEBELOW", (0, 1), (-1, -1), 0.4, RULE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 7),
                ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3.5),
            ]
        )
    )
    return made


def text_at(
    canvas: Any,
    x: float,
    y: float,
    text: str,
    *,
    size: float,
    bold: bool = False,
    colour: Color = INK,
    centred: float = 0,
    ends: bool = False,
    room: float = 0,
) -> None:
    """A line of text at a place: cut to ``room``; around ``x`` and made to fit ``centred`` points; ending at ``x``."""
    if room:
        text = cut(text, size, room, bold=bold)
    taken = width(text, size, bold=bold)
    if centred and taken > centred:
        size *= centred / taken
        taken = centred
    at = x - taken / 2 if centred else x - taken if ends else x
    canvas.setFillColor(colour)
    for name, part in runs(text, bold=bold):
        canvas.setFont(name, size)
        canvas.drawString(at, y, part)
        at += pdfmetrics.stringWidth(part, name, size)


def cut(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """A text, cut to so many points."""
    text = text[:400]
    if width(text, size, bold=bold) <= room:
        return text
    while text and width(text + "…", size, bold=bold) > room:
        text = text[:-1]
    return text.rstrip() + "…"


def write(
    path: Path,
    story: list[Flowable],
    *,
    title: str,
    head: tuple[str, str],
    foot: str,
    tell: Callable[[int], None] = lambda _page: None,
) -> int:
    """Set a report; the same story gives the same bytes.

    Args:
        head: what stands above each page but the first, left and right.
        foot: what stands below each page, beside its number.
        tell: called with each page's number.
    Returns:
        Pages.
    """
    pages = [0]

    def decorate(canvas: Canvas, _document: BaseDocTemplate) -> None:
        number = pages[0] = canvas.getPageNumber()
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.7)
        if number > 1:
            text_at(canvas, LEFT, HEIGHT - 36, head[0], size=7.5, bold=True, room=ROOM - width(head[1], 7.5) - 20)
            text_at(canvas, RIGHT, HEIGHT - 36, head[1], size=7.5, colour=GREY, ends=True)
            canvas.line(LEFT, HEIGHT - 43, RIGHT, HEIGHT - 43)
        canvas.line(LEFT, 44, RIGHT, 44)
        text_at(canvas, LEFT, 33, foot, size=6.5, colour=GREY, room=ROOM - 90)
        text_at(canvas, RIGHT - 24, 33, f"page {number} of", size=6.5, colour=GREY, ends=True)
        canvas.saveState()
        canvas.translate(RIGHT - 22, 33)
        canvas.doForm(_PAGES)
        canvas.restoreState()
        tell(number)

    class Counting(Canvas):
        """Knows at the end how many pages there are: the number is a form that every foot refers to."""

        def save(self) -> None:
            self.beginForm(_PAGES)
            text_at(self, 0, 0, f"{pages[0]}", size=6.5, colour=GREY)
            self.endForm()
            super().save()

    document = BaseDocTemplate(
        str(path), pagesize=LETTER, title=title, author="aseagi", invariant=1, pageCompression=1, lang="en"
    )
    frame = Frame(LEFT, 50, ROOM, HEIGHT - 50 - 50, leftPadding=0, rightPadding=0, topPadding=2, bottomPadding=4)
    document.addPageTemplates([PageTemplate("page", [frame], onPage=decorate)])
    document.build(story, canvasmaker=Counting)
    return pages[0]


def gap(points: float = 6) -> Spacer:
    """Space."""
    return Spacer(1, points)
