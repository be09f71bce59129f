"""What hangs together by name: tasks and routes, beat and tasks, imports and memory."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import celeryconfig
from aseagi_tasks import control, tasks
from aseagi_tasks.delivery import message_priority
from aseagi_tasks.documents import STAGES
from aseagi_tasks.settings import settings
from beat_schedule import BEAT_SCHEDULE, OnTheWall

ROOT = Path(__file__).parents[2]
OURS = sorted(name for name in tasks.app.tasks if name.startswith("aseagi."))


@pytest.mark.parametrize("name", OURS)
def test_every_task_is_routed_to_a_queue_that_exists(name: str) -> None:
    assert control.clean.name in OURS
    queue = tasks.app.amqp.router.route({}, name)["queue"].name
    routed = any(re.fullmatch(pattern.replace("*", ".*"), name) for pattern in celeryconfig.task_routes)
    assert routed
    assert queue in {queue.name for queue in celeryconfig.task_queues}


def test_every_stage_is_a_task_with_a_description() -> None:
    for stage in STAGES:
        assert tasks.app.tasks[f"aseagi.{stage}"].__doc__


@pytest.mark.parametrize("entry", sorted(BEAT_SCHEDULE))
def test_every_beat_entry_is_a_registered_task(entry: str) -> None:
    assert set(BEAT_SCHEDULE[entry]) == {"task", "schedule"}
    assert BEAT_SCHEDULE[entry]["task"] in OURS


@pytest.mark.parametrize(
    ("zone", "now", "due"),
    [
        ("UTC", datetime(2026, 11, 23, 6, 29, tzinfo=UTC), False),
        ("UTC", datetime(2026, 11, 23, 6, 31, tzinfo=UTC), True),
        ("America/New_York", datetime(2026, 11, 23, 11, 29, tzinfo=UTC), False),
        ("America/New_York", datetime(2026, 11, 23, 11, 31, tzinfo=UTC), True),
        ("America/New_York", datetime(2026, 7, 20, 10, 31, tzinfo=UTC), True),  # summer time
        ("Pacific/Auckland", datetime(2026, 11, 22, 17, 31, tzinfo=UTC), True),  # there it is Monday
    ],
)
def test_time_on_the_wall_is_that_of_the_zone_that_is_set(
    zone: str, now: datetime, due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beat_schedule.settings", lambda: settings().model_copy(update={"time_zone": zone}))
    when = OnTheWall(day_of_week="mon", hour=6, minute=30, nowfun=lambda: now, app=tasks.app)
    assert when.is_due(now - timedelta(days=6)).is_due is due
    assert not when.is_due(now).is_due
    assert type(pickle.loads(pickle.dumps(when.__class__(day_of_week="mon")))) is OnTheWall  # beat keeps it in a file


def test_interactive_goes_before_bulk_then_later_stages_before_earlier() -> None:
    order = [(level, stage) for level in ("high", "normal", "low") for stage in ("record", "ocr", "fetch")]
    numbers = [message_priority(level, stage) for level, stage in order]  # type: ignore[arg-type]
    assert numbers == sorted(numbers) == list(range(9)) == celeryconfig.PRIORITIES
    for level in ("high", "normal", "low"):
        along_the_chain = [message_priority(level, stage) for stage in ("process", *STAGES)]  # type: ignore[arg-type]
        assert along_the_chain == sorted(along_the_chain, reverse=True)


def test_stages_end_before_their_messages_are_delivered_again() -> None:
    visible_after = celeryconfig.broker_transport_options["visibility_timeout"]
    assert celeryconfig.task_soft_time_limit < celeryconfig.task_time_limit < visible_after


@pytest.mark.parametrize(
    "module",
    [
        f"aseagi_tasks.{name}"
        for name in ("control", "tasks", "doors.cli", "doors.monitor.mount", "doors.bot.__main__", "doors.notebook")
    ],
)
def test_control_plane_imports_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({{'torch', 'transformers', 'cv2', 'numpy'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == ""


def test_our_folder_does_not_shadow_flower() -> None:
    code = "import flower; print(flower.__file__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert "site-packages" in ran.stdout
