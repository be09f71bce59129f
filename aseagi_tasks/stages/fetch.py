"""The first stage: the original's bytes on this host, known to be the ones that were registered."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path

from aseagi_tasks.documents import EXTENSIONS, MediaType, Source
from aseagi_tasks.errors import NotADocument, NotFound, TooLarge, Unreadable
from aseagi_tasks.stores.storage import Storage

_HEAD_BYTES = 4096
#: What files of other kinds begin with, and what to call them.
_OTHERS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive or an Office document (save it as PDF)"),
    (b"\xd0\xcf\x11\xe0", "an old Office document (save it as PDF)"),
    (b"{\\rtf", "a rich-text document (save it as PDF)"),
    (b"GIF8", "a GIF image (save it as PNG)"),
    (b"BM", "a BMP image (save it as PNG)"),
    (b"RIFF", "a WebP image or a sound (save it as JPG)"),
    (b"%!PS", "a PostScript file (save it as PDF)"),
    (b"\x1f\x8b", "a compressed archive"),
)


def identify(path: Path, name: str) -> MediaType:
    """What a file is, by its content; its extension counts for nothing.

    Raises:
        NotADocument: with what it is instead.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head:
        raise NotADocument(name, "it is empty")
    if b"%PDF-" in head[:1024]:  # readers allow up to 1 KiB of anything before the header
        return "application/pdf"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "image/tiff"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        raise NotADocument(name, "it is a HEIC or AVIF photograph (save it as JPG)")
    for magic, what in _OTHERS:
        if head.startswith(magic):
            raise NotADocument(name, f"it is {what}")
    if b"<html" in head.lower() or b"<!doctype html" in head.lower():
        raise NotADocument(name, "it is a web page (print it to PDF)")
    if b"\0" not in head:
        raise NotADocument(name, "it is plain text")
    raise NotADocument(name, "its content is of an unknown kind")


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and size in bytes, streaming."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
        return found.hexdigest(), file.tell()


def fetch(storage: Storage, source: Source, scratch: Path, *, max_bytes: int) -> Path:
    """Bring the original to scratch, under a name of its own, and verify it.

    A file that is there with the right hash is taken. Half a download is never visible.

    Returns:
        ``scratch/source.<ext>``.
    Raises:
        NotFound, TooLarge, StorageUnavailable; Unreadable if the stored bytes are not those that were registered.
    """
    path = scratch / f"source.{EXTENSIONS[source.media_type]}"
    if path.is_file() and path.stat().st_size == source.bytes and digest(path)[0] == source.sha256:
        return path
    there = storage.stat(source.key)
    if there is None:
        raise NotFound(source.key, "the bucket")
    if there.bytes > max_bytes:
        raise TooLarge(source.name, f"{there.bytes:,} bytes", f"{max_bytes:,}", "ASEAGI_MAX_BYTES")
    scratch.mkdir(parents=True, exist_ok=True)
    partial = scratch / f".{uuid.uuid4().hex}"
    try:
        storage.download(source.key, partial)
        found = digest(partial)[0]
        if found != source.sha256:
            raise Unreadable(
                source.name,
                f"the bucket holds other bytes than were registered (SHA-256 {found[:16]}…, not {source.sha256[:16]}…)",
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path
