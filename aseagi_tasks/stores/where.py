"""``--where``: a few words that say which documents are wanted. Pure.

    type=motion  case="3:24-cv-00123"  date>=2024-01-01  date<=2024-12-31  taken>=2026-11-01  relevancy>=50
    ocr=tesseract  analyst!=current  requested_by=ana  id=0a1b2c3d,4e5f

Conditions stand side by side, and all of them hold. A version is told by how it begins (``analyst=claude-haiku-5-5``);
``current`` is the whole of the one that would be used now.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from aseagi_tasks.errors import ConfigError
from aseagi_tasks.stores.records import Wanted

_CONDITION = re.compile(r"([a-z_]+)\s*(!=|>=|<=|=)(.*)", re.DOTALL)
_CURE = "Like: --where 'type=motion date>=2024-01-01 analyst!=current'. Fields: {}."
#: Operators that a field takes, and what they fill.
_FIELDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "type": {"=": ("document_type",)},
    "case": {"=": ("case_number",)},
    "date": {">=": ("dated_since",), "<=": ("dated_until",), "=": ("dated_since", "dated_until")},
    "taken": {">=": ("taken_since",), "<=": ("taken_until",), "=": ("taken_since", "taken_until")},
    "relevancy": {">=": ("relevancy",)},
    "requested_by": {"=": ("requested_by",)},
    "ocr": {"=": ("ocr",), "!=": ("ocr_not",)},
    "analyst": {"=": ("analyst",), "!=": ("analyst_not",)},
    "id": {"=": ("document_ids",)},
}


def wanted_by(where: Iterable[str], current: Mapping[str, str], types: Iterable[str]) -> Wanted:
    """What is wanted.

    Args:
        current: what ``current`` means for ``ocr`` and ``analyst``.
        types: of documents, that are known.
    Raises:
        ConfigError: something in it is not known; says what there is.
    """
    values: dict[str, Any] = {}
    for text in where:
        for word in _words(text):
            field, operator, value = _parsed(word)
            for name in _FIELDS[field][operator]:
                if name in values:
                    raise _error(f"says {name.replace('_', ' ')} twice")
                values[name] = _value(field, name, value, current, tuple(types))
    return Wanted(**values)


def _words(text: str) -> list[str]:
    try:
        return [word for word in shlex.split(text) if word not in ("and", "AND")]
    except ValueError as exc:
        raise _error(f"has a quote that does not end ({text})") from exc


def _parsed(word: str) -> tuple[str, str, str]:
    found = _CONDITION.fullmatch(word)
    if found is None or not found[3].strip():
        raise _error(f"{word!r} is no condition")
    field, operator, value = found[1], found[2], found[3].strip()
    if field not in _FIELDS:
        raise _error(f"{field!r} is no field")
    if operator not in _FIELDS[field]:
        raise _error(f"{field} takes {' and '.join(_FIELDS[field])}, not {operator}")
    return field, operator, value


def _value(field: str, name: str, value: str, current: Mapping[str, str], types: tuple[str, ...]) -> Any:
    if field == "type" and value not in types:
        raise _error(f"{value!r} is no type; there are {', '.join(types)}")
    if field in ("date", "taken"):
        try:
            day = date.fromisoformat(value)
        except ValueError:
            raise _error(f"{value!r} is no date like 2024-03-04") from None
        # the last day is wanted too, and a moment of it is later than its name
        return (day + timedelta(days=name == "taken_until")).isoformat()
    if field == "relevancy":
        if not value.isdecimal() or int(value) > 100:
            raise _error(f"relevancy is 0 to 100, not {value!r}")
        return int(value)
    if field in ("ocr", "analyst"):
        return current[field] if value == "current" else value.rstrip("*") + "*"
    if field == "id":
        return tuple(filter(None, (one.strip().lower() for one in value.split(","))))
    return value


def _error(what: str) -> ConfigError:
    return ConfigError("--where", what + ".", _CURE.format(", ".join(_FIELDS)))
