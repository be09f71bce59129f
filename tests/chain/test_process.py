"""``process.delay`` with real workers: results, known results, bad input, cancelled and killed work."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks import services
from aseagi_tasks.celery import app
from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.errors import Cancelled, ConfigError, NotADocument, NotAKey, NotFound
from aseagi_tasks.settings import settings
from aseagi_tasks.tasks import process, resubmit, submit

pytestmark = pytest.mark.usefixtures("stack")
WAIT_S = 120


def until(ready: Callable[[], bool], what: str) -> None:
    """Wait for what workers do; fails after a bound."""
    deadline = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def motion(path: Path, case_number: str) -> Path:
    """A one-page born-digital filing that no other test has made."""
    canvas = Canvas(str(path), invariant=True)
    words = ["UNITED STATES DISTRICT COURT", "NORTHERN DISTRICT OF CALIFORNIA", "", "ACORN LLC, Plaintiff,", "v."]
    words += ["BIRCH INC., Defendant.", f"Case No. {case_number}", "", "MOTION TO DISMISS", "", "Dated: March 4, 2024"]
    for number, line in enumerate(words):
        canvas.drawString(72, 720 - 20 * number, line)
    canvas.save()
    return path


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A filing with a case number of its own."""
    return motion(tmp_path / "filing with spaces é.pdf", f"3:24-cv-{uuid.uuid4().int % 100000:05d}")


def test_local_path_gives_status_keys_and_facts(fresh: Path) -> None:
    result = process.delay(str(fresh)).get(timeout=WAIT_S)
    assert result["status"] == "completed"
    assert result["name"] == fresh.name
    assert result["pages"] == 1
    assert result["text_sources"] == {"text-layer": 1}
    assert result["facts"]["document_type"] == "motion"
    assert result["facts"]["document_date"] == "2024-03-04"
    storage = services.storage()
    assert set(result["keys"]) == {
        "ocr.txt",
        "ocr.json.gz",
        "analysis.json",
        "thumbnail.jpg",
        "searchable.pdf",
        "metadata.json",
    }
    for key in result["keys"].values():
        assert storage.stat(key) is not None
    assert "MOTION TO DISMISS" in storage.get(result["keys"]["ocr.txt"]).decode()
    metadata = json.loads(storage.get(result["keys"]["metadata.json"]))
    assert set(metadata["stages"]) == {"fetch", "rasterize", "ocr", "analyze"}


def test_raw_key_and_s3_address_name_the_same_object(fresh: Path) -> None:
    name = f"{uuid.uuid4().hex} from rclone.pdf"
    services.storage().upload(fresh, f"raw/2026/11/23/{name}")
    by_key = process.delay(f"raw/2026/11/23/{name}").get(timeout=WAIT_S)
    by_address = process.delay(f"s3://{settings().bucket}/raw/2026/11/23/{name}").get(timeout=WAIT_S)
    assert by_key["document_id"] == by_address["document_id"]
    assert by_key["name"] == name
    assert by_key["job_id"] != by_address["job_id"]


def test_same_bytes_again_are_answered_without_work(fresh: Path) -> None:
    first = process.delay(str(fresh)).get(timeout=WAIT_S)
    copy = shutil.copy(fresh, fresh.with_name("another name.pdf"))
    second = process.delay(str(copy)).get(timeout=WAIT_S)
    assert (second["document_id"], second["facts"]) == (first["document_id"], first["facts"])
    assert [event.kind for event in services.records().events(second["job_id"]) if event.stage] == []
    again = process.delay(str(copy), again=True).get(timeout=WAIT_S)
    assert "ocr" in [event.stage for event in services.records().events(again["job_id"])]
    assert again["facts"] == first["facts"]


def test_the_same_document_twice_at_once_is_worked_on_once(fresh: Path) -> None:
    results = [process.delay(str(fresh)) for _ in range(4)]
    got = [result.get(timeout=WAIT_S) for result in results]
    assert len({one["document_id"] for one in got}) == 1
    worked = [r for r in results if any(e.stage == "ocr" for e in services.records().events(r.id))]
    assert len(worked) == 1


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("raw/2026/01/01/nothing-there.pdf", NotFound),
        ("raw/../../etc/passwd", NotAKey),
        ("/nonexistent/file.pdf", NotFound),
        ("relative.pdf", NotFound),
        ("s3://somebody-elses/raw/a.pdf", ConfigError),
    ],
)
def test_source_that_is_none_is_a_typed_error(source: str, error: type[Exception]) -> None:
    queued = process.delay(source)
    with pytest.raises(error):
        queued.get(timeout=WAIT_S)
    job = services.records().job(queued.id)
    assert (job.status, job.error_class) == ("error", error.__name__)
    assert job.error_message


def test_bad_file_is_a_typed_error_and_the_queue_goes_on(tmp_path: Path, fresh: Path) -> None:
    (tmp_path / "letter.pdf").write_text("<html>not a letter</html>")
    bad, good = process.delay(str(tmp_path / "letter.pdf")), process.delay(str(fresh))
    with pytest.raises(NotADocument, match=r"letter\.pdf"):
        bad.get(timeout=WAIT_S)
    assert good.get(timeout=WAIT_S)["status"] == "completed"


def test_failure_inside_the_chain_reaches_the_caller_and_the_records(tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.pdf"
    truncated.write_bytes(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog")
    queued = process.delay(str(truncated))
    with pytest.raises(Exception, match=r"truncated\.pdf") as caught:
        queued.get(timeout=WAIT_S)
    job = services.records().job(queued.id)
    assert (job.status, job.stage, job.error_class) == ("error", "rasterize", type(caught.value).__name__)
    assert not (settings().scratch_root / queued.id / "pages").exists()


def noisy_scan(path: Path, pages: int) -> Path:
    """Pages of text as images, that keep a recognizer busy for seconds."""
    images = []
    for number in range(pages):
        page = Image.new("L", (1700, 2200), 255)
        from PIL import ImageDraw

        draw = ImageDraw.Draw(page)
        for row in range(30):
            draw.text((150, 150 + 60 * row), f"page {number} row {row} {uuid.uuid4()} the court finds", 0, font_size=40)
        images.append(page)
    images[0].save(path, save_all=True, append_images=images[1:], resolution=200)
    return path


def test_cancelled_job_stops_between_pages(tmp_path: Path) -> None:
    queued = process.delay(str(noisy_scan(tmp_path / "long.tiff", 12)))
    until(lambda: _has_begun(queued.id, "ocr"), "recognition began")
    assert services.records().cancel(queued.id)
    with pytest.raises(Cancelled):
        queued.get(timeout=WAIT_S)
    assert services.records().job(queued.id).status == "cancelled"
    assert [e.kind for e in services.records().events(queued.id) if e.stage == "analyze"] == []


def test_progress_shows_pages_while_it_reads(tmp_path: Path) -> None:
    queued = process.delay(str(noisy_scan(tmp_path / "progress.tiff", 4)))
    seen = set()

    def ended() -> bool:
        state = queued.state
        if state == "PROGRESS" and isinstance(queued.info, dict):
            seen.add((queued.info["stage"], queued.info["total"]))
        return state == "SUCCESS"

    until(ended, "the job ended")
    assert ("ocr", 4) in seen


def test_stage_whose_worker_is_killed_is_done_by_another(stack: Stack, tmp_path: Path) -> None:
    queued = process.delay(str(noisy_scan(tmp_path / "killed.tiff", 3)))
    until(lambda: _has_begun(queued.id, "ocr"), "recognition began")
    children = _children_of(next(child.pid for child in stack.children() if child.name == "reading"))
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    assert queued.get(timeout=WAIT_S)["text_sources"] == {"tesseract": 3}
    started = [e for e in services.records().events(queued.id) if e.stage == "ocr" and e.kind == "started"]
    assert len(started) == 2


def test_files_of_a_finished_job_are_cleared_away(fresh: Path) -> None:
    result = process.delay(str(fresh)).get(timeout=WAIT_S)
    assert not (settings().scratch_root / result["job_id"]).exists()
    assert list(services.storage().list(f"cache/{result['job_id']}/")) == []


def test_interactive_document_overtakes_a_bulk_run(tmp_path: Path) -> None:
    bulk = [motion(tmp_path / f"bulk{n}.pdf", f"1:20-cv-{uuid.uuid4().int % 100000:05d}") for n in range(40)]
    ids = []
    for path in bulk:
        ids.append(str(uuid.uuid4()))
        submit(path, priority="low", requested_by="test", job_id=ids[-1])
    first = process.delay(str(motion(tmp_path / "now.pdf", "1:21-cv-99999")), priority="high")
    first.get(timeout=WAIT_S)
    left = [job_id for job_id in ids if services.records().job(job_id).status != "completed"]
    assert len(left) > 20  # the one document did not wait for the forty
    for job_id in ids:
        app.AsyncResult(job_id).get(timeout=WAIT_S)


def _has_begun(job_id: str, stage: str) -> bool:
    """(`job.stage` names it from the end of the one before.)"""
    return any(e.stage == stage and e.kind == "started" for e in services.records().events(job_id))


def _children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task")
    return [int(child) for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def test_retry_is_a_new_job_and_the_old_one_stays_as_it_ended(tmp_path: Path) -> None:
    (tmp_path / "torn.pdf").write_bytes(b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog" + uuid.uuid4().bytes)
    queued = process.delay(str(tmp_path / "torn.pdf"))
    with pytest.raises(Exception, match=r"torn\.pdf"):
        queued.get(timeout=WAIT_S)
    ended = services.records().job(queued.id)
    again = resubmit(ended, "high")
    until(lambda: services.records().job(again).status == "error", "the retried job ended")
    assert again != ended.job_id
    assert services.records().job(ended.job_id) == ended
    assert services.records().job(again).priority == "high"


def test_whatever_redis_keeps_of_a_document_that_ended_expires(fresh: Path) -> None:
    result = process.delay(str(fresh)).get(timeout=WAIT_S)
    redis = services.redis()
    kept = {key.decode(): redis.ttl(key) for key in redis.scan_iter(count=1_000) if result["job_id"].encode() in key}
    assert [key for key in kept if key.startswith("celery-task-meta-")], "its result, for who asks again"
    assert all(0 < ttl <= 86_400 for ttl in kept.values()), kept
