"""The stationery: running text, California pleading paper, captions, forms made of boxes, tables."""

from __future__ import annotations

from collections.abc import Sequence

from aseagi_tasks.samples.drawing import Align, Sheet
from aseagi_tasks.samples.fonts import Fonts, Role

#: Rows of a caption: what stands left of the rule, and right of it.
Caption = Sequence[tuple[str, str]]

#: Lines of a caption that stand further in.
_SET_IN = frozenset({"Plaintiff,", "v.", "Defendants."})


class Flow:
    """Text running down a sheet between two margins; ``y`` is the next baseline."""

    def __init__(
        self,
        sheet: Sheet,
        *,
        left: float = 72,
        right: float = 540,
        y: float = 84,
        size: float = 12,
        leading: float = 15,
    ) -> None:
        self.sheet = sheet
        self.left, self.right, self.y = left, right, y
        self.size, self.leading = size, leading

    def line(self, text: str, *, role: Role = "serif", align: Align = "left", underline: bool = False) -> None:
        """One line at the left margin, the right margin or between them."""
        x = {"left": self.left, "centre": (self.left + self.right) / 2, "right": self.right}[align]
        self.sheet.write(x, self.y, text, role=role, size=self.size, align=align, underline=underline)
        self.y += self.leading

    def lines(self, *texts: str, role: Role = "serif", align: Align = "left") -> None:
        """Lines one below the other."""
        for text in texts:
            self.line(text, role=role, align=align)

    def para(self, text: str, *, indent: float = 0, inset: float = 0, role: Role = "serif") -> None:
        """A paragraph and the space after it; ``inset`` moves its left side in."""
        self.y = self.sheet.paragraph(
            text,
            self.left + inset,
            self.y,
            self.right - self.left - inset,
            role=role,
            size=self.size,
            leading=self.leading,
            indent=indent,
        )
        self.y += self.leading * 0.5

    def gap(self, lines: float = 1) -> None:
        """Leave lines empty."""
        self.y += lines * self.leading

    def caption(self, rows: Caption, *, divide: float = 300) -> None:
        """Parties at the left, and after them case number and title at the right; a rule between and below."""
        top = self.y
        for place, (left, _) in enumerate(rows):
            set_in = 90 if left in _SET_IN else 0
            self.sheet.write(self.left + set_in, top + place * self.leading, left, size=self.size)
        for place, (_, right) in enumerate(rows):
            self.sheet.write(divide + 14, top + place * self.leading, right, size=self.size)
        self.y += len(rows) * self.leading
        self.sheet.rule(divide, top - self.leading, divide, self.y - self.leading + 5)
        self.sheet.rule(self.left, self.y - self.leading + 5, divide, self.y - self.leading + 5)
        self.gap()


class Pleading:
    """Pleading paper: 28 numbered rows, a double rule at the left, a single one at the right, a footer.

    Source: California Rules of Court, rules 2.105 to 2.110.
    """

    ROWS = 28
    LEFT, RIGHT, TOP, PITCH = 104.0, 566.0, 58.0, 24.0

    def __init__(self, fonts: Fonts, *, page: int, footer: str) -> None:
        self.sheet = Sheet(fonts)
        self._page, self._footer = page, footer
        self._row = 0
        for x in (92.0, 95.0, 572.0):
            self.sheet.rule(x, 0, x, self.sheet.height, thickness=0.6)

    @property
    def y(self) -> float:
        """Baseline of the row that is written next."""
        return self.TOP + self._row * self.PITCH

    def row(
        self,
        text: str = "",
        *,
        role: Role = "serif",
        align: Align = "left",
        indent: float = 0,
        right: str = "",
        right_role: Role = "serif",
        right_x: float = 352,
        right_size: float = 12,
        underline: bool = False,
    ) -> None:
        """One numbered row, with something further right on it if wanted.

        Raises:
            ValueError: the page is full.
        """
        if self._row == self.ROWS:
            raise ValueError(f"no row is left for {text!r}")
        y, sheet = self.y, self.sheet
        self._row += 1
        sheet.write(86, y, str(self._row), align="right")
        x = {"left": self.LEFT + indent, "centre": (self.LEFT + self.RIGHT) / 2, "right": self.RIGHT}[align]
        sheet.write(x, y, text, role=role, align=align, beside=True, underline=underline)
        sheet.write(right_x, y, right, role=right_role, size=right_size, beside=True)

    def rows(self, *texts: str, role: Role = "serif", align: Align = "left") -> None:
        """Several rows."""
        for text in texts:
            self.row(text, role=role, align=align)

    def para(self, text: str, *, indent: float = 36) -> None:
        """A paragraph, double-spaced, one line a row."""
        for number, line in enumerate(self.sheet.wrap(text, self.RIGHT - self.LEFT, indent=indent)):
            self.row(line, indent=indent if number == 0 else 0)

    def caption(self, rows: Caption) -> None:
        """The box with the parties; the right side holds number, title and hearing."""
        top = self.y - self.PITCH + 6
        for left, right in rows:
            bold: Role = "serif-bold" if right.isupper() else "serif"
            self.row(left, indent=120 if left in _SET_IN else 0, right=right, right_role=bold)
        bottom = self.y - self.PITCH + 8
        self.sheet.rule(343, top, 343, bottom)
        self.sheet.rule(self.LEFT, bottom, 343, bottom)

    def end(self) -> Sheet:
        """Number what is left, write the footer, give the sheet."""
        while self._row < self.ROWS:
            self.row()
        middle = (self.LEFT + self.RIGHT) / 2
        self.sheet.write(middle, 738, str(self._page), align="centre", size=11)
        self.sheet.rule(self.LEFT, 743, self.RIGHT, 743)
        self.sheet.write(middle, 756, self._footer, align="centre", size=9.5)
        return self.sheet


def cells(
    sheet: Sheet, y: float, row: Sequence[tuple[float, str, str]], *, left: float = 36, height: float = 30
) -> float:
    """One row of a form: boxes with a small label above a typed value; returns the next row's top.

    Args:
        sheet: the form.
        y: top of the row.
        row: width, label and value of every box; an empty value is left blank.
        left: where the first box starts.
        height: of all boxes.
    """
    places = [left + sum(width for width, _, _ in row[:place]) for place in range(len(row))]
    _across(sheet, y + 9, [(x, label) for x, (_, label, _) in zip(places, row, strict=True)], role="sans", size=7.2)
    values = [(x, value) for x, (_, _, value) in zip(places, row, strict=True)]
    _across(sheet, y + height - 6.5, values, role="mono", size=10.5)
    for x, (width, _, _) in zip(places, row, strict=True):
        sheet.box(x, y, width, height)
    return y + height


def _across(sheet: Sheet, y: float, texts: Sequence[tuple[float, str]], *, role: Role, size: float) -> None:
    """Texts on one line, one in each box; empty ones are left out."""
    for number, (x, text) in enumerate([entry for entry in texts if entry[1]]):
        sheet.write(x + 3.5, y, text, role=role, size=size, beside=number > 0)


def heading(sheet: Sheet, y: float, text: str, *, left: float = 36, width: float = 540) -> float:
    """A form's section: capitals on a grey bar; returns the next row's top."""
    sheet.fill(left, y, width, 15, (0.85, 0.85, 0.85))
    sheet.box(left, y, width, 15)
    sheet.write(left + 5, y + 11, text, role="sans-bold", size=9)
    return y + 15


def table(
    sheet: Sheet,
    y: float,
    widths: Sequence[float],
    rows: Sequence[Sequence[str]],
    *,
    left: float = 48,
    height: float = 19,
    size: float = 9.5,
    figures: frozenset[int] = frozenset(),
) -> float:
    """A ruled table whose first row is its head; columns in ``figures`` are set flush right; returns y below it."""
    for number, row in enumerate(rows):
        if number == 0:
            sheet.fill(left, y, sum(widths), height, (0.88, 0.88, 0.88))
        x, role = left, "sans-bold" if number == 0 else "sans"
        for column, (width, text) in enumerate(zip(widths, row, strict=True)):
            flush: Align = "right" if column in figures else "left"
            place = x + width - 5 if flush == "right" else x + 5
            kind: Role = "sans-bold" if role == "sans-bold" else "sans"
            sheet.write(place, y + height - 6, text, role=kind, size=size, align=flush, beside=column > 0)
            sheet.box(x, y, width, height, thickness=0.6)
            x += width
        y += height
    return y
