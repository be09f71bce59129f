"""What the monitor reckons and refuses, without a stack."""

from __future__ import annotations

import ast
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from tornado.web import HTTPError

from aseagi_tasks.doors.monitor.access import credentials
from aseagi_tasks.doors.monitor.bulk import money, typed
from aseagi_tasks.doors.monitor.costs import added_up, plot
from aseagi_tasks.doors.monitor.description import CALLS, openapi
from aseagi_tasks.doors.monitor.page import ago, amount, usd
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.settings import load
from aseagi_tasks.stores.records import Day

TODAY = date(2026, 11, 25)


@pytest.fixture
def nowhere(tmp_path: Path) -> Path:
    return tmp_path / ".env"


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "monitor.example"])
def test_monitor_is_not_opened_to_others_without_operators(
    address: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASEAGI_MONITOR_ADDRESS", address)
    with pytest.raises(ConfigError, match="ASEAGI_MONITOR_OPERATORS"):
        load(nowhere)
    monkeypatch.setenv("ASEAGI_MONITOR_OPERATORS", "ann:secret")
    assert load(nowhere).monitor_address == address


def test_people_are_read_from_settings_and_never_shown(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASEAGI_MONITOR_OPERATORS", "ann:s3cret,bob:0ther")
    monkeypatch.setenv("ASEAGI_MONITOR_VIEWERS", "eve:l00k")
    conf = load(nowhere)
    found = credentials(conf)
    assert {name: sorted(scopes) for name, scopes in found.items()} == {
        "ann:s3cret": ["operate", "read", "write"],
        "bob:0ther": ["operate", "read", "write"],
        "eve:l00k": ["read"],
    }
    assert "s3cret" not in repr(conf) and "l00k" not in repr(conf)


@pytest.mark.parametrize("people", ["ann", "ann:", ":secret", "ann:secret,", "ann:secret bob:other:x"])
def test_people_without_name_or_password_are_an_error(
    people: str, nowhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ASEAGI_MONITOR_OPERATORS", people)
    with pytest.raises(ConfigError, match="name:password"):
        load(nowhere)


def test_days_add_up_and_a_thousand_documents_have_a_price() -> None:
    days = [
        Day(day=TODAY, usd={"gpu": 1.5, "claude": 0.5}, completed=400, failed=2, pages=2_000),
        Day(day=TODAY - timedelta(days=1), usd={"claude": 2.0}, completed=100, pages=100),
    ]
    total = added_up(days)
    assert (total.usd["gpu"], total.usd["claude"], total.usd["storage"]) == (1.5, 2.5, 0.0)
    assert (total.completed, total.failed, total.pages) == (500, 2, 2_100)
    assert total.all_usd == 4.0 and total.per_thousand == 8.0
    assert added_up([]).per_thousand is None


def test_bars_stand_on_each_other_and_on_the_ground() -> None:
    days = [Day(day=TODAY - timedelta(days=at)) for at in range(3)]
    drawn = plot(days, [("gpu", [1.0, 0.0, 3.0]), ("claude", [1.0, 0.0, 1.0])], "usd")
    ground = drawn.grid[0][0]
    assert [bar.kind for bar in drawn.bars] == ["gpu", "claude", "gpu", "claude"]
    first, second, third, fourth = drawn.bars
    assert first.y + first.height == pytest.approx(ground) and third.y + third.height == pytest.approx(ground)
    assert second.y + second.height == pytest.approx(first.y) and fourth.y + fourth.height == pytest.approx(third.y)
    assert third.height == pytest.approx(3 * first.height)
    assert drawn.grid[-1][1] == "$5.00" and drawn.grid[-1][0] <= fourth.y
    assert 0 < first.x < third.x < drawn.width


MONEY = {0: "$0.00", 12.345: "$12.35", 0.00042: "$0.0004", 1234.5: "$1,234.50"}


@pytest.mark.parametrize("amount", MONEY)
def test_money_has_digits_that_say_something(amount: float) -> None:
    assert usd(amount) == MONEY[amount]


def test_age_is_said_in_the_largest_unit() -> None:
    now = datetime(2026, 11, 25, 12, tzinfo=UTC)
    ages = {timedelta(seconds=5): "5 s ago", timedelta(seconds=150): "2 minutes ago", timedelta(hours=3): "3 hours ago"}
    for age, said in {**ages, timedelta(days=9): "9 days ago", -timedelta(seconds=5): "0 s ago"}.items():
        assert ago(now - age, now) == said


def test_description_of_the_api_has_every_call_and_its_scope() -> None:
    described = openapi()
    assert {(path, method) for path, calls in described["paths"].items() for method in calls} == {
        (call.path, call.method) for call in CALLS
    }
    for call in CALLS:
        said = described["paths"][call.path][call.method]
        assert call.scope in said["description"] and said["responses"]["401"]
    names = set(described["components"]["schemas"])
    assert {"Job", "Document", "Hit", "Problem", "NewJob"} <= names


def test_flower_remembers_so_many_tasks_and_workers_and_no_more() -> None:
    """`benchmarks/monitor.py --documents 0` measures what that comes to."""
    tree = ast.parse((Path(__file__).parents[2] / "flower" / "flowerconfig.py").read_text())
    set_to = {ast.unparse(one.targets[0]): one.value for one in ast.walk(tree) if isinstance(one, ast.Assign)}
    assert ast.literal_eval(set_to["max_tasks"]) <= 10_000 and ast.literal_eval(set_to["max_workers"]) <= 500
    assert ast.literal_eval(set_to["persistent"]) is False


@pytest.mark.parametrize(
    ("low", "high", "unit", "said"),
    [
        (3, 3, "documents", "3 documents"),
        (1_200, 1_450.4, "pages", "1,200 – 1,450 pages"),
        (0, 0, "USD", "$0.00"),
        (0.004, 1.25, "USD", "$0.0040 – $1.25"),
        (999.5, 14_250.4, "USD", "$999.50 – $14,250"),
        (0.00022, 0.018, "hours", "0.8 – 65 seconds"),
        (0.1, 1.2, "hours", "6 – 72 minutes"),
        (1.25, 30, "hours", "1.2 – 30 hours"),
    ],
)
def test_range_is_said_in_what_suits_it(low: float, high: float, unit: str, said: str) -> None:
    assert amount(low, high, unit) == said


def test_dollars_in_a_field_come_back_as_no_less() -> None:
    shown = {0.0042: "0.0042", 0.00001: "0.0001", 2.5: "2.50", 0.1 + 0.2: "0.30", 14_250.5: "14250.50", 0: "0.00"}
    assert {usd: typed(usd) for usd in shown} == shown
    assert (money(""), money(" $1,250.50 "), money(typed(0.0042))) == (None, 1250.5, 0.0042)
    for given in ("much", "$", "nan", "-inf", "1e999"):
        with pytest.raises(HTTPError):
            money(given)
