"""The arithmetic of a quote: pages by sample, dollars and hours as ranges."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aseagi_tasks.analysis.prices import cost_usd
from aseagi_tasks.bulk import sampling
from aseagi_tasks.bulk.measured import Done, Kept, Measured, measured
from aseagi_tasks.bulk.quote import Machines, aside_usd, bounds_usd, quote, quote_of, rented
from aseagi_tasks.bulk.sampling import Opened, Pages, chosen, reckon
from aseagi_tasks.documents import Source
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.fleet.model import Offer
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.bulk_records import Quote, QuoteLine, Scan, Todo
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.sqlite_fleet import SqliteFleet
from tests.unit.test_bulk_scanning import RUN, Office

NOW = datetime(2026, 11, 29, 21, tzinfo=UTC)
SCAN = Scan(keys=1_200, todo=1_000, todo_bytes=500_000_000, done=200, finished=True)
PAGES = Pages(4_000, 6_000, "30 of 1,000 were opened.")
CLAUDE: dict[str, Any] = {"analyst": "claude", "anthropic_api_key": "sk-x"}


def conf(**values: Any) -> Settings:
    return Settings(_env_file=None, **{"cpu_workers": 2, **values})


def line(found: Quote, what: str) -> QuoteLine:
    return next(one for one in found.lines if one.what == what)


# -- pages


def test_pages_are_a_range_around_those_that_were_opened() -> None:
    opened = [Opened(100 * n, n) for n in (1, 2, 3, 4, 5, 5)]
    pages = reckon(1_000, 400_000, opened)
    assert pages.low < 1_000 * 20 / 6 < pages.high == 4_667
    assert pages.how == "6 of 1,000 were opened: 1 to 5 pages, 3.3 on average."
    assert reckon(1_000, 900_000, opened).high == 9_000, "as many pages a byte as these have"
    assert "; 1 of them cannot be read" in reckon(1_000, 1, [*opened, Opened(9, 0)]).how


def test_pages_of_few_documents_are_counted() -> None:
    assert reckon(2, 100, [Opened(50, 3), Opened(50, 4)])[:2] == (7, 7)
    assert reckon(0, 0, [])[:2] == (0, 0)


def test_pages_are_told_by_documents_done_before_or_assumed() -> None:
    pages = reckon(100, 1_000, [], [Opened(10, 2)] * 8)
    assert pages[:2] == (200, 200) and "8 documents done before" in pages.how
    pages = reckon(100, 1_000, [])
    assert pages[:2] == (100, 1_000) and "assumed" in pages.how
    assert reckon(100, 1_000, [Opened(10, 0)] * 3)[:2] == (100, 1_000)


def test_files_of_every_size_are_opened_and_the_first_few_are_spread_too() -> None:
    found = [Todo(key=f"raw/{n}", bytes=n) for n in range(1_000)]
    found.append(Todo(key="raw/huge", bytes=sampling.FILE_BYTES + 1))
    sizes = [one.bytes for one in chosen(found)]
    assert len(set(sizes)) == 30 and sum(sizes) / 30 == pytest.approx(500, rel=0.02) and max(sizes) < 1_000
    assert min(sizes[:8]) < 50 and max(sizes[:8]) > 900
    assert chosen(found[:3]) == found[:3]


def test_damaged_picture_has_no_pages_and_stops_no_quote(office: Office, tmp_path: Path) -> None:
    page, file = Image.new("L", (2, 2)), io.BytesIO()
    page.save(file, "TIFF", save_all=True, append_images=[page])
    whole = file.getvalue()
    end = 10 + 12 * int.from_bytes(whole[8:10], "little")
    second = int.from_bytes(whole[end : end + 4], "little")
    office.storage.put("raw/cut.tif", whole[:second] + bytes(6))  # of its second page Pillow raises a TypeError
    opened = sampling.sample(office.storage, RUN, _scanned(office), tmp_path / "scratch", max_pages=5, timeout_s=9)
    assert [one.pages for one in opened] == [0]


def test_sample_opens_what_there_is(office: Office, tmp_path: Path) -> None:
    office.storage.upload(_paper(tmp_path, 3), "raw/three.pdf")
    office.storage.put("raw/broken.pdf", b"%PDF-1.7 and nothing")
    office.storage.put("raw/notes", b"some words")
    scan = _scanned(office)
    office.storage.delete("raw/notes")
    opened = sampling.sample(office.storage, RUN, scan, tmp_path / "scratch", max_pages=50, timeout_s=30)
    assert sorted(one.pages for one in opened) == [0, 3]
    assert not list((tmp_path / "scratch").iterdir())


# -- dollars


def test_rules_without_machines_cost_nothing() -> None:
    found = quote(SCAN, PAGES, Measured(), conf(), None)
    assert found.usd == (0.0, 0.0) and found.document_usd == 0
    assert [one.what for one in found.lines] == ["documents", "pages", "Claude", "machines", "storage", "hours"]
    assert all(one.how.endswith(".") and one.low <= one.high for one in found.lines)
    assert found.pages == (4_000, 6_000)


def test_claude_costs_what_finished_documents_did() -> None:
    done = tuple(Done(1_000, pages, 1.0, 0.001 * pages) for pages in (4, 5, 6, 5, 5))
    settings = conf(**CLAUDE, claude_batches="never")
    live, (each, most) = quote(SCAN, PAGES, Measured(done), settings, None), bounds_usd(1_000, PAGES, settings)
    claude = line(live, "Claude")
    assert claude.low == pytest.approx(0.001 * 4_000) and claude.high == pytest.approx(7.2 + 19 * each + most)
    assert 0.002 < each < 0.01 < most < 0.03, "an answer at full length, and two"
    assert "5 documents" in claude.how and "$0.00100 a page, asked live" in claude.how
    assert live.document_usd == pytest.approx(0.001 * 6 * 1.2) and live.usd[1] >= claude.high
    batch = line(quote(SCAN, PAGES, Measured(done), conf(**CLAUDE), None), "Claude")
    assert batch.low == pytest.approx(claude.low / 2)
    assert batch.high == pytest.approx(0.001 * 6_000 * 1.2 / 2 + 200 * each / 2), "200 are in a batch"


def test_cap_holds_what_is_set_aside_before_answers_come() -> None:
    live, batch = conf(**CLAUDE, claude_batches="never"), conf(**CLAUDE)
    assert aside_usd(1, 1.0, 3.0, live, 0.1) == 3 and aside_usd(1_000, 1.0, 3.0, live, 500) == 22
    assert [aside_usd(1_000, 1.0, 3.0, batch, expected) for expected in (1, 100, 500)] == [22, 100, 200]


def test_claude_is_reckoned_by_tokens_where_nothing_was_done() -> None:
    """README: 1,000 documents of five pages cost about $0.49 by batches with the cheapest model, and $0.86 live."""
    five = Pages(5_000, 5_000, "")
    for batches, known in (("low", 0.49), ("never", 0.86)):
        claude = line(quote(SCAN, five, Measured(), conf(**CLAUDE, claude_batches=batches), None), "Claude")
        assert known / 3 < claude.low < known < claude.high < 6 * known
        assert "tokens" in claude.how
    long = quote(Scan(todo=1), Pages(2_000, 2_000, ""), Measured(), conf(**CLAUDE), None)
    most = cost_usd("claude-haiku-5-5", {"input_tokens": 2_000 * 1_000}, batch=True)
    assert most / 5 < long.document_usd < most / 2, "in parts below 100,000 tokens, where a token costs a fifth"


MACHINES = Machines((0.5, 1.0), 3, (0.5 * 0.2 / 3600, 1.0 * 0.3 / 3600), (0.01, 0.2), "2 machines were measured")


def test_rent_is_pages_by_what_machines_take_and_cost() -> None:
    found = quote(SCAN, PAGES, Measured(), conf(), MACHINES)
    rent = line(found, "machines")
    assert rent.low == pytest.approx(4_000 * 0.5 * 0.2 / 3600 + 0.01)
    assert rent.high == pytest.approx(6_000 * 1.0 * 0.3 / 3600 + 0.2)
    hours = line(found, "hours")
    assert hours.low == pytest.approx((4_000 * 0.5 / 3 + 75) / 3600)
    assert hours.high == pytest.approx((6_000 + 1_000 / 50 + 420) / 3600)
    assert found.usd == pytest.approx((rent.low, rent.high), abs=1e-4)


def test_machines_are_known_by_what_was_measured(tmp_path: Path) -> None:
    fleet = SqliteFleet(tmp_path / "records.sqlite3")
    settings = conf(fleet="vast", vast_api_key="x", fleet_image="x/y", fleet_instances=2)
    assumed = rented(settings, fleet, NOW)
    assert "No machine was measured" in assumed.how and assumed.number == 2
    assert assumed.page_usd[0] < 0.1 / 3600 < assumed.page_usd[1]
    fleet.measure_machine(7, "RTX 3090", seconds_per_page=0.4)
    fleet.measure_machine(8, "H100 SXM", seconds_per_page=0.1)  # which may not be rented
    offer = Offer(ask_id=1, machine_id=7, gpu="RTX 3090", price_usd_per_hour=0.25, reliability=1)
    fleet.add_instance("aseagi-1", offer, {})
    known = rented(settings, fleet, datetime.now(UTC))
    assert known.page_s == pytest.approx((0.4, 0.48))
    assert known.page_usd == pytest.approx((0.4 * 0.25 / 3600, 0.48 * 0.25 / 3600))
    assert known.how == "1 machines were measured, 0.40 to 0.48 s a page at $0.25 to $0.25 an hour"


def test_storage_costs_a_month_of_what_is_kept() -> None:
    kept = (Kept(100, 150),) * 5
    s3: dict[str, Any] = {"storage": "s3", "s3_access_key_id": "x", "s3_secret_access_key": "y"}
    amazon = line(quote(SCAN, PAGES, Measured(kept=kept), conf(**s3), None), "storage")
    assert amazon.high == pytest.approx(0.75 * 0.023) and "Amazon" in amazon.how
    spaces = conf(**s3, s3_endpoint_url="https://nyc3.digitaloceanspaces.com")
    assert line(quote(SCAN, PAGES, Measured(kept=kept), spaces, None), "storage").high == pytest.approx(0.75 * 0.02)
    own = line(quote(SCAN, PAGES, Measured(), conf(**s3, s3_endpoint_url="https://minio.example.com"), None), "storage")
    assert (own.low, own.high) == (0, pytest.approx((0.75 + 0.1) * 0.023)) and "is not known" in own.how


# -- hours


def test_hours_are_those_of_this_machine_and_its_workers() -> None:
    done = tuple(Done(1_000, 10, seconds, None) for seconds in (10.0, 12.0, 14.0, 16.0, 48.0))
    hours = line(quote(SCAN, PAGES, Measured(done), conf(), None), "hours")
    assert hours.low == pytest.approx(4_000 * 1.2 / 2 / 3600)
    assert hours.high == pytest.approx((6_000 * 4.8 * 1.2 / 2 + 20 + 60) / 3600)
    assert "5 documents done here took 2.00 s a page, 2 workers at once." in hours.how
    unknown = line(quote(SCAN, PAGES, Measured(), conf(), None), "hours")
    assert unknown.low < hours.low < hours.high and "4 s for a scan" in unknown.how


def test_hours_tell_of_batches_budgets_and_deadlines() -> None:
    done = tuple(Done(1_000, 5, 1.0, 0.05) for _ in range(5))
    found = quote(SCAN, PAGES, Measured(done), conf(**CLAUDE), None, timedelta(hours=5))
    hours = line(found, "hours")
    assert hours.high > 24 * int(found.usd[1] / 5.0) > 24
    for said in ("a message batch, which may take 24", "$5.00 a day", "the deadline there are 5.0 hours: what is not"):
        assert said in hours.how


# -- all of it


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def _paper(folder: Path, pages: int) -> Path:
    import pikepdf

    path = folder / "paper.pdf"
    with pikepdf.new() as pdf:
        for _ in range(pages):
            pdf.add_blank_page()
        pdf.save(path)
    return path


def _scanned(office: Office) -> Scan:
    import os

    for there in office.storage.list("raw/"):
        os.utime(office.storage.root / there.key, (1e9, 1e9))
    return office.scan()


def _done(records: SqliteRecords, storage: FolderStorage, number: int) -> None:
    job_id, key = f"job-{number}", f"raw/done-{number}.pdf"
    records.register_job(job_id, key, "low", "me")
    found = Source(key=key, name="a.pdf", sha256=f"{number:016x}" * 4, bytes=50, media_type="application/pdf")
    document = records.register_document(job_id, found, NOW)
    for stage, seconds in (("rasterize", 0.5), ("ocr", 1.5)):
        records.begin_stage(job_id, stage, "w")  # type: ignore[arg-type]
        records.end_stage(job_id, stage, seconds, "w", {})  # type: ignore[arg-type]
    detail = {"model": "claude-haiku-5-5", "batch": True}
    records.charge(job_id, "claude", 0.001, once=job_id, detail=detail)
    records.charge(job_id, "claude", 0.5, once=f"{job_id}-2", detail={"model": "another"})
    folder = f"processed/{number}"
    storage.put(f"{folder}/ocr.txt", b"x" * 75)
    records.complete(job_id, document.model_copy(update={"processed": folder, "pages": 2}), "")


def test_what_was_done_is_measured(office: Office) -> None:
    for number in range(5):
        _done(office.records, office.storage, number)
    office.records.register_job("known", "raw/known.pdf", "low", "me")
    office.records.complete("known", None, None)
    found = measured(office.records, office.storage, "claude-haiku-5-5")
    assert found.done == (Done(50, 2, 2.0, 0.002),) * 5, "live"
    assert found.kept == (Kept(50, 75),) * 5
    assert measured(office.records, office.storage, None).done[0].usd is None


def test_quote_of_a_scan(office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        _done(office.records, office.storage, number)
    office.storage.upload(_paper(tmp_path, 3), "raw/three.pdf")
    scan = _scanned(office)

    def asked() -> Quote:
        settings = conf(**CLAUDE, scratch=tmp_path / "scratch")
        return quote_of(RUN, scan, records=office.records, storage=office.storage, conf=settings, fleet=None)

    found = asked()
    assert (found.documents, found.pages) == (1, (3, 3))
    assert found.usd[0] == pytest.approx(0.001) and found.document_usd == pytest.approx(0.0018)
    assert Quote.model_validate_json(found.model_dump_json()) == found

    def missing(*_: object, **__: object) -> None:
        raise ConfigError("poppler", "is not installed.", "Install it.")

    monkeypatch.setattr(sampling, "sample", missing)
    assert "None could be opened: 5 documents done before" in line(asked(), "pages").how
