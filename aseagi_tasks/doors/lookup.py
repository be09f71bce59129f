"""One document or job by the beginning of its id, with what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aseagi_tasks import keys, services
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.errors import NotFound
from aseagi_tasks.stages.record import result
from aseagi_tasks.stages.upload import Version, metadata_of
from aseagi_tasks.stores.records import Document, Job
from aseagi_tasks.stores.user_records import Correction, latest


@dataclass(frozen=True)
class Found:
    """A document with its jobs, newest first; or a job whose document never became known."""

    document: Document | None
    jobs: list[Job]

    @property
    def analysis(self) -> Analysis | None:
        """The published analysis; None before the first job completed."""
        if self.document is None or self.document.processed is None:
            return None
        return Analysis.model_validate_json(services.storage().get(f"{self.document.processed}/analysis.json"))

    def versions(self) -> dict[str, Version]:
        """Sets that were published before this one, by the jobs that had made them, oldest first."""
        folder = self.document.processed if self.document else None
        there = metadata_of(services.storage(), folder) if folder else None
        return there.versions if there else {}

    def version(self, job_id: str) -> Analysis:
        """What such a set had found; the beginning of the job's id will do.

        Raises:
            NotFound: there is none of this job, or there are several.
        """
        versions = self.versions()
        found = [one for one in versions if one.startswith(job_id)]
        if len(found) != 1 or self.document is None:
            known = ", ".join(one[:8] for one in versions) or "none"
            raise NotFound(f"Version {job_id}", f"this document's versions (there are: {known})")
        folder = self.document.processed or ""
        return Analysis.model_validate_json(services.storage().get(keys.version(folder, found[0], "analysis.json")))

    def corrections(self) -> dict[str, Correction]:
        """What people said instead of what was found, by field."""
        if self.document is None:
            return {}
        return latest(services.records().corrections(self.document.document_id))

    def where(self) -> list[str]:
        """Where the original and the results are in the bucket."""
        if self.document is None:
            return []
        if self.document.processed is None:
            return [self.document.key]
        published = services.storage().list(f"{self.document.processed}/")
        return [self.document.key, *(there.key for there in published)]

    def text(self) -> str:
        """The text that was read.

        Raises:
            NotFound: nothing was published yet.
        """
        if self.document is None or self.document.processed is None:
            raise NotFound("The text", "the bucket: no job on this document has completed")
        return services.storage().get(f"{self.document.processed}/ocr.txt").decode()

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        records = services.records()
        value: dict[str, Any] = {
            "document": self.document.model_dump(mode="json") if self.document else None,
            "jobs": [job.model_dump(mode="json") for job in self.jobs],
            "events": [event.model_dump(mode="json") for job in self.jobs[:1] for event in records.events(job.job_id)],
            "keys": self.where(),
            "corrections": [],
            "versions": {name: one.model_dump(mode="json") for name, one in self.versions().items()},
        }
        if self.document is not None:
            kept = records.corrections(self.document.document_id)
            value["corrections"] = [correction.model_dump(mode="json") for correction in kept]
        if self.document is not None and self.analysis is not None:
            value["analysis"] = self.analysis.model_dump(mode="json")
            value["result"] = result(self.jobs[0].job_id if self.jobs else "", self.document, services.storage())
        return value


def look_up(ident: str) -> Found:
    """Find a document, or else a job, by the beginning of its id.

    Raises:
        NotFound: neither, or several.
    """
    records = services.records()
    try:
        document = records.document(ident)
    except NotFound:
        job = records.job(ident)
        if job.document_id is None:
            return Found(None, [job])
        document = records.document(job.document_id)
        others = [other for other in records.jobs(document_id=document.document_id) if other.job_id != job.job_id]
        return Found(document, [job, *others])
    return Found(document, records.jobs(document_id=document.document_id))
