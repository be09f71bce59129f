"""What every analyst can do: lines to facts."""

from __future__ import annotations

from typing import Literal, Protocol

from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import Reading


class Analyst(Protocol):
    """Finds facts and where they stand. Never fills in what the document does not say."""

    @property
    def name(self) -> Literal["rules", "claude"]:
        """Which one."""

    @property
    def version(self) -> str:
        """Name and version of rules, or model and prompt: results of another are not taken for its own."""

    def analyze(self, reading: Reading, name: str) -> Analysis:
        """Find facts.

        Args:
            reading: every page read.
            name: the file's, for errors.
        Raises:
            RateLimited, AnalystUnavailable, Refused, ConfigError.
        """
