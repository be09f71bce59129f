"""Telephones' HEIC pictures: the same picture gives the same JPEG, so the same file again is the same document."""

from __future__ import annotations

from pathlib import Path

from aseagi_tasks.errors import TooLarge, Unreadable

_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
#: More than any telephone takes; a picture of a kilobyte can claim gigabytes.
_MAX_PIXELS = 120_000_000


def is_heic(path: Path) -> bool:
    """Whether a file is a HEIC picture, by its first bytes. AVIF, of the same family, is not read."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(32)
    return head[4:8] == b"ftyp" and head[8:12] in _BRANDS and b"avif" not in head


def to_jpeg(path: Path, target: Path, name: str, *, max_bytes: int) -> None:
    """Write the picture, upright, as a JPEG; of a burst the first.

    Args:
        name: for messages.
    Raises:
        TooLarge, Unreadable.
    """
    if path.stat().st_size > max_bytes:
        raise TooLarge(name, f"{path.stat().st_size:,} bytes", f"{max_bytes:,}", "ASEAGI_MAX_BYTES")
    from pillow_heif import open_heif

    try:
        file = open_heif(path)
        width, height = file.size
        if width * height > _MAX_PIXELS:
            raise TooLarge(name, f"{width} x {height} pixels", f"{_MAX_PIXELS:,} pixels", "a picture's limit")
        file.to_pillow().convert("RGB").save(target, "JPEG", quality=92)
    except (ValueError, RuntimeError, OSError, SyntaxError, EOFError, MemoryError) as exc:
        raise Unreadable(name, f"its picture is damaged ({exc})") from exc
