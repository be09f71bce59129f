"""The end of a bulk run: its certificate, and what the operators are told."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Literal

from aseagi_tasks import keys, services
from aseagi_tasks.bulk.orders import span
from aseagi_tasks.notices import NOTICES, Notice, joined, notice
from aseagi_tasks.reports.certificate import Certificate
from aseagi_tasks.settings import settings
from aseagi_tasks.stages.certify import certify
from aseagi_tasks.stores.bulk_records import BulkRun
from aseagi_tasks.stores.records import Job

_NAMES = uuid.UUID("0d9a2f1e-55a1-4a0e-8c55-6a3a6b6d1b7e")
_UNITS = {"second": "segundo", "seconds": "segundos", "minutes": "minutos", "hours": "horas"}
#: Jobs that are read together.
_BATCH = 500


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
    """Certify what became of a run's documents, tell the operators, and end it.

    They are told before it has ended: who is stopped in between does not tell them again, and leaves nothing unsaid.

    Args:
        keep: called from time to time: a large run takes minutes.
    Raises:
        StorageUnavailable, RecordsUnavailable: the run has not ended; call again.
    """
    records, certificate, key = services.bulk_records(), None, None
    services.storage().delete_all(f"{keys.bulk(run.run_id, 1).rpartition('/')[0]}/")
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
    changes = {"reason": reason, "finished_at": now, "certificate": key, **figures}
    is_told = bool(run.fed) or (to == "completed" and (run.kind == "night" or bool(run.scan.todo)))
    if is_told and records.run(run.run_id).status == run.status:  # nobody has cancelled it meanwhile
        ended = run.model_copy(update={"status": to, **changes})
        services.tell_surely(f"bulk:{run.run_id}:{to}", digest(ended, certificate, records.costs_of(run.run_id)))
    records.move_run(run.run_id, [run.status], to, **changes)


def digest(run: BulkRun, certificate: Certificate | None, costs: dict[str, float]) -> Notice:
    """What the operators are told of a run that has ended.

    Args:
        costs: USD by kind.
    """
    said = [notice(f"{run.kind}_{run.status}", run_id=run.run_id, prefix=run.prefix)]
    if run.reason:
        said = [joined([*said, Notice(run.reason, run.reason)], " ")]
    if certificate is None:
        return said[0]
    totals, done = certificate.totals, run.jobs.get("completed", 0)
    why = Counter(
        (one.reason or "?").split(":")[0] for one in certificate.entries if one.outcome in ("failed", "quarantined")
    )
    failed = notice("run_failed", count=sum(why.values()), why=_listed(why)) if why else ""
    left = notice("run_left", count=run.left) if run.left > 0 else ""
    said.append(notice("run_done", done=done, todo=run.scan.todo, failed=failed, left=left, pages=totals.pages))
    by_kind = joined([_cost(kind, usd) for kind, usd in sorted(costs.items())], ", ")
    kinds = Notice(f" ({by_kind})", f" ({by_kind.spanish})") if by_kind else ""
    cap = notice("run_cap", usd=run.cap_usd) if run.cap_usd is not None else ""
    said.append(notice("run_cost", usd=sum(costs.values()), cap=cap, kinds=kinds))
    if run.started_at and run.finished_at:
        amount, unit = span((run.finished_at - run.started_at).total_seconds()).split(" ")
        said.append(notice("run_took", span=Notice(f"{amount} {unit}", f"{amount} {_UNITS[unit]}")))
    verdict = "run_balances" if totals.balanced else "run_does_not_balance"
    said.append(notice(verdict, sum=certificate.summary(), key=run.certificate))
    return joined(said, "\n")


def _cost(kind: str, usd: float) -> Notice:
    name = f"cost_{kind}"
    return notice(name, usd=usd) if name in NOTICES else Notice(f"{kind} ${usd:,.2f}", f"{kind} ${usd:,.2f}")


def _listed(why: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in why.most_common(5))
