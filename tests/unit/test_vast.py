"""The client of Vast.ai against a local server with its moods."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from aseagi_tasks.errors import (
    ConfigError,
    CreateUnresolved,
    FleetError,
    FleetUnavailable,
    OfferGone,
    RateLimited,
)
from aseagi_tasks.fleet.vast import INTERVALS_S, Vast
from tests.servers.vast import KEY, Machine, VastServer

CAPS = {"RTX 3090": 0.30, "RTX 4090": 0.60}


class NoRhythm:
    """Everybody's turn is now; what was held is kept."""

    def __init__(self) -> None:
        self.turns: list[tuple[str, float]] = []
        self.held: list[tuple[str, float]] = []

    def turn(self, endpoint: str, interval_s: float) -> None:
        self.turns.append((endpoint, interval_s))

    def hold(self, endpoint: str, seconds: float) -> None:
        self.held.append((endpoint, seconds))


@pytest.fixture
def server() -> Iterator[VastServer]:
    machines = [Machine(number, gpu_usd_per_hour=0.15 + number / 100) for number in range(1, 41)]
    machines += [
        Machine(50, gpu_name="RTX 4090", gpu_usd_per_hour=0.5, country="DE", datacenter=True),
        Machine(51, gpu_usd_per_hour=0.01, reliability=0.5),
        Machine(52, gpu_usd_per_hour=0.01, verified=False),
        Machine(53, gpu_usd_per_hour=0.02, interruptible=True),
    ]
    with VastServer(machines, keep_limits=False, lag_s=0.0) as running:
        yield running


@pytest.fixture
def rhythm() -> NoRhythm:
    return NoRhythm()


@pytest.fixture
def vast(server: VastServer, rhythm: NoRhythm) -> Vast:
    return Vast(KEY, rhythm, server.url, timeout_s=0.4, sleep=lambda _s: None)


def make(vast: Vast, ask_id: int = 1, label: str = "aseagi-1") -> int:
    return vast.create(ask_id, label=label, image="aseagi/worker:1", disk_gb=20, env={"A": "1"}, args=["worker"])


def search(vast: Vast, **options: object) -> list[int]:
    found = vast.search(CAPS, disk_gb=20, min_reliability=0.97, **options)  # type: ignore[arg-type]
    return [offer.machine_id for offer in found]


def test_search_says_what_a_machine_costs_with_its_disk(vast: Vast, server: VastServer) -> None:
    offer = vast.search(CAPS, disk_gb=73, min_reliability=0.97)[0]
    assert (offer.ask_id, offer.gpu, offer.region, offer.verified) == (1, "RTX 3090", "US", True)
    assert offer.price_usd_per_hour == pytest.approx(0.16 + 0.15 * 73 / 730)
    assert offer.download_usd_per_gb == 0.005 and offer.reliability == 0.995


def test_search_keeps_to_kinds_caps_regions_and_trust(vast: Vast) -> None:
    assert search(vast)[0] == 1 and 51 not in search(vast) and 52 not in search(vast)
    assert 15 not in search(vast)  # 0.30 and the disk
    assert search(vast, verified=False)[0] == 52
    assert search(vast, regions=["DE"]) == search(vast, datacenter=True) == [50]
    assert search(vast, interruptible=True) == [53]
    assert len(search(vast, limit=3)) == 3


def test_prices_move_and_an_instance_keeps_its_own(vast: Vast, server: VastServer) -> None:
    server.price_moves = 0.2
    before = {offer.ask_id: offer.price_usd_per_hour for offer in vast.search(CAPS, disk_gb=20, min_reliability=0.9)}
    vast.create(1, label="aseagi-1", image="i", disk_gb=20, env={})
    server._epoch += 3_600
    after = {offer.ask_id: offer.price_usd_per_hour for offer in vast.search(CAPS, disk_gb=20, min_reliability=0.9)}
    assert 1 not in after and any(before[ask] != after[ask] for ask in set(before) & set(after))
    assert vast.instances()[0].price_usd_per_hour == pytest.approx(before[1])


def test_create_list_show_label_destroy(vast: Vast, server: VastServer) -> None:
    made = make(vast)
    (seen,) = vast.instances("aseagi-")
    assert (seen.provider_id, seen.label, seen.gpu, seen.machine_id) == (made, "aseagi-1", "RTX 3090", 1)
    assert seen.price_usd_per_hour == pytest.approx(0.16 + 0.15 * 20 / 730)
    assert seen.started_at is not None and abs(seen.started_at - datetime.now(UTC)) < timedelta(minutes=1)
    vast.label(made, "another")
    assert vast.instances("aseagi-") == [] and vast.instances()[0].label == "another"
    shown = vast.instance(made)
    assert shown is not None and shown.label == "another"
    vast.destroy(made)
    vast.destroy(made)  # what is not there is destroyed
    assert vast.instance(made) is None and vast.instances() == [] and server.alive() == []


def test_list_is_read_page_by_page(vast: Vast, server: VastServer) -> None:
    for number in range(1, 31):
        make(vast, number, f"aseagi-{number}")
    assert [seen.label for seen in vast.instances("aseagi-")] == [f"aseagi-{number}" for number in range(1, 31)]
    assert [call for call in server.calls if call[0] == "list"] == [("list", 200)] * 2


@pytest.mark.parametrize("fault", ["garbage", "unsuccessful", 500, 502, "refuse"])
def test_list_that_is_no_list_is_an_error_and_not_empty(vast: Vast, server: VastServer, fault: int | str) -> None:
    server.faults["list"] = [fault]
    with pytest.raises((FleetUnavailable, FleetError)):
        vast.instances()


@pytest.mark.parametrize("fault", ["lost", "late", "done-500", "done-unsuccessful"])
def test_create_that_failed_and_bills_is_found_by_its_label(vast: Vast, server: VastServer, fault: str) -> None:
    server.faults["create"] = [fault]
    made = make(vast)
    assert [rented.number for rented in server.alive()] == [made]
    assert [call[0] for call in server.calls].count("create") == 1


@pytest.mark.parametrize("fault", ["refuse", 500, "garbage", "unsuccessful"])
def test_create_of_which_nothing_is_known_is_not_made_again(vast: Vast, server: VastServer, fault: int | str) -> None:
    server.faults["create"] = [fault]
    with pytest.raises(CreateUnresolved) as raised:
        make(vast)
    assert raised.value.args[0] == "aseagi-1" and raised.value.instance_id is None
    assert [call[0] for call in server.calls].count("create") == 1 and server.alive() == []


def test_create_is_found_although_the_list_lags_behind(server: VastServer, rhythm: NoRhythm) -> None:
    server.lag_s, server.faults["create"] = 0.3, ["lost"]
    made = make(Vast(KEY, rhythm, server.url, timeout_s=0.4, sleep=lambda _s: __import__("time").sleep(0.2)))
    assert [rented.number for rented in server.alive()] == [made]


def test_offer_that_is_gone_is_told_from_other_errors(vast: Vast, server: VastServer) -> None:
    server.machines[1].withdrawn = True
    with pytest.raises(OfferGone):
        make(vast)
    server.faults["create"] = [410]
    with pytest.raises(OfferGone):
        make(vast, 2)


def test_offer_that_is_gone_and_was_rented_all_the_same_is_found(vast: Vast, server: VastServer) -> None:
    """The answer is that of a second try by something on the way; the first has made it."""
    made = make(vast)
    server.machines[1].withdrawn = True
    server.faults["create"] = [410]
    assert make(vast) == made


def test_two_creates_on_one_ask_are_both_accepted(vast: Vast, server: VastServer) -> None:
    first, second = make(vast), make(vast, label="aseagi-2")
    assert first != second and len(server.alive()) == 2


def test_destroy_that_failed_names_the_instance(vast: Vast, server: VastServer) -> None:
    made = make(vast)
    server.faults["destroy"] = ["refuse"]
    with pytest.raises(FleetError) as raised:
        vast.destroy(made)
    assert raised.value.instance_id == str(made)


@pytest.mark.parametrize("number", range(3))
def test_refused_key_is_a_setting_that_is_wrong(server: VastServer, rhythm: NoRhythm, number: int) -> None:
    wrong = Vast("hunter2", rhythm, server.url)
    server._refused = number
    for call in (wrong.instances, lambda: make(wrong), wrong.balance, lambda: wrong.destroy(1)):
        with pytest.raises(ConfigError, match="ASEAGI_VAST_API_KEY") as raised:
            call()
        assert "hunter2" not in str(raised.value)
    assert "hunter2" not in repr(vars(wrong))


def test_pause_that_is_asked_for_holds_everybody(server: VastServer, rhythm: NoRhythm) -> None:
    server.keep_limits = True
    vast = Vast(KEY, rhythm, server.url)
    make(vast)
    for _ in range(4):  # as text and as JSON
        with pytest.raises(RateLimited) as raised:
            make(vast, 2, "aseagi-2")
        assert raised.value.retry_after_s >= INTERVALS_S["create"]
    assert rhythm.held == [("create", 12.0)] * 4
    assert len(server.alive()) == 1


def test_each_endpoint_has_its_turns(vast: Vast, rhythm: NoRhythm) -> None:
    search(vast)
    vast.destroy(make(vast))
    vast.instances()
    assert dict(rhythm.turns) == {name: INTERVALS_S[name] for name in ("search", "create", "destroy", "list")}


def test_searches_of_the_day_can_be_used_up(vast: Vast, server: VastServer) -> None:
    server.search_quota = 1
    search(vast)
    with pytest.raises(RateLimited):
        search(vast)


@pytest.mark.parametrize(("env", "args"), [({"A": "x" * 257}, ()), ({}, ("x" * 4097,))])
def test_what_is_too_long_is_refused_before_it_is_billed(
    vast: Vast, server: VastServer, env: dict[str, str], args: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigError, match="too long"):
        vast.create(1, label="aseagi-1", image="i", disk_gb=8, env=env, args=args)
    assert server.calls == []


def test_charges_and_balance_are_those_of_the_bill(vast: Vast, server: VastServer) -> None:
    server.speed = 3_600
    made = make(vast)
    server.become(made, "running")
    server.rented[made].down_gb = 4.0
    now = datetime.now(UTC)
    until = now + timedelta(days=3)
    vast.destroy(made)
    (charge,) = vast.charges(now - timedelta(days=1), until)
    assert (charge.provider_id, charge.label) == (made, "aseagi-1")
    assert charge.usd == pytest.approx(server.bill(), abs=0.001) and charge.parts["bwd"] == pytest.approx(0.02)
    assert vast.balance() == pytest.approx(server.credit - server.bill())


def test_logs_are_fetched_without_the_key(vast: Vast, server: VastServer) -> None:
    made = make(vast)
    assert vast.logs(made) == ""
    with pytest.raises(FleetError):
        vast.logs(99)
