"""What both stores know of keys in the bucket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from aseagi_tasks.documents import Source
from aseagi_tasks.stores.bulk_records import BulkRecords
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.sqlite_bulk import SqliteBulk
from aseagi_tasks.stores.supabase_bulk import SupabaseBulk
from tests.contract.test_records import NOW
from tests.servers.cloud import Project

Both = tuple[Records, BulkRecords]


@pytest.fixture(params=["sqlite", "supabase"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Both]:
    if request.param == "sqlite":
        path = tmp_path / "records.sqlite3"
        yield SqliteRecords(path), SqliteBulk(path)  # type: ignore[misc]
    else:
        project: Project = request.getfixturevalue("project")
        api = project.api
        yield project.records(), SupabaseBulk(api.url, api.token("anon"), api.token("service_role"))


def job(records: Records, job_id: str, source: str, end: str = "", document: Source | None = None) -> None:
    records.register_job(job_id, source, "low", "me")
    if document is not None:
        there = records.register_document(job_id, document, NOW)
        if end == "completed":
            done = there.model_copy(update={"processed": "processed/x", "pages": 1})
            assert records.complete(job_id, done, "text")
    elif end == "completed":
        assert records.complete(job_id, None, None)
    if end == "error":
        assert records.fail(job_id, "fetch", "Unreadable", "No.")
    if end == "cancelled":
        assert records.cancel(job_id)


def source(key: str, sha256: str) -> Source:
    return Source(key=key, name="a.pdf", sha256=sha256 * 4, bytes=17, media_type="application/pdf")


def test_keys_are_known_by_source_and_by_document(both: Both) -> None:
    records, bulk = both
    intake = "raw/2026/11/29/0123456789abcdef.pdf"
    job(records, "a1", "raw/a.pdf", "completed", source("raw/a.pdf", "a" * 16))
    job(records, "a2", "raw/a.pdf", "error")
    job(records, "b1", "raw/b ä.pdf", "error")
    job(records, "c1", "raw/c.pdf")
    job(records, "c2", "raw/c.pdf", "cancelled")
    job(records, "d1", "/home/me/d.pdf", "completed", source(intake, "0123456789abcdef"))
    job(records, "e1", "raw/copy-of-a.pdf", "completed", source("raw/copy-of-a.pdf", "a" * 16))
    asked = ["raw/a.pdf", "raw/b ä.pdf", "raw/c.pdf", intake, "raw/copy-of-a.pdf", "raw/nobody.pdf", "raw/'\"%_\\.pdf"]
    found = bulk.known_keys(asked)
    assert set(found) == set(asked[:5]) and bulk.known_keys([]) == {}
    a, b, c, d, e = (found[key] for key in asked[:5])
    # the copy's job is on the document whose original is at raw/a.pdf
    assert (a.status, a.completed_as_of) == ("completed", records.job("e1").created_at)
    assert (b.status, b.error_class, b.completed_as_of) == ("error", "Unreadable", None)
    assert (c.status, c.created_at) == ("queued", records.job("c1").created_at), "what is open counts before the newest"
    assert (d.status, d.own_bytes) == ("completed", 17)
    assert (e.status, e.own_bytes, a.own_bytes) == ("completed", None, None)


def test_original_keys_come_in_the_order_of_their_bytes(both: Both) -> None:
    records, bulk = both
    named = ["raw/B", "raw/a", "raw/a-", "raw/a/1", "raw/ä", "raw/\U0001f600", "rawer/x", "other/x"]
    for n, key in enumerate(named):
        job(records, f"j{n}", key, "completed", source(key, f"{n:016x}"))
    job(records, "open", "raw/open", "", source("raw/open", "f" * 16))

    def asked(after: str = "", until: str | None = None, limit: int = 1000) -> list[str]:
        before = NOW + timedelta(seconds=1)
        return bulk.original_keys("raw/", after=after, until=until, before=before, limit=limit)

    assert asked() == named[:6]
    assert asked(after="raw/a") == named[2:6]
    assert asked(after="raw/a", until="raw/a/1") == named[2:4]
    assert asked(limit=2) == named[:2]
    assert bulk.original_keys("raw/", after="", until=None, before=NOW, limit=9) == []
