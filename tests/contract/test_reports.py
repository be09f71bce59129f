"""A case and a week are the same, wherever the records are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from aseagi_tasks.reports import case_summary, weekly_report
from aseagi_tasks.stores.records import Records
from tests.paper_office import CASE, TODAY, PaperOffice, fact, party
from tests.servers.cloud import Project

NOW = datetime(2026, 11, 21, 7, tzinfo=UTC)


def made(home: Path, records: Records | None) -> tuple[case_summary.Made, weekly_report.Made]:
    """Both reports of the same documents."""
    office = PaperOffice(home, records)
    motion = office.add(
        "motion.pdf",
        ["Exhibits A and B are attached.\nWEX000001", "EXHIBIT A\nWEX000002"],
        document_date=fact("2024-03-04"),
        parties=[party("Avery Pellworth", "plaintiff"), party("Wexmoor, Inc.")],
    )
    office.add(
        "letter.pdf", ["WEX000005", "WEX000006"], day=TODAY - timedelta(days=1), parties=[party("Avery Pelworth")]
    )
    office.add("other.pdf", [f"It concerns {CASE}."], case="19-1")
    office.fail("locked.pdf", "Encrypted", "locked.pdf is locked.")
    office.spend("claude", 1.25)
    office.records.correct(motion.document_id, "document_date", "2024-03-05", "telegram:7 Ana", once="c")
    use = {"records": office.records, "storage": office.storage, "scratch": office.scratch, "now": NOW}
    typed = CASE.lower()
    return case_summary.make(typed, **use), weekly_report.make(TODAY, limits={}, **use)  # type: ignore[arg-type]


def test_reports_are_the_same_from_sqlite_and_from_the_cloud(project: Project, tmp_path: Path) -> None:
    here_case, here_week = made(tmp_path / "here", None)
    cloud_case, cloud_week = made(tmp_path / "cloud", project.records())
    assert [question.kind for question in here_case.questions] == ["numbers", "names", "exhibits", "bates"]
    assert cloud_case.questions == here_case.questions
    # when it was corrected is a day, which may end between the two
    assert [moment[:5] for moment in cloud_case.case.timeline] == [moment[:5] for moment in here_case.case.timeline]
    assert cloud_case.case.timeline[0].iso == "2024-03-05" and cloud_case.case.parties == here_case.case.parties
    assert cloud_week.week == here_week.week and cloud_week.sentence == here_week.sentence
    assert here_week.week.failures[0].error_class == "Encrypted" and here_week.week.cases[0].number == CASE
