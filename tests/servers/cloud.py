"""The cloud side of the records on this machine: a cluster, databases with our schema, PostgREST over each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from aseagi_tasks.stores.migrations import migrate
from aseagi_tasks.stores.supabase import SupabaseRecords
from tests.servers.postgres import Postgres
from tests.servers.postgrest import PostgrestServer

SECRET = "a secret for tests that is long enough for HS256"


class Project(NamedTuple):
    """What Supabase calls a project: a database and its API."""

    database: str
    url: str
    api: PostgrestServer

    def records(self, role: str = "service_role", **claims: str) -> SupabaseRecords:
        """Records as this role may see them."""
        return SupabaseRecords(self.api.url, self.api.token("anon"), self.api.token(role, **claims))


class Cloud:
    """Makes projects from a migrated template."""

    def __init__(self, postgres: Postgres) -> None:
        self.postgres = postgres
        self.template = postgres.create()
        list(migrate(postgres.url(self.template)))

    @contextmanager
    def project(self) -> Iterator[Project]:
        """A project of its own, gone afterwards."""
        name = self.postgres.create(self.template)
        url = self.postgres.url(name)
        try:
            with PostgrestServer(url, SECRET) as api:
                yield Project(name, url, api)
        finally:
            self.postgres.drop(name)
