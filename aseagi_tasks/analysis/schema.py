"""What is known about a document: fields, each with its evidence. This is ``analysis.json``.

A field that was not found is None or empty; nothing is filled in to fill it. Pure: no I/O, no clock.
"""

from __future__ import annotations

from typing import Any, Literal

from aseagi_tasks.documents import Box, Frozen

DocumentType = Literal[
    "motion",
    "order",
    "complaint",
    "petition",
    "answer",
    "declaration",
    "affidavit",
    "brief",
    "opinion",
    "judgment",
    "notice",
    "subpoena",
    "summons",
    "letter",
    "police_report",
    "form",
    "exhibit",
    "transcript",
    "agreement",
    "invoice",
    "medical_record",
    "proof_of_service",
    "other",
]

#: verified: two independent readers agree. supported: the quote stands on the page and says it. unverified: not so,
#: or another reader found otherwise.
Support = Literal["verified", "supported", "unverified"]


class Evidence(Frozen):
    """Where a field's value stands: page (1-based), the words, the box around their lines in page pixels."""

    page: int
    quote: str
    box: Box | None = None


class Fact(Frozen):
    """One field. ``value`` is normalised (ISO dates); ``original`` is as written."""

    value: str | int
    original: str | None = None
    status: Support
    evidence: tuple[Evidence, ...] = ()


class Party(Frozen):
    """A party to the case; ``role`` in lower case (plaintiff, defendant, petitioner …)."""

    name: str
    role: str | None = None
    status: Support
    evidence: tuple[Evidence, ...] = ()


class Caution(Frozen):
    """What a reader should know before trusting the document; of one place, or of the whole.

    Attributes:
        kind: ``covered``, ``invisible``: text of the file that is not to be seen; ``contradicted``: the page shows
            other words than its text layer has.
    """

    kind: Literal["covered", "invisible", "contradicted"]
    message: str
    page: int | None = None
    box: Box | None = None

    def __str__(self) -> str:
        return f"page {self.page}: {self.message}" if self.page else self.message


class Analysis(Frozen):
    """A document's fields, and who found them.

    Attributes:
        model, prompt_version: of the Claude analyst; None for the rules.
        relevancy_score: 0-100, ``original`` holds the reason.
        warnings: what a reader should know before trusting the document.
        usage: tokens by kind. cost_usd: what the calls cost. cost_bound_usd: what they could have cost at most, as was
            known before the first.
    """

    schema_version: Literal[1] = 1
    analyst: Literal["rules", "claude"]
    model: str | None = None
    prompt_version: str | None = None
    document_type: Fact | None = None
    document_date: Fact | None = None
    filed_date: Fact | None = None
    case_number: Fact | None = None
    court: Fact | None = None
    title: Fact | None = None
    summary: Fact | None = None
    relevancy_score: Fact | None = None
    language: Fact | None = None
    parties: tuple[Party, ...] = ()
    people: tuple[Fact, ...] = ()
    key_dates: tuple[Fact, ...] = ()
    warnings: tuple[Caution, ...] = ()
    usage: dict[str, int] = {}
    cost_usd: float = 0.0
    cost_bound_usd: float = 0.0

    def facts(self) -> dict[str, Any]:
        """Plain JSON values by field, without evidence: None or an empty list where nothing was found."""
        single = (
            "document_type",
            "document_date",
            "filed_date",
            "case_number",
            "court",
            "title",
            "summary",
            "relevancy_score",
            "language",
        )
        values: dict[str, Any] = {}
        for name in single:
            fact = getattr(self, name)
            values[name] = fact.value if fact else None
        values["parties"] = [{"name": party.name, "role": party.role} for party in self.parties]
        values["people"] = [fact.value for fact in self.people]
        values["key_dates"] = [fact.value for fact in self.key_dates]
        return values
