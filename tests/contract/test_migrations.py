"""Migrations are applied in order, each once, whoever applies them."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from aseagi_tasks.errors import ConfigError, RecordsUnavailable
from aseagi_tasks.stores.migrations import FOLDER, connect, migrate, migrations
from aseagi_tasks.stores.supabase import SupabaseRecords
from tests.servers.cloud import SECRET, Cloud
from tests.servers.postgres import Postgres
from tests.servers.postgrest import PostgrestServer


@pytest.fixture
def empty(cloud: Cloud) -> Iterator[str]:
    """Address of a database with nothing in it."""
    name = cloud.postgres.create()
    yield cloud.postgres.url(name)
    cloud.postgres.drop(name)


def test_names_are_those_that_supabase_db_push_takes() -> None:
    names = [path.name for path in FOLDER.iterdir()]
    assert names and all(re.fullmatch(r"\d{14}_[a-z_]+\.sql", name) for name in names)
    assert len({migration.version for migration in migrations()}) == len(names)


@pytest.mark.parametrize("password", ["se%cret", "a@se/cret", "se/cret@", "secret@["])
def test_address_that_is_none_is_told_without_its_password(password: str) -> None:
    with pytest.raises(ConfigError, match=r"is no address of Postgres.*write % as %25") as raised:
        connect(f"postgresql://postgres:{password}@127.0.0.1:5432/postgres")
    assert "secret" not in str(raised.value) and "cret" not in str(raised.value)


def test_each_is_applied_once_and_noted_where_supabase_notes_it(empty: str) -> None:
    applied = [migration.version for migration in migrate(empty)]
    assert applied == [migration.version for migration in migrations()]
    assert list(migrate(empty)) == []
    with psycopg.connect(empty) as db:
        noted = db.execute("SELECT version, name, statements FROM supabase_migrations.schema_migrations ORDER BY 1")
        assert [(version, name) for version, name, _ in noted] == [(m.version, m.name) for m in migrations()]


def test_two_at_once_apply_each_once(empty: str) -> None:
    applied: list[str] = []
    threads = [
        threading.Thread(target=lambda: applied.extend(migration.version for migration in migrate(empty)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(applied) == [migration.version for migration in migrations()]


def test_one_that_fails_is_undone_and_those_before_it_stay(empty: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    shutil.copytree(FOLDER, folder)
    wrong = folder / "20991231000000_wrong.sql"
    wrong.write_text("CREATE TABLE half (a int);\nSELECT nonsense;\n")
    with pytest.raises(ConfigError, match=r"20991231000000_wrong\.sql.*undone.*nonsense"):
        list(migrate(empty, folder))
    with psycopg.connect(empty) as db:
        assert db.execute("SELECT to_regclass('documents') IS NOT NULL, to_regclass('half') IS NULL").fetchone() == (
            True,
            True,
        )
    wrong.write_text("CREATE TABLE whole (a int);\n")
    assert [migration.name for migration in migrate(empty, folder)] == ["wrong"]
    with pytest.raises(ConfigError, match="newer: 20991231000000"):
        list(migrate(empty))


def test_no_answer_is_unavailable_and_the_password_is_not_repeated() -> None:
    with pytest.raises(RecordsUnavailable) as refused:
        list(migrate("postgresql://someone:hunter2@127.0.0.1:1/db"))
    assert "hunter2" not in str(refused.value) + repr(refused.value)


def test_owner_that_is_no_superuser_will_do() -> None:
    """Supabase's `postgres` role: may make roles and passes row-level security, and is no superuser."""
    with Postgres() as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as db:
            db.execute("CREATE ROLE supabase_admin SUPERUSER LOGIN")
            db.execute("CREATE ROLE owner LOGIN CREATEROLE CREATEDB BYPASSRLS")
        name = server.create()
        with psycopg.connect(server.url("postgres"), autocommit=True) as db:
            db.execute(f'ALTER DATABASE "{name}" OWNER TO owner')
        owners = server.url(name).replace("postgres@", "owner@")
        assert len(list(migrate(owners))) == len(migrations())
        with PostgrestServer(server.url(name), SECRET) as api:
            records = SupabaseRecords(api.url, api.token("anon"), api.token("service_role"))
            records.register_job("j", "raw/x", "normal", None)
            assert records.begin_stage("j", "ocr", "w").deliveries == 1
            assert records.search("nothing") == []
            records.charge("j", "gpu", 1.0, once="o", detail={})
            assert records.job("j").cost_usd == 1.0
            with pytest.raises(ConfigError):
                SupabaseRecords(api.url, api.token("anon"), api.token("anon")).job("j")
