"""The watchdog of a rented machine: a process of its own that destroys the instance when nobody would miss it.

    python -m aseagi_tasks.fleet.watchdog

It leaves when no task has run for long, when the control plane has shown no sign of life, when the machine never
joined, at the end of its lifetime, and when the worker asks for it. Time is counted on disk, so that neither a kill
of this process nor a restart of the container gives the machine a second life. What was decided stays decided.

Nothing but the standard library, and no settings object: a broken package or a wrong setting must not keep a rented
machine alive. ``settings.py`` has the same limits; a test holds the two together.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from aseagi_tasks.fleet.marks import FOLDER, Marks, read, write

log = logging.getLogger("aseagi.watchdog")
VAST_URL = "https://console.vast.ai"
CALL_TIMEOUT_S = 30.0
#: Destroying is tried again after one tick, two, … ten; after an answer that it is done, every ten until we are gone.
LONGEST_PAUSE_TICKS = 10
#: How the names of the state's numbers end.
SECONDS = ("_s", "began", "checked")


class Limits(NamedTuple):
    """When the machine has to go, in seconds."""

    idle_s: float = 1_800
    silent_s: float = 600
    join_s: float = 900
    lifetime_s: float = 43_200
    #: how long a running task may go on once it is decided to leave
    drain_s: float = 120

    @property
    def tick_s(self) -> float:
        """How often to look."""
        return min(5.0, *(limit / 10 for limit in self if limit > 0))


class Seen(NamedTuple):
    """What the marks say at one look."""

    joined: bool = False
    heartbeat: str = ""
    activity: str = ""
    busy: bool = False
    #: why the worker asks for the end; empty if it does not
    asked: str = ""


class State(NamedTuple):
    """What has been counted so far; it is kept on disk.

    Waking time is counted look by look, so that a machine that was paused for an hour is not silent for an hour:
    it may find its tunnel first. The lifetime runs while the machine is paused too.
    """

    began: float
    checked: float
    awake_s: float = 0.0
    unjoined_s: float = 0.0
    silent_s: float = 0.0
    idle_s: float = 0.0
    heartbeat: str = ""
    activity: str = ""
    #: why this machine leaves; empty while it stays
    leaving: str = ""
    leaving_s: float = 0.0


def look(state: State, seen: Seen, limits: Limits, now: float) -> State:
    """Count what has passed since the last look, and decide.

    Args:
        now: seconds since the epoch; a clock that was set back or leaps counts as two ticks at most.
    """
    passed = min(max(0.0, now - state.checked), 2 * limits.tick_s)
    idle = not seen.busy and seen.activity == state.activity
    state = state._replace(
        checked=now,
        awake_s=state.awake_s + passed,
        unjoined_s=state.unjoined_s if seen.joined else state.unjoined_s + passed,
        silent_s=state.silent_s + passed if seen.heartbeat == state.heartbeat else 0.0,
        idle_s=state.idle_s + passed if seen.joined and idle else 0.0,
        heartbeat=seen.heartbeat,
        activity=seen.activity,
    )
    if state.leaving:
        return state._replace(leaving_s=state.leaving_s + passed)
    return state._replace(leaving=_reason(state, seen, limits, now))


def _reason(state: State, seen: Seen, limits: Limits, now: float) -> str:
    if seen.asked:
        return f"the worker asked for it: {seen.asked}"
    if max(now - state.began, state.awake_s) >= limits.lifetime_s:
        return f"its lifetime of {limits.lifetime_s:g} s is over"
    if not seen.joined:
        return f"it did not join within {limits.join_s:g} s" if state.unjoined_s >= limits.join_s else ""
    if state.silent_s >= limits.silent_s:
        return f"the control plane has been silent for {limits.silent_s:g} s"
    if state.idle_s >= limits.idle_s:
        return f"no task has run for {limits.idle_s:g} s"
    return ""


def may_go(state: State, seen: Seen, limits: Limits) -> bool:
    """Whether to destroy the machine now: it was decided, and nothing runs or it had its time."""
    return bool(state.leaving) and (not seen.busy or state.leaving_s >= limits.drain_s)


class Watchdog:
    """Looks, counts, keeps the count, destroys.

    Args:
        folder: of the instance.
        vast_url, container_id, api_key: whom to ask for the end, of what; the key may do just that.
    """

    def __init__(self, folder: Path, limits: Limits, vast_url: str, container_id: str, api_key: str) -> None:
        self.folder, self.limits = folder, limits
        self._marks = Marks(folder)
        self._address = f"{vast_url.rstrip('/')}/api/v0/instances/{container_id}/"
        self._api_key = api_key
        self._pause_ticks = 0
        self._next_try = 0.0
        self.state = self._load()

    def turn(self) -> None:
        """One look, and what follows from it."""
        seen = Seen(
            joined=(self._marks.folder / "joined").exists(),
            heartbeat=read(self._marks.folder / "heartbeat") or "",
            activity=_changed(self._marks.folder / "activity"),
            busy=self._marks.is_busy(),
            asked=read(self._marks.folder / "leave") or "",
        )
        decided = self.state.leaving
        self.state = look(self.state, seen, self.limits, time.time())
        if self.state.leaving and not decided:
            log.warning("this machine leaves: %s", self.state.leaving)
        self._keep()
        if may_go(self.state, seen, self.limits) and time.monotonic() >= self._next_try:
            done = self._destroy()
            self._pause_ticks = LONGEST_PAUSE_TICKS if done else min(LONGEST_PAUSE_TICKS, self._pause_ticks + 1)
            self._next_try = time.monotonic() + self._pause_ticks * self.limits.tick_s

    def _load(self) -> State:
        """The count as it stands. One that cannot be read is no reason to start from zero: then the machine leaves."""
        now, path = time.time(), self.folder / "watchdog.json"
        try:
            text = path.read_text()
        except FileNotFoundError:
            return State(began=now, checked=now)
        except OSError as exc:
            return State(began=now, checked=now, leaving=f"its watchdog's count cannot be read ({exc.strerror})")
        try:
            kept = json.loads(text)
            # what passed since this process ended counts for two ticks at most: the machine may have been paused
            types = {name: float if name.endswith(SECONDS) else str for name in kept}
            fields: dict[str, Any] = {name: types[name](value) for name, value in kept.items()}
            return State(**fields)
        except (ValueError, TypeError, AttributeError):
            return State(began=now, checked=now, leaving="its watchdog's count cannot be read")

    def _keep(self) -> None:
        try:
            write(self.folder / "watchdog.json", json.dumps(self.state._asdict()))
            if self.state.leaving:
                write(self._marks.watchdog_leaves, self.state.leaving)
        except OSError as exc:  # a full disk must not stop the count
            log.error("the count cannot be kept: %s", exc)

    def _destroy(self) -> bool:
        """Ask for this instance's end; whether the answer says that it is done."""
        request = urllib.request.Request(
            self._address, method="DELETE", headers={"Authorization": f"Bearer {self._api_key}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=CALL_TIMEOUT_S) as answer:
                body = answer.read(10_000)
            refused = b'"success"' in body and json.loads(body).get("success") is False
            log.warning("asked for the end: %s", "refused" if refused else "done")
            return not refused
        except urllib.error.HTTPError as exc:
            log.warning("asked for the end: HTTP %s", exc.code)
            return exc.code == 404
        except (OSError, ValueError) as exc:
            log.warning("asked for the end: %s", exc)
            return False


def _changed(path: Path) -> str:
    try:
        return str(path.stat().st_mtime_ns)
    except OSError:
        return ""


def limits_from_environment() -> Limits:
    """``ASEAGI_INSTANCE_*``; what is missing or wrong is as by default."""
    found = {}
    for name, default in Limits._field_defaults.items():
        try:
            value = float(os.environ.get(f"ASEAGI_INSTANCE_{name.upper()}") or default)
        except ValueError:
            value = float(default)
        found[name] = value if value > 0 else float(default)
    return Limits(**found)


def main() -> None:
    """Watch until this machine is no more."""
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO, stream=sys.stderr)
    env = os.environ.get
    folder = Path(env("ASEAGI_INSTANCE_FOLDER") or FOLDER)
    folder.mkdir(parents=True, exist_ok=True)
    watchdog = Watchdog(
        folder,
        limits_from_environment(),
        env("ASEAGI_VAST_URL") or VAST_URL,
        env("CONTAINER_ID", ""),
        env("CONTAINER_API_KEY", ""),
    )
    log.info("watching: %s", watchdog.limits)
    while True:
        try:
            watchdog.turn()
        except Exception:  # whatever it was, the next look may do better
            log.exception("a look failed")
        time.sleep(watchdog.limits.tick_s)


if __name__ == "__main__":
    main()
