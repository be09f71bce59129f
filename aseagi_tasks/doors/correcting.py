"""What a person may type for a field."""

from __future__ import annotations

import re
from datetime import date
from typing import get_args

from aseagi_tasks.analysis.schema import DocumentType
from aseagi_tasks.stores.user_records import Field

TYPES: tuple[str, ...] = get_args(DocumentType)


def checked(field: Field, text: str) -> str | None:
    """What a person typed for a field, as it is kept; None if it cannot be one."""
    value = "\n".join(filter(None, (" ".join(line.split()) for line in re.split(r"[\n;]", text))))
    if field != "parties":
        value = " ".join(text.split())
    if not 0 < len(value) <= 500:
        return None
    if field in ("document_date", "filed_date"):
        try:
            return date.fromisoformat(value).isoformat()
        except ValueError:
            return None
    if field == "relevancy_score":
        return str(int(value)) if re.fullmatch(r"\d{1,3}", value, re.ASCII) and int(value) <= 100 else None
    if field == "document_type":
        named = value.lower().replace(" ", "_")
        return named if named in TYPES else None
    return value
