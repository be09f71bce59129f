"""Search in the SQLite records: FTS5 over facts and text, trigrams over names."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from aseagi_tasks.stores.query import (
    LIKE_ENOUGH,
    likeness,
    likeness_expression,
    match_expression,
    quoted,
    storable,
    without_accents,
)
from aseagi_tasks.stores.records import ANYTHING, Document, Hit, Wanted
from aseagi_tasks.stores.sqlite_file import SqliteFile, iso

#: A search ranks so many of the documents that match; with more, say more words. Postgres does the same.
MAX_RANKED = 1_000


class SqliteSearch(SqliteFile):
    """What is found by its words, and what is found by names that look alike."""

    def find(self, wanted: Wanted, *, limit: int, behind: Document | None = None) -> list[Document]:
        """Documents as wanted, newest first; ``behind``: those after it."""
        place = "" if behind is None else " AND (created_at, document_id) < (:created_at, :document_id)"
        values = {"created_at": iso(behind.created_at), "document_id": behind.document_id} if behind else {}
        rows = self._read(
            "listing documents",
            f"SELECT * FROM documents WHERE {_conditions(wanted)}{place}"
            " ORDER BY created_at DESC, document_id DESC LIMIT :limit",
            {**_values(wanted), **values, "limit": limit},
        )
        return [document_of(row) for row in rows]

    def count_documents(self, wanted: Wanted) -> dict[str, int]:
        """How many are as wanted, by type; ``""``: those of which none is known."""
        rows = self._read(
            "counting documents",
            f"SELECT coalesce(document_type, '') AS kind, count(*) AS n FROM documents WHERE {_conditions(wanted)}"
            " GROUP BY 1 ORDER BY 2 DESC, 1",
            _values(wanted),
        )
        return {row["kind"]: row["n"] for row in rows}

    def search(self, query: str, *, limit: int = 20, offset: int = 0, wanted: Wanted = ANYTHING) -> list[Hit]:
        """Documents whose text or facts contain the words, best first; if none does, names that look alike."""
        expression = match_expression(query)
        if not expression:
            return []
        conditions = _conditions(wanted)
        among = f" JOIN documents ON documents.rowid = search.rowid AND {conditions}" if wanted.conditions else ""
        rows = self._read(
            "searching",
            # Ranked among the first that match, snippets of those shown: two common words in 20,000 papers took 19 ms
            # with every match ranked. Weights: title, case number, parties, name, text.
            "WITH matching AS MATERIALIZED (SELECT search.rowid AS id, bm25(search, 0, 8, 10, 5, 3, 1) AS rank"
            f" FROM search{among} WHERE search MATCH :words LIMIT :ranked),"
            " best AS MATERIALIZED (SELECT * FROM matching ORDER BY rank LIMIT :limit OFFSET :offset)"
            " SELECT documents.*, snippet(search, -1, '[', ']', ' … ', 16) AS snippet, best.rank AS rank"
            " FROM best CROSS JOIN search ON search.rowid = best.id JOIN documents ON documents.rowid = best.id"
            " WHERE search MATCH :words ORDER BY best.rank",
            {**_values(wanted), "words": expression, "ranked": MAX_RANKED, "limit": limit, "offset": offset},
        )
        if not rows and not offset:
            return self._alike(query, limit, wanted)
        return [Hit(document=document_of(row), snippet=row["snippet"], rank=row["rank"]) for row in rows]

    def add_texts(self, texts: Mapping[str, str]) -> None:
        """Make documents' texts findable, by document id, in place of what was there."""
        rows = self._read(
            "reading documents",
            "SELECT * FROM documents WHERE document_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(texts)),),
        )
        with self._write("writing texts") as db:
            for document in map(document_of, rows):
                index(db, document, texts[document.document_id])

    def texts(self, document_ids: Sequence[str]) -> dict[str, str]:
        """The texts of these documents; one without text is missing."""
        rows = self._read(
            "reading texts",
            "SELECT documents.document_id, search.text FROM documents JOIN search ON search.rowid = documents.rowid"
            " WHERE documents.document_id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(document_ids)),),
        )
        return {row["document_id"]: row["text"] for row in rows}

    def _alike(self, query: str, limit: int, wanted: Wanted) -> list[Hit]:
        """Documents of the names most like the query: those with most trigrams in common, looked at closely."""
        expression = likeness_expression(query)
        if not expression or len(query) > 100:
            return []
        names = self._read(
            "searching names",
            "SELECT name FROM alike JOIN known_names ON known_names.rowid = alike.rowid WHERE alike MATCH ?"
            " ORDER BY alike.rank LIMIT 200",
            (expression,),
        )
        alike = sorted(((likeness(query, row["name"]), row["name"]) for row in names), reverse=True)[:10]
        hits: dict[str, Hit] = {}
        for found, name in alike:
            if found >= LIKE_ENOUGH:
                rows = self._read(
                    "searching",
                    "SELECT documents.* FROM search JOIN documents USING (document_id) WHERE search MATCH :words"
                    f" AND {_conditions(wanted)} LIMIT :limit",
                    {
                        **_values(wanted),
                        "words": f"{{case_number parties}} : {match_expression(quoted(name))}",
                        "limit": limit,
                    },
                )
                for document in map(document_of, rows):
                    hit = Hit(document=document, snippet=_names(document), rank=1 - found, exact=False)
                    hits.setdefault(document.document_id, hit)
        return list(hits.values())[:limit]


def index(db: sqlite3.Connection, document: Document, text: str) -> None:
    """Put the text under the rowid of its document, in place of what was there."""
    (row,) = db.execute("SELECT rowid FROM documents WHERE document_id = ?", (document.document_id,)).fetchone()
    db.execute("DELETE FROM search WHERE rowid = ?", (row,))
    db.execute(
        "INSERT INTO search (rowid, document_id, title, case_number, parties, name, text) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            row,
            document.document_id,
            document.title or "",
            document.case_number or "",
            "; ".join(document.parties),
            document.name,
            storable(text),
        ),
    )
    for name in filter(None, (document.case_number, *document.parties)):
        added = db.execute("INSERT INTO known_names (name) VALUES (?) ON CONFLICT DO NOTHING", (storable(name),))
        if added.rowcount:
            plain = without_accents(name)
            db.execute("INSERT INTO alike (rowid, plain) VALUES (?, ?)", (added.lastrowid, plain))


_CONDITIONS = {
    "document_type": "documents.document_type = :document_type",
    "case_number": "documents.case_number = :case_number",
    "dated_since": "documents.document_date >= :dated_since",
    "dated_until": "documents.document_date <= :dated_until",
    "relevancy": "documents.relevancy_score >= :relevancy",
    "requested_by": (
        "documents.document_id IN (SELECT document_id FROM processing_jobs WHERE requested_by = :requested_by)"
    ),
    "taken_since": "documents.created_at >= :taken_since",
    "taken_until": "documents.created_at < :taken_until",
    "document_ids": "documents.document_id IN (SELECT value FROM json_each(:document_ids))",
}
for _name in ("ocr", "analyst"):  # as ranges, which an index has
    _version, _not = f"(documents.versions ->> '{_name}')", f"{_name}_not"
    _range = (
        f"({_version} >= rtrim(:{{0}}, '*') AND {_version} <"
        " CASE WHEN :{0} LIKE '%*' THEN rtrim(:{0}, '*') || char(1114111) ELSE :{0} || char(1) END)"
    )
    _CONDITIONS[_name] = _range.format(_name)
    _CONDITIONS[_not] = f"documents.processed IS NOT NULL AND NOT {_range.format(_not)}"
    _CONDITIONS[f"not_of_{_name}"] = f"{_version} < :not_of_{_name} OR {_version} > :not_of_{_name}"


def _conditions(wanted: Wanted) -> str:
    """SQL over ``documents``; its values are ``_values(wanted)``."""
    others = [_CONDITIONS[name] for name in wanted.conditions if name.startswith("not_of_")]
    parts = [_CONDITIONS[name] for name in wanted.conditions if not name.startswith("not_of_")]
    if others:
        parts.append(f"documents.processed IS NOT NULL AND ({' OR '.join(others)})")
    return " AND ".join(parts) or "true"


def _values(wanted: Wanted) -> dict[str, str | int]:
    lists = {} if wanted.document_ids is None else {"document_ids": json.dumps(wanted.document_ids)}
    return {**wanted.conditions, **lists}


def _names(document: Document) -> str:
    return " · ".join(filter(None, (document.case_number, document.title, "; ".join(document.parties))))


def document_of(row: sqlite3.Row) -> Document:
    """A row of ``documents`` as what it means."""
    values = {name: row[name] for name in Document.model_fields}
    return Document(**{**values, "parties": json.loads(row["parties"]), "versions": json.loads(row["versions"])})
