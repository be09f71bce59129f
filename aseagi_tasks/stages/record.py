"""The last stage: the job is completed once, the document's facts become findable, and somebody is told."""

from __future__ import annotations

from typing import Any

from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.documents import Reading
from aseagi_tasks.errors import NotFound
from aseagi_tasks.notify import Notifier
from aseagi_tasks.stages.upload import Metadata
from aseagi_tasks.stores.records import Document, Records
from aseagi_tasks.stores.storage import Storage


def record(
    job_id: str,
    document: Document,
    processed: str,
    reading: Reading,
    analysis: Analysis,
    versions: dict[str, str],
    *,
    records: Records,
    notifier: Notifier,
) -> bool:
    """Complete the job, with the document's facts and its text for search in the same transaction.

    Args:
        processed: folder of the published set.
        versions: what made the set (see ``services.versions``).
    Returns:
        False if another worker had completed it: then nothing was written and nobody told.
    """
    facts = analysis.facts()
    row = document.model_copy(
        update={
            "processed": processed,
            "pages": len(reading.pages),
            "document_type": facts.get("document_type"),
            "document_date": facts.get("document_date"),
            "case_number": facts.get("case_number"),
            "title": facts.get("title"),
            "parties": tuple(party["name"] for party in facts.get("parties") or ()),
            "relevancy_score": facts.get("relevancy_score"),
            "versions": versions,
        }
    )
    if not records.complete(job_id, row, reading.text):
        return False
    kind = (row.document_type or "document").replace("_", " ")
    notifier.tell(f"{row.name}: {kind}, {row.pages} page{'s' if row.pages != 1 else ''}, job {job_id}")
    return True


def result(job_id: str, document: Document, storage: Storage) -> dict[str, Any]:
    """What ``process.delay(…).get()`` gives back: status, keys and facts of a completed job, as JSON values.

    Raises:
        NotFound: the document has no published set.
    """
    if document.processed is None:
        raise NotFound(document.document_id, "the published documents")
    metadata = Metadata.model_validate_json(storage.get(f"{document.processed}/metadata.json"))
    analysis = Analysis.model_validate_json(storage.get(f"{document.processed}/analysis.json"))
    sources: dict[str, int] = {}
    for page in metadata.pages:
        sources[page.source or "unread"] = sources.get(page.source or "unread", 0) + 1
    return {
        "job_id": job_id,
        "document_id": document.document_id,
        "status": "completed",
        "name": document.name,
        "source": document.key,
        "pages": len(metadata.pages),
        "text_sources": sources,
        "keys": {name: f"{document.processed}/{name}" for name in (*metadata.files, "metadata.json")},
        "facts": analysis.facts(),
        "analyst": analysis.analyst,
        "cost_usd": sum(metadata.cost_usd.values()),
        "seconds": round(sum(run.seconds for run in metadata.stages.values()), 3),
    }
