"""Poppler's programs: what a PDF is, its text with boxes, its pages as images.

PDFs come from strangers, so they are only ever opened in a process of their own that is killed at a time-out and held to
``MEMORY_LIMIT`` (a picture of 966 bytes took a renderer to 1.05 GB; nested transparency does the same). The programs are
run directly: pdf2image starts three processes a call (23 ms against 8 for a one-page filing), its own pdfinfo has no
time-out, and it leaves no way to limit memory.

All geometry is of the crop box, upright: pdftotext and pdftoppm both apply /Rotate, and both ignore UserUnit.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from aseagi_tasks.errors import ConfigError, Encrypted, NoPages, TooLarge, Unreadable

#: Address space of one poppler process in bytes. A page of 40 megapixels takes 0.3 GB, the corpus's worst 0.4 GB.
MEMORY_LIMIT = 2 << 30
#: Largest file that one poppler process may write, in bytes; the text layer of 2,000 full pages takes 0.2 GB.
FILE_LIMIT = 1 << 30
#: How much of a program's words is kept, in bytes.
_WORDS_KEPT = 8 << 20

_PAGES = re.compile(rb"^Pages:\s+(\d+)", re.M)
_SIZE = re.compile(rb"^Page\s+(\d+) size:\s+([\d.e+-]+) x ([\d.e+-]+) pts", re.M)
_ROTATION = re.compile(rb"^Page\s+(\d+) rot:\s+(-?\d+)", re.M)
_RENDERED = re.compile(r"-(\d+)\.pgm$")


class PageSize(NamedTuple):
    """An upright page in points (1/72 inch)."""

    width_pt: float
    height_pt: float

    def pixels_at(self, dpi: float) -> float:
        """How many pixels the page has at a resolution."""
        return self.width_pt * self.height_pt * (dpi / 72) ** 2


class _Finished(NamedTuple):
    code: int
    out: bytes
    err: bytes


@lru_cache(maxsize=1)
def version() -> str:
    """Poppler's version, e.g. ``22.12.0``.

    Raises:
        ConfigError: it is not installed.
    """
    finished = _run(["pdftoppm", "-v"], "poppler", timeout_s=10)
    found = re.search(rb"version ([\w.]+)", finished.err + finished.out)
    return found.group(1).decode() if found else "unknown"


def page_sizes(path: Path, name: str, *, max_pages: int, timeout_s: float) -> list[PageSize]:
    """Sizes of all pages.

    Args:
        name: for messages.
    Raises:
        Encrypted: it does not open with an empty password. NoPages. TooLarge: more than ``max_pages``.
        Unreadable: broken beyond repair, or pdfinfo took too long.
    """
    args = ["pdfinfo", "-f", "1", "-l", str(max_pages), str(path)]
    finished = _run(args, name, timeout_s=timeout_s)
    # A title may hold anything, even lines that look like these; the real ones come after it.
    counts = _PAGES.findall(finished.out)
    if not counts or finished.code:
        words = finished.err.decode("utf-8", "replace")
        if re.search("incorrect password|encrypt|security handler", words, re.I):
            raise Encrypted(name)
        if "last page (0)" in words or (counts and int(counts[-1]) == 0):
            raise NoPages(name)
        raise Unreadable(name, _last_words(words) or "it is damaged")
    count = int(counts[-1])
    if count == 0:
        raise NoPages(name)
    if count > max_pages:
        raise TooLarge(name, f"{count:,} pages", f"{max_pages:,}", "ASEAGI_MAX_PAGES")
    turned = {int(number): int(degrees) % 180 == 90 for number, degrees in _ROTATION.findall(finished.out)}
    sizes: dict[int, PageSize] = {}
    for number, width, height in _SIZE.findall(finished.out):
        size = PageSize(float(width), float(height))
        sizes[int(number)] = PageSize(*reversed(size)) if turned.get(int(number)) else size
    missing = [number for number in range(1, count + 1) if number not in sizes or min(sizes[number]) <= 0]
    if missing:
        raise Unreadable(name, f"page {missing[0]} has no size")
    return [sizes[number] for number in range(1, count + 1)]


def write_text(path: Path, name: str, out: Path, *, timeout_s: float) -> None:
    """Write the text layer with boxes in points (``-bbox-layout``) to ``out``.

    Diagonal text (watermarks) is left out: poppler tears it into pieces whose boxes cover what lies under them.

    Raises:
        Unreadable: pdftotext failed or took too long.
    """
    args = ["pdftotext", "-q", "-cropbox", "-nodiag", "-bbox-layout", "-enc", "UTF-8", str(path), str(out)]
    finished = _run(args, name, timeout_s=timeout_s)
    if finished.code or not out.is_file():
        raise Unreadable(name, f"its text layer could not be read (pdftotext stopped with {finished.code})")


def render(
    path: Path, name: str, folder: Path, first: int, last: int, *, dpi: float, timeout_s: float, smooth: bool = True
) -> dict[int, Path]:
    """Render pages as grey 8-bit PGM.

    Args:
        folder: empty or with other pages' images; files are written into it.
        first, last: 1-based, inclusive.
        smooth: anti-alias text; without it a born-digital page at 100 dpi takes 2.4 ms instead of 5.4.
    Returns:
        File by page number, all of them.
    Raises:
        Unreadable: a page could not be rendered, or the time-out passed.
    """
    args = ["pdftoppm", "-q", "-gray", "-cropbox", "-r", f"{dpi:.6g}", "-f", str(first), "-l", str(last)]
    args += [] if smooth else ["-aa", "no"]
    pages = f"page {first}" if first == last else f"pages {first} to {last}"
    finished = _run([*args, str(path), str(folder / "page")], name, timeout_s=timeout_s, what=pages)
    images: dict[int, Path] = {}
    for image in folder.glob("page-*.pgm"):
        found = _RENDERED.search(image.name)
        if found and first <= (number := int(found.group(1))) <= last:
            images[number] = image
    missing = [number for number in range(first, last + 1) if number not in images]
    # A renderer that dies leaves the page that it was at unfinished: the last one that is there is not to be trusted.
    if finished.code and not missing:
        missing = [last]
    if missing:
        at = max(first, missing[0] - 1) if finished.code else missing[0]
        raise Unreadable(name, f"page {at} could not be rendered (pdftoppm stopped with {finished.code})")
    return images


def thumbnail(path: Path, name: str, number: int, out: Path, *, long_edge_px: int, timeout_s: float) -> None:
    """Render one page as a small colour JPEG; ``out`` ends in ``.jpg``.

    Raises:
        Unreadable: it could not be rendered, or the time-out passed.
    """
    args = ["pdftoppm", "-q", "-cropbox", "-jpeg", "-jpegopt", "quality=80", "-scale-to", str(long_edge_px)]
    args += ["-singlefile", "-f", str(number), "-l", str(number), str(path), str(out.with_suffix(""))]
    finished = _run(args, name, timeout_s=timeout_s, what=f"page {number}")
    if finished.code or not out.is_file():
        raise Unreadable(name, f"page {number} could not be rendered (pdftoppm stopped with {finished.code})")


def _run(args: Sequence[str], name: str, *, timeout_s: float, what: str = "it") -> _Finished:
    """Run one program to its end, or to the time-out.

    Raises:
        Unreadable: the time-out passed; the program was killed. ConfigError: it is not installed.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _started(args, out.fileno(), err.fileno(), timeout_s) as process:
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                raise Unreadable(name, f"{what} took {args[0]} longer than {timeout_s:g} s") from None
        out.seek(0)
        err.seek(0)
        return _Finished(code, out.read(_WORDS_KEPT), err.read(_WORDS_KEPT))


@contextlib.contextmanager
def _started(args: Sequence[str], out: int, err: int, timeout_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, with limits; what is left of the group is killed at the end."""
    try:
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=out, stderr=err, process_group=0)
    except FileNotFoundError as exc:
        cure = "Install poppler-utils (macOS: poppler)."
        raise ConfigError("poppler", f"{args[0]} was not found.", cure) from exc
    try:
        _limit(process.pid, timeout_s)
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _limit(pid: int, timeout_s: float) -> None:
    """Bound a process that has just started. Not by ``preexec_fn``: that forks all of this process, threads and all.

    Processor time is bounded too, so that a renderer whose worker was killed does not spin for ever.
    """
    if sys.platform != "linux":
        return
    seconds = int(timeout_s) + 5
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FILE_LIMIT, FILE_LIMIT))
        resource.prlimit(pid, resource.RLIMIT_CPU, (seconds, seconds))


def _last_words(words: str) -> str:
    """The last thing that a program complained about, without its prefix."""
    lines = [line.split(":", 1)[-1].strip() for line in words.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
