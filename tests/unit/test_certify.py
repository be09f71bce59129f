"""Certificates of real rows and files: every way in which a job ends, and everything that may happen to the files."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from aseagi_tasks import control, keys, services
from aseagi_tasks.documents import Source
from aseagi_tasks.reports.certificate import Certificate, Entry, faults, read
from aseagi_tasks.stages import certify as certifying
from aseagi_tasks.stages.certify import certify, days_to_certify, jobs_of_day
from aseagi_tasks.stages.verify import NO_FAULTS, Finding, verify
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords

NOW = datetime.now(UTC)
TODAY = NOW.date()


class Office:
    """Records and a bucket, and the chain's writes to them without its work."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.records, self.storage = SqliteRecords(home / "records.sqlite3"), FolderStorage(home / "bucket")

    def hand_in(self, job_id: str, content: str, name: str = "") -> str:
        """Register job and document; the document's id."""
        body = content.encode()
        sha256 = hashlib.sha256(body).hexdigest()
        key = f"raw/2026/11/24/{sha256[:16]}.pdf"
        self.storage.put(key, body)
        self.records.register_job(job_id, key, "normal", None)
        source = Source(
            key=key, name=name or f"{content}.pdf", sha256=sha256, bytes=len(body), media_type="application/pdf"
        )
        self.records.register_document(job_id, source, NOW)
        return source.document_id

    def publish(self, job_id: str, content: str, engine: str = "tesseract 5", pages: int = 2) -> str:
        """The set of a job, and its end; the set's folder."""
        folder = f"processed/2026/11/24/{hashlib.sha256(content.encode()).hexdigest()[:16]}"
        bodies = {"ocr.txt": f"{content} by {engine}".encode(), "analysis.json": b"{}"}
        metadata = {
            "schema_version": 1,
            "job_id": job_id,
            "pages": [{"number": n + 1, "source": "tesseract" if n else "blank"} for n in range(pages)],
            **{"engine": engine, "analyst": "rules 1", "model": None, "prompt_version": None},
            "files": {name: {"sha256": hashlib.sha256(body).hexdigest()} for name, body in bodies.items()},
        }
        for name, body in bodies.items():
            self.storage.put(f"{folder}/{name}", body)
        self.storage.put(f"{folder}/metadata.json", json.dumps(metadata).encode())
        document = self.records.document(self.records.job(job_id).document_id or "")
        done = document.model_copy(update={"processed": folder, "pages": pages})
        assert self.records.complete(job_id, done, content)
        return folder

    def process(self, job_id: str, content: str) -> str:
        self.hand_in(job_id, content)
        return self.publish(job_id, content)

    def certificate(self, *job_ids: str, day: date = TODAY) -> Certificate:
        jobs = [self.records.job(job_id) for job_id in job_ids] or jobs_of_day(self.records, day)
        certificate, key = certify(
            jobs,
            "run" if job_ids else f"{day}",
            records=self.records,
            storage=self.storage,
            bucket="b",
            key=None,
            now=NOW,
        )
        assert read(self.storage.get(key), key) == certificate
        assert self.storage.get(key.replace(".json", ".pdf")).startswith(b"%PDF")
        return certificate

    def check(self, certificate: Certificate) -> list[Finding]:
        return verify(certificate, storage=self.storage, records=self.records, scratch=self.home / "scratch")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def by_job(certificate: Certificate) -> dict[str, Entry]:
    return {entry.job_id: entry for entry in certificate.entries}


def test_completed_file_has_the_hashes_of_all_that_belongs_to_it(office: Office) -> None:
    folder = office.process("a", "motion")
    certificate = office.certificate()
    (entry,) = certificate.entries
    assert (entry.outcome, entry.pages, entry.text_from) == ("completed", 2, {"blank": 1, "tesseract": 1})
    assert (entry.engine, entry.analyst, entry.made_by, entry.name) == ("tesseract 5", "rules 1", "a", "motion.pdf")
    assert entry.sha256 == hashlib.sha256(b"motion").hexdigest()
    assert entry.files == {
        f"{folder}/{name}": hashlib.sha256(office.storage.get(f"{folder}/{name}")).hexdigest()
        for name in ("ocr.txt", "analysis.json", "metadata.json")
    }
    assert faults(certificate) == [] and office.check(certificate) == []


def test_every_end_is_accounted_for(office: Office) -> None:
    office.process("done", "motion")
    office.hand_in("poison", "poison")
    office.records.begin_stage("poison", "rasterize", "w")
    office.records.end_stage("poison", "rasterize", 1, "w", {"pages": 7, "unread": 7})
    office.records.begin_stage("poison", "ocr", "w")
    office.records.fail("poison", "ocr", "Quarantined", "Stage ocr was started 3 times.")
    office.hand_in("locked", "locked")
    office.records.begin_stage("locked", "rasterize", "w")
    office.records.fail("locked", "rasterize", "Encrypted", "It is locked.")
    office.records.register_job("nothing", "raw/no such file.pdf", "normal", None)
    office.records.fail("nothing", None, "NotFound", "It was not found.")
    office.hand_in("stopped", "stopped")
    office.records.cancel("stopped")
    certificate = office.certificate()
    found = by_job(certificate)
    assert certificate.totals.balanced
    assert {job: entry.outcome for job, entry in found.items()} == {
        **{"done": "completed", "poison": "quarantined", "locked": "failed", "nothing": "failed"},
        "stopped": "cancelled",
    }
    assert (found["poison"].pages, found["poison"].text_from) == (7, {"unread": 7})
    assert (found["nothing"].document_id, found["nothing"].name) == (None, "no such file.pdf")
    assert found["nothing"].reason == "NotFound: It was not found."
    assert found["stopped"].reason == "cancelled before it was begun"
    assert (certificate.totals.pages, certificate.totals.uncounted) == (9, 3)
    assert faults(certificate) == [] and office.check(certificate) == []


def test_open_job_is_named_and_the_day_does_not_balance(office: Office) -> None:
    office.hand_in("waits", "a")
    office.hand_in("runs", "b")
    office.records.begin_stage("runs", "ocr", "w")
    certificate = office.certificate()
    assert not certificate.totals.balanced
    assert {e.job_id: why for e, why in certificate.exceptions()} == {
        "waits": "queued, not begun",
        "runs": "still at ocr",
    }


def test_same_bytes_twice_are_two_files_and_one_document(office: Office) -> None:
    office.process("first", "motion")
    office.hand_in("known", "motion")
    office.records.complete("known", None, None)
    certificate = office.certificate()
    assert certificate.totals.balanced and (certificate.totals.files, certificate.totals.documents) == (2, 1)
    assert {entry.made_by for entry in certificate.entries} == {"first"}
    assert certificate.totals.pages == 4
    assert office.check(certificate) == []


def test_file_processed_twice_on_one_day_has_the_set_of_the_later_job(office: Office) -> None:
    office.process("first", "motion")
    office.hand_in("again", "motion")
    office.publish("again", "motion", engine="trocr 1")
    certificate = office.certificate()
    assert certificate.totals.balanced and len(certificate.entries) == 2
    assert {(entry.made_by, entry.engine) for entry in certificate.entries} == {("again", "trocr 1")}
    assert office.check(certificate) == []


def test_set_that_a_later_job_replaced_is_told_apart_from_an_altered_one(office: Office) -> None:
    folder = office.process("first", "motion")
    certificate = office.certificate()
    office.hand_in("later", "motion")
    office.publish("later", "motion", engine="trocr 1", pages=3)
    (found,) = office.check(certificate)
    assert (found.kind, found.key, found.job_id) == ("reprocessed", folder, "later")
    office.storage.put(f"{folder}/ocr.txt", b"other words")
    assert [finding.kind for finding in office.check(certificate)] == ["reprocessed", "altered"]


def test_another_jobs_name_in_an_altered_set_does_not_pass_for_reprocessing(office: Office) -> None:
    folder = office.process("first", "motion")
    office.process("other", "another document")
    certificate = office.certificate("first")
    for job_id in ("other", "made up"):
        office.storage.put(f"{folder}/ocr.txt", b"other words")
        metadata = json.loads(office.storage.get(f"{folder}/metadata.json")) | {"job_id": job_id}
        metadata["files"]["ocr.txt"]["sha256"] = hashlib.sha256(b"other words").hexdigest()
        office.storage.put(f"{folder}/metadata.json", json.dumps(metadata).encode())
        found = {finding.key.rsplit("/", 1)[-1]: finding.kind for finding in office.check(certificate)}
        assert found == {"ocr.txt": "altered", "metadata.json": "altered"}


def test_original_that_was_moved_is_told_and_is_no_difference(office: Office) -> None:
    office.process("a", "motion")
    certificate = office.certificate()
    before, document = by_job(certificate)["a"].source, office.records.documents()[0]
    office.storage.delete(before)
    assert [finding.kind for finding in office.check(certificate)] == ["missing"]
    office.storage.put("raw/sorted/motion.pdf", b"other bytes")
    office.records.move_original(document.document_id, before, "raw/sorted/motion.pdf")
    assert [finding.kind for finding in office.check(certificate)] == ["missing"]
    office.storage.put("raw/sorted/motion.pdf", b"motion")
    (found,) = office.check(certificate)
    assert (found.kind, found.key, found.detail) == ("moved", before, "its bytes are at raw/sorted/motion.pdf")
    assert found.kind in NO_FAULTS


def test_one_byte_a_missing_file_and_an_added_one_are_named(office: Office) -> None:
    folder = office.process("a", "motion")
    office.process("b", "order")
    certificate = office.certificate()
    text = bytearray(office.storage.get(f"{folder}/ocr.txt"))
    text[0] ^= 1
    office.storage.put(f"{folder}/ocr.txt", bytes(text))
    office.storage.delete(f"{folder}/analysis.json")
    office.storage.put(f"{folder}/note.txt", b"x")
    office.storage.put(by_job(certificate)["b"].source, b"other bytes")
    found = {(finding.kind, finding.key.rsplit("/", 1)[-1], finding.job_id) for finding in office.check(certificate)}
    assert found == {
        ("altered", "ocr.txt", "a"),
        ("missing", "analysis.json", "a"),
        ("added", "note.txt", "a"),
        ("altered", by_job(certificate)["b"].source.rsplit("/", 1)[-1], "b"),
    }
    assert list((office.home / "scratch").iterdir()) == []


def test_bucket_that_is_another_one_lacks_everything(office: Office, tmp_path: Path) -> None:
    office.process("a", "motion")
    certificate, elsewhere = office.certificate(), Office(tmp_path / "elsewhere")
    assert {finding.kind for finding in elsewhere.check(certificate)} == {"missing"}
    assert len(elsewhere.check(certificate)) == 4


def test_completed_file_whose_set_is_gone_does_not_balance(office: Office) -> None:
    folder = office.process("a", "motion")
    office.storage.delete(f"{folder}/metadata.json")
    certificate = office.certificate()
    assert "published set is not complete" in faults(certificate)[0]


def test_pages_that_records_and_bucket_count_differently_do_not_balance(office: Office) -> None:
    folder = office.process("a", "motion")
    metadata = json.loads(office.storage.get(f"{folder}/metadata.json"))
    metadata["pages"].pop()
    office.storage.put(f"{folder}/metadata.json", json.dumps(metadata).encode())
    assert "2 pages in, 1 accounted for" in faults(office.certificate())[0]


def test_run_names_each_job_once_whatever_day(office: Office) -> None:
    for job_id in "abc":
        office.process(job_id, f"file {job_id}")
    certificate = office.certificate("c", "a", "a")
    assert set(by_job(certificate)) == {"a", "c"} and len(certificate.entries) == 2


def test_day_is_paged_without_a_loss_even_if_all_came_in_the_same_moment(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certifying, "BATCH", 7)
    made = [f"j{number:03d}" for number in range(60)]
    for job_id in made:
        office.records.register_job(job_id, "raw/x.pdf", "normal", None)
    with sqlite3.connect(office.records.path) as db:
        for number, job_id in enumerate(made):
            moment = datetime(2026, 11, 24, 10, tzinfo=UTC) + timedelta(seconds=max(0, number - 40) // 6)
            values = (moment.isoformat(timespec="microseconds"), job_id)
            db.execute("UPDATE processing_jobs SET created_at = ? WHERE job_id = ?", values)
    assert [job.job_id for job in jobs_of_day(office.records, date(2026, 11, 24))] == made
    assert list(jobs_of_day(office.records, date(2026, 11, 23))) == []
    assert office.certificate(day=date(2026, 11, 24)).totals.outcomes["open"] == 60


@pytest.fixture
def yesterdays(office: Office, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An office that `control` works in, with a completed and an open job of yesterday."""
    office.process("done", "motion")
    office.hand_in("open", "order")
    with sqlite3.connect(office.records.path) as db:
        moment = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="microseconds")
        db.execute("UPDATE processing_jobs SET created_at = ?", (moment,))
    monkeypatch.setattr(services, "records", lambda: office.records)
    monkeypatch.setattr(services, "storage", lambda: office.storage)
    yield office


def test_day_is_certified_each_night_until_it_balances(
    yesterdays: Office, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", "aseagi.notify")
    (first,) = control.certificate()
    assert not read(yesterdays.storage.get(first), first).totals.balanced
    assert "does NOT balance" in caplog.text and "and 1 open" in caplog.text and first in caplog.text
    yesterdays.publish("open", "order")
    (second,) = control.certificate()
    assert read(yesterdays.storage.get(second), second).totals.balanced and " balances: 2 files in" in caplog.text
    assert first != second and {first, second} <= {there.key for there in yesterdays.storage.list("exports/")}
    assert control.certificate() == []


def test_certificate_made_while_the_day_went_on_does_not_stand_for_the_day(yesterdays: Office) -> None:
    yesterdays.publish("open", "order")
    day = yesterdays.records.job("done").created_at
    made = {"records": yesterdays.records, "storage": yesterdays.storage, "bucket": "b", "key": None}
    early, _ = certify([yesterdays.records.job("done")], f"{day.date()}", **made, now=day)  # type: ignore[arg-type]
    assert early.totals.balanced
    (key,) = control.certificate()
    assert read(yesterdays.storage.get(key), key).totals.files == 2


def test_days_without_jobs_and_days_long_past_are_left_alone(yesterdays: Office) -> None:
    records, storage = yesterdays.records, yesterdays.storage
    day = records.job("done").created_at.date()
    for later in (1, 7):
        assert days_to_certify(records, storage, day + timedelta(days=later)) == [day]
    assert days_to_certify(records, storage, day) == days_to_certify(records, storage, day + timedelta(days=8)) == []


def test_newest_certificate_of_a_day_is_last_by_name() -> None:
    made = [keys.certificate("2026-11-24", NOW + timedelta(hours=n), digest, "json") for n, digest in enumerate("fa")]
    assert made == sorted(made) and all(key.startswith(keys.certificates("2026-11-24")) for key in made)
