"""SQL as text: what a person types into a search as an expression of FTS5, and a script's statements."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

#: A phrase in quotes (the closing one may be missing), or a word.
_PART = re.compile(r'"([^"]*)"?|(\S+)')
MAX_PARTS = 64


def match_expression(query: str) -> str:
    """What a person typed as an FTS5 expression: every word must be there, ``"phrases"``, ``beginnings*``.

    Each part is quoted, so nothing in it is taken for an operator; punctuation inside a word makes it a phrase of
    its pieces, which is how case numbers are found whole.
    """
    parts = []
    for phrase, word in _PART.findall(query[:10_000]):
        text = (phrase or word).replace("\0", " ").replace('"', " ").strip()
        if any(character.isalnum() for character in text):
            parts.append(f'"{text.rstrip("*")}"' + ("*" if word.endswith("*") else ""))
    return " ".join(parts[:MAX_PARTS])


def statements(script: str) -> Iterator[str]:
    """The statements of an SQL script, one by one; triggers hold semicolons of their own."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
