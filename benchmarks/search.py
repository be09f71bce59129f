"""Search over many documents: Postgres as its function answers, SQLite as its file does, ten real queries each.

    python benchmarks/search.py [--postgres 1000000] [--sqlite 200000]

Made-up documents of 40 to 200 words (a page; one in fifty has three), words as frequent as in English (Zipf), fifty
papers to a case with its number and parties. Nearly all of the time goes into loading. Prints p50 and p95 per query and
over all, sizes, and the time to load. Goal: p95 of 50 ms.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import psycopg

sys.path.insert(0, str(Path(__file__).parents[1]))
from aseagi_tasks.stores.query import parts_of_query
from aseagi_tasks.stores.records import Document
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.servers.cloud import Cloud
from tests.servers.postgres import Postgres

ROUNDS = 25
#: of one case, with the same parties and number
PAPERS = 50
COMMON = [
    "the",
    "of",
    "to",
    "and",
    "in",
    "a",
    "that",
    "for",
    "is",
    "court",
    "on",
    "by",
    "plaintiff",
    "defendant",
    "motion",
    "order",
    "this",
    "with",
    "as",
    "be",
    "case",
    "shall",
    "not",
    "at",
    "or",
    "filed",
    "any",
    "from",
    "compel",
    "declaration",
    "party",
    "parties",
    "hereby",
    "evidence",
    "counsel",
    "hearing",
    "date",
    "judgment",
    "states",
    "under",
    "county",
    "superior",
    "district",
    "answer",
    "complaint",
    "discovery",
    "response",
    "request",
    "document",
    "exhibit",
    "attorney",
    "respectfully",
    "submitted",
]
TITLES = ("Motion to Compel", "Order", "Declaration", "Answer", "Complaint", "Proof of Service", "Notice of Hearing")
SYLLABLES = [
    "ba",
    "ker",
    "dun",
    "mor",
    "fel",
    "win",
    "tor",
    "ash",
    "ley",
    "ham",
    "ster",
    "wick",
    "pel",
    "worth",
    "gar",
    "ren",
    "dal",
    "vin",
    "cor",
    "tam",
    "sel",
    "nor",
    "rick",
    "ton",
]
COLUMNS = "document_id, sha256, key, name, bytes, media_type, processed, pages, document_type, case_number, title"
COLUMNS += ", parties, words, created_at"


class Made(NamedTuple):
    """One made-up document."""

    document_id: str
    case_number: str
    title: str
    parties: tuple[str, str]
    parts: list[str]


def vocabulary() -> list[str]:
    """50,000 words, the commonest first."""
    made = ("".join(parts) for n in (2, 3, 4) for parts in itertools.product(SYLLABLES, repeat=n))
    rest = [word for word in itertools.islice(made, 0, None, 6) if word not in COMMON]
    return [*COMMON, *rest][:50_000]


def names(rng: np.random.Generator) -> tuple[str, str]:
    """Two of some 190,000 surnames and first names."""
    one, two = ("".join(rng.choice(SYLLABLES, 3)).capitalize() for _ in range(2))
    return f"{''.join(rng.choice(SYLLABLES, 2)).capitalize()} {one}", f"{two} Logistics LLC"


def documents(begin: int, end: int) -> Iterator[Made]:
    """Documents by number: the same numbers give the same documents."""
    words = np.array(vocabulary(), dtype=object)
    chances = 1 / (np.arange(len(words)) + 2.7)
    cumulated = np.cumsum(chances / chances.sum())
    for block in range(begin, end, 10_000):
        rng = np.random.default_rng(block)
        parties = ("", "")
        for number in range(block, min(block + 10_000, end)):
            parts = []
            for part in range(3 if number % 50 == 0 else 1):
                drawn = words[np.searchsorted(cumulated, rng.random(rng.integers(40, 200)))]
                text = " ".join(drawn)
                if number % 40 == 7 and part == 0:
                    text += " motion to compel further responses"
                parts.append(text)
            if number % PAPERS == 0:
                parties = names(rng)
            title, case = TITLES[number % len(TITLES)], number // PAPERS
            parts[0] = f"{parties[0]} v. {parties[1]} {title} {parts[0]}"
            yield Made(f"{number:016x}", f"{case % 25:02}CV{case * 7919 % 1_000_000:06}", title, parties, parts)


def load(url: str, begin: int, end: int) -> None:
    """COPY a share of the documents; the server makes the generated columns."""
    with (
        psycopg.connect(url) as one,
        psycopg.connect(url) as two,
        one.cursor().copy(f"COPY documents ({COLUMNS}) FROM STDIN") as rows,
        two.cursor().copy("COPY document_texts (document_id, part, text) FROM STDIN") as texts,
    ):
        for made in documents(begin, end):
            different = " ".join(dict.fromkeys(" ".join(made.parts).lower().split()))
            parties = '["' + '", "'.join(made.parties) + '"]'
            facts = ("motion", made.case_number, made.title, parties, different)
            raw = (f"raw/{made.document_id}", f"{made.document_id[8:]}.pdf", 100_000, "application/pdf")
            taken_in = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=int(made.document_id, 16))
            rows.write_row(
                (made.document_id, made.document_id * 4, *raw, "processed/x", len(made.parts), *facts, taken_in)
            )
            for part, text in enumerate(made.parts):
                texts.write_row((made.document_id, part, text))


def fill_postgres(url: str, count: int) -> float:
    """Load, index, analyze; seconds. Two processes load; the keys are checked once all are there."""
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as db:
        indexes = db.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef LIKE '%USING gin%'"
        ).fetchall()
        for name, _ in indexes:
            db.execute(f"DROP INDEX {name}")
        # texts arrive beside their documents: the foreign key waits
        db.execute("ALTER TABLE document_texts DROP CONSTRAINT document_texts_document_id_fkey")
        db.execute("ALTER TABLE documents DISABLE TRIGGER keep_names")
    shares = [(url, count * n // 2, count * (n + 1) // 2) for n in range(2)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(load, shares)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET maintenance_work_mem = '1GB'")
        db.execute(
            "INSERT INTO known_names (name) SELECT case_number FROM documents"
            " UNION SELECT jsonb_array_elements_text(parties) FROM documents"
        )
        for _, definition in indexes:
            db.execute(definition)
        db.execute("VACUUM ANALYZE")
    return time.monotonic() - began


def fill_sqlite(records: SqliteRecords, count: int) -> float:
    """Load by what an import uses; seconds."""
    began = time.monotonic()
    batch: list[Made] = []
    for made in itertools.chain(documents(0, count), [None]):
        if made is not None:
            batch.append(made)
        if batch and (made is None or len(batch) == 2_000):
            rows = [
                {
                    **{"document_id": one.document_id, "sha256": one.document_id * 4, "key": f"raw/{one.document_id}"},
                    **{"name": f"{one.document_id[8:]}.pdf", "bytes": 100_000, "media_type": "application/pdf"},
                    **{"created_at": "2026-01-01T00:00:00.000000+00:00", "processed": "processed/x"},
                    **{"pages": len(one.parts), "document_type": "motion", "case_number": one.case_number},
                    **{"title": one.title, "parties": list(one.parties), "versions": {}},
                }
                for one in batch
            ]
            records.add_rows("documents", "document_id", rows)
            records.add_texts({one.document_id: "\f".join(one.parts) for one in batch})
            batch = []
    return time.monotonic() - began


def queries(count: int) -> dict[str, str]:
    """What people type; the names and numbers are those of a document in the middle."""
    made = next(iter(documents((count // 2) // 10_000 * 10_000, count)))
    first, last = made.parties[0].split()
    wrong = last[:3] + last[4:]  # a letter left out
    return {
        "case number": made.case_number,
        "case number with a digit wrong": made.case_number[:-1] + "x",
        "surname": last,
        "full name": f"{first} {last}",
        "name with a letter left out": f"{first} {wrong}",
        "rare word": vocabulary()[40_000],
        "common and rare word": f"court {vocabulary()[20_000]}",
        "two common words": "motion compel",
        "phrase of common words": '"motion to compel further"',
        "beginning of a word": "declar*",
    }


def postgres_search(url: str) -> Callable[[str], int]:
    """The function and the rows of its answer, as one request for each."""
    db = psycopg.connect(url, autocommit=True)
    columns = ", ".join(Document.model_fields)

    def search(query: str) -> int:
        found = db.execute("SELECT * FROM search_documents(%s, 20, 0)", (parts_of_query(query),)).fetchall()
        ids = [row[0] for row in found]
        db.execute(f"SELECT {columns} FROM documents WHERE document_id = ANY (%s)", (ids,)).fetchall()
        return len(found)

    return search


def measured(search: Callable[[str], int], asked: dict[str, str]) -> dict[str, tuple[int, list[float]]]:
    """Hits and milliseconds of each query, asked in turn, after a round that does not count."""
    found: dict[str, tuple[int, list[float]]] = {name: (search(query), []) for name, query in asked.items()}
    for _ in range(ROUNDS):
        for name, query in asked.items():
            began = time.perf_counter()
            search(query)
            found[name][1].append(1_000 * (time.perf_counter() - began))
    return found


def show(title: str, found: dict[str, tuple[int, list[float]]]) -> None:
    print(f"\n{title}\n{'query':34}{'hits':>6}{'p50 ms':>10}{'p95 ms':>10}")
    for name, (hits, taken) in found.items():
        print(f"{name:34}{hits:6}{statistics.median(taken):10.1f}{np.percentile(taken, 95):10.1f}")
    every = [ms for _, taken in found.values() for ms in taken]
    print(f"{'all':34}{'':6}{statistics.median(every):10.1f}{np.percentile(every, 95):10.1f}   goal: p95 of 50 ms")


def sizes(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as db:
        return db.execute(
            "SELECT relname, pg_size_pretty(pg_relation_size(oid)"
            " + coalesce(pg_relation_size(nullif(reltoastrelid, 0)), 0)) FROM pg_class"
            " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i')"
            " AND pg_relation_size(oid) > 10000000 ORDER BY pg_relation_size(oid) DESC"
        ).fetchall()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--postgres", type=int, default=1_000_000, help="documents in Postgres; 0 leaves it out")
    parser.add_argument("--sqlite", type=int, default=200_000, help="documents in SQLite; 0 leaves it out")
    given = parser.parse_args()
    if given.postgres:
        tuning = ("shared_buffers=2GB", "max_wal_size=8GB", "jit=off")
        with Postgres(("fsync=off", "full_page_writes=off", "listen_addresses=", *tuning)) as server:
            cloud = Cloud(server)
            url = server.url(server.create(cloud.template))
            taken = fill_postgres(url, given.postgres)
            title = f"PostgreSQL, {given.postgres:,} documents, loaded and indexed in {taken:,.0f} s"
            show(title, measured(postgres_search(url), queries(given.postgres)))
            print("".join(f"  {name} {size}\n" for name, size in sizes(url)), end="")
    if given.sqlite:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "records.sqlite3"
            records = SqliteRecords(path)
            taken = fill_sqlite(records, given.sqlite)
            title = f"SQLite, {given.sqlite:,} documents, loaded in {taken:,.0f} s, {path.stat().st_size / 1e6:,.0f} MB"
            show(title, measured(lambda query: len(records.search(query)), queries(given.sqlite)))


if __name__ == "__main__":
    main()
