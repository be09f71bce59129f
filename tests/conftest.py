"""What every test may ask for."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.servers.cloud import Cloud, Project

_CORPUS = Path(os.environ.get("CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
for _name in [name for name in os.environ if name.startswith("ASEAGI_")]:
    del os.environ[_name]  # a developer's own settings are not the tests'
_HOME = tempfile.TemporaryDirectory(prefix="aseagi-", ignore_cleanup_errors=True)
os.environ["ASEAGI_HOME"] = _HOME.name  # set before anything reads the settings; removed when the run ends
os.environ["OMP_THREAD_LIMIT"] = "1"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real documents; tests that take it are marked ``corpus``."""
    if not _CORPUS.is_dir():
        pytest.skip(f"no real documents at {_CORPUS} (set CORPUS to a folder that has them)")
    return _CORPUS


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """A real PostgreSQL cluster."""
    from tests.servers.cloud import Cloud  # which loads what most tests do not need
    from tests.servers.postgres import Postgres

    with Postgres() as postgres:
        yield Cloud(postgres)


@pytest.fixture
def project(cloud: Cloud) -> Iterator[Project]:
    """A database with our schema and an API over it."""
    with cloud.project() as made:
        yield made
