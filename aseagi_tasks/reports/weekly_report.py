"""The weekly report: from records and bucket to a PDF in the bucket."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from aseagi_tasks import keys
from aseagi_tasks.reports.week import Limits, Tell, Week, gather
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage


class Made(NamedTuple):
    """A report that was made: where it is, its pages, and what it says."""

    key: str
    pages: int
    week: Week

    @property
    def sentence(self) -> str:
        """What operators are told."""
        week = self.week
        done, failed = (sum(getattr(day, name) for day in week.days) for name in ("completed", "failed"))
        spent = sum(value for day in week.days for value in day.usd.values())
        said = f"{done:,} document{'s' if done != 1 else ''} completed, {failed:,} failed, ${spent:,.2f} spent"
        missing = sum(len(case.missing) for case in week.cases)
        gaps = sum(len(one.gaps) for case in week.cases for one in case.bates)
        found = [
            (week.warnings.get("covered", 0), "failed redaction", "failed redactions"),
            (missing, "missing exhibit", "missing exhibits"),
            (gaps, "gap in Bates numbers", "gaps in Bates numbers"),
        ]
        findings = [f"{count:,} {one if count == 1 else many}" for count, one, many in found if count]
        return f"Week to {week.last}: {said}" + (f"; {', '.join(findings)}" if findings else "") + f". {self.key}"


def make(
    last: date,
    *,
    records: Records,
    storage: Storage,
    limits: Limits,
    scratch: Path,
    now: datetime,
    tell: Tell = lambda _what, _done: None,
) -> Made:
    """Report on the seven days that end with ``last``, and put the report into the bucket.

    Args:
        limits: budgets by kind, for a day and a month.
        scratch: where the PDF is made.
        now: UTC.
        tell: called now and then with what is done, and how far.
    Raises:
        RecordsUnavailable, StorageUnavailable.
    """
    return put(gather(last, records=records, storage=storage, limits=limits, now=now, tell=tell), storage, scratch, now)


def put(week: Week, storage: Storage, scratch: Path, now: datetime) -> Made:
    """Draw a week, and put it into the bucket."""
    from aseagi_tasks.reports.weekly_pages import draw

    key = keys.weekly_report(week.last)
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch, prefix="report-") as folder:
        path = Path(folder) / "week.pdf"
        pages = draw(path, week, now)
        storage.upload(path, key)
    return Made(key, pages, week)
