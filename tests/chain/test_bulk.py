"""A bulk run on real workers: what lies in the bucket is found, quoted, confirmed, done and certified."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from aseagi_tasks import services
from aseagi_tasks.bulk import orders, tending
from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.settings import settings
from tests.chain.conftest import until
from tests.chain.test_claude import filing

PREFIX = "raw/bulk/a box/"


def test_what_lies_in_the_bucket_is_done_and_certified(stack: Stack, tmp_path: Path) -> None:
    storage, root = services.storage(), settings().home / settings().bucket
    bodies = [filing(tmp_path).read_bytes() for _ in range(4)]
    files = {f"{n} – a filing.pdf": body for n, body in enumerate(bodies)}
    files |= {"broken.pdf": b"no PDF at all", "Thumbs.db": b"x"}
    for name, body in files.items():
        storage.put(PREFIX + name, body)
        os.utime(root / PREFIX / name, (time.time() - 3_600,) * 2)  # it has rested
    storage.put(f"{PREFIX}being written.pdf", b"%PDF-1.7")

    run_id = orders.start(PREFIX, requested_by="a test")
    until(lambda: tending.step(run_id).status == "waiting", lambda: str(orders.show(run_id)))
    shown = orders.show(run_id)
    assert (shown["scan"]["todo"], shown["scan"]["unrested"], shown["scan"]["refused"]) == (5, 1, 1)
    low, high = shown["quote"]["pages"]
    assert 4 <= low <= high and shown["quote"]["usd"][1] >= 0 and all(one["how"] for one in shown["quote"]["lines"])

    orders.confirm(run_id, by="a test", cap_usd=1.0)
    orders.pause(run_id, by="a test")
    assert tending.step(run_id).fed == 0
    orders.resume(run_id, by="a test")
    until(lambda: tending.step(run_id).status == "completed", lambda: str(orders.show(run_id)))

    shown = orders.show(run_id)
    assert (shown["jobs"]["completed"], shown["jobs"]["error"], shown["left"], shown["trouble"]) == (4, 1, 0, None)
    assert shown["spent_usd"] <= shown["cap_usd"]
    certificate = json.loads(storage.get(shown["certificate"]))
    assert certificate["totals"]["balanced"] and certificate["totals"]["files"] == 5
    jobs = services.bulk_records().jobs_of(run_id)
    assert {job.source for job in jobs if job.status == "completed"} == {PREFIX + name for name in list(files)[:4]}
    run_id = orders.start(PREFIX, requested_by="a test")
    until(lambda: tending.step(run_id).status == "completed", lambda: str(orders.show(run_id)))
    scan = orders.show(run_id)["scan"]
    assert (scan["todo"], scan["done"], scan["failed"]) == (0, 4, 1)
