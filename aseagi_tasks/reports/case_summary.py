"""The case summary: from records and bucket to a PDF in the bucket."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from aseagi_tasks import keys
from aseagi_tasks.errors import UnknownCase
from aseagi_tasks.reports.case_file import CaseFile, Related, case_file
from aseagi_tasks.reports.papers import of_case, read
from aseagi_tasks.reports.questions import Question, questions
from aseagi_tasks.stores.query import quoted
from aseagi_tasks.stores.records import Document, Records
from aseagi_tasks.stores.storage import Storage

#: A summary takes so many documents, the newest; what is left out is said. 2,000 take 12 s and 180 MB.
MOST = 5_000
#: Documents looked at for numbers that are nearly this one, and numbers named to who mistyped one.
_LOOKED_AT = 100
_NAMED = 5
#: Told what is done, and how far: documents read, or pages set.
Tell = Callable[[str, int], None]


class Made(NamedTuple):
    """A summary that was made: where it is, its pages, and what it says."""

    key: str
    pages: int
    case: CaseFile
    questions: list[Question]


def make(
    number: str,
    *,
    records: Records,
    storage: Storage,
    scratch: Path,
    now: datetime,
    tell: Tell = lambda _what, _done: None,
) -> Made:
    """Make a case's summary and put it into the bucket.

    Args:
        number: as somebody typed it; other punctuation and case find the case too.
        scratch: where the PDF is made.
        now: UTC.
        tell: called now and then.
    Raises:
        UnknownCase: no document has the number; those that are like it are named.
        StorageUnavailable, RecordsUnavailable.
    """
    from aseagi_tasks.reports.case_pages import draw

    number = known_number(records, number)
    documents = list(islice(of_case(records, number), MOST + 1))
    left_out = sum(1 for _ in islice(of_case(records, number), MOST, None)) if len(documents) > MOST else 0
    papers = list(
        read(
            documents[:MOST],
            records,
            storage,
            pictures=True,
            tell=lambda done: tell(f"documents read, of {len(documents):,}", done),
        )
    )
    case = case_file(number, papers, _related(records, number, documents), left_out)
    open_ones, key = questions(case), keys.case_summary(number)
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="report-") as folder:
        path = Path(folder) / "summary.pdf"
        pages = draw(path, case, open_ones, now, lambda page: tell("pages set", page))
        storage.upload(path, key)
    return Made(key, pages, case, open_ones)


def known_number(records: Records, typed: str) -> str:
    """The case number that is meant.

    Raises:
        UnknownCase: none is.
    """
    typed = " ".join(typed.split())
    if next(of_case(records, typed), None) is not None:
        return typed
    near = like(records, typed)
    same = [number for number in near if _plain(number) == _plain(typed)]
    if typed and same:
        return same[0]
    cure = "`aseagi search WORDS` finds documents, and shows their case numbers."
    if near:
        cure = f"Did you mean {' or '.join(near[:_NAMED])}?"
    raise UnknownCase(repr(typed), cure)


def like(records: Records, typed: str) -> list[str]:
    """Case numbers that look like this one, the likest first; also those of documents that mention it."""
    # as typed; 23CV998417 for 23-CV-998417, and the other way round; with a part missing or too much
    parts = re.findall(r"[^\W\d_]+|\d+", typed)
    asked = [quoted(typed), _plain(typed), quoted(" ".join(parts)), *(f"{part}*" for part in parts if len(part) > 3)]
    hits = next((hits for query in asked if (hits := records.search(query, limit=_LOOKED_AT))), [])
    numbers = {hit.document.case_number for hit in hits if hit.document.case_number}
    return sorted(numbers, key=lambda number: (-_likeness(number, typed), number))


def _related(records: Records, number: str, documents: Iterable[Document]) -> list[Related]:
    """Documents elsewhere that mention the number, or have one that is nearly it and a party of this case."""
    mentioning: dict[str | None, dict[str, Document]] = {}
    parts = " ".join(re.findall(r"[^\W\d_]+|\d+", number))
    for query in dict.fromkeys((quoted(number), quoted(parts), _plain(number))):  # 23CV998417, 23-CV-998417
        for hit in records.search(query, limit=_LOOKED_AT):
            if hit.exact and hit.document.case_number != number:
                mentioning.setdefault(hit.document.case_number, {})[hit.document.document_id] = hit.document
    found = []
    for other, some in sorted(mentioning.items(), key=lambda pair: pair[0] or ""):
        spelled = _plain(other or "") == _plain(number)
        why = "Differs from this number by its spelling" if spelled else "Mentions this case's number"
        found.append(Related(other, why, tuple(some.values())))
    parties = list(dict.fromkeys(party for document in islice(documents, 50) for party in document.parties))
    nearly: dict[str, dict[str, Document]] = {}
    for party in parties[:4]:
        for hit in records.search(quoted(party), limit=_LOOKED_AT):
            other = hit.document.case_number
            if hit.exact and other and other not in (number, *mentioning) and _likeness(other, number) >= 0.8:
                nearly.setdefault(other, {})[hit.document.document_id] = hit.document
    return found + [
        Related(other, "Has a party of this case, and nearly its number", tuple(some.values()))
        for other, some in sorted(nearly.items())
    ]


def _likeness(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, _plain(one), _plain(other)).ratio()


def _plain(number: str) -> str:
    return re.sub(r"[\W_]+", "", number).upper()
