"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_CORPUS = Path(os.environ.pop("ASEAGI_CORPUS", Path(__file__).parents[2] / "shared" / "corpus"))
for _name in [name for name in os.environ if name.startswith("ASEAGI_")]:
    del os.environ[_name]  # a developer's own settings are not the tests'


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real documents; tests that take it are marked ``corpus``."""
    if not _CORPUS.is_dir():
        pytest.skip(f"no real documents at {_CORPUS} (set ASEAGI_CORPUS to a folder that has them)")
    return _CORPUS
