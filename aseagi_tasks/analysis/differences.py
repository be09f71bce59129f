"""Two analyses of one document, field by field: what stayed, what changed, what is new, what was lost. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from aseagi_tasks.analysis.schema import Analysis, Fact, Party
from aseagi_tasks.documents import Frozen

Kind = Literal["same", "changed", "new", "lost"]


class Difference(Frozen):
    """One field. Values are plain; of lists, in the order of their words.

    Attributes:
        support: how sure the old and the new one are; of several the least sure. None: there is none.
        is_corrected: a person has said what it is, and that stays.
    """

    kind: Kind
    old: Any = None
    new: Any = None
    support: tuple[str | None, str | None] = (None, None)
    is_corrected: bool = False

    @property
    def moved(self) -> bool:
        """Whether the value stayed, and how sure it is did not."""
        return self.kind == "same" and self.support[0] != self.support[1]


def differences(old: Analysis, new: Analysis, corrected: Iterable[str] = ()) -> dict[str, Difference]:
    """By field; one that neither has is in neither."""
    fixed, found = frozenset(corrected), {}
    for name in old.facts():
        before, after = _plain(getattr(old, name)), _plain(getattr(new, name))
        if before is None and after is None:
            continue
        kind: Kind = "same" if _alike(before) == _alike(after) else "changed"
        if before is None or after is None:
            kind = "new" if before is None else "lost"
        support = _support(getattr(old, name)), _support(getattr(new, name))
        found[name] = Difference(kind=kind, old=before, new=after, support=support, is_corrected=name in fixed)
    return found


def text_difference(old: str, new: str) -> Difference:
    """Of what was read: how many words, and which part of them is in both."""
    before, after = Counter(old.split()), Counter(new.split())
    both, most = (before & after).total(), max(before.total(), after.total())
    share = both / most if most else 1.0
    said = f"{after.total()} words, {share:.1%} alike"
    return Difference(kind="same" if old == new else "changed", old=f"{before.total()} words", new=said)


def tally(documents: Iterable[Mapping[str, Difference]]) -> dict[str, dict[str, int]]:
    """How often each field stayed, changed, came and went; ``support``: the value stayed and how sure it is did not."""
    counts: dict[str, dict[str, int]] = {}
    for document in documents:
        for name, one in document.items():
            row = counts.setdefault(name, dict.fromkeys(("same", "changed", "new", "lost", "support"), 0))
            row[one.kind] += 1
            row["support"] += one.moved
    return counts


def whole_usd(costs: Sequence[float], documents: int, *, share: float = 1.0) -> tuple[float, float] | None:
    """What so many documents cost, from what some of them did: twice the standard error around the mean.

    With fewer than four, half of the least to twice the most of them.

    Args:
        share: of the price that is paid (message batches).
    Returns:
        None: nothing is known.
    """
    if not costs:
        return None
    mean = math.fsum(costs) / len(costs)
    if len(costs) < 4:
        low, high = min(costs) / 2, max(costs) * 2
    else:
        off = 2 * math.sqrt(math.fsum((cost - mean) ** 2 for cost in costs) / (len(costs) - 1) / len(costs))
        low, high = max(min(costs), mean - off), mean + off
    return low * documents * share, high * documents * share


def _plain(value: Fact | Sequence[Fact | Party] | None) -> Any:
    if value is None or isinstance(value, Fact):
        return value.value if value else None
    return sorted(_said(one) for one in value) or None


def _said(one: Fact | Party) -> str:
    if isinstance(one, Party):
        return f"{one.name} ({one.role})" if one.role else one.name
    return str(one.value)


def _alike(value: Any) -> Any:
    """Without what makes no other value: case and spaces."""
    if isinstance(value, list):
        return sorted(" ".join(one.lower().split()) for one in value)
    return " ".join(value.lower().split()) if isinstance(value, str) else value


def _support(value: Fact | Sequence[Fact | Party] | None) -> str | None:
    found = {one.status for one in ([value] if isinstance(value, Fact) else value or ())}
    return next((status for status in ("unverified", "supported", "verified") if status in found), None)
