"""What is known about a sample: its facts and every page's exact text. Lies in ``truth/`` beside the documents."""

from __future__ import annotations

from datetime import date
from typing import Literal

from aseagi_tasks.documents import Frozen, MediaType

PageKind = Literal["text-layer", "scan", "blank", "stamped-scan"]


class TrueParty(Frozen):
    """A party as printed, with its role in lower case."""

    name: str
    role: str


class TruePage(Frozen):
    """One page.

    Attributes:
        number: 1-based.
        kind: how its text is on the page; ``stamped-scan`` is an image with a text layer that holds one line.
        rotation_applied: degrees clockwise by which the stored page must be turned to be upright.
        text: what is printed, in reading order; forms row by row. Empty for a blank page.
    """

    number: int
    kind: PageKind
    rotation_applied: Literal[0, 90, 180, 270]
    text: str


class Facts(Frozen):
    """What the document says about itself; None where it does not say."""

    document_type: str
    document_date: date | None
    filed_date: date | None
    case_number: str | None
    court: str | None
    title: str
    parties: tuple[TrueParty, ...]


class Truth(Facts):
    """Facts and pages of one sample; ``file`` is its name within the folder."""

    file: str
    media_type: MediaType
    pages: tuple[TruePage, ...]
