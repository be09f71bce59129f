"""The bucket as a folder on this machine."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from aseagi_tasks import keys
from aseagi_tasks.errors import ConfigError, NotAKey, NotFound, StorageUnavailable
from aseagi_tasks.stores.storage import Stored

#: Half-written files wait here, in the same file system, and are renamed into place; no key begins with it.
PARTIAL = ".partial"


class FolderStorage:
    """Objects as files below ``root``, by key.

    A write goes to a file of another name, is synced and renamed: whoever lists or reads sees all of it or nothing,
    after a power cut too. A sync costs 0.1-5 ms here and a document has about ten of them.

    Args:
        root: made if it is not there.
    Raises:
        ConfigError: ``root`` cannot be made or written to.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            (root / PARTIAL).mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigError("ASEAGI_HOME", f"{root} cannot be made: {exc.strerror}.", "Choose another.") from exc

    def put(self, key: str, body: bytes) -> None:
        """Write a small object."""
        self._write(key, lambda partial: _write_bytes(partial, body))

    def get(self, key: str) -> bytes:
        """Read a small object."""
        with _translated(f"reading {key}", key):
            return self._path(key).read_bytes()

    def upload(self, path: Path, key: str) -> None:
        """Copy a file in, streaming."""
        self._write(key, lambda partial: shutil.copyfile(path, partial))

    def download(self, key: str, path: Path) -> None:
        """Copy an object out, streaming; ``path`` appears only when complete."""
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
        with _translated(f"reading {key}", key):
            try:
                shutil.copyfile(self._path(key), partial)
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

    def stat(self, key: str) -> Stored | None:
        """The object as listed, or None."""
        path = self._path(key)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as exc:
            raise StorageUnavailable(f"looking at {key}", exc.strerror) from exc
        return None if path.is_dir() else Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def list(self, prefix: str, after: str = "") -> Iterator[Stored]:
        """Objects whose key begins with ``prefix``, behind ``after``, by key, one folder in memory at a time."""
        folder = prefix.rpartition("/")[0]
        if folder:
            keys.check_path(folder)
        yield from self._below(folder, prefix, os.fsencode(after))

    def delete(self, key: str) -> None:
        """Remove; a key that is not there is success. Folders that become empty go too."""
        path = self._path(key)
        with _translated(f"removing {key}", key):
            try:
                path.unlink(missing_ok=True)
            except (IsADirectoryError, NotADirectoryError, PermissionError):
                if not path.is_dir() and path.exists():
                    raise
                return
        for parent in path.parents:
            if parent == self.root:
                break
            try:
                parent.rmdir()
            except OSError:
                break

    def delete_all(self, prefix: str) -> int:
        """Remove everything below a prefix (not empty, ends with ``/``); returns how many."""
        if not prefix.endswith("/"):
            raise ValueError(f"{prefix!r} does not end with a slash")
        found = [there.key for there in self.list(prefix)]
        for key in found:
            self.delete(key)
        return len(found)

    def url_get(self, key: str, expires_s: int) -> str:
        """A ``file:`` address; it does not expire, since whoever can use it can read the folder anyway."""
        if self.stat(key) is None:
            raise NotFound(key, "the bucket")
        return self._path(key).as_uri()

    def url_put(self, key: str, expires_s: int) -> str:
        """A ``file:`` address."""
        return self._path(key).as_uri()

    def _path(self, key: str) -> Path:
        path = self.root / keys.check_path(key)
        if key.split("/", 1)[0] == PARTIAL:
            raise NotAKey(repr(key), "half-written files wait there", "Give it another name.")
        return path

    def _write(self, key: str, write: Callable[[Path], object]) -> None:
        path, partial = self._path(key), self.root / PARTIAL / uuid.uuid4().hex
        with _translated(f"writing {key}", key):
            try:
                write(partial)
                _sync(partial)
                while True:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    try:
                        partial.replace(path)
                        break
                    except FileNotFoundError:  # a concurrent delete took the empty folder away
                        if not partial.exists():
                            raise
                _sync(path.parent)
            finally:
                partial.unlink(missing_ok=True)

    def _below(self, folder: str, prefix: str, after: bytes) -> Iterator[Stored]:
        """Depth first in the order of whole keys: a folder sorts as its name with a slash, as S3 sorts."""
        with _translated(f"listing {prefix}", prefix):
            try:
                entries = list(os.scandir(self.root / folder))
            except (FileNotFoundError, NotADirectoryError):
                return
        lead = f"{folder}/" if folder else ""
        named = [
            (f"{lead}{entry.name}{'/' if entry.is_dir(follow_symlinks=False) else ''}", entry) for entry in entries
        ]
        for key, entry in sorted(named, key=lambda pair: os.fsencode(pair[0])):
            if (name := os.fsencode(key)) <= after and not (key.endswith("/") and after.startswith(name)):
                continue  # a folder that comes before it, and what is in it too
            if key == f"{PARTIAL}/" or not (key.startswith(prefix) or prefix.startswith(key)):
                continue
            if key.endswith("/"):
                yield from self._below(key[:-1], prefix, after)
            elif key.startswith(prefix):
                try:
                    found = entry.stat()
                except FileNotFoundError:  # removed while we listed
                    continue
                except OSError as exc:
                    if exc.errno == errno.ELOOP:
                        continue
                    raise StorageUnavailable(f"looking at {key}", exc.strerror) from exc
                if entry.is_dir():  # a link to a folder: as for ``stat``, no object
                    continue
                yield Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))


def _write_bytes(path: Path, body: bytes) -> None:
    path.write_bytes(body)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translated(doing: str, key: str) -> Iterator[None]:
    """Operating system's errors in our words."""
    try:
        yield
    except (FileNotFoundError, IsADirectoryError) as exc:
        raise NotFound(key, "the bucket") from exc
    except (NotADirectoryError, FileExistsError) as exc:
        raise StorageUnavailable(doing, "a part of the key is a file there, and a folder here") from exc
    except OSError as exc:
        if exc.errno == errno.ENAMETOOLONG:  # the path, or a name where file systems take fewer bytes than most
            raise NotAKey(repr(key), "it is too long for a file here", "Give it a shorter name.") from exc
        raise StorageUnavailable(doing, exc.strerror or str(exc)) from exc
