"""Before the chain: a file or a key becomes a source with its hash, its kind and a place in the bucket."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from aseagi_tasks import keys
from aseagi_tasks.documents import Source
from aseagi_tasks.errors import ConfigError, NotADocument, NotFound, TooLarge
from aseagi_tasks.stages.fetch import digest, identify
from aseagi_tasks.stages.heic import is_heic, to_jpeg
from aseagi_tasks.stores.records import Document, Records
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
    name = name or keys.name_of(path.name)
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
        if known.sha256 == source.sha256 and _is_there(known, storage):
            return source.model_copy(update={"key": known.key})
    key = keys.raw(source.document_id, source.media_type, today)
    if (there := storage.stat(key)) is None or there.bytes != source.bytes:
        storage.upload(path, key)
    return source.model_copy(update={"key": key})


def from_bucket(key: str, storage: Storage, records: Records, *, scratch: Path, today: date, max_bytes: int) -> Source:
    """Find out what another program has put at a key.

    A HEIC picture is taken in as the JPEG made of it; what not every client would find by its address
    (``keys.has_address``) as a copy under a key of ours.

    Args:
        scratch: a folder with space for it.
    Raises:
        NotFound, NotAKey, TooLarge, NotADocument, Unreadable.
    """
    name, there = keys.name_of(key), storage.stat(key)
    if there is None:
        raise NotFound(key, "the bucket")
    if keys.is_partial(name):
        raise NotADocument(name, "by its name another program has not finished writing it")
    if there.bytes > max_bytes:
        raise TooLarge(name, f"{there.bytes:,} bytes", f"{max_bytes:,}", "ASEAGI_MAX_BYTES")
    scratch.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=scratch) as folder:
        path = Path(folder) / "intake"
        storage.download(key, path)
        if is_heic(path) or not keys.has_address(key):
            return take_in(path, storage, records, today=today, max_bytes=max_bytes, name=name)
        return examine(path, name, key, max_bytes=max_bytes)


def register(job_id: str, source: Source, storage: Storage, records: Records, now: datetime) -> Document:
    """Tie the job to the document; one whose original was moved is found where these bytes are from now on."""
    document = records.register_document(job_id, source, now)
    if document.key != source.key and not _is_there(document, storage):
        if records.move_original(document.document_id, document.key, source.key):  # else another job was faster
            records.add_event(job_id, None, "moved", "intake", {"from": document.key, "to": source.key})
        return records.document(document.document_id)
    return document


def _is_there(document: Document, storage: Storage) -> bool:
    """Whether the original is at its key, by its bytes: scans of one kind may have one length, and change names.

    Raises:
        StorageUnavailable, ConfigError: that cannot be said.
    """
    try:
        there = storage.stat(document.key)
        if there is None or there.bytes != document.bytes:
            return False
        with TemporaryDirectory() as folder:
            path = Path(folder) / "original"
            storage.download(document.key, path)
            return digest(path)[0] == document.sha256
    except NotFound:  # gone meanwhile; or a key of another kind of bucket
        return False


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
