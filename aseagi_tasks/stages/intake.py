"""Before the chain: a file or a key becomes a source with its hash, its kind and a place in the bucket."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from aseagi_tasks import keys
from aseagi_tasks.documents import Source
from aseagi_tasks.errors import ConfigError, NotFound, TooLarge
from aseagi_tasks.stages.fetch import digest, identify
from aseagi_tasks.stages.heic import is_heic, to_jpeg
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage


def examine(path: Path, name: str, key: str, *, max_bytes: int) -> Source:
    """Hash a file and tell by its content what it is.

    Raises:
        NotFound, TooLarge, NotADocument.
    """
    if not path.is_file():
        raise NotFound(str(path), "this machine's files")
    size = path.stat().st_size
    if size > max_bytes:
        raise TooLarge(name, f"{size:,} bytes", f"{max_bytes:,}", "ASEAGI_MAX_BYTES")
    media_type = identify(path, name)
    sha256, size = digest(path)
    return Source(key=key, name=name, sha256=sha256, bytes=size, media_type=media_type)


def take_in(
    path: Path, storage: Storage, records: Records, *, today: date, max_bytes: int, name: str | None = None
) -> Source:
    """Copy a file into ``raw/``, unless the same bytes are there already; a HEIC picture as the JPEG made of it.

    Args:
        path: the file.
        name: kept in the records; by default the file's own.
        today: day of intake, part of the key.
    Returns:
        The source as registered: of a known document, with the key it was first given.
    Raises:
        NotFound, TooLarge, NotADocument, Unreadable.
    """
    name = name or path.name
    if is_heic(path):
        with TemporaryDirectory() as folder:
            jpeg = Path(folder) / "picture.jpg"
            to_jpeg(path, jpeg, name, max_bytes=max_bytes)
            return take_in(jpeg, storage, records, today=today, max_bytes=max_bytes, name=name)
    source = examine(path, name, "", max_bytes=max_bytes)
    try:
        known = records.document(source.document_id)
    except NotFound:
        pass
    else:
        if known.sha256 == source.sha256 and storage.stat(known.key) is not None:
            return source.model_copy(update={"key": known.key})
    key = keys.raw(source.document_id, source.media_type, today)
    if (there := storage.stat(key)) is None or there.bytes != source.bytes:
        storage.upload(path, key)
    return source.model_copy(update={"key": key})


def key_of(source: str, bucket: str) -> str:
    """The key that a source names.

    Args:
        source: a key, or an ``s3://bucket/key`` address.
        bucket: the only bucket that is read.
    Raises:
        ConfigError: another bucket. NotFound: not a key.
    """
    if source.startswith("s3://"):
        given, _, key = source.removeprefix("s3://").partition("/")
        if given != bucket:
            raise ConfigError(
                "ASEAGI_BUCKET", f"is {bucket!r}, and {source} is in another bucket.", "Copy the file into this one."
            )
        return keys.check(key)
    return keys.check(source)
