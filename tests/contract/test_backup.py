"""A backup is of use: it is restored into an empty store, and everything is as it was."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from aseagi_tasks import keys
from aseagi_tasks.errors import ConfigError, NotFound, RecordsUnavailable
from aseagi_tasks.stores import backup as backups
from aseagi_tasks.stores.backup import backup, list_backups, restore
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.migrations import migrate
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.supabase import SupabaseRecords
from aseagi_tasks.stores.transfer import export_records
from tests.contract.test_transfer import fill
from tests.servers.cloud import SECRET, Project
from tests.servers.postgres import Postgres
from tests.servers.postgrest import PostgrestServer

NOW = datetime(2026, 11, 24, 3, 50, tzinfo=UTC)


@pytest.fixture
def another_cluster() -> Iterator[Postgres]:
    """Without our roles, extensions or anything else."""
    with Postgres() as postgres:
        yield postgres


@pytest.fixture
def storage(tmp_path: Path) -> FolderStorage:
    return FolderStorage(tmp_path / "bucket")


def test_postgres_is_restored_into_an_empty_cluster(
    project: Project, another_cluster: Postgres, storage: FolderStorage, tmp_path: Path
) -> None:
    records = project.records()
    fill(records, 300)
    whole = export_records(records, tmp_path / "before.jsonl")
    key = backup(project.url, storage, tmp_path / "scratch", NOW).key
    assert key == "backups/2026/11/24/records-20261124T035000Z.dump"
    assert list((tmp_path / "scratch").iterdir()) == []
    url = another_cluster.url(another_cluster.create())
    restore(url, storage, key, tmp_path / "scratch")
    with PostgrestServer(url, SECRET) as api:
        restored = SupabaseRecords(api.url, api.token("anon"), api.token("service_role"))
        assert export_records(restored, tmp_path / "after.jsonl") == whole
        assert restored.search("23CV000042")[0].document == records.search("23CV000042")[0].document
        with pytest.raises(ConfigError):  # policies and grants came along
            SupabaseRecords(api.url, api.token("anon")).documents()
        job = restored.register_job("new", "raw/x", "normal", None)
        assert restored.begin_stage(job.job_id, "fetch", "w").deliveries == 1
        viewer = SupabaseRecords(api.url, api.token("anon"), api.token("aseagi_viewer"))
        assert viewer.counts() == restored.counts()
    assert list(migrate(url)) == []
    with pytest.raises(ConfigError, match="Restore into an empty one"):
        restore(url, storage, key, tmp_path / "scratch")


def test_sqlite_in_use_is_backed_up_and_restored(storage: FolderStorage, tmp_path: Path) -> None:
    records = SqliteRecords(tmp_path / "records.sqlite3")
    fill(records, 50)
    whole = export_records(records, tmp_path / "before.jsonl")
    key = backup(tmp_path / "records.sqlite3", storage, tmp_path / "scratch", NOW).key
    with pytest.raises(ConfigError, match="is there already"):
        restore(tmp_path / "records.sqlite3", storage, key, tmp_path / "scratch")
    restore(tmp_path / "new" / "records.sqlite3", storage, key, tmp_path / "scratch")
    restored = SqliteRecords(tmp_path / "new" / "records.sqlite3")
    assert export_records(restored, tmp_path / "after.jsonl") == whole
    assert restored.search("23CV000042")


def test_of_old_backups_seven_days_four_weeks_and_twelve_months_stay(storage: FolderStorage) -> None:
    moments = [NOW.replace(hour=hour) - timedelta(days=back) for back in range(800) for hour in (3, 15)]
    there = [keys.backup(moment, "sqlite3") for moment in moments]
    there += [keys.manifest(key) for key in there]
    left = {backups.made_at(key).replace(tzinfo=None) for key in backups.kept(there)}
    days = [NOW.replace(hour=15, tzinfo=None) - timedelta(days=back) for back in range(7)]
    sundays = [datetime(2026, 11, day, 15, 50) for day in (22, 15, 8)]
    month_ends = [datetime(2026, 11, 1, 15, 50) - timedelta(days=1)]
    for _ in range(10):
        month_ends.append(month_ends[-1].replace(day=1) - timedelta(days=1))
    assert left == {*days, *sundays, *month_ends}
    assert len(backups.kept(there)) == 2 * len(left), "each with its manifest"


def test_old_backups_go_and_what_is_not_ours_stays(storage: FolderStorage) -> None:
    for back in range(12):
        key = keys.backup(NOW - timedelta(days=back), "sqlite3")
        storage.put(key, b"")
        storage.put(keys.manifest(key), b"")
    storage.put("backups/by-hand/records.sqlite3", b"mine")
    assert backups.thin(storage) == 2 * (12 - 8), "seven days, and the Sunday before them"
    assert storage.get("backups/by-hand/records.sqlite3") == b"mine"
    assert backups.thin(storage) == 0


def test_backup_of_the_other_kind_and_a_missing_one_are_refused(storage: FolderStorage, tmp_path: Path) -> None:
    SqliteRecords(tmp_path / "r.sqlite3")
    key = backup(tmp_path / "r.sqlite3", storage, tmp_path, NOW).key
    with pytest.raises(ConfigError, match="export-records"):
        restore("postgresql:///x", storage, key, tmp_path)
    with pytest.raises(NotFound):
        restore(tmp_path / "n.sqlite3", storage, "backups/2020/01/01/records-x.sqlite3", tmp_path)
    assert not (tmp_path / "n.sqlite3").exists()


def test_failed_dump_leaves_nothing_and_says_no_password(storage: FolderStorage, tmp_path: Path) -> None:
    with pytest.raises(RecordsUnavailable, match="connecting") as failed:
        backup("postgresql://u:hunter2@127.0.0.1:1/x", storage, tmp_path / "scratch", NOW)
    assert "hunter2" not in str(failed.value)
    assert list_backups(storage) == [] and list((tmp_path / "scratch").iterdir()) == []


def test_password_is_not_among_a_programs_arguments(
    project: Project, storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "bin" / "pg_dump"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nexec {shutil.which("pg_dump")} "$@"\n')
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", str(spy.parent), prepend=":")
    url = project.url.replace("postgres@", "postgres:hunter2@")
    backup(url, storage, tmp_path / "scratch", NOW)
    assert "hunter2" not in (tmp_path / "arguments").read_text()
    with psycopg.connect(url) as db:
        assert db.execute("SELECT 1").fetchone() == (1,)
