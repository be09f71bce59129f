"""The short form of ``make chaos``."""

from __future__ import annotations

from tests.faults.chaos import run


def test_forty_documents_survive_a_seed() -> None:
    went = run(4, 40)
    assert went.balance == (40, 0, [], [], [], []), went
    assert went.certificate.totals.balanced and went.certificate.totals.outcomes["completed"] == 40
    assert sum(went.faults.values()) >= 2, went
    assert went.crashed == 0, "no worker leaves since Redis or the records do"
