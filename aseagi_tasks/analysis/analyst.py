"""What every analyst can do: lines to facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol

from aseagi_tasks.analysis.dialogue import Dialogue
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import Reading


class Errand:
    """What an analyst may need beside the text: pictures of pages, money, a memory. This one has none of them.

    ``stages.analyze.JobErrand`` is a job's.
    """

    def images(self, edges_px: Mapping[int, int]) -> dict[int, bytes]:
        """Pages as JPEG.

        Args:
            edges_px: long edge in pixels by page number.
        Returns:
            By page number; a page that is missing goes as text.
        """
        return {}

    def allow(self, bound_usd: float) -> None:
        """Begin a document that can cost so much. Raises BudgetExceeded: more than one document may."""

    def reserve(self, key: str, usd: float) -> None:
        """Set money aside for a call. Raises BudgetExceeded: the day's is used up."""

    def settle(self, key: str, usd: float, detail: Mapping[str, Any]) -> None:
        """Say what the call cost; 0 frees what was set aside. More than once does no harm."""

    def free(self, key: str) -> None:
        """Free what was set aside for a call that is not made now, unless its request is on its way."""

    def recall(self) -> Dialogue | None:
        """What was said so far."""
        return None

    def keep(self, dialogue: Dialogue) -> None:
        """Remember what was said."""


class Analyst(Protocol):
    """Finds facts and where they stand. Never fills in what the document does not say."""

    @property
    def name(self) -> Literal["rules", "claude"]:
        """Which one."""

    @property
    def version(self) -> str:
        """Name and version of rules, or model and prompt: results of another are not taken for its own."""

    def analyze(self, reading: Reading, name: str, errand: Errand | None = None) -> Analysis:
        """Find facts.

        Args:
            reading: every page read.
            name: the file's, for errors.
            errand: pictures, money and memory, if there are any.
        Raises:
            RateLimited, AnalystUnavailable, NotSetUp, BudgetExceeded: later. Refused: final.
        """
