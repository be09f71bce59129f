"""A sheet of paper as a person would type it, and its PDF.

Points, origin top left, y downwards to the baseline. What is written is kept in the order in which it was written:
that is the page's true text. Drawing is deterministic: the same sheets give the same bytes.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from aseagi_tasks.samples.fonts import Fonts, Role

Align = Literal["left", "centre", "right"]
Colour = tuple[float, float, float]

LETTER = (612.0, 792.0)
BLACK: Colour = (0.0, 0.0, 0.0)
INK: Colour = (0.10, 0.13, 0.35)
ECF_BLUE: Colour = (0.0, 0.0, 0.75)


@dataclass(frozen=True)
class Text:
    """Text with its left end at x and its baseline at y."""

    x: float
    y: float
    text: str
    role: Role
    size: float
    colour: Colour


@dataclass(frozen=True)
class Stroke:
    """A line through points."""

    points: tuple[tuple[float, float], ...]
    thickness: float
    colour: Colour


@dataclass(frozen=True)
class Area:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: Colour


class Sheet:
    """One side of paper. ``lines`` is its true text, single-spaced; ``marks`` what is drawn."""

    def __init__(self, fonts: Fonts, *, landscape: bool = False) -> None:
        self.fonts = fonts
        self.width, self.height = LETTER[::-1] if landscape else LETTER
        self.lines: list[str] = []
        self.marks: list[Text | Stroke | Area] = []

    @property
    def text(self) -> str:
        """The page's lines in reading order."""
        return "\n".join(self.lines)

    def write(
        self,
        x: float,
        y: float,
        text: str,
        *,
        role: Role = "serif",
        size: float = 12,
        align: Align = "left",
        colour: Colour = BLACK,
        beside: bool = False,
        underline: bool = False,
    ) -> None:
        """Write one line.

        Args:
            x: the line's left end, middle or right end, by ``align``.
            y: its baseline.
            text: as printed.
            role: kind of typeface.
            size: points.
            align: what x means.
            colour: red, green, blue in [0, 1].
            beside: continues the last line of the true text instead of opening a new one.
            underline: draw a rule below.
        Raises:
            ValueError: the line does not fit on the sheet.
        """
        if not text:
            return
        width = self.fonts.width(text, role, size)
        left = x - width * {"left": 0.0, "centre": 0.5, "right": 1.0}[align]
        if left < 8 or left + width > self.width - 8 or not 8 < y < self.height - 8:
            raise ValueError(f"{text!r} does not fit: x {left:.0f} to {left + width:.0f}, y {y:.0f}")
        self.marks.append(Text(left, y, text, role, size, colour))
        if underline:
            self.rule(left, y + 1.8, left + width, y + 1.8, thickness=0.7, colour=colour)
        words = " ".join(text.split())
        if beside and self.lines:
            self.lines[-1] += f" {words}"
        else:
            self.lines.append(words)

    def wrap(self, text: str, width: float, *, role: Role = "serif", size: float = 12, indent: float = 0) -> list[str]:
        """Break a paragraph into lines no wider than ``width``, never after §; the first is shortened by ``indent``."""
        lines: list[str] = []
        current = ""
        for word in text.replace("§ ", "§\0").split(" "):
            longer = f"{current} {word}" if current else word
            room = width - (indent if not lines else 0)
            if current and self.fonts.width(longer, role, size) > room:
                lines.append(current)
                current = word
            else:
                current = longer
        return [line.replace("\0", " ") for line in (*lines, current) if line]

    def paragraph(
        self,
        text: str,
        x: float,
        y: float,
        width: float,
        *,
        role: Role = "serif",
        size: float = 12,
        leading: float = 14,
        indent: float = 0,
    ) -> float:
        """Write wrapped text from baseline y on; returns the baseline that would come next."""
        for number, line in enumerate(self.wrap(text, width, role=role, size=size, indent=indent)):
            self.write(x + (indent if number == 0 else 0), y, line, role=role, size=size)
            y += leading
        return y

    def rule(
        self, x0: float, y0: float, x1: float, y1: float, *, thickness: float = 0.8, colour: Colour = BLACK
    ) -> None:
        """Draw a straight line."""
        self.marks.append(Stroke(((x0, y0), (x1, y1)), thickness, colour))

    def box(self, x: float, y: float, width: float, height: float, *, thickness: float = 0.8) -> None:
        """Draw a rectangle's outline; y is its top."""
        corners = ((x, y), (x + width, y), (x + width, y + height), (x, y + height), (x, y))
        self.marks.append(Stroke(corners, thickness, BLACK))

    def fill(self, x: float, y: float, width: float, height: float, colour: Colour) -> None:
        """Fill a rectangle; what is written later lies on top."""
        self.marks.append(Area(x, y, width, height, colour))

    def sign(self, x: float, y: float, width: float, *, seed: int) -> None:
        """Draw a signature: a line that no reader should turn into words, and that is in no true text."""
        loops = 6 + seed % 4
        pitch = width / loops
        points = []
        for step in range(40 * loops + 1):
            turn = step / 40  # loops so far
            tall = 15.0 if turn < 1 or loops // 2 < turn < loops // 2 + 1 else 5.5 - 3.0 * turn / loops
            across = pitch * turn + 0.42 * pitch * math.sin(2 * math.pi * turn + 0.4)
            up = tall * (0.5 - 0.5 * math.cos(2 * math.pi * turn)) + 1.5 * math.sin(1.7 * turn + seed)
            points.append((x + across, y - 2 - up))
        self.marks.append(Stroke(tuple(points), 1.1, INK))


def draw(sheets: Sequence[Sheet]) -> bytes:
    """The sheets as a born-digital PDF with embedded fonts; the same sheets always give the same bytes."""
    from reportlab.pdfgen.canvas import Canvas

    target = io.BytesIO()
    canvas = Canvas(target, invariant=1, pageCompression=1)
    canvas.setLineCap(1)
    for sheet in sheets:
        canvas.setPageSize((sheet.width, sheet.height))
        for mark in sheet.marks:
            match mark:
                case Text():
                    canvas.setFillColorRGB(*mark.colour)
                    canvas.setFont(sheet.fonts.name(mark.role), sheet.fonts.size(mark.role, mark.size))
                    canvas.drawString(mark.x, sheet.height - mark.y, mark.text)
                case Stroke():
                    canvas.setStrokeColorRGB(*mark.colour)
                    canvas.setLineWidth(mark.thickness)
                    path = canvas.beginPath()
                    path.moveTo(mark.points[0][0], sheet.height - mark.points[0][1])
                    for x, y in mark.points[1:]:
                        path.lineTo(x, sheet.height - y)
                    canvas.drawPath(path, stroke=1, fill=0)
                case Area():
                    canvas.setFillColorRGB(*mark.colour)
                    canvas.rect(mark.x, sheet.height - mark.y - mark.height, mark.width, mark.height, stroke=0, fill=1)
        canvas.showPage()
    canvas.save()
    return target.getvalue()
