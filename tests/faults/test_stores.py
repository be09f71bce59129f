"""Bucket, records and disk that fail for a while."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from celery import Task
from celery.exceptions import Retry

from aseagi_tasks import admission, delivery, leases, services
from aseagi_tasks.admission import check_disk, check_scratch, is_disk_full
from aseagi_tasks.errors import DiskFull, RecordsUnavailable, StorageUnavailable
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.s3 import S3Storage
from aseagi_tasks.tasks import fetch
from tests.contract.conftest import s3_endpoint
from tests.faults.balance import balance
from tests.faults.plant import Plant, filing, until
from tests.servers.proxy import Proxy

assert s3_endpoint  # a fixture


def test_documents_wait_for_bucket_disk_and_records(plant: Plant, tmp_path: Path) -> None:
    ids = [plant.submit(filing(tmp_path, f"waits-{number}")) for number in range(6)]
    until(lambda: any(plant.job(job_id).stage for job_id in ids), plant.log)
    for fault, text in (("storage", "503 Slow Down"), ("storage", "full"), ("records", "")):
        plant.order(fault, text)
        time.sleep(2.5)  # more than a lease
        plant.end_order(fault)
        time.sleep(0.3)
    plant.wait_for(ids)
    assert balance(plant, ids) == (len(ids), 0, [], [], [], [])
    assert all(plant.events(job_id, "lost") == [] for job_id in ids), "nobody died of that"


def test_a_bucket_that_stays_away_ends_no_job_and_operators_hear_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(services, "tell_once", lambda key, message: told.append(message))
    monkeypatch.setattr(delivery, "note_waiting", lambda *_: None)
    monkeypatch.setattr(leases, "give_back", lambda *_: True)
    tries: list[float] = []
    monkeypatch.setattr(Task, "retry", lambda _self, **asked: tries.append(asked["max_retries"]) or Retry())
    for retries, messages in ((0, 0), (6, 1), (10_000, 2)):
        fetch.push_request(id="chain", args=["job"], retries=retries)
        try:
            fetch.retry(exc=StorageUnavailable("reading", "503 Slow Down"), countdown=1)
        finally:
            fetch.pop_request()
        assert tries.pop() > retries and len(told) == messages


@pytest.fixture
def tunnel(s3_endpoint: str) -> Iterator[Proxy]:
    proxy = Proxy(int(s3_endpoint.rsplit(":", 1)[1]))
    yield proxy
    proxy.close()


def test_upload_that_is_reset_in_the_middle_and_a_slow_store(tunnel: Proxy, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{tunnel.port}"
    credentials = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **credentials).create_bucket(Bucket="faults")  # type: ignore[call-overload]
    store = S3Storage("faults", address, None, "k", "s", timeout_s=3)
    large, body = tmp_path / "large", bytes(range(256)) * 4096 * 20  # 20 MiB, in three parts
    large.write_bytes(body)
    tunnel.reset_after = 3_000_000
    store.upload(large, "raw/large.pdf")
    assert tunnel.reset_after is None, "a connection was reset"
    store.download("raw/large.pdf", tmp_path / "back")
    assert hashlib.sha256((tmp_path / "back").read_bytes()).digest() == hashlib.sha256(body).digest()
    tunnel.delay_s = 0.3
    store.put("a", b"slow")
    assert store.get("a") == b"slow"
    tunnel.delay_s = 5
    with pytest.raises(StorageUnavailable):
        S3Storage("faults", address, None, "k", "s", timeout_s=0.5, attempts=1).get("a")


def test_full_disk_is_an_error_with_the_cure_where_documents_come_in(home: Path, tmp_path: Path) -> None:
    with Plant(home, ASEAGI_MIN_FREE_MB="1000000000") as plant:
        aseagi = str(Path(sys.executable).with_name("aseagi"))
        command = [aseagi, "process", str(filing(tmp_path, "refused")), "--json"]
        ran = subprocess.run(command, env=plant.environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 4
        assert '"DiskFull"' in ran.stdout and "Free some, or set ASEAGI_SCRATCH" in ran.stdout
        assert plant.records.jobs() == []


def test_scratch_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = Settings(home=tmp_path, scratch_max_mb=1, min_free_mb=0)
    monkeypatch.setattr(admission, "settings", lambda: conf)
    check_disk()
    check_scratch()
    (tmp_path / "scratch" / "job").mkdir(parents=True)
    (tmp_path / "scratch" / "job" / "page.pgm").write_bytes(bytes(3_000_000))
    check_disk()
    with pytest.raises(DiskFull, match="ASEAGI_SCRATCH_MAX_MB"):
        check_scratch()


def test_full_disk_is_known_by_its_cause() -> None:
    full = StorageUnavailable("writing", "x")
    full.__cause__ = OSError(28, "No space left on device")
    assert is_disk_full(full) and is_disk_full(DiskFull("a", 1, 2, "b"))
    assert not is_disk_full(RecordsUnavailable("a", "b")) and not is_disk_full(None)
