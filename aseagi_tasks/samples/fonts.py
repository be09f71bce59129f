"""The typefaces that samples are set in: whichever of four families this machine has.

Liberation, Microsoft's core fonts (macOS carries them), DejaVu, and reportlab's own Vera, in this order. Wider families
are set smaller, so that a page holds the same paragraphs whatever it is set in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aseagi_tasks.errors import ConfigError

Role = Literal["serif", "serif-bold", "serif-italic", "sans", "sans-bold", "mono", "mono-bold"]

FOLDERS = (
    "/usr/share/fonts/truetype/liberation",
    "/usr/share/fonts/truetype/liberation2",
    "/usr/share/fonts/liberation",
    "/usr/share/fonts/liberation-serif-fonts",
    "/usr/share/fonts/liberation-sans-fonts",
    "/usr/share/fonts/liberation-mono-fonts",
    "/usr/share/fonts/truetype/dejavu",
    "/usr/share/fonts/dejavu",
    "/usr/share/fonts/TTF",
    "/opt/homebrew/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts/Supplemental",
    "~/Library/Fonts",
    "~/.local/share/fonts",
    "~/.fonts",
)


@dataclass(frozen=True)
class Family:
    """Files by role, and the factors that make its letters no wider than Liberation's.

    Attributes:
        files: the first is the serif upright one, and stands in for any role whose file is missing.
        serif_scale, sans_scale, mono_scale: sizes of the role are multiplied by it.
    """

    name: str
    files: dict[Role, str]
    serif_scale: float = 1.0
    sans_scale: float = 1.0
    mono_scale: float = 1.0


FAMILIES = (
    Family(
        "Liberation",
        {
            "serif": "LiberationSerif-Regular.ttf",
            "serif-bold": "LiberationSerif-Bold.ttf",
            "serif-italic": "LiberationSerif-Italic.ttf",
            "sans": "LiberationSans-Regular.ttf",
            "sans-bold": "LiberationSans-Bold.ttf",
            "mono": "LiberationMono-Regular.ttf",
            "mono-bold": "LiberationMono-Bold.ttf",
        },
    ),
    Family(
        "Core",
        {
            "serif": "Times New Roman.ttf",
            "serif-bold": "Times New Roman Bold.ttf",
            "serif-italic": "Times New Roman Italic.ttf",
            "sans": "Arial.ttf",
            "sans-bold": "Arial Bold.ttf",
            "mono": "Courier New.ttf",
            "mono-bold": "Courier New Bold.ttf",
        },
    ),
    Family(
        "DejaVu",
        {
            "serif": "DejaVuSerif.ttf",
            "serif-bold": "DejaVuSerif-Bold.ttf",
            "serif-italic": "DejaVuSerif-Italic.ttf",
            "sans": "DejaVuSans.ttf",
            "sans-bold": "DejaVuSans-Bold.ttf",
            "mono": "DejaVuSansMono.ttf",
            "mono-bold": "DejaVuSansMono-Bold.ttf",
        },
        serif_scale=0.80,
        sans_scale=0.87,
    ),
    Family(
        "Vera",
        {"serif": "Vera.ttf", "serif-bold": "VeraBd.ttf", "serif-italic": "VeraIt.ttf", "sans-bold": "VeraBd.ttf"},
        serif_scale=0.80,
        sans_scale=0.87,
        mono_scale=0.90,
    ),
)


class Fonts:
    """One family, registered with reportlab; measures text so that pages can be laid out before they are drawn."""

    def __init__(self, family: Family, paths: dict[Role, Path]) -> None:
        from reportlab.pdfbase import pdfmetrics
        from reportlab.pdfbase.ttfonts import TTFError, TTFont

        self.family = family
        self._names: dict[Role, str] = {}
        for role, path in paths.items():
            self._names[role] = f"{family.name}-{role}"
            try:
                pdfmetrics.registerFont(TTFont(self._names[role], str(path)))
            except (TTFError, OSError) as exc:
                raise ConfigError(str(path), f"is no usable TrueType font: {exc}.", "Install it again.") from exc

    def name(self, role: Role) -> str:
        """Reportlab's name of the font; a role that the family lacks is set in its serif or bold serif."""
        fallback: Role = "serif-bold" if role.endswith("bold") else "serif"
        return self._names.get(role) or self._names.get(fallback) or self._names["serif"]

    def size(self, role: Role, size: float) -> float:
        """Points that look like ``size`` points of Liberation."""
        family = self.family
        scales = {"serif": family.serif_scale, "sans": family.sans_scale, "mono": family.mono_scale}
        return size * scales[role.split("-")[0]]

    def width(self, text: str, role: Role, size: float) -> float:
        """Points that ``text`` takes on the line."""
        from reportlab.pdfbase.pdfmetrics import stringWidth

        return float(stringWidth(text, self.name(role), self.size(role, size)))


def find_fonts(folders: tuple[Path, ...] | None = None, families: tuple[Family, ...] = FAMILIES) -> Fonts:
    """The first family whose upright serif is in one of the folders.

    Args:
        folders: where to look; default the usual places of Debian, Fedora, Arch and macOS, then reportlab's own.
        families: in order of preference.
    Raises:
        ConfigError: there is none.
    """
    if folders is None:
        import reportlab

        folders = (*(Path(name).expanduser() for name in FOLDERS), Path(reportlab.__file__).parent / "fonts")
    for family in families:
        paths: dict[Role, Path] = {}
        for role, file in family.files.items():
            path = next((folder / file for folder in folders if (folder / file).is_file()), None)
            if path is not None:
                paths[role] = path
        if "serif" in paths:
            return Fonts(family, paths)
    raise ConfigError(
        "Fonts",
        "no TrueType font was found to set the samples in.",
        "Install fonts-liberation (macOS: font-liberation).",
    )
