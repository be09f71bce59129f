"""Real filings and hostile files through the whole chain with real workers."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from aseagi_tasks import services
from aseagi_tasks.celery import app
from aseagi_tasks.errors import AseagiError, DocumentError
from aseagi_tasks.tasks import submit

pytestmark = [pytest.mark.corpus, pytest.mark.usefixtures("stack")]

#: What becomes of each hostile file: sources of its pages' text, or the class of its error.
HOSTILE = {
    "2400dpi.pdf": {"tesseract": 1},
    "empty.pdf": "NotADocument",
    "enormous.pdf": {"tesseract": 1},
    "hugemono.pdf": {"tesseract": 1},
    "invalid.pdf": "Unreadable",
    "negzero.pdf": {"text-layer": 1},
    "no_contents.pdf": {"blank": 1},
    "trivial.pdf": {"blank": 1},
}


def outcomes(files: list[Path]) -> dict[str, dict[str, int] | str]:
    """Hand all in at once; what came of each."""
    ids: dict[str, str] = {}
    found: dict[str, dict[str, int] | str] = {}
    for path in files:
        job_id = str(uuid.uuid4())
        try:
            submit(path, priority="normal", requested_by="test", job_id=job_id)
            ids[path.name] = job_id
        except DocumentError as exc:
            found[path.name] = type(exc).__name__
    for name, job_id in ids.items():
        try:
            found[name] = app.AsyncResult(job_id).get(timeout=200)["text_sources"]
        except AseagiError as exc:
            found[name] = type(exc).__name__
            assert services.records().job(job_id).error_class == found[name]
    return found


def test_every_filing_completes(corpus: Path) -> None:
    files = [path for path in sorted((corpus / "court").iterdir()) if path.suffix in (".pdf", ".png", ".jpg")]
    found = outcomes(files)
    assert {name: what for name, what in found.items() if isinstance(what, str)} == {}
    for name in ("ca1_00117684624.pdf", "ca2_1-1.pdf", "ca3_003112692106.pdf", "ca6_1-3.pdf", "missouri.pdf"):
        assert set(found[name]) == {"text-layer"}, name
    for name in ("linn.pdf", "image-pdf.pdf", "skew.pdf", "typewriter.png", "ccitt.pdf"):
        assert set(found[name]) == {"tesseract"}, name


def test_every_hostile_file_ends_as_its_table_says(corpus: Path) -> None:
    files = sorted((corpus / "hostile").iterdir())
    assert {path.name for path in files} == set(HOSTILE)
    assert outcomes(files) == HOSTILE
