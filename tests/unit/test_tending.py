"""Ticks of the autoscaler against the local provider: every state, every failure, killed at every line."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from redis import Redis

from aseagi_tasks.celery import app
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.fleet.broker_access import unacknowledged_keys
from aseagi_tasks.fleet.vast import Vast
from aseagi_tasks.fleet.worker import CANARY, Node, Presence, judge
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.fleet_records import InstanceRow
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.sqlite_fleet import SqliteFleet
from aseagi_tasks.stores.supabase_fleet import SupabaseFleet
from aseagi_tasks.tending import orders
from aseagi_tasks.tending.billing import reconcile
from aseagi_tasks.tending.shift import KEY as SHIFT
from aseagi_tasks.tending.tick import tick
from aseagi_tasks.tending.watching import Means
from tests.servers.cloud import Project
from tests.servers.redis import redis_server
from tests.servers.vast import KEY, Machine, VastServer
from tests.unit.test_vast import NoRhythm

TEXT = (CANARY / "text.txt").read_text()


@pytest.fixture(scope="module")
def own_redis() -> Iterator[Redis]:
    with TemporaryDirectory(prefix="aseagi-tend-") as folder, redis_server(Path(folder)) as client:
        yield client


class Fleet:
    """Means of tending over a local provider, and what a test does with them."""

    def __init__(
        self, redis: Redis, server: VastServer, home: Path, stores: tuple[Any, Any] | None = None, **settings: Any
    ) -> None:
        common = {"fleet": "vast", "vast_api_key": KEY, "vast_url": server.url, "fleet_image": "worker:1"}
        conf = Settings(home=home, **{**common, "fleet_price_caps": {"RTX 3090": 9.0}, **settings})
        file = home / "records.sqlite3"
        self.vast = Vast(KEY, NoRhythm(), server.url, timeout_s=0.4, sleep=lambda _s: None)
        self.records, self.ledger = stores or (SqliteFleet(file), SqliteRecords(file))
        self.server = server
        self.redis, self.presence = redis, Presence(redis)
        self.means = Means(conf, self.vast, self.records, self.ledger, redis, self.presence)
        self.later = timedelta()

    def wait(self, documents: int, priority: int = 0) -> None:
        """So many documents wait."""
        self.redis.delete("gpu")
        for number in range(documents):
            self.redis.rpush("gpu", str(number))

    def tick(self, after_s: float = 0) -> dict[str, Any]:
        self.later += timedelta(seconds=after_s)
        self.redis.delete("aseagi:fleet:offers")
        return tick(self.means, datetime.now(UTC) + self.later)

    def row(self) -> InstanceRow:
        (row,) = self.records.instances(since=datetime.now(UTC) - timedelta(days=1))
        return row

    def running(self) -> None:
        """Containers have started."""
        for rented in self.server.alive():
            self.server.become(rented.number, "running")

    def work(
        self, busy: int = 0, consuming: bool = True, idle_s: float = 0.0, text: str = TEXT, s: float = 0.3
    ) -> None:
        """Its workers are there."""
        for row in self.records.instances():
            self.presence.say(
                row.instance_id, step="working", nodes=["reading@x"], canary={"text": text, "seconds_per_page": s}
            )
            self.presence.beat(row.instance_id, "reading@x", Node(busy, consuming, idle_s))

    def joined(self) -> InstanceRow:
        """Rent one and bring it to work."""
        self.wait(50)
        self.tick()
        self.running()
        self.tick()
        self.work(busy=1)
        self.tick()
        self.tick()
        assert self.row().state == "joined"
        return self.row()


@pytest.fixture
def make(own_redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Fleet]]:
    own_redis.flushall()
    socket = own_redis.connection_pool.connection_kwargs["path"]
    monkeypatch.setattr("aseagi_tasks.tending.acting.CALM_S", 0.3)
    monkeypatch.setattr(app.conf, "broker_url", f"redis+socket://{socket}")
    machines = [Machine(number, gpu_usd_per_hour=0.15 + number / 100) for number in range(1, 6)]
    with VastServer(machines, keep_limits=False) as server:
        yield lambda home=tmp_path, **settings: Fleet(own_redis, server, home, **settings)


@pytest.fixture
def fleet(make: Callable[..., Fleet]) -> Fleet:
    return make(fleet_instances=1)


def decided(said: dict[str, Any]) -> list[str]:
    assert said["errors"] == [], said
    return [decision["kind"] for decision in said["decisions"]]


def test_nothing_waits_nothing_is_rented(fleet: Fleet) -> None:
    assert decided(fleet.tick()) == ["wait"]
    assert fleet.server.alive() == [] and fleet.records.instances() == []


def test_whole_life_of_an_instance(fleet: Fleet) -> None:
    fleet.wait(50)
    said = fleet.tick()
    assert decided(said)[0] == "launch" and said["queue"]["bulk_documents"] == 0  # priority 0: somebody waits
    row, (rented,) = fleet.row(), fleet.server.alive()
    assert (row.state, row.provider_id, row.machine_id) == ("requested", rented.number, 1)
    assert rented.asked["env"] == {"ASEAGI_INSTANCE": row.instance_id} and rented.label == row.instance_id
    assert "150 pages wait" in row.detail["reason"]
    fleet.server.become(rented.number, "loading")
    fleet.tick()
    assert fleet.row().state == "loading"
    fleet.running()
    fleet.tick()
    assert fleet.row().state == "running"
    fleet.work(busy=2)
    fleet.tick()
    assert fleet.row().detail["canary"]["seconds_per_page"] == 0.3
    assert "launch" not in decided(fleet.tick()) and fleet.row().state == "joined"
    assert fleet.records.machines()[0].seconds_per_page == 0.3 and fleet.records.machines()[0].boot_s is not None
    fleet.wait(0)
    assert "drain" not in decided(fleet.tick())  # busy
    fleet.work(busy=0, consuming=True, idle_s=400)
    assert "drain" in decided(fleet.tick(after_s=400)) and fleet.row().state == "draining"
    assert fleet.presence.is_to_leave(row.instance_id)
    fleet.work(busy=1, consuming=False)
    fleet.tick()
    assert fleet.row().state == "draining" and fleet.server.alive()
    fleet.work(busy=0, consuming=False)
    assert "destroy" in decided(fleet.tick())
    assert fleet.row().state == "destroying" and fleet.server.alive() == []
    fleet.tick(after_s=15)
    assert fleet.row().state == "destroying"  # absent once
    fleet.tick(after_s=15)
    assert fleet.row().state == "gone" and fleet.records.billed(row.instance_id) > 0
    assert fleet.records.instances() == []


def test_whole_life_of_an_instance_in_postgres(make: Callable[..., Fleet], project: Project) -> None:
    api = project.api
    fleet = make(
        fleet_instances=1,
        stores=(SupabaseFleet(api.url, api.token("anon"), api.token("service_role")), project.records()),
    )
    test_whole_life_of_an_instance(fleet)
    assert fleet.records.ticks(1)[0].detail["errors"] == []
    (compared,) = reconcile(fleet.means, datetime.now(UTC))  # the test's clock went ahead of the provider's
    assert compared.booked_usd > compared.charged_usd
    assert fleet.records.billed(compared.instance_id) == pytest.approx(compared.charged_usd, abs=0.001)


def test_idle_one_with_nothing_in_hand_is_destroyed_in_the_same_tick(fleet: Fleet) -> None:
    fleet.joined()
    fleet.wait(0)
    fleet.work(busy=0, consuming=False, idle_s=400)
    said = fleet.tick(after_s=400)
    assert decided(said)[0] == "drain" and said["decisions"][0]["outcome"] == "destroyed"
    assert fleet.server.alive() == []


@pytest.mark.parametrize("fault", ["lost", "late", "done-500", "done-unsuccessful"])
def test_create_that_fails_and_bills_is_ours(fleet: Fleet, fault: str) -> None:
    fleet.server.faults["create"] = [fault]
    fleet.wait(50)
    fleet.tick()
    assert fleet.row().state == "requested" and len(fleet.server.alive()) == 1


def test_create_that_comes_about_later_is_found_and_nothing_else_is_rented_meanwhile(fleet: Fleet) -> None:
    fleet.server.faults["create"], fleet.server.lag_s = ["lost"], 3_600.0
    fleet.wait(50)
    fleet.tick()
    assert fleet.row().state == "ambiguous"
    said = fleet.tick(after_s=15)
    assert said["decisions"][0]["limit"] == "ambiguous" and len(fleet.server.alive()) == 1
    fleet.server.lag_s = 0.0
    fleet.tick(after_s=15)
    assert fleet.row().state in ("requested", "loading") and fleet.row().provider_id == fleet.server.alive()[0].number


def test_create_that_never_came_about_is_given_up_after_two_lists(fleet: Fleet) -> None:
    fleet.server.faults["create"] = ["refuse"]
    fleet.wait(50)
    fleet.tick()
    row = fleet.row()
    fleet.tick(after_s=60)
    assert fleet.records.instance(row.instance_id).state == "ambiguous"
    fleet.tick(after_s=70)
    fleet.tick(after_s=15)
    assert fleet.records.instance(row.instance_id).state == "gone"
    assert fleet.records.billed(row.instance_id) == 0


def test_offer_that_is_gone_costs_nothing_and_the_next_is_taken(fleet: Fleet) -> None:
    fleet.server.faults["create"] = [410]
    fleet.wait(50)
    assert fleet.tick()["decisions"][0]["outcome"] == "the offer was gone"
    fleet.tick()
    assert [row.state for row in fleet.records.instances()] == ["requested"]


def test_machine_that_never_starts_is_destroyed_and_left_out(fleet: Fleet) -> None:
    fleet.wait(50)
    fleet.tick()
    assert "destroy" in decided(fleet.tick(after_s=1_000))
    assert fleet.server.alive() == []
    (bad,) = fleet.records.machines()
    assert bad.machine_id == 1 and bad.barred_until is not None and bad.failures == 1
    for _ in range(3):
        fleet.tick(after_s=15)
    assert [row.machine_id for row in fleet.records.instances()] == [2]


def test_worker_that_never_joins_is_destroyed(fleet: Fleet) -> None:
    fleet.wait(50)
    fleet.tick()
    fleet.running()
    fleet.tick()
    assert "destroy" in decided(fleet.tick(after_s=200))
    assert "no worker joined" in fleet.row().detail["reason"] and fleet.records.machines()[0].failures == 1


@pytest.mark.parametrize(("text", "seconds"), [("all wrong", 0.3), (TEXT, 60.0), (TEXT, float("nan"))])
def test_machine_that_fails_its_canary_is_given_back(fleet: Fleet, text: str, seconds: float) -> None:
    fleet.wait(50)
    fleet.tick()
    fleet.running()
    fleet.tick()
    fleet.work(text=text, s=seconds)
    assert "destroy" in decided(fleet.tick()) and fleet.server.alive() == []
    (bad,) = fleet.records.machines()
    assert bad.failures == 1 and bad.seconds_per_page is None


@pytest.mark.parametrize("end", ["preempted", "old", "over the budget"])
def test_instance_that_ends_at_work_hands_it_back(fleet: Fleet, end: str) -> None:
    fleet.joined()
    fleet.work(busy=2)
    mine, others = (unacknowledged_keys(name)["unacked_key"] for name in (fleet.row().instance_id, "another"))
    for number in range(3):  # the third is another worker's
        about = {"delivery_tag": str(number), "priority": 0, "delivery_info": {"exchange": "", "routing_key": "gpu"}}
        message = {"headers": {"id": f"task-{number}"}, "properties": about, "body": ""}
        fleet.redis.hset(mine if number < 2 else others, str(number), json.dumps([message, "", "gpu"]))
    if end == "preempted":
        fleet.server.preempt(fleet.server.alive()[0].number)
    said = fleet.tick(after_s=86_400 if end == "old" else 0)
    if end == "over the budget":
        fleet.ledger.charge(None, "gpu", 4.9999, once="much", detail={})
        said = fleet.tick()
    assert "destroy" in decided(said) and fleet.server.alive() == []
    assert "2 tasks handed back" in str(said["decisions"])
    assert (fleet.redis.hlen(mine), fleet.redis.hkeys(others)) == (0, [b"2"])


@pytest.mark.parametrize("status", ["exited", "offline", "unknown", "frozen"])
def test_container_in_a_state_that_is_none_is_given_a_minute(fleet: Fleet, status: str) -> None:
    fleet.joined()
    fleet.server.become(fleet.server.alive()[0].number, status)
    fleet.tick(after_s=15)
    assert fleet.row().state == "joined"
    fleet.tick(after_s=61)
    assert fleet.row().state == "destroying" and fleet.server.alive() == []


def test_silent_worker_is_given_up(fleet: Fleet) -> None:
    row = fleet.joined()
    fleet.redis.delete(f"aseagi:fleet:{row.instance_id}:reading@x")
    fleet.tick(after_s=15)
    assert fleet.row().state == "joined"
    fleet.tick(after_s=91)
    assert fleet.row().state == "destroying" and "lost" in fleet.row().detail["reason"]


def test_machine_that_leaves_by_itself_finishes_what_it_has(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aseagi.notify")
    row = fleet.joined()
    fleet.wait(0)
    fleet.presence.say(row.instance_id, step="left", why="no task has run for 1800 s")
    fleet.tick(after_s=15)
    fleet.tick(after_s=100)
    assert fleet.row().state == "draining", "its worker is still heard, and busy"
    fleet.vast.destroy(row.provider_id or 0)  # as its watchdog does
    for _ in range(2):
        fleet.tick(after_s=70)
    assert fleet.row().state == "gone" and "no task has run" in fleet.row().detail["outcome"]
    assert "nobody destroyed it" not in caplog.text and fleet.records.machines()[0].failures == 0


def test_instance_that_vanishes_is_gone_after_two_lists(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aseagi.notify")
    row = fleet.joined()
    fleet.wait(0)
    fleet.vast.destroy(row.provider_id or 0)
    fleet.tick(after_s=70)
    assert fleet.row().state == "joined"
    fleet.tick(after_s=15)
    assert fleet.row().state == "gone" and "nobody destroyed it" in caplog.text
    assert fleet.records.billed(row.instance_id) > 0


def test_what_carries_our_label_and_is_not_known_is_destroyed(fleet: Fleet) -> None:
    fleet.vast.create(1, label="aseagi-of-nobody", image="i", disk_gb=20, env={})
    other = fleet.vast.create(2, label="aseagio-of-another-installation", image="i", disk_gb=20, env={})
    fleet.tick()
    assert [rented.number for rented in fleet.server.alive()] == [other]


def test_second_instance_under_one_label_is_destroyed(fleet: Fleet) -> None:
    row = fleet.joined()
    fleet.vast.create(3, label=row.instance_id, image="i", disk_gb=20, env={})
    fleet.tick()
    assert [rented.number for rented in fleet.server.alive()] == [row.provider_id]


def test_what_was_taken_for_gone_and_is_listed_again_is_destroyed(fleet: Fleet) -> None:
    row = fleet.joined()
    fleet.wait(0)
    fleet.records.move_instance(row.instance_id, {"joined"}, "gone")
    fleet.tick()
    assert fleet.server.alive() == []


def test_destroy_that_failed_is_made_again(fleet: Fleet) -> None:
    fleet.wait(50)
    fleet.tick()
    fleet.server.faults["destroy"] = ["refuse", 500]
    assert fleet.tick(after_s=1_000)["errors"] and fleet.row().state == "destroying"
    assert fleet.tick()["errors"] and len(fleet.server.alive()) == 1
    fleet.tick()
    assert fleet.server.alive() == []


def test_list_that_fails_changes_nothing(fleet: Fleet) -> None:
    row = fleet.joined()
    fleet.server.faults["list"] = [500, "garbage", "refuse", 429]
    for _ in range(4):
        said = fleet.tick(after_s=100)
        assert said["errors"] and said["decisions"] == []
    assert fleet.records.instance(row.instance_id) == row
    fleet.work(busy=1)
    assert fleet.tick()["errors"] == []


def test_refused_key_is_told_once_and_nothing_is_rented(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aseagi.notify")
    fleet.means.vast = Vast("wrong", NoRhythm(), fleet.server.url)
    fleet.wait(50)
    assert "ASEAGI_VAST_API_KEY" in fleet.tick()["errors"][0]
    assert "Nothing is rented or destroyed" in caplog.text and "wrong" not in caplog.text.split("ASEAGI_VAST")[0]


def test_one_at_a_time(fleet: Fleet) -> None:
    fleet.redis.set(SHIFT, "somebody else")
    assert "skipped" in fleet.tick()
    fleet.redis.delete(SHIFT)
    fleet.wait(50)
    fleet.tick()
    assert fleet.redis.get(SHIFT) is None and len(fleet.server.alive()) == 1


def test_limit_is_told_with_what_waits(make: Callable[..., Fleet], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "aseagi.notify")
    fleet = make(fleet_daily_budget_usd=0.0001)
    fleet.wait(50)
    for _ in range(3):
        said = fleet.tick()
    assert said["decisions"][-1]["limit"] == "daily_budget" and fleet.server.alive() == []
    told = [record.message for record in caplog.records if record.name == "aseagi.notify"]
    assert len(told) == 1 and "50 documents (150 pages) wait" in told[0] and "daily budget" in told[0]


@pytest.mark.parametrize("field", ["instances", "usd_per_hour", "monthly_budget_usd"])
def test_other_limits_hold(make: Callable[..., Fleet], field: str) -> None:
    fleet = make(**{f"fleet_{field}": 0})
    fleet.wait(50)
    fleet.tick()
    assert fleet.server.alive() == []


def test_limit_that_is_none_stops_launches(fleet: Fleet) -> None:
    fleet.records.set_control("limits", {"instances": "many"}, "me")
    fleet.wait(50)
    assert "fleet's limits" in fleet.tick()["errors"][0] and fleet.server.alive() == []


def test_operator_pauses_resumes_and_sets_limits(fleet: Fleet) -> None:
    orders.pause(fleet.means, "me", paused=True)
    fleet.wait(50)
    fleet.tick()
    assert fleet.server.alive() == []
    orders.pause(fleet.means, "me", paused=False)
    orders.set_limits(fleet.means, "me", {"instances": 2})
    with pytest.raises(ConfigError, match="is no limit"):
        orders.set_limits(fleet.means, "me", {"instances": 5, "gpus": 3})
    with pytest.raises(ConfigError):
        orders.set_limits(fleet.means, "me", {"instances": -5})
    assert fleet.records.controls() == {"limits": {"instances": 2}}
    fleet.tick()
    assert fleet.server.alive()


def test_operator_launches_drains_and_destroys_within_the_limits(fleet: Fleet) -> None:
    assert orders.launch(fleet.means, "me").startswith("rented as aseagi-")
    fleet.tick()  # nothing waits, and it stays all the same
    assert len(fleet.server.alive()) == 1
    with pytest.raises(ConfigError, match="of at most 1"):
        orders.launch(fleet.means, "me")
    with pytest.raises(ConfigError, match="Only what works"):
        orders.drain(fleet.means, fleet.row().instance_id, "me")
    fleet.server.alive()[0].log = Path(__file__)
    assert "def test_operator_launches" in orders.logs(fleet.means, fleet.row().instance_id, 100)
    assert orders.destroy(fleet.means, fleet.row().instance_id[-6:], "me") == "destroyed"
    assert fleet.server.alive() == [] and fleet.row().detail["reason"] == "destroyed by me"


def test_panic_destroys_everything_of_ours_and_proves_it(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "PAUSE_S", 0.01)
    fleet.joined()
    for number in (3, 4):
        fleet.vast.create(number, label=f"aseagi-{number}", image="i", disk_gb=20, env={})
    other = fleet.vast.create(5, label="somebody-elses", image="i", disk_gb=20, env={})
    fleet.server.faults["destroy"] = [500, 429]
    fleet.server.faults["list"] = [502]
    ended = orders.panic(fleet.means, "me")
    assert ended.proven and len(ended.destroyed) == 3 and len(ended.errors) == 3
    assert [rented.number for rented in fleet.server.alive()] == [other]
    assert fleet.records.controls() == {"paused": True} and fleet.records.instances() == []


def test_panic_that_cannot_be_proven_says_so(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "PAUSE_S", 0.001)
    monkeypatch.setattr(orders, "ROUNDS", 5)
    fleet.joined()
    fleet.server.faults["destroy"] = [500] * 50
    assert not orders.panic(fleet.means, "me").proven


def test_ledger_is_the_true_bill_to_the_cent(make: Callable[..., Fleet]) -> None:
    fleet = make(fleet_instances=1, fleet_usd_per_hour=1e3)
    for machine in fleet.server.machines.values():
        machine.gpu_usd_per_hour = 3.6  # a tenth of a cent a second
    orders.set_limits(fleet.means, "me", {"daily_budget_usd": 1e6, "monthly_budget_usd": 1e6})
    orders.launch(fleet.means, "me")
    fleet.wait(50)
    (rented,) = fleet.server.alive()
    fleet.server.become(rented.number, "running")
    rented.down_gb = 4.0
    fleet.work(busy=1)
    for _ in range(4):
        tick(fleet.means)
    rented.up_gb = 1.5
    tick(fleet.means)
    orders.pause(fleet.means, "me", paused=True)
    orders.destroy(fleet.means, fleet.row().instance_id, "me")
    booked = fleet.ledger.costs(datetime.now(UTC) - timedelta(hours=1))["gpu"]
    assert booked == pytest.approx(fleet.server.bill(), abs=0.01) and booked > 0.02
    for _ in range(2):
        fleet.tick(after_s=15)
    (compared,) = reconcile(fleet.means, datetime.now(UTC))
    assert compared.booked_usd == pytest.approx(booked) and compared.charged_usd == pytest.approx(booked, abs=0.01)
    assert fleet.records.billed(fleet.row().instance_id) == pytest.approx(fleet.server.bill(), abs=0.001)


def test_what_the_ledger_missed_is_booked_when_it_is_reconciled(fleet: Fleet) -> None:
    row = fleet.joined()
    fleet.server.rented[row.provider_id or 0].up_gb = 200.0  # read by nobody before its end
    fleet.vast.destroy(row.provider_id or 0)
    fleet.wait(0)
    for _ in range(3):
        fleet.tick(after_s=70)
    assert fleet.records.billed(row.instance_id) < 0.9
    reconcile(fleet.means, datetime.now(UTC))
    assert fleet.records.billed(row.instance_id) == pytest.approx(fleet.server.bill(), abs=0.001)
    reconcile(fleet.means, datetime.now(UTC))  # once
    assert fleet.records.billed(row.instance_id) == pytest.approx(fleet.server.bill(), abs=0.001)


class Killed(BaseException):
    """The process ends here."""


class Deadly:
    """Passes calls on until the n-th, before or after which the process is killed."""

    def __init__(self, inner: Any, count: list[int], after: bool) -> None:
        self.inner, self.count, self.after = inner, count, after

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.count[0] -= 1
            if self.count[0] == 0 and not self.after:
                raise Killed
            answer = found(*args, **kwargs)
            if self.count[0] == 0:
                raise Killed
            return answer

        return call if callable(found) else found


def life(fleet: Fleet) -> list[int]:
    """From nothing to nothing, one tick after another; how many instances were alive after each of them."""
    alive = []

    def turn(after_s: float = 15) -> None:
        with suppress(Killed):
            fleet.tick(after_s)
        known = {row.provider_id for row in fleet.records.instances()} | {None}
        labels = {row.instance_id for row in fleet.records.instances()}
        assert all(r.number in known or r.label in labels for r in fleet.server.alive()), "an instance without a row"
        alive.append(len(fleet.server.alive()))

    fleet.wait(20)
    for _ in range(3):
        turn()
    fleet.running()
    turn()
    fleet.work(busy=1)
    for _ in range(3):
        turn()
    fleet.wait(0)
    fleet.work(busy=0, consuming=False, idle_s=1_000)
    for _ in range(4):
        turn()
    for _ in range(4):
        turn(130)
    return alive


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_tick_is_killed_at_any_call(make: Callable[..., Fleet], after: bool, tmp_path: Path) -> None:
    """Before and after each call to the provider and the records, of the whole life of an instance."""
    number, step = (3 if after else 0), 6  # the calls of one tick are much like those of the next
    while True:
        number += 1
        count, home = [number], tmp_path / str(number)
        home.mkdir()
        fleet = make(fleet_instances=1, home=home)
        fleet.means.vast = Deadly(fleet.vast, count, after)  # type: ignore[assignment]
        fleet.means.records = Deadly(fleet.records, count, after)  # type: ignore[assignment]
        alive = life(fleet)
        assert max(alive) <= 1 and alive[-1] == 0, (number, alive)
        rows = fleet.records.instances(since=datetime.now(UTC) - timedelta(days=1))
        assert {row.state for row in rows} == {"gone"}, (number, rows)
        if count[0] > 0:  # lived on: there was no such call any more
            break
        number += step - 1
    assert number > 60


def test_canary_is_judged_by_its_text_its_time_and_its_kind() -> None:
    assert judge(TEXT.upper(), 0.3, slowest_s=5) == ""
    assert "read 0%" in judge("", 0.3, slowest_s=5)
    assert "5.00 s is the limit" in judge(TEXT, 6, slowest_s=5)
    assert "0.60 s is the limit" in judge(TEXT, 0.7, slowest_s=5, of_its_kind=[0.1, 0.2, 0.3])
    assert judge(TEXT, 0.7, slowest_s=5, of_its_kind=[0.1, 0.2]) == ""
    for never in (0, -1, float("nan")):
        assert judge(TEXT, never, slowest_s=5)
