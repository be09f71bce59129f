"""The bucket: one protocol, kept in a folder here and in S3 by ``s3.py``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol


class Stored(NamedTuple):
    """One object as a listing shows it. ``modified`` is UTC; ``etag`` is the provider's mark of its content, if any."""

    key: str
    bytes: int
    modified: datetime
    etag: str = ""


class Storage(Protocol):
    """Objects by key. A write is visible whole or not at all.

    Keys are checked by ``keys.check``, in a folder by ``keys.check_path``.

    Errors: NotFound where a key is not there; StorageUnavailable where the provider does not answer;
    ConfigError where bucket or credentials are wrong.
    """

    def put(self, key: str, body: bytes) -> None:
        """Write a small object."""

    def get(self, key: str) -> bytes:
        """Read a small object."""

    def upload(self, path: Path, key: str) -> None:
        """Copy a file in, streaming (multipart above 8 MiB), checksum verified by the store."""

    def download(self, key: str, path: Path) -> None:
        """Copy an object out, streaming; ``path`` appears only when complete."""

    def stat(self, key: str) -> Stored | None:
        """The object as listed, or None."""

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """Objects whose key begins with ``prefix``, in the order of the keys' bytes, streaming.

        Args:
            after: only keys behind this one, which need not be there.
        """

    def delete(self, key: str) -> None:
        """Remove; a key that is not there is success."""

    def delete_all(self, prefix: str) -> int:
        """Remove everything below a prefix (not empty, ends with ``/``); returns how many."""

    def url_get(self, key: str, expires_s: int) -> str:
        """An address that reads the object for a while. Never logged."""

    def url_put(self, key: str, expires_s: int) -> str:
        """An address that writes the object for a while. Never logged."""
