"""The fourth stage: lines become facts with their evidence."""

from __future__ import annotations

from collections.abc import Iterator

from aseagi_tasks.analysis.analyst import Analyst
from aseagi_tasks.analysis.schema import Analysis, Caution
from aseagi_tasks.documents import Reading


def analyze(reading: Reading, name: str, analyst: Analyst) -> Analysis:
    """Find a document's facts, and say what of it cannot be seen; one without a word on it goes to nobody.

    Raises:
        RateLimited, AnalystUnavailable, Refused, ConfigError: from the analyst.
    """
    if not any(line.text.strip() for page in reading.pages for line in page.lines):
        analysis = Analysis(analyst=analyst.name)
    else:
        analysis = analyst.analyze(reading, name)
    return analysis.model_copy(update={"warnings": (*_cautions(reading), *analysis.warnings)})


def _cautions(reading: Reading) -> Iterator[Caution]:
    """Text that is in the file and not to be seen. The words themselves are not repeated: they may be redacted."""
    for page in reading.pages:
        for hidden in page.hidden:
            how_much = f"Text of {len(hidden.text):,} characters"
            if hidden.why == "covered":
                message = f"{how_much} lies under an opaque box, and can be copied out of the original."
            else:
                message = f"{how_much} in the file cannot be seen on the page."
            yield Caution(kind=hidden.why, message=message, page=page.number, box=hidden.box)
