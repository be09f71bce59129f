"""The fourth stage: lines become facts with their evidence."""

from __future__ import annotations

from aseagi_tasks.analysis.analyst import Analyst
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import Reading


def analyze(reading: Reading, name: str, analyst: Analyst) -> Analysis:
    """Find a document's facts; one without a word on it has none, and goes to nobody.

    Raises:
        RateLimited, AnalystUnavailable, Refused, ConfigError: from the analyst.
    """
    if not any(line.text.strip() for page in reading.pages for line in page.lines):
        return Analysis(analyst=analyst.name)
    return analyst.analyze(reading, name)
