"""Life on a rented machine: what it says of itself, in Redis, and what is made of its canary.

An instance has one hash (``aseagi:fleet:<instance id>``: step, canary, nodes, whether it is to leave) and one key for
each of its worker nodes, which is over when nothing was heard for ``SILENT_S``. The control plane reads these instead
of asking workers: an ``inspect`` waits out its time-out for each that is dead.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

#: Two pages of which the text is known, black and white, 300 dpi. A new machine reads them before anything else.
CANARY = Path(__file__).parent / "canary"
CANARY_PAGES = ("page-1.png", "page-2.png")
CANARY_DPI = 300
#: Likeness of words from which a canary counts as read. Tesseract reaches .97, models/lines .98.
LIKE_ENOUGH = 0.85
SILENT_S = 30
BEAT_S = 2.0
#: What an instance said is kept for so long after it last said something.
KEPT_S = 2 * 86_400


class Node(NamedTuple):
    """What a worker node last said. ``busy``: how many tasks it has in hand, prefetched ones included."""

    busy: int
    consuming: bool
    idle_s: float


class Heard(NamedTuple):
    """What an instance says of itself.

    Attributes:
        step: ``started``, ``canary``, ``working``, ``left`` (it takes no more, and ends what it has) or ``failed``,
            the last two with ``why``.
        canary: ``{"seconds_per_page", "text", "engine"}``, once it has run.
        nodes: name → what it last said; None: nothing was heard for ``SILENT_S``.
    """

    step: str
    why: str
    canary: Mapping[str, Any] | None
    nodes: Mapping[str, Node | None]

    @property
    def is_working(self) -> bool:
        """All its nodes are heard."""
        return self.step == "working" and bool(self.nodes) and all(node is not None for node in self.nodes.values())

    @property
    def busy(self) -> int:
        """Tasks in hand."""
        return sum(node.busy for node in self.nodes.values() if node)

    @property
    def consuming(self) -> bool:
        """Whether any node still takes work."""
        return any(node.consuming for node in self.nodes.values() if node)

    @property
    def idle_s(self) -> float:
        """For how long none of its nodes has had anything in hand."""
        return min((node.idle_s for node in self.nodes.values() if node), default=0.0)


class Presence:
    """Says and reads what instances say of themselves."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def say(self, instance_id: str, **fields: Any) -> None:
        """Set fields of the instance's hash."""
        key = _key(instance_id)
        with self._redis.pipeline() as pipe:
            pipe.hset(key, mapping={name: json.dumps(value) for name, value in fields.items()})
            pipe.expire(key, KEPT_S)
            pipe.execute()

    def beat(self, instance_id: str, name: str, node: Node) -> None:
        """A node is there, and what it has in hand."""
        self._redis.set(f"{_key(instance_id)}:{name}", json.dumps(node), ex=SILENT_S)

    def is_to_leave(self, instance_id: str) -> bool:
        """Whether the control plane wants it to take no work."""
        return self._redis.hget(_key(instance_id), "leave") is not None

    def hear(self, instance_ids: Iterable[str]) -> dict[str, Heard]:
        """What each of these says; one that never said anything is missing."""
        ids = list(instance_ids)
        with self._redis.pipeline(transaction=False) as pipe:
            for instance_id in ids:
                pipe.hgetall(_key(instance_id))
            hashes = [{k.decode(): json.loads(v) for k, v in found.items()} for found in pipe.execute()]
        wanted = [(i, name) for i, said in zip(ids, hashes, strict=True) for name in said.get("nodes", ())]
        values: list[Any] = list(self._redis.mget([f"{_key(i)}:{name}" for i, name in wanted])) if wanted else []  # type: ignore[arg-type]
        nodes: dict[str, dict[str, Node | None]] = {}
        for (instance_id, name), value in zip(wanted, values, strict=True):
            nodes.setdefault(instance_id, {})[name] = _node(value)
        return {
            i: Heard(said.get("step", "started"), said.get("why", ""), said.get("canary"), nodes.get(i, {}))
            for i, said in zip(ids, hashes, strict=True)
            if said
        }

    def forget(self, instance_id: str) -> None:
        """It is gone."""
        self._redis.delete(_key(instance_id))


def judge(text: str, seconds_per_page: float, *, slowest_s: float, of_its_kind: Sequence[float] = ()) -> str:
    """What speaks against a machine after its canary, in words; nothing if nothing does.

    Args:
        text: what it read. seconds_per_page: how long it took.
        slowest_s: a machine that takes longer for a page is not worth its rent.
        of_its_kind: seconds per page of other machines with this GPU; three or more of them count.
    """
    if not seconds_per_page > 0:
        return f"its canary took {seconds_per_page} s a page"
    wanted, found = (CANARY / "text.txt").read_text().lower().split(), text.lower().split()
    likeness = difflib.SequenceMatcher(None, wanted, found, autojunk=False).ratio()
    if likeness < LIKE_ENOUGH:
        return f"it read {likeness:.0%} of the canary"
    usual = sorted(of_its_kind)[len(of_its_kind) // 2] if len(of_its_kind) >= 3 else slowest_s
    limit = min(slowest_s, 3 * usual)
    if seconds_per_page > limit:
        return f"it takes {seconds_per_page:.2f} s a page, and {limit:.2f} s is the limit"
    return ""


def _key(instance_id: str) -> str:
    return f"aseagi:fleet:{instance_id}"


def _node(value: Any) -> Node | None:
    return None if value is None else Node(*json.loads(value))
