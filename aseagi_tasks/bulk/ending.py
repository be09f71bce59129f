"""The end of a bulk run: its certificate, and what the operators are told."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal

from aseagi_tasks import keys, services
from aseagi_tasks.bulk.orders import span
from aseagi_tasks.reports.certificate import Certificate
from aseagi_tasks.settings import settings
from aseagi_tasks.stages.certify import certify
from aseagi_tasks.stores.bulk_records import BulkRun
from aseagi_tasks.stores.records import Job

_NAMES = uuid.UUID("0d9a2f1e-55a1-4a0e-8c55-6a3a6b6d1b7e")
#: Jobs that are read together.
_BATCH = 500
_KINDS = {"claude": "Claude", "gpu": "rented machines", "storage": "storage"}


def job_id(run: BulkRun, key: str) -> str:
    """Of a run's job on an object: the same whoever registers it, and however often."""
    return str(uuid.uuid5(_NAMES, f"{run.run_id}:{key}"))


def jobs_of(run: BulkRun) -> Iterator[Job]:
    """All jobs of a run, some in memory at a time."""
    behind: str | None = None
    while some := services.bulk_records().jobs_of(run.run_id, behind=behind, limit=_BATCH):
        yield from some
        behind = some[-1].job_id


def end(
    run: BulkRun,
    to: Literal["completed", "cancelled"],
    now: datetime,
    *,
    reason: str | None,
    keep: Callable[[], None],
) -> None:
    """Certify what became of a run's documents, end it, and tell the operators, once.

    Args:
        keep: called from time to time: a large run takes minutes.
    Raises:
        StorageUnavailable, RecordsUnavailable: the run has not ended; call again.
    """
    records, certificate, key = services.bulk_records(), None, None
    if run.fed:
        certificate, key = certify(
            jobs_of(run),
            f"run-{run.run_id}",
            records=services.records(),
            storage=services.storage(),
            bucket=settings().bucket,
            key=services.signing_key(),
            now=now,
            tell=lambda _jobs: keep(),
        )
    stands = records.stands(run.run_id, now)
    figures = {"jobs": dict(stands.jobs), "rent_usd": stands.rent_usd, "trouble": None}
    ended = records.move_run(run.run_id, [run.status], to, reason=reason, finished_at=now, certificate=key, **figures)
    if ended is None:
        return
    services.storage().delete_all(f"{keys.bulk(run.run_id, 1).rpartition('/')[0]}/")
    if run.fed or (to == "completed" and (run.kind == "night" or run.scan.todo)):
        services.notifier().tell(digest(ended, certificate, records.costs_of(run.run_id)))


def digest(run: BulkRun, certificate: Certificate | None, costs: dict[str, float]) -> str:
    """What the operators are told of a run that has ended.

    Args:
        costs: USD by kind.
    """
    name = f"The night's run {run.run_id}" if run.kind == "night" else f"Bulk run {run.run_id} ({run.prefix})"
    said = [f"{name} is {run.status}." + (f" {run.reason}" if run.reason else "")]
    if certificate is None:
        return said[0]
    totals, done = certificate.totals, run.jobs.get("completed", 0)
    why = Counter(
        (one.reason or "?").split(":")[0] for one in certificate.entries if one.outcome in ("failed", "quarantined")
    )
    failed = f", {sum(why.values()):,} failed ({_listed(why)})" if why else ""
    left = f", {run.left:,} are left" if run.left > 0 else ""
    said.append(f"{done:,} of {run.scan.todo:,} documents are done{failed}{left}; {totals.pages:,} pages.")
    by_kind = ", ".join(f"{_KINDS.get(kind, kind)} ${usd:,.2f}" for kind, usd in sorted(costs.items()))
    cap = f" of ${run.cap_usd:,.2f}" if run.cap_usd is not None else ""
    said.append(f"Cost: ${sum(costs.values()):,.2f}{cap}{f' ({by_kind})' if by_kind else ''}.")
    if run.started_at and run.finished_at:
        said.append(f"It took {span((run.finished_at - run.started_at).total_seconds())}.")
    verdict = "balances" if totals.balanced else "does NOT balance"
    said.append(f"Its certificate {verdict}: {certificate.summary()}. {run.certificate}")
    return "\n".join(said)


def _listed(why: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in why.most_common(5))
