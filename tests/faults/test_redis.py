"""What happens to Redis and to the way to it: nothing is lost, nothing is done twice."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import celery
import pytest

from aseagi_tasks import services
from aseagi_tasks.admission import check_queue
from aseagi_tasks.errors import QueueFull
from tests.faults.balance import balance
from tests.faults.plant import Plant, filing, until


def burden(plant: Plant, folder: Path, count: int = 12) -> list[str]:
    """Documents, of which some are at work when this returns."""
    ids = [plant.submit(filing(folder, f"burden-{number}")) for number in range(count)]
    until(lambda: any(plant.job(job_id).status == "completed" for job_id in ids), plant.log)
    return ids


@pytest.mark.parametrize("how", ["restarted", "killed", "wiped"])
def test_redis_ends_under_load_and_comes_back(plant: Plant, tmp_path: Path, how: str) -> None:
    """The pin of Celery may move when a newer one passes this: 5.7.0 does not."""
    ids, worker = burden(plant, tmp_path), plant.processes["all"].pid
    if how == "wiped":
        plant.wipe_redis()
    else:
        plant.stop_redis(signal.SIGTERM if how == "restarted" else signal.SIGKILL)
        time.sleep(0.5)
        plant.start_redis()
    plant.wait_for(ids)
    assert plant.processes["all"].poll() is None and plant.processes["all"].pid == worker
    assert balance(plant, ids) == (len(ids), 0, [], [], [], []), celery.__version__
    assert all(plant.job(job_id).deaths == 0 for job_id in ids)


@pytest.mark.parametrize("how", ["cut", "freeze"])
def test_connection_is_cut_or_freezes(plant: Plant, tmp_path: Path, how: str) -> None:
    """A frozen one says nothing: its end is known by the time-outs alone, which are 2 s here."""
    ids = burden(plant, tmp_path)
    getattr(plant.proxy, how)()
    if how == "cut":
        time.sleep(2)
        plant.proxy.mend()
    plant.wait_for(ids, wait_s=30)
    assert balance(plant, ids) == (len(ids), 0, [], [], [], [])


def test_redis_that_is_full_refuses_new_messages_and_keeps_room_for_those_at_work(
    plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "redis", lambda: plant.client)
    check_queue()
    plant.client.config_set("maxmemory", int(plant.client.info("memory")["used_memory"] * 1.2))
    try:
        with pytest.raises(QueueFull, match="ASEAGI_REDIS_MAX_MB"):
            check_queue()
    finally:
        plant.client.config_set("maxmemory", 0)


def test_garbage_in_the_queue_harms_nobody(plant: Plant, tmp_path: Path) -> None:
    def message(**changes: Any) -> str:
        headers = {"id": "x", "task": "aseagi.fetch", "lang": "py", "argsrepr": "", "kwargsrepr": "", "root_id": "x"}
        properties = {
            "delivery_tag": "t",
            "delivery_info": {"exchange": "", "routing_key": "cpu"},
            "body_encoding": "utf-8",
        }
        whole: dict[str, Any] = {"body": '[["no-such-job"], {}, {}]', "content-encoding": "utf-8"}
        whole |= {"content-type": "application/json", "headers": headers, "properties": properties}
        return json.dumps({**whole, **changes})

    garbage = [
        message(),
        message(body="[[], {}, {}]"),
        message(body='[["a", "b", "c", "d"], {"e": 1}, {}]'),
        message(body="not json"),
        message(headers={"id": "y", "task": "aseagi.no.such.task", "lang": "py"}),
        message(headers={}),
        message(**{"content-type": "application/x-python-serialize", "body": "cos\nsystem\n(S'false'\ntR."}),
    ]
    worker = plant.processes["all"].pid
    plant.client.lpush("cpu", *garbage)
    healthy = plant.submit(filing(tmp_path, "healthy"))
    plant.wait_for([healthy])
    until(lambda: plant.client.llen("cpu") == 0, lambda: plant.client.lrange("cpu", 0, -1))
    assert plant.processes["all"].poll() is None and plant.processes["all"].pid == worker
    assert balance(plant, [healthy]).is_even


@pytest.mark.long
def test_priority_goes_before_age_and_later_stages_before_earlier(home: Path, tmp_path: Path) -> None:
    with Plant(home) as plant:
        plant.worker("control", queues="control", arguments="-P threads -c 1")
        ids = {}
        for level in ("low", "normal", "high"):
            for number in range(2):
                ids[f"{level}-{number}"] = plant.submit(filing(tmp_path, f"{level}-{number}"), level)  # type: ignore[arg-type]
            key = f"cpu\x06\x16{ {'low': 8, 'normal': 5, 'high': 2}[level] }"
            until(lambda key=key: plant.client.llen(key) == 2, lambda: plant.log("control"))
        plant.worker("one", queues="cpu,gpu,claude", arguments="-c 1")
        plant.wait_for(ids.values())
        ended = sorted(ids, key=lambda name: plant.job(ids[name]).finished_at)  # type: ignore[arg-type,return-value]
        assert [name.split("-")[0] for name in ended] == ["high", "high", "normal", "normal", "low", "low"]
        first, last = (plant.records.events(ids[name]) for name in (ended[0], ended[-1]))
        assert first[-1].at < last[0].at, "one is done before the last is begun"


def test_message_that_is_there_thrice_is_done_once(home: Path, tmp_path: Path) -> None:
    with Plant(home) as plant:
        plant.worker("control", queues="control", arguments="-P threads -c 1")
        job_id = plant.submit(filing(tmp_path, "thrice"))
        until(lambda: plant.client.llen("cpu\x06\x165"), lambda: plant.log("control"))
        (message,) = plant.client.lrange("cpu\x06\x165", 0, -1)  # type: ignore[misc]
        for tag in ("again", "and-again"):
            copy = json.loads(message)
            copy["properties"]["delivery_tag"] = tag
            plant.client.lpush("cpu\x06\x165", json.dumps(copy))
        plant.worker("one", queues="cpu,gpu,claude", arguments="-c 3")
        plant.wait_for([job_id])
        until(lambda: plant.client.hlen("unacked") == 0, lambda: plant.log("one"))
        assert plant.events(job_id, "finished") == ["fetch", "rasterize", "ocr", "analyze", "upload"]
        assert balance(plant, [job_id]).is_even
