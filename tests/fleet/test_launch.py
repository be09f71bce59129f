"""A machine that is rented where machines come by enrolment: let in by its launch, and out by its end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from redis import Redis, RedisError

from aseagi_tasks import services
from aseagi_tasks.celery import app
from aseagi_tasks.errors import NotFound, NotInvited
from aseagi_tasks.fleet.authority import Authority
from aseagi_tasks.fleet.broker_access import unacknowledged_keys
from aseagi_tasks.fleet.enrolment import Credentials
from aseagi_tasks.fleet.invitations import Invitations
from aseagi_tasks.fleet.worker import Node, Presence
from aseagi_tasks.tending import orders
from aseagi_tasks.tending.watching import queue_state
from tests.servers.broker import Broker
from tests.servers.vast import Machine, VastServer
from tests.unit.test_tending import TEXT, Fleet


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as one:
        yield one


@pytest.fixture
def fleet(broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fleet]:
    monkeypatch.setattr(app.conf, "broker_url", broker.url)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)  # of another test's broker
    with VastServer([Machine(1, gpu_usd_per_hour=0.16)], keep_limits=False) as server:
        one = Fleet(broker.redis, server, tmp_path, fleet_instances=1, public_name="droplet.test", https_port=8443)
        authority = Authority(one.means.conf.ca_folder)
        authority.create(datetime.now(UTC))
        door = Invitations(broker.redis, authority, one.means.conf.tunnel_pid_file)
        monkeypatch.setattr(services, "lets_machines_in", lambda: True)
        monkeypatch.setattr(services, "invitations", lambda: door)
        monkeypatch.setattr(services, "records", lambda: one.ledger)
        monkeypatch.setattr(services, "redis", lambda: broker.redis)
        yield one


def test_launch_hands_over_a_token_and_the_end_takes_everything_back(
    fleet: Fleet, broker: Broker, tmp_path: Path
) -> None:
    fleet.wait(50)
    fleet.tick()
    (rented,) = fleet.server.alive()
    env, label = rented.asked["env"], rented.label
    assert rented.asked["args"] == [], "the image knows what to run"
    assert (env["ASEAGI_INSTANCE"], env["ASEAGI_CONTROL_URL"]) == (label, "https://droplet.test:8443")
    assert float(env["ASEAGI_INSTANCE_LIFETIME_S"]) > fleet.means.conf.fleet_lifetime_s
    token = env["ASEAGI_BOOTSTRAP_TOKEN"]
    assert token not in json.dumps([dict(row.detail) for row in fleet.records.instances()])

    given = services.invitations().enroll(token, Credentials(tmp_path / "machine").request("x"), datetime.now(UTC))
    machine = Redis.from_url(broker.url_of(given.redis_user, given.redis_password))
    fleet.running()
    fleet.tick()
    node, presence = f"reading@{label}", Presence(machine)  # as the machine, with what it may do
    presence.say(label, step="working", nodes=[node], canary={"text": TEXT, "seconds_per_page": 0.3})
    presence.beat(label, node, Node(1, True, 0.0))
    fleet.tick()
    fleet.tick()
    assert fleet.row().state == "joined"

    fleet.ledger.register_job("job", "raw/a.pdf", "normal", None)
    assert fleet.ledger.give_job("job", label, 9)
    assert fleet.ledger.start_lease("job", f"{node}/1/2/", 600)
    taken = json.dumps([{"body": "b", "properties": {"priority": 0}, "headers": {"id": "task"}}, "cpu", "cpu"])
    machine.hset(unacknowledged_keys(label)["unacked_key"], "tag", taken)
    assert queue_state(fleet.means, datetime.now(UTC)).running_documents == 1, "what a machine has taken is counted"

    assert "1 tasks handed back" in orders.destroy(fleet.means, label, "somebody")
    with pytest.raises(RedisError):
        machine.ping()
    assert broker.redis.llen("cpu") == 1
    assert fleet.ledger.given_jobs(label, datetime.now(UTC) - timedelta(hours=1)) == []
    assert fleet.ledger.start_lease("job", "reading@another/1/2/", 60), "its leases are over"
    assert services.invitations().instance_of(given.gateway_token) is None
    with pytest.raises(NotInvited):
        services.invitations().enroll(token, Credentials(tmp_path / "thief").request("x"), datetime.now(UTC))


def test_machine_that_never_came_cannot_come_after_its_end(fleet: Fleet, tmp_path: Path) -> None:
    fleet.wait(50)
    fleet.tick()
    (rented,) = fleet.server.alive()
    orders.destroy(fleet.means, rented.label, "somebody")
    with pytest.raises(NotInvited):
        request = Credentials(tmp_path / "machine").request("x")
        services.invitations().enroll(rented.asked["env"]["ASEAGI_BOOTSTRAP_TOKEN"], request, datetime.now(UTC))
    with pytest.raises(NotFound):
        Authority(fleet.means.conf.ca_folder).revoke(rented.label, datetime.now(UTC))
