"""Everything moves from one store to the other and back: nothing lost, nothing changed, interrupted anywhere."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aseagi_tasks.errors import ConfigError, RecordsUnavailable
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.transfer import TABLES, TEXTS, export_records, import_records
from tests.servers.cloud import Project

START = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ["motion", "court", "order", "declaration", "Pellworth", "señor", "日本", "naïve", "§", "12", "compel", "lease"]


def fill(records: Records, documents: int, seed: int = 1) -> None:
    """Rows as a year of use leaves them, written as an import writes them."""
    rng = random.Random(seed)

    def at(minutes: int) -> str:
        return (START + timedelta(minutes=minutes, microseconds=rng.randrange(10**6))).isoformat(
            timespec="microseconds"
        )

    names = [f"{rng.getrandbits(64):016x}" for _ in range(documents)]
    tables: dict[str, list[dict[str, Any]]] = {table.name: [] for table in TABLES}
    texts = {}
    for number, name in enumerate(names):
        done = number % 10 != 9
        tables["documents"].append(
            {
                **{"document_id": name, "sha256": name * 4, "key": f"raw/{number}.pdf", "name": f"n {number} é.pdf"},
                **{"bytes": rng.randrange(10**9), "media_type": "application/pdf", "created_at": at(number)},
                **{"processed": f"processed/{name}" if done else None, "pages": 3 if done else None},
                **{"document_type": "motion", "document_date": "2024-01-02", "case_number": f"23CV{number:06}"},
                **{"title": rng.choice(WORDS), "parties": rng.sample(WORDS, 2), "relevancy_score": number % 101},
                "versions": {"ocr": "tesseract 5", "analyst": "rules"} if done else {},
            }
        )
        if done:
            pages = rng.randrange(1, 4) if number % 500 else 60
            texts[name] = "\f".join(" ".join(rng.choices(WORDS, k=40)) for _ in range(pages)) * (
                20 if pages == 60 else 1
            )
        job = f"job-{number:06}"
        ended = at(number + 5) if done else None
        tables["processing_jobs"].append(
            {
                **{"job_id": job, "source": f"raw/{number}.pdf", "priority": "normal", "requested_by": None},
                **{"status": "completed" if done else "queued", "document_id": name, "stage": None, "deliveries": 0},
                **{"created_at": at(number), "updated_at": at(number + 5), "finished_at": ended},
                **{"error_class": None, "error_message": None},
            }
        )
        tables["processing_events"] += [
            {
                **{"once": f"{number}-{kind}", "job_id": job, "at": at(number), "stage": "ocr", "kind": kind},
                **{"seconds": rng.random(), "worker": "w", "detail": {"pages": number}},
            }
            for kind in ("started", "finished")
        ]
        if number % 3 == 0:
            tables["costs"].append(
                {
                    **{"once": f"{job}:analyze", "at": at(number), "kind": "claude", "usd": rng.random() / 100},
                    **{"job_id": job, "detail": {"model": "m"}},
                }
            )
    tables["users"].append(
        {"telegram_id": 7, "role": "user", "name": "é", "language": "es", "created_at": at(1), "updated_at": at(2)}
    )
    tables["corrections"].append(
        {
            **{"once": "c", "document_id": names[0], "field": "case_number", "value": "23CV000000"},
            **{"corrected_by": "telegram:7 é", "at": at(3)},
        }
    )
    tables["instances"].append(
        {
            **{"instance_id": "i-1", "label": "i-1", "state": "gone", "gpu_name": "RTX 3090", "machine_id": 7},
            **{"price_usd_per_hour": 0.19, "created_at": at(1), "updated_at": at(9), "state_since": at(9)},
            **{"provider_id": 12345, "billed_until": at(9), "detail": {"offer": {"ask_id": 5}, "joined_at": at(2)}},
        }
    )
    tables["fleet_machines"].append(
        {
            **{"machine_id": 7, "gpu": "RTX 3090", "failures": 1, "barred_until": at(90), "why": "it never ran"},
            **{"seconds_per_page": 0.25, "boot_s": None, "updated_at": at(9), "failed_instance": "i-0"},
        }
    )
    for name, value in (("paused", True), ("limits", {"instances": 2})):
        tables["fleet_controls"].append({"name": name, "value": value, "set_by": "me", "updated_at": at(1)})
    tables["cost_reservations"].append({"once": "r", "at": at(1), "kind": "gpu", "usd": 0.5, "job_id": None})
    batch = {"batch_id": "b", "state": "sent", "service_id": "msgbatch_1", "requests": 3}
    tables["message_batches"].append({**batch, "created_at": at(1), "updated_at": at(2)})
    run = {"run_id": "r", "prefix": "raw/", "status": "running", "failed": False, "requested_by": "me", "cap_usd": 1.5}
    tables["bulk_runs"].append({**run, "created_at": at(1), "deadline": at(99), "scan": {"todo": 3}, "jobs": {}})
    for table in TABLES:
        for begin in range(0, len(tables[table.name]), 500):
            records.add_rows(table.name, table.key, tables[table.name][begin : begin + 500])
        if table.name == "documents":
            records.add_texts(texts)


def test_ten_thousand_documents_to_the_cloud_and_back(project: Project, tmp_path: Path) -> None:
    here, cloud, back = SqliteRecords(tmp_path / "a.sqlite3"), project.records(), SqliteRecords(tmp_path / "b.sqlite3")
    fill(here, 10_000)
    first = export_records(here, tmp_path / "1.jsonl")
    assert {name: total["rows"] for name, total in first.items()} == {
        **{"documents": 10_000, "bulk_runs": 1, "processing_jobs": 10_000, "processing_events": 20_000, "costs": 3_334},
        **{"cost_reservations": 1, "users": 1, "corrections": 1, "message_batches": 1},
        **{"instances": 1, "fleet_machines": 1, "fleet_controls": 2, TEXTS: 9_000},
    }
    assert import_records(cloud, tmp_path / "1.jsonl").different == {}
    assert export_records(cloud, tmp_path / "2.jsonl") == first
    assert import_records(back, tmp_path / "2.jsonl").different == {}
    assert export_records(back, tmp_path / "3.jsonl") == first
    assert cloud.counts() == here.counts() == back.counts()
    since = START - timedelta(days=1)
    assert cloud.costs(since) == pytest.approx(here.costs(since))
    job = here.jobs(limit=1, offset=9_999)[0]
    assert cloud.job(job.job_id).model_copy(update={"cost_usd": 0}) == job.model_copy(update={"cost_usd": 0})
    assert cloud.job(job.job_id).cost_usd == pytest.approx(job.cost_usd)
    assert cloud.events(job.job_id) == here.events(job.job_id)
    for query in ("23CV000042", "senor naive compel 23CV000500"):
        found = {hit.document.document_id for hit in here.search(query)}
        assert found and found == {hit.document.document_id for hit in cloud.search(query)}


class Failing:
    """Records whose every n-th call does not answer."""

    def __init__(self, records: Records, every: int) -> None:
        self._records, self._every, self._calls = records, every, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._records, name)

        def call(*args: Any) -> Any:
            self._calls += 1
            if self._calls % self._every == 0:
                raise RecordsUnavailable(name, "as the test wants it")
            return method(*args)

        return call


def test_interrupted_anywhere_it_goes_on_to_the_same_end(tmp_path: Path) -> None:
    here, there = SqliteRecords(tmp_path / "a.sqlite3"), SqliteRecords(tmp_path / "b.sqlite3")
    fill(here, 1_700)
    whole = export_records(here, tmp_path / "whole.jsonl")

    def until_done(attempt: Any) -> tuple[Any, int]:
        for interruptions in range(200):
            try:
                return attempt(), interruptions
            except RecordsUnavailable:
                part = tmp_path / "x.jsonl.part"
                if part.exists() and interruptions % 2:  # killed in the middle of a line
                    part.write_bytes(part.read_bytes()[:-7])
        raise AssertionError

    failing = Failing(here, 4)
    totals, interruptions = until_done(lambda: export_records(failing, tmp_path / "x.jsonl"))  # type: ignore[arg-type]
    assert interruptions > 3 and totals == whole
    assert (tmp_path / "x.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "x.jsonl.part").exists()
    weak = Failing(there, 6)
    done, interruptions = until_done(lambda: import_records(weak, tmp_path / "x.jsonl"))  # type: ignore[arg-type]
    assert interruptions > 3 and done.different == {}
    assert done.rows == {name: total["rows"] for name, total in whole.items()}
    assert export_records(there, tmp_path / "y.jsonl") == whole
    assert not (tmp_path / "x.jsonl.imported").exists()


def test_what_is_there_stays_and_is_reported(tmp_path: Path) -> None:
    here, there = SqliteRecords(tmp_path / "a.sqlite3"), SqliteRecords(tmp_path / "b.sqlite3")
    fill(here, 20)
    export_records(here, tmp_path / "x.jsonl")
    there.register_job("job-000007", "raw/other", "low", None)
    assert import_records(there, tmp_path / "x.jsonl").different == {"processing_jobs": 1}
    assert there.job("job-000007").source == "raw/other"
    assert import_records(there, tmp_path / "x.jsonl").different == {"processing_jobs": 1}
    assert len(there.documents(limit=1000)) == 20


@pytest.mark.parametrize("damage", ["cut", "changed", "removed", "other file", "binary"])
def test_file_that_is_not_whole_is_refused_before_anything_is_written(tmp_path: Path, damage: str) -> None:
    here, there = SqliteRecords(tmp_path / "a.sqlite3"), SqliteRecords(tmp_path / "b.sqlite3")
    fill(here, 20)
    path = tmp_path / "x.jsonl"
    export_records(here, path)
    lines = path.read_text().splitlines(keepends=True)
    if damage == "cut":
        path.write_text("".join(lines[:-1]))
    elif damage == "changed":
        path.write_text("".join(lines).replace("23CV000003", "23CV999993"))
    elif damage == "removed":
        path.write_text("".join(line for line in lines if '"job-000003"' not in line))
    elif damage == "other file":
        path.write_text(json.dumps({"something": "else"}) + "\n")
    else:
        path.write_bytes(b"%PDF-1.7\xff\xfe")
    with pytest.raises(ConfigError, match=r"x\.jsonl: (is no|is not|was altered)"):
        import_records(there, path)
    assert there.documents() == []
    with pytest.raises(ConfigError, match="is there already"):
        export_records(here, path)


def test_what_people_corrected_goes_along(project: Project, tmp_path: Path) -> None:
    """Its value is text, whatever it looks like, on both sides."""
    here, cloud, back = SqliteRecords(tmp_path / "a.sqlite3"), project.records(), SqliteRecords(tmp_path / "b.sqlite3")
    fill(here, 10)
    document_id = here.documents(limit=1)[0].document_id
    for number, value in enumerate(("Motion to dismiss", '"quoted"', "7", "null")):
        here.correct(document_id, "title", value, "telegram:7 Ana", once=f"t{number}")
    export_records(here, tmp_path / "1.jsonl")
    assert import_records(cloud, tmp_path / "1.jsonl").different == {}
    export_records(cloud, tmp_path / "2.jsonl")
    assert import_records(back, tmp_path / "2.jsonl").different == {}
    said = here.corrections(document_id)
    assert said == cloud.corrections(document_id) == back.corrections(document_id) and len(said) == 4
