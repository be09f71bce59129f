"""The watchdog of a rented machine, as a process under PID 1, with limits of a second or two."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aseagi_tasks.fleet.marks import Marks
from aseagi_tasks.fleet.watchdog import Limits, Seen, State, look, may_go
from aseagi_tasks.settings import Settings
from tests.instance.conftest import Landlord, Machine, can_unshare, until

LIMITS = Limits(idle_s=300, silent_s=600, join_s=900, lifetime_s=7200, drain_s=60)
JOINED = Seen(joined=True, heartbeat="1")
WATCHDOG = "-m aseagi_tasks.fleet.watchdog"


def after(seconds: float, seen: Seen, state: State | None = None, every: float = 5.0) -> State:
    """The state after so many seconds of the same sight, a heartbeat each minute unless `seen` has none."""
    state, end = state or State(began=0, checked=0), (state.checked if state else 0) + seconds
    while state.checked < end and not state.leaving:
        now = min(end, state.checked + every)
        state = look(state, seen, LIMITS, now)
    return state


def alive(seen: Seen, now: float) -> Seen:
    return seen._replace(heartbeat=str(now // 60))


def test_machine_that_never_joins_leaves() -> None:
    assert after(895, Seen()).leaving == ""
    assert "did not join within 900 s" in after(900, Seen()).leaving


def test_silent_control_plane_ends_it_and_a_sign_of_life_counts_anew() -> None:
    busy = JOINED._replace(busy=True)
    state = after(590, busy)
    assert state.leaving == ""
    state = look(state, busy._replace(heartbeat="2"), LIMITS, 595)
    assert after(590, busy._replace(heartbeat="2"), state).leaving == ""
    assert "silent for 600 s" in after(605, busy._replace(heartbeat="2"), state).leaving


def test_idle_machine_leaves_and_a_short_task_between_two_looks_counts() -> None:
    def run(until_s: int, activity: Callable[[int], str]) -> State:
        state = State(began=0, checked=0)
        for now in range(0, until_s, 5):
            state = look(state, alive(JOINED, now)._replace(activity=activity(now)), LIMITS, now)
        return state

    assert "no task has run for 300 s" in run(310, lambda _now: "").leaving
    assert run(590, lambda now: "ended" if now > 290 else "").leaving == ""


def test_busy_machine_is_not_idle_but_has_an_end() -> None:
    state = State(began=0, checked=0)
    for now in range(0, 7300, 5):
        state = look(state, alive(JOINED._replace(busy=True), now), LIMITS, now)
        assert bool(state.leaving) == (now >= 7200)
    assert "lifetime of 7200 s" in state.leaving


def test_running_task_may_finish_but_not_for_ever() -> None:
    busy = JOINED._replace(busy=True, asked="draining")
    state = look(State(began=0, checked=0), busy, LIMITS, 5)
    assert "draining" in state.leaving
    assert not may_go(state, busy, LIMITS)
    assert may_go(state, busy._replace(busy=False), LIMITS)
    for now in range(10, 75, 5):
        state = look(state, busy, LIMITS, now)
    assert may_go(state, busy, LIMITS)


def test_paused_machine_is_not_silent_but_older() -> None:
    state = after(100, JOINED)
    state = look(state, JOINED, LIMITS, 100 + 3600)  # the host slept for an hour
    assert state.leaving == ""
    assert "lifetime" in look(state, JOINED, LIMITS, 7300).leaving


def test_clock_set_back_gives_no_second_life() -> None:
    state = State(began=1e9, checked=1e9)
    for turn in range(1500):
        state = look(state, alive(JOINED._replace(busy=True), turn * 5), LIMITS, 1e9 - 1e6 + turn * 5)
    assert "lifetime" in state.leaving


def test_decision_stays() -> None:
    state = after(900, Seen())
    assert look(state, JOINED, LIMITS, 1000).leaving == state.leaving


def test_limits_are_those_of_the_settings() -> None:
    fields = Settings.model_fields
    assert {name: fields[f"instance_{name}"].default for name in Limits._fields} == Limits()._asdict()


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("JOIN_S", "did not join"), ("LIFETIME_S", "lifetime"), ("SILENT_S", "silent"), ("IDLE_S", "no task has run")],
)
def test_machine_destroys_itself(
    limit: str, reason: str, machine: Callable[..., Machine], landlord: Landlord, tmp_path: Path
) -> None:
    marks = Marks(tmp_path)
    marks.make()
    if limit != "JOIN_S":
        marks.joined()
    began = time.monotonic()
    one = machine(**{f"ASEAGI_INSTANCE_{limit}": "0.6"})
    one.start()
    until(lambda: landlord.asked, lambda: one.said)
    path, authorization, when = landlord.asked[0]
    assert (path, authorization) == ("/api/v0/instances/4242/", "Bearer a-key-for-one-instance")
    assert when - began >= 0.6
    assert reason in one.leaving
    # done is done, yet PID 1 stays: it would be started again, and billed
    until(lambda: len(landlord.asked) >= 2, lambda: one.said)
    assert one.process is not None
    assert one.process.poll() is None


def test_sign_of_life_and_work_keep_it(machine: Callable[..., Machine], landlord: Landlord, tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.make()
    marks.joined()
    one = machine(ASEAGI_INSTANCE_SILENT_S="2", ASEAGI_INSTANCE_IDLE_S="2")
    one.start()
    until(lambda: "awake_s" in count_of(one), lambda: one.said)
    beat = 0
    while (counted := count_of(one))["awake_s"] < 3:
        if counted["silent_s"] or counted["idle_s"] or not beat:  # a look has come and gone
            beat += 1
            marks.heartbeat(str(beat))
            marks.begin("a task")
            marks.end("a task")
        assert landlord.asked == [], one.said
        time.sleep(0.01)


def test_killed_watchdog_goes_on_counting(machine: Callable[..., Machine], landlord: Landlord) -> None:
    one = machine(ASEAGI_INSTANCE_JOIN_S="2")
    one.start()
    for counted_s in (0.4, 0.8):  # each of them counts a part of the two seconds
        until(lambda counted_s=counted_s: count_of(one).get("unjoined_s", 0) >= counted_s, lambda: one.said)
        (pid,) = one.pids(WATCHDOG)
        os.kill(pid, signal.SIGKILL)
        until(lambda pid=pid: one.pids(WATCHDOG) not in ([], [pid]), lambda: one.said)
        assert count_of(one)["unjoined_s"] >= counted_s, "what was counted stays"
    until(lambda: landlord.asked, lambda: one.said)
    assert "did not join" in one.leaving


def test_restarted_container_has_the_same_end(machine: Callable[..., Machine], landlord: Landlord) -> None:
    one = machine(ASEAGI_INSTANCE_LIFETIME_S="2")
    one.start()
    until(lambda: (one.folder / "watchdog.json").exists(), lambda: one.said)
    began = json.loads((one.folder / "watchdog.json").read_text())["began"]
    for _restart in range(2):
        one.stop()
        one.start()
        until(lambda: one.pids(WATCHDOG), lambda: one.said)
    until(lambda: landlord.asked, lambda: one.said)
    assert json.loads((one.folder / "watchdog.json").read_text())["began"] == began
    assert "lifetime of 2 s" in one.leaving
    # and once it has decided to leave, a restart changes nothing
    one.stop()
    landlord.asked.clear()
    one.environment["ASEAGI_INSTANCE_LIFETIME_S"] = "1000"
    one.start()
    until(lambda: landlord.asked, lambda: one.said)


def test_refused_and_failed_calls_are_tried_again(machine: Callable[..., Machine], landlord: Landlord) -> None:
    landlord.answers = [(500, "oops"), (429, "Too many requests"), (200, '{"success": false, "error": "busy"}')]
    one = machine(ASEAGI_INSTANCE_JOIN_S="1")
    one.start()
    until(lambda: len(landlord.asked) >= 4, lambda: one.said)
    assert one.said.count("HTTP 500") == 1
    assert "refused" in one.said
    assert "done" in one.said
    assert "a-key-for-one-instance" not in one.said


def test_spoilt_count_ends_the_machine(machine: Callable[..., Machine], landlord: Landlord) -> None:
    one = machine()
    (one.folder / "watchdog.json").write_text('{"began": "yesterday"}')
    one.start()
    until(lambda: landlord.asked, lambda: one.said)
    assert "cannot be read" in one.leaving


def test_killed_task_keeps_no_machine(machine: Callable[..., Machine], landlord: Landlord, tmp_path: Path) -> None:
    marks = Marks(tmp_path)
    marks.make()
    marks.joined()
    (marks.folder / "busy" / "4194000.a task").touch()  # a process that was killed
    one = machine(ASEAGI_INSTANCE_IDLE_S="1")
    one.start()
    until(lambda: landlord.asked, lambda: one.said)


def test_pid_1_destroys_the_machine_when_no_watchdog_can_run(
    machine: Callable[..., Machine], landlord: Landlord
) -> None:
    one = machine(PYTHON="/bin/false", WATCHDOG_FAILURES="3")
    one.start()
    until(lambda: landlord.asked, lambda: one.said)
    assert landlord.asked[0][:2] == ("/api/v0/instances/4242/", "Bearer a-key-for-one-instance")


def test_pid_1_starts_the_worker_again_without_the_key_and_reaps(machine: Callable[..., Machine]) -> None:
    one = machine()
    one.environment["WORKER_COMMAND"] = str(one.folder / "worker.sh")
    script = one.folder / "worker.sh"
    script.write_text("#!/bin/sh\nenv >> $ASEAGI_INSTANCE_FOLDER/environment\n(sleep 0.05 &)\nexec sleep 0.2\n")
    script.chmod(0o755)
    one.start()
    environment = one.folder / "environment"
    until(lambda: environment.exists() and environment.read_text().count("CONTAINER_ID=4242") >= 3)
    assert "a-key-for-one-instance" not in environment.read_text()
    if can_unshare():
        zombies = [pid for pid in Path("/proc").glob("[0-9]*") if zombie_of(pid, one)]
        assert len(zombies) <= 2


def count_of(machine: Machine) -> dict[str, float]:
    """What its watchdog has counted so far."""
    path = machine.folder / "watchdog.json"
    found: dict[str, float] = json.loads(path.read_text()) if path.exists() else {}
    return found


def zombie_of(process: Path, machine: Machine) -> bool:
    try:
        status = (process / "status").read_text()
        space = (process / "ns" / "pid_for_children").readlink()
    except OSError:
        return False
    assert machine.process is not None
    return "State:\tZ" in status and space == Path(f"/proc/{machine.process.pid}/ns/pid_for_children").readlink()


def test_sigterm_reaches_the_worker_and_not_the_watchdog(machine: Callable[..., Machine]) -> None:
    one = machine()
    script = one.folder / "worker.sh"
    one.environment["WORKER_COMMAND"] = str(script)
    script.write_text(
        "#!/bin/sh\ntrap 'echo drained >> $ASEAGI_INSTANCE_FOLDER/drained; exit' TERM\n"
        "touch $ASEAGI_INSTANCE_FOLDER/up\nwhile :; do sleep 0.05; done\n"
    )
    script.chmod(0o755)
    one.start()
    until(lambda: (one.folder / "up").exists() and one.pids(WATCHDOG), lambda: one.said)
    (watchdog,) = one.pids(WATCHDOG)
    (first,) = one.pids("pid1.sh")[-1:]
    os.kill(first, signal.SIGTERM)
    until(lambda: (one.folder / "drained").exists(), lambda: one.said)
    assert one.pids(WATCHDOG) == [watchdog]
