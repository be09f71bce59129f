"""One plant for the faults that need no settings of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.plant import Plant, until


@pytest.fixture(scope="session")
def _running() -> Iterator[Plant]:
    with (
        TemporaryDirectory(prefix="aseagi-faults-", ignore_cleanup_errors=True) as folder,
        Plant(Path(folder), ASEAGI_STAGE_LIMIT_S="3", ASEAGI_PAGE_LIMIT_S="0") as plant,
    ):
        plant.worker()
        until(plant.is_ready, plant.log)
        yield plant


@pytest.fixture
def plant(_running: Plant) -> Plant:
    """Redis, and one worker with two processes and beat in it, all of them well."""
    running = _running.processes["all"]
    assert running.poll() is None, _running.log()[-5000:]
    return _running


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path for a plant of the test's own."""
    with TemporaryDirectory(prefix="aseagi-own-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)
