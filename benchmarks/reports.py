"""A large case and its week on paper: seconds, pages, memory.

    python benchmarks/reports.py [--documents 2000]

Made-up documents of one case, 1 to 8 pages each, with gaps in their Bates numbers, exhibits, corrections and pictures;
records in SQLite, bucket in a folder.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))
from aseagi_tasks.reports import case_summary, weekly_report
from tests.paper_office import CASE, TODAY, PaperOffice, fact, party

NAMES = (
    "Avery Pellworth",
    "Wexmoor Logistics, Inc.",
    "María José Núñez de la Peña",
    "Иван Петров",
    "张伟",
    "Pellworth",
)
TITLES = ("Order", "Notice of Motion and Motion to Compel Further Responses to Special Interrogatories, Set One")
TEXT = "The parties met and conferred on the matters that remain. " * 30


def fill(office: PaperOffice, documents: int) -> int:
    """Make the documents; returns their pages."""
    rng, number, pages = random.Random(1), 1, 0
    for at in range(documents):
        number += 3 * (at % 17 == 3)
        texts = []
        for _ in range(rng.randint(1, 8)):
            texts.append(f"Exhibit {rng.choice('ABCDEFGH')} is attached. {TEXT}\nWEX{number:06d}")
            number += 1
        dated = date(2023, 1, 1) + timedelta(days=rng.randint(0, 900))
        document = office.add(
            f"{at:05d}.pdf",
            texts,
            day=TODAY - timedelta(days=at % 7),
            picture=True,
            parties=[party(rng.choice(NAMES), rng.choice(("plaintiff", "defendant"))) for _ in range(3)],
            document_date=fact(dated.isoformat(), len(texts)),
            title=fact(rng.choice(TITLES), status=rng.choice(("supported", "unverified"))),
            key_dates=[fact((dated + timedelta(days=40)).isoformat(), 1, "Hearing on the motion in Department 14")],
        )
        if at % 6 == 0:
            office.records.correct(document.document_id, "document_date", dated.isoformat(), "me", once=f"{at}")
        pages += len(texts)
    return pages


def main() -> None:
    """Fill, report, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=2_000)
    wanted = parser.parse_args().documents
    with TemporaryDirectory() as home:
        office = PaperOffice(Path(home))
        pages = fill(office, wanted)
        print(f"{wanted:,} documents, {pages:,} pages; {_memory_mb()} MB before")
        now, use = datetime(2026, 11, 21, tzinfo=UTC), {"records": office.records, "storage": office.storage}
        began = time.monotonic()
        week = weekly_report.make(TODAY, **use, limits={}, scratch=office.scratch, now=now)  # type: ignore[arg-type]
        print(f"week: {time.monotonic() - began:.1f} s, {week.pages} pages, {_memory_mb()} MB at most")
        began = time.monotonic()
        case = case_summary.make(CASE, **use, scratch=office.scratch, now=now)  # type: ignore[arg-type]
        body = office.storage.get(case.key)
        print(
            f"case: {time.monotonic() - began:.1f} s, {case.pages} pages, {len(body) / 1e6:.1f} MB of PDF,"
            f" {len(case.questions):,} questions, {_memory_mb()} MB at most"
        )


def _memory_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000


if __name__ == "__main__":
    main()
