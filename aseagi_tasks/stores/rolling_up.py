"""What is kept of an ended job's events when they are old: one row that says what they said. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from aseagi_tasks.stores.records import Event

#: The kind of the row that stands for the others.
SUMMARY = "summary"
#: What is folded into it. Others (a person's note) were written to be read, and stay.
FOLDED = frozenset({"started", "finished", "lost", "resumed", "failed", "completed", "cancelled", "known"})
_ENDS = frozenset({"failed", "completed", "cancelled", "known"})


def summary(events: Sequence[Event]) -> Event | None:
    """The row for a job's events, given oldest first.

    Returns:
        At the moment of the last of them: all seconds, the last worker, and as ``detail`` when it began, how it ended,
        seconds by stage, its pages, and what was out of the ordinary: stages started more than once, workers lost, the
        error. None if there is nothing to fold, or such a row is there.
    """
    old = [event for event in events if event.kind in FOLDED]
    if not old or any(event.kind == SUMMARY for event in events):
        return None
    detail: dict[str, Any] = {"began": old[0].at.isoformat(timespec="milliseconds"), "events": len(old)}
    starts: Counter[str] = Counter()
    seconds: dict[str, float] = {}
    for event in old:
        stage = event.stage or "intake"
        if event.kind == "started":
            starts[stage] += 1
        elif event.kind == "finished":
            seconds[stage] = round(seconds.get(stage, 0.0) + (event.seconds or 0.0), 3)
            if stage == "rasterize" and isinstance(event.detail.get("pages"), int):
                detail["pages"] = event.detail["pages"]
        elif event.kind in _ENDS:
            detail |= {"ended": event.kind, **event.detail}
    kinds = Counter(event.kind for event in old)
    workers = list(dict.fromkeys(event.worker for event in old if event.worker and event.kind != "resumed"))
    detail |= {"seconds": seconds} if seconds else {}
    detail |= {"starts": again} if (again := {stage: n for stage, n in starts.items() if n > 1}) else {}
    detail |= {kind: kinds[kind] for kind in ("lost", "resumed") if kinds[kind]}
    detail |= {"workers": workers} if len(workers) > 1 else {}
    return Event(
        job_id=old[-1].job_id,
        at=old[-1].at,
        stage=None,
        kind=SUMMARY,
        seconds=round(sum(seconds.values()), 3),
        worker=workers[-1] if workers else None,
        detail=detail,
    )


def stages_of(event: Event) -> set[str]:
    """The stages that ended, of a ``finished`` event or of a summary."""
    if event.kind == SUMMARY:
        return set(event.detail.get("seconds", ()))
    return {event.stage} if event.kind == "finished" and event.stage else set()
