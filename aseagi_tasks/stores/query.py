"""SQL as text: what a person types into a search, as parts and as an expression of FTS5; a script's statements."""

from __future__ import annotations

import re
import sqlite3
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

#: A phrase in quotes (the closing one may be missing), or a word.
_PART = re.compile(r'"([^"]*)"?|(\S+)')
MAX_PARTS = 64


def parts_of_query(query: str) -> list[str]:
    """What a person typed as parts that must all be there: words and ``"phrases"``, with ``*`` behind a beginning.

    Punctuation inside a word makes it a phrase of its pieces, which is how case numbers are found whole.
    """
    parts = []
    for phrase, word in _PART.findall(query[:10_000]):
        text = (phrase or word).replace("\0", " ").replace('"', " ").strip()
        if any(character.isalnum() for character in text):
            parts.append(text.rstrip("*") + ("*" if word.endswith("*") else ""))
    return parts[:MAX_PARTS]


def match_expression(query: str) -> str:
    """The parts as an FTS5 expression; each is quoted, so nothing in it is taken for an operator."""
    return " ".join(f'"{part.removesuffix("*")}"' + "*" * part.endswith("*") for part in parts_of_query(query))


def quoted(name: str) -> str:
    """A name as a phrase of a query."""
    return '"' + name.replace('"', " ") + '"'


#: Share of common trigrams from which two names count as one with typing errors.
LIKE_ENOUGH = 0.5


def trigrams(text: str) -> set[str]:
    """Every three characters of each word, as pg_trgm takes them: accents and case dropped, two spaces before."""
    return {f"  {word} "[i : i + 3] for word in _words(text) for i in range(len(word) + 1)}


def likeness(query: str, names: str) -> float:
    """The largest share of common trigrams between a query and as many words of the names, 0 to 1."""
    wanted, words, width = trigrams(query), _words(names), len(_words(query))
    windows = (trigrams(" ".join(words[i : i + width])) for i in range(max(1, len(words) - width + 1)))
    return max((len(wanted & there) / len(wanted | there) for there in windows if there), default=0.0)


def likeness_expression(query: str) -> str:
    """An FTS5 expression (tokenizer ``trigram``) for names that have any of the query's letters in threes."""
    return " OR ".join(f'"{three}"' for three in sorted(trigrams(query)) if " " not in three)


def without_accents(text: str) -> str:
    """Lower case, accents dropped."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.lower()) if not unicodedata.combining(c))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", without_accents(text))


def storable(value: Any) -> Any:
    """A JSON value whose texts lack what Postgres (NUL) and UTF-8 (halves of characters) cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {storable(name): storable(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [storable(inner) for inner in value]
    return value


def statements(script: str) -> Iterator[str]:
    """The statements of an SQL script, one by one; triggers hold semicolons of their own."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
