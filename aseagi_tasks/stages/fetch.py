"""The first stage: a document's bytes come to this host and are what was registered. Also: what a file is."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from aseagi_tasks.documents import EXTENSIONS, MediaType, Source
from aseagi_tasks.errors import Altered, NotADocument, OriginalGone, TooLarge
from aseagi_tasks.stores.storage import Storage

#: How much of a file tells what it is. Readers find a PDF's header anywhere in the first 1,024 bytes.
_HEAD = 1024

_READ: tuple[tuple[bytes, MediaType], ...] = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"II*\x00", "image/tiff"),
    (b"MM\x00*", "image/tiff"),
    (b"II+\x00", "image/tiff"),
    (b"MM\x00+", "image/tiff"),
)
_NOT_READ: tuple[tuple[bytes, str], ...] = (
    (b"GIF8", "it is a GIF picture"),
    (b"\x00\x00\x00\x0cjP  ", "it is a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "it is a JPEG 2000 picture"),
    (b"8BPS", "it is a Photoshop picture"),
    (b"AT&TFORM", "it is a DjVu file"),
    (b"%!PS", "it is a PostScript file"),
    (b"%FDF-", "it holds a form's data without the form (FDF)"),
    (b"{\\rtf", "it is an RTF text"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "it is an old Office file or an Outlook message"),
    (b"\x1f\x8b", "it is a gzip archive"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive"),
    (b"Rar!", "it is a RAR archive"),
    (b"BZh", "it is a bzip2 archive"),
    (b"\xfd7zXZ", "it is an xz archive"),
    (b"\x7fELF", "it is a program"),
    (b"ID3", "it is a sound recording"),
    (b"OggS", "it is a sound recording or a film"),
    (b"\x1aE\xdf\xa3", "it is a film"),
)
_PACKED = (
    (b"word/", "it is a Word file"),
    (b"xl/", "it is an Excel file"),
    (b"ppt/", "it is a PowerPoint file"),
    (b"mimetypeapplication/vnd.oasis", "it is an OpenDocument file"),
    (b"mimetypeapplication/epub", "it is an electronic book"),
    (b"Index/Document.iwa", "it is a Pages, Numbers or Keynote file"),
)
_TEXT = "it is plain text"


def identify(path: Path, name: str) -> MediaType:
    """Tell by its content what a file is; its name does not matter.

    Args:
        name: for messages.
    Raises:
        NotADocument: says what it is instead.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    for magic, media_type in _READ:
        if head.startswith(magic):
            return media_type
    other = _other(path, head)
    if b"%PDF-" in head and other in ("", _TEXT):  # behind a byte order mark, a mail's or a printer's header
        return "application/pdf"
    raise NotADocument(name, other or "its kind is unknown")


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 (hex) and length in bytes of a file, read as a stream."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return sha256, file.tell()


def fetch(storage: Storage, source: Source, scratch: Path, *, max_bytes: int) -> Path:
    """Bring a document's original bytes to this host.

    Args:
        storage: the bucket.
        source: as registered.
        scratch: the job's folder.
    Returns:
        ``source.<ext>`` in scratch; one that is there with the right hash is taken.
    Raises:
        OriginalGone, TooLarge, Altered, StorageUnavailable.
    """
    path = scratch / f"source.{EXTENSIONS[source.media_type]}"
    if path.is_file() and path.stat().st_size == source.bytes and digest(path)[0] == source.sha256:
        return path
    there = storage.stat(source.key)
    if there is None:
        raise OriginalGone(source.name, source.key)
    if there.bytes > max_bytes:
        raise TooLarge(source.name, f"{there.bytes:,} bytes", f"{max_bytes:,}", "ASEAGI_MAX_BYTES")
    if there.bytes != source.bytes:
        raise Altered(source.name, source.key)
    # Two deliveries of one job may meet on a host: each has its own file until it is known to be right.
    part = scratch / f".source.{os.getpid()}.{os.urandom(4).hex()}"
    try:
        storage.download(source.key, part)
        if digest(part) != (source.sha256, source.bytes):
            raise Altered(source.name, source.key)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def _other(path: Path, head: bytes) -> str:
    """What a file is that is not read; empty if that cannot be told."""
    if not head:
        return "it is empty"
    if not head.strip(b"\x00"):
        return "it holds nothing but zeros; its transfer may have failed"
    for magic, what in _NOT_READ:
        if head.startswith(magic):
            return what
    if head.startswith(b"PK\x03\x04"):
        return _packed(path)
    if head[:4] == b"RIFF":
        return "it is a WebP picture" if head[8:12] == b"WEBP" else "it is a sound recording or a film"
    if head[4:8] == b"ftyp":
        picture = head[8:12] in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif")
        return "it is a HEIC or AVIF picture" if picture else "it is a film"
    if head[257:262] == b"ustar":
        return "it is a tar archive"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return "it is a BMP picture"
    if head[:2] == b"MZ" and b"\x00" in head:
        return "it is a program"
    return _as_text(head)


def _as_text(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return _TEXT
    try:
        text = head[: len(head) - 3 if len(head) == _HEAD else None].decode("utf-8-sig", "strict")
    except UnicodeDecodeError as exc:
        if exc.start < len(exc.object) - 4:  # not just a character cut in two at the end
            return ""
        text = exc.object[: exc.start].decode("utf-8-sig")
    if any(ord(c) < 32 and c not in "\t\r\n\f\x1b" for c in text):
        return ""
    start = text.lstrip().lower()
    if re.match(r"<(!doctype html|html|head|body|!--)", start) or "<html" in start:
        return "it is a web page (HTML)"
    if start.startswith("<svg") or "<svg" in start[:512]:
        return "it is an SVG drawing"
    if start.startswith("<?xml"):
        return "it is XML"
    if re.match(r"(received|return-path|mime-version|delivered-to|message-id|from): ", start):
        return "it is an e-mail message"
    return _TEXT


def _packed(path: Path) -> str:
    """What a ZIP file is the package of, by the names near its beginning: its directory may be made to explode."""
    with path.open("rb") as file:
        beginning = file.read(1 << 16)
    return next((what for name, what in _PACKED if name in beginning), "it is a ZIP archive")
