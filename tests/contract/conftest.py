"""Real servers for the contract suites."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.broker import Broker
from tests.servers.s3 import s3_server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """The Droplet's Redis."""
    folder = tmp_path / "droplet"
    folder.mkdir()
    with Broker(folder) as one:
        yield one


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """A real S3 server in a process of its own."""
    with s3_server() as url:
        yield url
