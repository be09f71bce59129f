"""Processing again: which documents, what would change, what it costs, and how an order comes into the records."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest

from aseagi_tasks import keys
from aseagi_tasks.analysis.analyst import Errand
from aseagi_tasks.analysis.differences import differences, tally, text_difference, whole_usd
from aseagi_tasks.analysis.schema import Analysis, DocumentType, Fact, Party
from aseagi_tasks.documents import Box, Line, Page, Reading, Source
from aseagi_tasks.errors import ConfigError, NotFound, Overtaken, StorageUnavailable
from aseagi_tasks.settings import Settings
from aseagi_tasks.stages import reprocess
from aseagi_tasks.stages.certify import published
from aseagi_tasks.stages.replay import Preview, replay, sample
from aseagi_tasks.stages.reprocess import Order, feed, wanted_of
from aseagi_tasks.stages.upload import Metadata, begin_with, metadata_of, publish, reading_of
from aseagi_tasks.stages.workplace import Workplace
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.records import Document, Wanted
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.where import wanted_by

CURRENT = {"ocr": "tesseract 5", "analyst": "rules 2"}
TYPES = get_args(DocumentType)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


# -- which documents


def where(*texts: str) -> Wanted:
    return wanted_by(texts, CURRENT, TYPES)


def test_where_says_what_is_wanted() -> None:
    assert where() == Wanted()
    assert where("type=motion date>=2024-01-01 and date<=2024-12-31", 'case="3:24-cv 1"') == Wanted(
        document_type="motion", dated_since="2024-01-01", dated_until="2024-12-31", case_number="3:24-cv 1"
    )
    assert where("analyst!=current ocr=tesseract") == Wanted(analyst_not="rules 2", ocr="tesseract*")
    assert where("taken=2026-12-31 relevancy>=50") == Wanted(
        taken_since="2026-12-31", taken_until="2027-01-01", relevancy=50
    )
    assert where("id=0A1b,4e5f requested_by='telegram:7 Ana'") == Wanted(
        document_ids=("0a1b", "4e5f"), requested_by="telegram:7 Ana"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour=red", "'colour' is no field.*type, case, date"),
        ("motion", "'motion' is no condition"),
        ("type=", "no condition"),
        ("type=motions", "'motions' is no type; there are motion, order"),
        ("type>=motion", "type takes =, not >="),
        ("date>=March", "'March' is no date like 2024-03-04"),
        ("relevancy>=many", "0 to 100"),
        ("relevancy>=101", "0 to 100"),
        ("date=2024-01-01 date<=2024-02-01", "twice"),
        ("case='3", "a quote that does not end"),
    ],
)
def test_where_that_is_not_understood_teaches(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        where(text)


# -- what would change


def fact(value: str, status: Any = "supported") -> Fact:
    return Fact(value=value, status=status)


def test_differences_are_told_by_field() -> None:
    old = Analysis(
        analyst="rules",
        title=fact("Motion  to dismiss"),
        court=fact("Supreme Court"),
        case_number=fact("1"),
        parties=(Party(name="A", status="supported"), Party(name="B", role="plaintiff", status="verified")),
    )
    new = Analysis(
        analyst="claude",
        title=fact("Motion to Dismiss", "verified"),
        case_number=fact("2"),
        language=fact("en"),
        parties=(Party(name="B", role="plaintiff", status="verified"), Party(name="a", status="unverified")),
    )
    found = differences(old, new, ["case_number"])
    assert {name: one.kind for name, one in found.items()} == {
        "title": "same",
        "court": "lost",
        "case_number": "changed",
        "language": "new",
        "parties": "same",
    }
    assert found["title"].support == ("supported", "verified") and found["title"].moved
    assert found["parties"].support == ("supported", "unverified")
    assert [name for name, one in found.items() if one.is_corrected] == ["case_number"]
    counted = tally([found, found])
    assert counted["title"] == {"same": 2, "changed": 0, "new": 0, "lost": 0, "support": 2}
    assert counted["court"]["lost"] == 2
    text = text_difference("one two three four", "one two three 4")
    assert (text.kind, text.new) == ("changed", "4 words, 75.0% alike")


def test_whole_is_a_range_around_what_some_cost() -> None:
    assert whole_usd([], 100) is None
    assert whole_usd([0.0] * 10, 100) == (0.0, 0.0)
    assert whole_usd([0.01], 100) == pytest.approx((0.5, 2.0))
    low, high = whole_usd([0.01, 0.02, 0.03, 0.02, 0.02], 1_000, share=0.5) or (0, 0)
    assert 5 <= low < 10 < high < 15


# -- a published set, published again


class Broken(FolderStorage):
    """A folder that fails where it is told to."""

    broken = ""

    def put(self, key: str, body: bytes) -> None:
        if self.broken and key.endswith(self.broken):
            raise StorageUnavailable("writing", "as told")
        super().put(key, body)


@pytest.fixture
def storage(tmp_path: Path) -> Broken:
    return Broken(tmp_path / "bucket")


@pytest.fixture
def records(tmp_path: Path) -> SqliteRecords:
    return SqliteRecords(tmp_path / "records.sqlite3")


def made(tmp_path: Path, storage: FolderStorage, records: SqliteRecords, number: int, kind: str = "order") -> Document:
    """A document with a published set, whose searchable copy is the picture that could not be taken apart."""
    body = b"\xff\xd8\xff no picture %d" % number
    sha256 = hashlib.sha256(body).hexdigest()
    source = Source(
        key=f"raw/{number}.jpg", name=f"{number}.jpg", sha256=sha256, bytes=len(body), media_type="image/jpeg"
    )
    storage.put(source.key, body)
    job_id = f"first-{number}"
    records.register_job(job_id, source.key, "normal", None)
    document = records.register_document(job_id, source, NOW + timedelta(seconds=number))
    records.begin_stage(job_id, "record", "w")
    place = Workplace(job_id, source, storage, Settings(home=tmp_path))
    line = Line(text=f"Order {number}", box=Box(100, 100, 200, 130), confidence=0.9, source="tesseract")
    page = Page(number=1, width_px=2480, height_px=3508, dpi=300, source="tesseract", confidence=0.9, lines=(line,))
    place.save("ocr.json", Reading(engine="tesseract 5", pages=(page,)))
    place.save("analysis.json", Analysis(analyst="rules", title=fact("Old")))
    storage.put(keys.cache(job_id, "thumbnail.jpg"), b"jpeg")
    publish(place, records)
    place.clear()
    folder = keys.processed(document.document_id, document.created_at.date())
    row = document.model_copy(
        update={"processed": folder, "pages": 1, "document_type": kind, "versions": {**CURRENT, "analyst": "rules 1"}}
    )
    assert records.complete(job_id, row, "text")
    return records.document(document.document_id)


def again(tmp_path: Path, storage: FolderStorage, records: SqliteRecords, document: Document, job_id: str) -> Workplace:
    """A job that has begun with the published reading, and has found its facts."""
    records.register_again({job_id: document.document_id}, "test", begins="analyze")
    source = Source(**document.model_dump(include=set(Source.model_fields)))
    place = Workplace(job_id, source, storage, Settings(home=tmp_path))
    assert begin_with(place, document.processed or "")
    records.end_stage(job_id, "analyze", 1.5, "here", {})
    place.save("analysis.json", Analysis(analyst="rules", title=fact(f"New of {job_id}")))
    return place


def contents(storage: FolderStorage) -> dict[str, bytes]:
    return {there.key: storage.get(there.key) for there in storage.list("") if not there.key.startswith("cache/")}


def test_new_facts_replace_the_old_and_those_are_kept(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    document = made(tmp_path, storage, records, 1)
    folder, before = document.processed or "", contents(storage)
    storage.delete(document.key)  # nothing of what runs needs the original
    publish(again(tmp_path, storage, records, document, "second"), records)
    after, metadata = contents(storage), metadata_of(storage, folder)
    assert metadata is not None and metadata.job_id == "second"
    assert (metadata.engine, metadata.stages["analyze"].seconds) == ("tesseract 5", 1.5)
    for name in ("ocr.txt", "ocr.json.gz", "thumbnail.jpg"):
        assert after[f"{folder}/{name}"] == before[f"{folder}/{name}"]
    assert json.loads(after[f"{folder}/analysis.json"])["title"]["value"] == "New of second"
    for name in keys.VERSIONED:
        assert after[keys.version(folder, "first-1", name)] == before[f"{folder}/{name}"]
    publish(again(tmp_path, storage, records, document, "third"), records)
    metadata = Metadata.model_validate_json(storage.get(f"{folder}/metadata.json"))
    assert list(metadata.versions) == ["first-1", "second"]
    there = published(storage, folder)
    assert there is not None and set(there.files) == {key for key in contents(storage) if key.startswith("processed/")}
    assert all(hashlib.sha256(storage.get(key)).hexdigest() == digest for key, digest in there.files.items())


@pytest.mark.parametrize("broken", ["versions/first-1/metadata.json", "analysis.json", "metadata.json"])
def test_stopped_in_the_middle_it_comes_to_the_same_end(
    tmp_path: Path, storage: Broken, records: SqliteRecords, broken: str
) -> None:
    document = made(tmp_path, storage, records, 1)
    place = again(tmp_path, storage, records, document, "second")
    storage.broken = broken
    with pytest.raises(StorageUnavailable):
        publish(place, records)
    storage.broken = ""
    publish(place, records)
    metadata = metadata_of(storage, document.processed or "")
    assert metadata is not None and list(metadata.versions) == ["first-1"]
    assert set(metadata.files) == set(keys.PUBLISHED) - {"searchable.pdf", "metadata.json"}


def test_set_that_another_published_meanwhile_stays(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    document = made(tmp_path, storage, records, 1)
    late = again(tmp_path, storage, records, document, "late")
    publish(again(tmp_path, storage, records, document, "second"), records)
    before = {key: body for key, body in contents(storage).items() if "/versions/" not in key}
    with pytest.raises(Overtaken):
        publish(late, records)
    assert {key: body for key, body in contents(storage).items() if "/versions/" not in key} == before


@pytest.mark.parametrize("body", [None, b"no gzip"])
def test_set_without_its_reading_is_begun_from_the_beginning(
    tmp_path: Path, storage: Broken, records: SqliteRecords, body: bytes | None
) -> None:
    document = made(tmp_path, storage, records, 1)
    storage.delete(f"{document.processed}/ocr.json.gz")
    if body:
        storage.put(f"{document.processed}/ocr.json.gz", body)
    source = Source(**document.model_dump(include=set(Source.model_fields)))
    assert not begin_with(Workplace("x", source, storage, Settings(home=tmp_path)), document.processed or "")
    assert not list(storage.list("cache/x/"))


# -- preview


class Paid:
    """An analyst that costs, and finds another title."""

    name = "claude"
    version = "paid 1"
    cost_usd = 0.01

    def analyze(self, reading: Reading, name: str, errand: Errand | None = None) -> Analysis:
        assert errand is not None
        errand.allow(self.cost_usd)
        errand.reserve("p1-1", self.cost_usd)
        errand.settle("p1-1", self.cost_usd, {"model": "x"})
        return Analysis(analyst="claude", title=fact("New"), cost_usd=self.cost_usd, cost_bound_usd=0.02)


def look(
    tmp_path: Path, storage: FolderStorage, records: SqliteRecords, documents: list[Document], daily_usd: float = 5.0
) -> Preview:
    def read(place: Workplace) -> Reading:
        place.original()
        raise AssertionError("nothing here is read anew")

    settings = Settings(home=tmp_path, claude_daily_usd=daily_usd)
    return replay(
        documents,
        Paid(),  # type: ignore[arg-type]
        read,
        stage="analyze",
        records=records,
        storage=storage,
        settings=settings,
        today=date(2026, 11, 24),
    )


def test_preview_publishes_nothing_and_is_paid_once(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    documents = [made(tmp_path, storage, records, number) for number in range(2)]
    records.correct(documents[0].document_id, "title", "As it is", "somebody", once="c")
    before, rows, jobs = contents(storage), records.documents(), records.counts()
    seen = look(tmp_path, storage, records, documents)
    assert [one.fields["title"].kind for one in seen.documents] == ["changed", "changed"]
    assert [one.fields["title"].is_corrected for one in seen.documents] == [True, False]
    assert (seen.spent_usd, seen.stopped) == (pytest.approx(0.02), None)
    assert look(tmp_path, storage, records, documents).spent_usd == 0
    assert records.costs(NOW)["claude"] == pytest.approx(0.02)
    assert (contents(storage), records.documents(), records.counts()) == (before, rows, jobs)
    assert not any((tmp_path / "scratch").glob("*"))


def test_preview_ends_where_the_budget_does(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    documents = [made(tmp_path, storage, records, number) for number in range(3)]
    seen = look(tmp_path, storage, records, documents, daily_usd=0.025)
    assert len(seen.documents) == 2 and "ASEAGI_CLAUDE_DAILY_USD" in (seen.stopped or "")
    assert seen.spent_usd == pytest.approx(0.02)


def test_document_that_cannot_be_replayed_says_why(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    gone, broken = (made(tmp_path, storage, records, number) for number in range(2))
    storage.delete(gone.key)
    storage.delete(f"{gone.processed}/ocr.json.gz")
    storage.delete(f"{broken.processed}/analysis.json")
    seen = look(tmp_path, storage, records, [gone, broken, made(tmp_path, storage, records, 2)])
    assert [bool(one.error) for one in seen.documents] == [True, True, False]
    assert gone.key in (seen.documents[0].error or "")


def test_sample_is_spread_over_types(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    for number, kind in enumerate(["order"] * 5 + ["motion"] * 2 + ["letter"]):
        made(tmp_path, storage, records, number, kind)
    wanted = wanted_of(Wanted(), "analyze", CURRENT, everything=False)
    counts = records.count_documents(wanted)
    assert counts == {"order": 5, "motion": 2, "letter": 1}
    kinds = [document.document_type for document in sample(records, wanted, counts, 6)]
    assert sorted(map(str, kinds)) == ["letter", "motion", "motion", "order", "order", "order"]
    assert len(sample(records, wanted, counts, 100)) == 8
    assert sample(records, wanted, counts, 0) == []


# -- orders


def ordered(storage: FolderStorage, records: SqliteRecords, **values: Any) -> Order:
    wanted = wanted_of(Wanted(), "analyze", CURRENT, everything=False)
    order = Order(
        **{
            **{"run_id": "20261124-a", "where": (), "wanted": wanted, "stage": "analyze", "versions": CURRENT},
            **{"documents": 5, "cap_usd": 0.0, "document_usd": 0.0, "ordered_by": "test", "ordered_at": NOW},
            **values,
        }
    )
    reprocess.save(storage, order)
    return order


def end(records: SqliteRecords, order: Order, usd: float = 0.0) -> int:
    """Complete the open jobs of an order, each for so much; how many."""
    open_jobs = [job for job in records.jobs(status="queued") if job.requested_by == order.requested_by]
    for job in open_jobs:
        assert job.job_id == order.job_id(job.document_id or "") and job.begins == "analyze"
        records.charge(job.job_id, "claude", usd, once=job.job_id, detail={})
        document = records.document(job.document_id or "")
        records.complete(job.job_id, document.model_copy(update={"versions": CURRENT}), "text")
    return len(open_jobs)


def test_order_is_fed_to_its_end_and_goes_on_where_it_was_stopped(
    tmp_path: Path, storage: Broken, records: SqliteRecords, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reprocess, "PAGE", 2)
    for number in range(5):
        made(tmp_path, storage, records, number)
    order = ordered(storage, records)
    storage.broken = f"{order.run_id}.json"  # registered, and not written down
    with pytest.raises(StorageUnavailable):
        feed(order, records, storage)
    assert sum(records.requested(order.requested_by).jobs.values()) == 2
    storage.broken = ""
    fed = feed(order, records, storage)
    assert (fed.state, fed.fed) == ("running", 5)
    assert end(records, order) == 5
    assert feed(order, records, storage).state == "done"
    assert records.count_documents(order.wanted) == {}
    assert records.requested(order.requested_by).jobs == {"completed": 5}


def test_order_begins_nothing_that_could_pass_its_cap(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    for number in range(5):
        made(tmp_path, storage, records, number)
    order = ordered(storage, records, cap_usd=0.05, document_usd=0.02)
    assert feed(order, records, storage).fed == 2
    assert feed(order, records, storage).fed == 2  # while both are open
    end(records, order, usd=0.01)
    assert feed(order, records, storage).fed == 3
    end(records, order, usd=0.02)
    fed = feed(order, records, storage)
    assert (fed.state, fed.fed) == ("cap", 3)
    assert records.requested(order.requested_by).usd <= order.cap_usd


def test_order_stops_at_its_limit(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    for number in range(4):
        made(tmp_path, storage, records, number)
    order = ordered(storage, records, limit=3)
    assert feed(order, records, storage).fed == 3
    assert end(records, order) == 3
    assert (feed(order, records, storage).state, feed(order, records, storage).fed) == ("done", 3)


def test_cancelled_order_begins_nothing_more(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    for number in range(3):
        made(tmp_path, storage, records, number)
    order = ordered(storage, records, limit=2)
    feed(order, records, storage)
    ended, jobs = reprocess.cancel(order, records, storage)
    assert ended.state == "cancelled" and len(jobs) == 2
    assert feed(order, records, storage).fed == 2
    assert reprocess.load(storage, "2026").state == "cancelled"
    with pytest.raises(NotFound):
        reprocess.load(storage, "2027")


def test_all_takes_what_these_versions_have_made(tmp_path: Path, storage: Broken, records: SqliteRecords) -> None:
    document = made(tmp_path, storage, records, 1)
    assert not records.find(
        wanted_of(Wanted(), "analyze", {**CURRENT, "analyst": "rules 1"}, everything=False), limit=9
    )
    every = wanted_of(Wanted(), "analyze", {**CURRENT, "analyst": "rules 1"}, everything=True)
    assert [found.document_id for found in records.find(every, limit=9)] == [document.document_id]
    assert reading_of(storage, document.processed or "") is not None
