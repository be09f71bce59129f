"""Names that other programs give, what is still being written, and originals that were moved or are gone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from rich.text import Text
from typer.testing import CliRunner

from aseagi_tasks import keys, services, tasks
from aseagi_tasks.documents import Source
from aseagi_tasks.doors import cli
from aseagi_tasks.doors.showing import escape
from aseagi_tasks.errors import NotADocument, NotFound, OriginalGone, TooLarge
from aseagi_tasks.stages.fetch import fetch
from aseagi_tasks.stages.intake import from_bucket, register, take_in
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.manifest import gone_now
from aseagi_tasks.stores.records import Document
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.storage import Stored

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("raw/2026/11/a.pdf", "a.pdf"),
        ("raw/a.pdf//", "a.pdf"),
        ("raw/a/..", "a"),
        ("..", ".."),
        ("raw/.hidden.pdf", ".hidden.pdf"),
        ("raw/back\\slash.pdf", "back\\slash.pdf"),
        ("raw/re\u0301sume\u0301.pdf", "résumé.pdf"),
        ("raw/a\nb\x1b[2J\r.pdf", "a\ufffdb\ufffd[2J\ufffd.pdf"),
        ("raw/\u202efdp.exe", "\ufffdfdp.exe"),
        ("raw/\udcff.pdf", "\ufffd.pdf"),
        ("raw/👩\u200d⚖️ 文書.pdf", "👩\u200d⚖️ 文書.pdf"),
        (f"raw/{'n' * 300}.pdf", f"{'n' * 300}.pdf"),
    ],
)
def test_name_is_the_last_part_that_is_one_as_it_can_be_shown(key: str, name: str) -> None:
    assert keys.name_of(key) == name


@pytest.mark.parametrize(
    "name", ["a.pdf.k3jd92la.partial", "a.pdf.part", ".~lock.a.pdf#", "~$a.docx", "A.PDF.TMP", "a.pdf.crdownload", "a~"]
)
def test_names_of_what_is_not_finished(name: str) -> None:
    assert keys.is_partial(name)


@pytest.mark.parametrize("name", ["partial.pdf", ".hidden.pdf", "a.partial.pdf", "LETTER~1.PDF", "part", "a.tmp.tif"])
def test_names_of_documents(name: str) -> None:
    assert not keys.is_partial(name)


@pytest.mark.parametrize(
    ("ago_s", "rests"),
    [(0, False), (59.9, False), (60, True), (10**8, True), (-5, False), (-3_000, False), (-86_400, True)],
)
def test_what_was_left_alone_for_so_long_rests(ago_s: float, rests: bool) -> None:
    assert keys.is_at_rest(NOW - timedelta(seconds=ago_s), NOW, 60) is rests


def test_addresses_that_every_client_leaves_as_they_are() -> None:
    assert all(keys.has_address(key) for key in ("raw//a.pdf", "raw/...", "raw/.a", "raw/a..", "/a"))
    assert not any(keys.has_address(key) for key in ("raw/../a.pdf", "raw/./a.pdf", "raw/..", "."))


@pytest.mark.parametrize(
    "name", ["a[1].pdf", "a\\[1].pdf", "a[red].pdf", "a\\[red].pdf", "x[/bold]", "[[red]]", "\\\\[b]", "]", "a\\b"]
)
def test_terminal_shows_names_as_they_are(name: str) -> None:
    assert Text.from_markup(f"[dim]{escape(name)}[/dim]").plain == name


def test_terminal_is_not_steered_by_names() -> None:
    assert Text.from_markup(f"[dim]{escape(chr(27) + ']0;title' + chr(92))}[/dim]").plain == "\ufffd]0;title\\"


class Office:
    """A bucket in a folder, and records."""

    def __init__(self, home: Path) -> None:
        self.home, self.storage = home, FolderStorage(home / "bucket")
        self.records = SqliteRecords(home / "records.sqlite3")
        self.jobs = 0

    def process(self, key: str, max_bytes: int = 1_000) -> Document:
        """As the first task does with a key."""
        found = from_bucket(
            key, self.storage, self.records, scratch=self.home / "scratch", today=NOW.date(), max_bytes=max_bytes
        )
        return self._register(found, key)

    def hand_in(self, path: Path) -> Document:
        """As a door does with a file."""
        found = take_in(path, self.storage, self.records, today=NOW.date(), max_bytes=1_000)
        return self._register(found, found.key)

    def _register(self, found: Source, source: str) -> Document:
        self.jobs += 1
        self.records.register_job(f"job{self.jobs}", source, "normal", None)
        return register(f"job{self.jobs}", found, self.storage, self.records, NOW)

    def moves(self) -> list[dict[str, str]]:
        """What the newest job says was moved."""
        return [dict(event.detail) for event in self.records.events(f"job{self.jobs}") if event.kind == "moved"]


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


PDF = b"%PDF-1.4 a motion"


def test_odd_names_are_taken_from_a_folder(office: Office) -> None:
    names = ["a\nb.pdf", "back\\slash.pdf", "e\u0301.pdf", "\u00e9.pdf", ".hidden.pdf", "n" * 251 + ".pdf", " .pdf "]
    for number, name in enumerate(names):
        office.storage.put(f"raw/{name}", PDF + b"%d" % number)
    assert {there.key for there in office.storage.list("raw/")} == {f"raw/{name}" for name in names}
    for name in names:
        document = office.process(f"raw/{name}")
        assert (document.key, document.name) == (f"raw/{name}", keys.name_of(name))


def test_what_is_not_finished_or_too_large_is_refused_unread(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.storage.put("raw/a.pdf.abc.partial", PDF)
    office.storage.put("raw/large.pdf", PDF)
    monkeypatch.setattr(office.storage, "download", None)
    with pytest.raises(NotADocument, match="not finished"):
        office.process("raw/a.pdf.abc.partial")
    with pytest.raises(TooLarge):
        office.process("raw/large.pdf", max_bytes=5)
    with pytest.raises(NotFound):
        office.process("raw/nothing.pdf")


def test_original_that_was_moved_is_known_where_it_is(office: Office) -> None:
    office.storage.put("raw/a.pdf", PDF)
    before = office.process("raw/a.pdf")
    office.storage.put("raw/sorted/a.pdf", PDF)
    assert office.process("raw/sorted/a.pdf") == before, "a copy: the first stays the original"
    office.storage.delete("raw/a.pdf")
    after = office.process("raw/sorted/a.pdf")
    assert after == before.model_copy(update={"key": "raw/sorted/a.pdf"})
    assert office.moves() == [{"from": "raw/a.pdf", "to": "raw/sorted/a.pdf"}]
    assert office.process("raw/sorted/a.pdf") == after and office.moves() == []


def test_original_under_a_key_that_a_folder_cannot_have_is_missing_until_it_is_found(office: Office) -> None:
    office.storage.put("raw/a.pdf", PDF)
    document = office.process("raw/a.pdf")
    office.records.move_original(document.document_id, "raw/a.pdf", "raw//a.pdf")  # the bucket was S3's then
    gone = list(gone_now(office.storage, office.records, office.home / "scratch"))
    assert [(one.key, one.why) for one in gone] == [("raw//a.pdf", "missing")]
    assert office.process("raw/a.pdf") == document


def test_scans_of_one_length_that_changed_names_are_each_found(office: Office) -> None:
    office.storage.put("raw/1.pdf", PDF + b"1")
    office.storage.put("raw/2.pdf", PDF + b"2")
    one, two = office.process("raw/1.pdf"), office.process("raw/2.pdf")
    office.storage.put("raw/1.pdf", PDF + b"2")
    office.storage.put("raw/2.pdf", PDF + b"1")
    assert office.process("raw/2.pdf").key == "raw/2.pdf" and office.moves()
    assert office.process("raw/1.pdf").key == "raw/1.pdf"
    for document in (one, two):
        found = source_of(office.records.document(document.document_id))
        assert fetch(office.storage, found, office.home, max_bytes=1_000).is_file()
    office.storage.put("raw/1.pdf", PDF + b"3")
    copy = office.home / "copy.pdf"
    copy.write_bytes(PDF + b"2")
    assert office.storage.get(office.hand_in(copy).key) == PDF + b"2"


def test_move_that_another_was_faster_with_is_not_said(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.storage.put("raw/a.pdf", PDF)
    document = office.process("raw/a.pdf")
    office.storage.delete("raw/a.pdf")
    for key in ("raw/b.pdf", "raw/c.pdf"):
        office.storage.put(key, PDF)
    stat = office.storage.stat

    def look(key: str) -> Stored | None:
        if key == "raw/a.pdf":
            office.records.move_original(document.document_id, "raw/a.pdf", "raw/b.pdf")
        return stat(key)

    monkeypatch.setattr(office.storage, "stat", look)
    assert office.process("raw/c.pdf").key == "raw/b.pdf" and office.moves() == []


def test_original_that_is_gone_is_an_error_until_a_copy_is_handed_in(office: Office) -> None:
    office.storage.put("raw/a.pdf", PDF)
    document = office.process("raw/a.pdf")
    office.storage.put("raw/a.pdf", b"%PDF-1.4 other bytes under its key")
    copy = office.home / "copy.pdf"
    copy.write_bytes(PDF)
    assert office.hand_in(copy).key == keys.raw(document.document_id, "application/pdf", NOW.date())
    office.storage.delete(office.records.document(document.document_id).key)
    gone = office.records.document(document.document_id)
    with pytest.raises(OriginalGone, match="aseagi missing"):
        fetch(office.storage, source_of(gone), office.home, max_bytes=1_000)
    assert office.hand_in(copy).key == gone.key
    assert fetch(office.storage, source_of(gone), office.home, max_bytes=1_000).read_bytes() == PDF


def test_command_names_what_is_missing_and_what_to_do(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "storage", lambda: office.storage)
    monkeypatch.setattr(services, "records", lambda: office.records)
    for name in ("a", "b", "c"):
        office.storage.put(f"raw/{name}.pdf", PDF + name.encode())
        office.process(f"raw/{name}.pdf")
    assert "Every document's files are there" in CliRunner().invoke(cli.app, ["missing"]).stdout
    office.storage.delete("raw/a.pdf")
    office.storage.put("raw/b.pdf", b"others")
    said = CliRunner().invoke(cli.app, ["missing"]).stdout
    assert "missing   raw/a.pdf" in said and "replaced  raw/b.pdf" in said and "raw/c.pdf" not in said
    assert "2 originals. What was found in them stays." in said and "aseagi process FILE" in said
    job = office.records.job("job1")
    with pytest.raises(OriginalGone, match=re.escape("raw/a.pdf")):
        tasks.resubmit(job, "high")
    office.storage.put("raw/sorted/a.pdf", PDF + b"a")
    office.process("raw/sorted/a.pdf")
    monkeypatch.setattr(tasks, "feed_if_possible", lambda limit: None)
    assert office.records.job(tasks.resubmit(job, "high")).source == "raw/sorted/a.pdf"


def source_of(document: Document) -> Source:
    return Source(**document.model_dump(include=set(Source.model_fields)))
