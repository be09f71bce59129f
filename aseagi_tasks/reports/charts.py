"""Small pictures of numbers, drawn as vectors: a bar a day, stacked by kind. They read in print without colours too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.platypus import Flowable

from aseagi_tasks.reports.sheet import GREY, INK, RULE, WARN, text_at

#: Dark to light, so that a copier keeps them apart.
SHADES = (HexColor("#1d4e89"), HexColor("#6ea2d5"), HexColor("#c9d7e6"))


class Bars(Flowable):
    """A title, a bar a day, what it comes to above, and a legend below.

    Args:
        days: what stands below each bar.
        stacks: kind → one number a day; drawn from below in this order, at most three.
        colours: instead of the shades, one a kind.
        limit: a dashed line with its name, and the number at which it lies.
        written: how the sum of a bar is written.
    """

    def __init__(
        self,
        title: str,
        days: Sequence[str],
        stacks: Mapping[str, Sequence[float]],
        *,
        size: tuple[float, float],
        written: Callable[[float], str],
        colours: Sequence[Color] = SHADES,
        limit: tuple[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.width, self.height = size
        self._title, self._days, self._stacks, self._colours = title, days, stacks, colours
        self._limit, self._written, self._top = limit, written, 0.0

    def draw(self) -> None:
        """Axis, bars, numbers, limit, legend."""
        canvas: Any = self.canv
        sums = [sum(values[at] for values in self._stacks.values()) for at in range(len(self._days))]
        top = self._top = max([*sums, 0.0])
        # a limit far above all bars is said in the legend, and does not press them flat
        shown = self._limit if self._limit and 0 < self._limit[1] <= 4 * top else None
        scale = max(top, shown[1] if shown else 0.0) or 1.0
        floor, room = 32.0, self.height - 32.0 - 34.0
        text_at(canvas, 0, self.height - 10, self._title, size=8.5, bold=True, room=self.width)
        each = self.width / max(1, len(self._days))
        for at, day in enumerate(self._days):
            x, y = at * each + each * 0.18, floor
            for (_, values), colour in zip(self._stacks.items(), self._colours, strict=False):
                tall = room * values[at] / scale
                if tall > 0:
                    canvas.setFillColor(colour)
                    canvas.rect(x, y, each * 0.64, max(tall, 0.6), stroke=0, fill=1)
                    y += max(tall, 0.6)
            centre = at * each + each / 2
            said = self._written(sums[at]) if sums[at] else "–"
            text_at(canvas, centre, y + 3, said, size=6.5, colour=INK if sums[at] else GREY, centred=each - 2)
            text_at(canvas, centre, floor - 9, day, size=6.5, colour=GREY, centred=each - 2)
        canvas.setStrokeColor(RULE)
        canvas.setLineWidth(0.7)
        canvas.line(0, floor, self.width, floor)
        if shown:
            y = floor + room * shown[1] / scale
            canvas.setStrokeColor(WARN)
            canvas.setDash(3, 2)
            canvas.line(0, y, self.width, y)
            canvas.setDash()
        self._legend(canvas, bool(shown))

    def _legend(self, canvas: Any, limit_drawn: bool) -> None:
        x = 0.0
        for (name, _), colour in zip(self._stacks.items(), self._colours, strict=False):
            if not name:
                continue
            canvas.setFillColor(colour)
            canvas.rect(x, 8, 6, 6, stroke=0, fill=1)
            text_at(canvas, x + 9, 8.5, name, size=6.5, colour=GREY)
            x += 9 + 3.9 * len(name) + 10
        if self._limit:
            if limit_drawn:
                canvas.setStrokeColor(WARN)
                canvas.setDash(3, 2)
                canvas.line(x, 11, x + 12, 11)
                canvas.setDash()
                x += 15
            name, value = self._limit
            said = f"{name} {self._written(value)}" + ("" if limit_drawn or not self._top else " (far above)")
            text_at(canvas, x, 8.5, said, size=6.5, colour=GREY, room=self.width - x)
