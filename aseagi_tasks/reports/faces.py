"""Typefaces of the reports, and text as their markup: names of every script, where this machine has the letters.

reportlab brings Vera, which has the letters of western Europe and is the same wherever this program runs. Other letters
come from the first typeface below that has them; a character that none has is shown as a box. Hebrew and Arabic are put
into the order in which they are seen.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFError, TTFont

from aseagi_tasks.samples.fonts import FOLDERS

PLAIN, BOLD = "Vera", "VeraBd"
#: In this order; of each the upright and the bold file, where there is one. DejaVu is Vera with more letters.
_FALLBACKS = (
    ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf"),
    ("DroidSansFallbackFull.ttf", None),
    ("DroidSansFallback.ttf", None),
    ("NanumGothic.ttf", "NanumGothicBold.ttf"),
    ("Loma.ttf", "Loma-Bold.ttf"),
    ("Lohit-Devanagari.ttf", None),
    ("LiberationSans-Regular.ttf", "LiberationSans-Bold.ttf"),
    ("Arial Unicode.ttf", None),
)
_FOLDERS = (
    *FOLDERS,
    "/usr/share/fonts/truetype/droid",
    "/usr/share/fonts/truetype/nanum",
    "/usr/share/fonts/truetype/tlwg",
    "/usr/share/fonts/truetype/lohit-devanagari",
)
_MISSING = "\N{WHITE SQUARE}"
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]")


class Face(NamedTuple):
    """A registered typeface and the code points that it has."""

    name: str
    known: frozenset[int]


def markup(text: str, *, bold: bool = False) -> str:
    """A text as reportlab's markup, whatever is in it: nothing in it is a tag, every letter in a face that has it."""
    return "".join(
        escape(part) if name == (BOLD if bold else PLAIN) else f'<font name="{name}">{escape(part)}</font>'
        for name, part in runs(text, bold=bold)
    )


def runs(text: str, *, bold: bool = False) -> list[tuple[str, str]]:
    """A text as pieces, each with the name of the typeface that has its letters; white space becomes single spaces."""
    seen = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text))
    if _RIGHT_TO_LEFT.search(seen):
        seen = _as_seen(seen)
    faces = _faces()[bold]
    pieces = ((_face_of(character, faces), character) for character in seen if unicodedata.category(character) != "Cc")
    return [
        (name, "".join(character if known else _MISSING for (_, known), character in some))
        for name, some in groupby(pieces, key=lambda piece: piece[0][0])
    ]


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Points that a text takes on the line."""
    return sum(pdfmetrics.stringWidth(part, name, size) for name, part in runs(text, bold=bold))


def _face_of(character: str, faces: tuple[Face, ...]) -> tuple[str, bool]:
    code = ord(character)
    for face in faces:
        if code in face.known:
            return face.name, True
    box = next((face.name for face in faces if ord(_MISSING) in face.known), faces[0].name)
    return box, False


def _as_seen(text: str) -> str:
    """Letters that join joined, and what is written from the right in the order of the eye."""
    from arabic_reshaper import reshape
    from bidi.algorithm import get_display

    return str(get_display(reshape(text), base_dir="L"))


@cache
def _faces() -> tuple[tuple[Face, ...], tuple[Face, ...]]:
    """Upright and bold faces, registered once; a family without a bold one gives its upright."""
    upright, bold = [_registered(PLAIN, f"{PLAIN}.ttf")], [_registered(BOLD, f"{BOLD}.ttf")]
    for plain_file, bold_file in _FALLBACKS:
        plain = _found(plain_file)
        if plain is not None:
            upright.append(plain)
            bold.append((bold_file and _found(bold_file)) or plain)
    return tuple(face for face in upright if face), tuple(face for face in bold if face)


def _found(file: str) -> Face | None:
    path = next((path for folder in _FOLDERS if (path := Path(folder).expanduser() / file).is_file()), None)
    return _registered(path.stem.replace(" ", ""), str(path)) if path else None


def _registered(name: str, path: str) -> Face | None:
    try:
        font = TTFont(name, path)
    except (TTFError, OSError):
        return None  # one that cannot be used is as good as one that is not there
    pdfmetrics.registerFont(font)
    return Face(name, frozenset(font.face.charToGlyph))
