"""The certificate on one page of paper, however many files it is about: what does not fit is counted."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from reportlab.lib.colors import Color, HexColor
from reportlab.lib.pagesizes import LETTER
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.reports.certificate import ENDED, Certificate
from aseagi_tasks.reports.faces import width
from aseagi_tasks.reports.sheet import BAD, GOOD, GREY, HEIGHT, INK, LEFT, PALE, RIGHT, ROOM, RULE, WARN, text_at

#: Everything below this height is about the certificate itself.
_FOOT = 172.0
_LINE = 13.5


def _scope(scope: str) -> str:
    """What is certified, in words."""
    if scope == "run":
        return "A run of files"
    return f"Bulk run {scope[4:]}" if scope.startswith("run-") else f"Files handed in on {scope} (UTC)"


def draw(certificate: Certificate, key: str) -> bytes:
    """The page as PDF; the same certificate gives the same bytes.

    Args:
        key: of the certificate's JSON, which the page refers to.
    """
    body = io.BytesIO()
    canvas = Canvas(body, pagesize=LETTER, invariant=True)
    canvas.setTitle(f"Completeness certificate {certificate.scope}")
    canvas.setAuthor(certificate.program)
    page = _Page(canvas, certificate, key)
    page.draw()
    canvas.showPage()
    canvas.save()
    return body.getvalue()


class _Page:
    """Draws from the top down; ``y`` is the next base line, in points from the bottom."""

    def __init__(self, canvas: Canvas, certificate: Certificate, key: str) -> None:
        self.canvas, self.certificate, self.key = canvas, certificate, key
        self.y = HEIGHT - 62

    def draw(self) -> None:
        self._head()
        self._files()
        self._pages()
        self._made_by()
        self._exceptions()
        self._foot()

    def _head(self) -> None:
        certificate = self.certificate
        self._write(LEFT, self.y, "Completeness certificate", size=20, bold=True)
        balanced = certificate.totals.balanced
        said, colour = ("BALANCES", GOOD) if balanced else ("DOES NOT BALANCE", BAD)
        across = width(said, 11, bold=True) + 24
        self.canvas.setFillColor(colour)
        self.canvas.roundRect(RIGHT - across, self.y - 7, across, 26, 5, stroke=0, fill=1)
        self._write(RIGHT - across + 12, self.y + 2, said, size=11, bold=True, colour=HexColor("#ffffff"))
        self.y -= 19
        what = _scope(certificate.scope)
        entries = certificate.entries
        if entries and certificate.scope.startswith("run"):
            what += f", handed in {entries[0].created_at[:16]} to {entries[-1].created_at[:16]} UTC".replace("T", " ")
        self._write(LEFT, self.y, what, size=10, colour=GREY)
        self.y -= 16

    def _files(self) -> None:
        totals = self.certificate.totals
        parts = [(name, totals.outcomes[name]) for name in ENDED]
        if totals.outcomes["open"]:
            parts.append(("open", totals.outcomes["open"]))
        colours = {"completed": GOOD, "quarantined": WARN, "failed": WARN, "open": BAD}
        self._equation("files in", totals.files, parts, colours)
        if totals.documents != totals.files:
            said = f"{totals.documents:,} different documents by SHA-256: a file that was handed in twice counts twice."
            self._write(LEFT, self.y, said, size=8, colour=GREY)
            self.y -= 14

    def _pages(self) -> None:
        totals = self.certificate.totals
        parts = list(totals.text_from.items()) or [("accounted for", 0)]
        self._equation("pages in", totals.pages, parts, {"unread": WARN})
        if totals.uncounted:
            said = f"{totals.uncounted:,} of the files ended before anybody could count their pages."
            self._write(LEFT, self.y, said, size=8, colour=GREY)
            self.y -= 14

    def _equation(self, label: str, total: int, parts: Sequence[tuple[str, int]], colours: dict[str, Color]) -> None:
        """A total and what it is the sum of, in tiles."""
        tiles, gap = [(label, total), *parts], 16.0
        across = min(112.0, (ROOM - gap * (len(tiles) - 1)) / len(tiles))
        x, top = LEFT, self.y
        for number, (name, count) in enumerate(tiles):
            self.canvas.setFillColor(PALE if number else HexColor("#e8ecf3"))
            self.canvas.roundRect(x, top - 46, across, 46, 5, stroke=0, fill=1)
            colour = colours.get(name, INK) if count else GREY
            self._write(x + across / 2, top - 23, f"{count:,}", size=16, bold=True, colour=colour, centred=across - 8)
            self._write(x + across / 2, top - 38, name, size=7.5, colour=GREY, centred=across - 6)
            if number + 1 < len(tiles):
                sign = "+" if number else "="
                self._write(x + across + gap / 2, top - 27, sign, size=11, colour=GREY, centred=gap)
            x += across + gap
        self.y = top - 46 - 16

    def _made_by(self) -> None:
        made = Counter(
            (entry.engine or "?", entry.analyst or "?", entry.model or "", entry.prompt_version or "")
            for entry in self.certificate.entries
            if entry.files
        )
        if not made:
            return
        self._heading("Made by")
        shown = made.most_common(4)
        for (engine, analyst, model, prompt), count in shown:
            details = [f"text: {engine}", f"facts: {analyst}"]
            details += [f"model: {model}"] if model and model not in analyst else []
            details += [f"prompt: {prompt}"] if prompt and prompt not in analyst else []
            self._row((f"{count:,} file{'s' if count != 1 else ''}", 60, False), (" · ".join(details), 0, False))
        if len(made) > len(shown):
            self._more(f"and {len(made) - len(shown)} more sets of versions: see the JSON")
        self.y -= 8

    def _exceptions(self) -> None:
        found = list(self.certificate.exceptions())
        if not found:
            self._heading("Exceptions")
            self._write(LEFT, self.y, "None: every file was completed, every page read or blank.", size=8.5)
            return
        self._heading(f"Exceptions ({len(found):,})")
        # what is still open keeps the certificate from balancing: it goes first
        order = ("open", "quarantined", "failed", "cancelled", "completed")
        found.sort(key=lambda pair: (not pair[0].lacks, order.index(pair[0].outcome)))
        room = int((self.y - _FOOT) / _LINE)
        shown = found if len(found) <= room else found[: room - 1]
        for entry, why in shown:
            colour = BAD if entry.lacks else WARN
            self._row(
                (entry.name, 150, False), (entry.job_id[:8], 56, False), (entry.outcome, 66, True), (why, 0, False),
                colour=colour,
            )  # fmt: skip
        if len(shown) < len(found):
            self._more(f"and {len(found) - len(shown):,} more, by name in the JSON")

    def _foot(self) -> None:
        certificate, self.y = self.certificate, _FOOT - 22
        self.canvas.setStrokeColor(RULE)
        self.canvas.setLineWidth(0.7)
        self.canvas.line(LEFT, self.y + 14, RIGHT, self.y + 14)
        key = certificate.fingerprint
        facts = [
            ("chain ends in", certificate.hash),
            ("signed with key", key or "not signed: whoever can write to the bucket could have written this"),
            ("certificate", f"{self.key}, in bucket {certificate.bucket}"),
            ("made", f"{certificate.made_at[:19].replace('T', ' ')} UTC by {certificate.program}"),
        ]
        for name, value in facts:
            self._row((name, 84, False), (value, 0, False), size=8, muted=True)
        self.y -= 7
        self._write(LEFT, self.y, "To verify", size=9, bold=True)
        self.y -= 13
        insist = " --key PUBLIC.pub" if key else ""
        for line in (
            f"aseagi verify {self.key}{insist}",
            "checks chain, signature and sums, reads every original and result back and compares its SHA-256.",
            "Without this program: the form is plain JSON and SHA-256; DESIGN.md shows twenty lines that check it.",
        ):
            self._write(LEFT, self.y, line, size=8, colour=GREY, room=ROOM)
            self.y -= 12

    def _heading(self, text: str) -> None:
        self._write(LEFT, self.y - 4, text, size=10.5, bold=True)
        self.y -= 20

    def _more(self, text: str) -> None:
        self._write(LEFT, self.y, text, size=8, colour=GREY)
        self.y -= _LINE

    def _write(self, x: float, y: float, text: str, **how: Any) -> None:
        text_at(self.canvas, x, y, text, **how)

    def _row(self, *cells: tuple[str, float, bool], size: float = 8, colour: Color = INK, muted: bool = False) -> None:
        """Cells of a text, a width (0: what is left) and whether it is coloured."""
        x = LEFT
        for number, (text, given, coloured) in enumerate(cells):
            room = given or RIGHT - x
            own = colour if coloured else GREY if muted and not number else INK
            self._write(x, self.y, text, size=size, colour=own, room=room - (6 if given else 0))
            x += room
        self.y -= _LINE
