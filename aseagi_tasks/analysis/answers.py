"""Claude's answer to facts: every quote is looked up, and every value held against its quote and the rules. Pure.

verified     two readers agree: the quote stands on a page that Claude saw as an image, so that it and recognition (or
             the text layer) read the same words; or the rules find the same value
supported    the quote stands in the text that Claude was given, and says the value
unverified   it stands nowhere, or it does not say the value, or the rules find another value; and what nobody quotes:
             summary, relevancy
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from aseagi_tasks.analysis.case_numbers import value_of
from aseagi_tasks.analysis.dates import dates
from aseagi_tasks.analysis.evidence import Finder, fold, skeleton
from aseagi_tasks.analysis.question import Answer, Kind, Named, Value
from aseagi_tasks.analysis.rules import RulesAnalyst
from aseagi_tasks.analysis.schema import Analysis, Evidence, Fact, Party, Support
from aseagi_tasks.analysis.titles import kind_of
from aseagi_tasks.documents import Reading

#: Words that a name may have where the page has a line's end or nothing.
_SMALL = frozenset(["a", "an", "and", "at", "by", "for", "in", "of", "on", "the", "to", "v", "vs"])
#: Where the rules find one value, another one is not let stand beside it: they are precise (DESIGN.md).
_ONE_ONLY = frozenset(["document_type", "document_date", "filed_date", "case_number"])
_WORD = re.compile(r"[^\W_]+")


def analysis_of(answer: Answer, reading: Reading, shown: Collection[int]) -> Analysis:
    """The facts of an answer, with what supports each. Model, version and costs are not in it.

    Args:
        shown: numbers of the pages that Claude saw as images, without their text.
    """
    by_rules = RulesAnalyst().analyze(reading, "")
    rules, judge = by_rules.facts(), _Judge(Finder(reading), shown)

    def fact(field: str, said: Value | Kind | None) -> Fact | None:
        value = _normal(field, said.value) if said else None
        if said is None or value is None:
            return None
        status, evidence = judge.of(field, value, said.quote, said.page)
        other = rules.get(field)
        if status != "unverified" and _agree(other, value):
            status = "verified"
        elif field in _ONE_ONLY and other is not None:
            status = "unverified"
        return Fact(value=value, original=said.quote or None, status=status, evidence=evidence)

    def party(said: Named) -> Party:
        status, evidence = judge.of("party", said.name, said.quote, said.page)
        if status == "supported" and any(_agree(one["name"], said.name) for one in rules["parties"]):
            status = "verified"
        return Party(name=said.name, role=said.role.lower() if said.role else None, status=status, evidence=evidence)

    def facts(field: str, several: Sequence[Value]) -> tuple[Fact, ...]:
        return tuple(found for said in several if (found := fact(field, said)))

    score = answer.relevancy
    return Analysis(
        analyst="claude",
        document_type=fact("document_type", answer.document_type),
        document_date=fact("document_date", answer.document_date),
        filed_date=fact("filed_date", answer.filed_date),
        case_number=fact("case_number", answer.case_number),
        court=fact("court", answer.court),
        title=fact("title", answer.title),
        # written by the model, not quoted: nothing on the page can verify them
        summary=Fact(value=answer.summary, status="unverified") if answer.summary else None,
        relevancy_score=Fact(value=min(100, max(0, score.value)), original=score.reason, status="unverified")
        if score
        else None,
        language=_language(answer.language, by_rules.language),
        parties=tuple(party(said) for said in answer.parties if said.name.strip()),
        people=facts("people", answer.people),
        key_dates=facts("key_dates", answer.key_dates),
    )


class _Judge:
    """Looks quotes up, and asks whether they say what they are quoted for."""

    def __init__(self, finder: Finder, shown: Collection[int]) -> None:
        self._finder, self._shown = finder, frozenset(shown)

    def of(self, field: str, value: str, quote: str, page: int) -> tuple[Support, tuple[Evidence, ...]]:
        found = self._finder.locate(quote, page)
        if found is None:
            return "unverified", ()
        if field == "document_type":  # a word of our vocabulary: the rules know which headings it is the word for
            kind = kind_of(quote)
            if kind is None:
                return "supported", (found,)
            says = kind == value
        else:
            says = _says(field, value, quote)
        if not says:
            return "unverified", (found,)
        return "verified" if found.page in self._shown else "supported", (found,)


def _normal(field: str, value: str) -> str | None:
    """A value as it is kept: dates in ISO's form, case numbers in the court's; None where it is none."""
    value = value.strip()
    if field.endswith(("_date", "_dates")):
        return next((found.iso for found in dates(value)), None)
    if field == "case_number":
        return value_of(value) or None
    return value or None


def _says(field: str, value: str, quote: str) -> bool:
    """Whether a quote holds the value that it is quoted for."""
    if field.endswith(("_date", "_dates")):
        return any(found.iso == value for found in dates(quote))
    if field == "case_number":
        return skeleton(fold(value)) in skeleton(fold(quote))
    there = {skeleton(word) for word in _WORD.findall(fold(quote))}
    whole = skeleton(fold(quote))
    words = [skeleton(word) for word in _WORD.findall(fold(value)) if word not in _SMALL]
    # joined words are found too, where recognition lost the space between them
    return all(word in there or (len(word) > 3 and word in whole) for word in words)


def _agree(one: object, other: str) -> bool:
    """Whether two readers found the same, but for capitals, spaces and signs, and a "No." or a judge's initials."""
    if not isinstance(one, str):
        return False
    short, long = sorted((skeleton(fold(one)), skeleton(fold(other))), key=len)
    return short == long or (len(short) >= 6 and any(map(str.isdigit, short)) and short in long)


def _language(said: str | None, by_rules: Fact | None) -> Fact | None:
    if not said:
        return None
    if by_rules is not None and by_rules.value == said.lower():
        return by_rules.model_copy(update={"status": "verified"})
    return Fact(value=said.lower(), status="unverified")
