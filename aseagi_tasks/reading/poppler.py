"""Poppler's programs: what a PDF is, its text with boxes, its pages as images.

PDFs come from strangers, so they are only opened in a process of their own that is killed at a time-out and held to
``MEMORY_LIMIT``: a picture of 966 bytes takes a renderer to 1.05 GB, nested transparency the same. The programs are run
directly: pdf2image starts three processes a call (20 ms against 13 for one page at 100 dpi), has no time-out for one of
them, no way to limit memory, and hides what the renderer complained about.

All geometry is of the crop box, upright: pdftotext and pdftoppm both apply /Rotate, and both ignore UserUnit.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from aseagi_tasks.errors import ConfigError, Encrypted, NoPages, TooLarge, Unreadable

#: Address space of one poppler process in bytes. A page of 40 megapixels takes 0.2 GB, the corpus's worst 0.4.
MEMORY_LIMIT = 2 << 30
#: Largest file that one poppler process may write, in bytes; the text layer of 2,000 full pages takes 0.2 GB.
FILE_LIMIT = 1 << 30
#: How much of a program's words is kept, in bytes.
_WORDS_KEPT = 4 << 20

_PAGES = re.compile(rb"^Pages:\s+(\d+)", re.M)
_SIZE = re.compile(rb"^Page\s+(\d+) size:\s+([\d.e+-]+) x ([\d.e+-]+) pts", re.M)
_ROTATION = re.compile(rb"^Page\s+(\d+) rot:\s+(-?\d+)", re.M)
_PLACE = re.compile(r" \(\d+\)(?=:)")
_RENDERED = re.compile(r"-(\d+)\.pgm$")


class PageSize(NamedTuple):
    """An upright page in points (1/72 inch)."""

    width_pt: float
    height_pt: float

    def pixels_at(self, dpi: float) -> float:
        """How many pixels the page has at a resolution."""
        return self.width_pt * self.height_pt * (dpi / 72) ** 2


class Rendered(NamedTuple):
    """Page images by page number, and what the renderer complained about that opening the file had not shown."""

    images: dict[int, Path]
    complaints: frozenset[str]


class _Finished(NamedTuple):
    code: int
    out: bytes
    err: str

    @property
    def complaints(self) -> frozenset[str]:
        """Errors without their place in the file; warnings are poppler talking to itself."""
        lines = (line.strip() for line in self.err.splitlines())
        return frozenset(_PLACE.sub("", line) for line in lines if line and not line.startswith("Syntax Warning"))


@lru_cache(maxsize=1)
def version() -> str:
    """Poppler's version, e.g. ``22.12.0``.

    Raises:
        ConfigError: it is not installed.
    """
    finished = _run(["pdftoppm", "-v"], "poppler", timeout_s=10)
    found = re.search(r"version ([\w.]+)", finished.err)
    return found.group(1) if found else "unknown"


class Pdf:
    """A PDF that poppler can open.

    Args:
        path: the file.
        name: what it is called in messages.
        max_pages: limit.
        timeout_s: for each call of a program.
    Raises:
        Encrypted: it does not open with an empty password. NoPages. TooLarge: more than ``max_pages``.
        Unreadable: cut off, broken beyond repair, or pdfinfo took too long.
    """

    def __init__(self, path: Path, name: str, *, max_pages: int, timeout_s: float) -> None:
        self.path = path
        self.name = name
        self.timeout_s = timeout_s
        finished = self._run("pdfinfo", "-f", "1", "-l", str(max_pages), str(path))
        #: what poppler says on every opening of this file
        self.complaints = finished.complaints
        #: upright sizes, first page first
        self.sizes = self._sizes(finished, max_pages)
        if not _has_end(path):
            raise Unreadable(name, "its end is missing")

    def _sizes(self, finished: _Finished, max_pages: int) -> list[PageSize]:
        # A title may hold anything, even lines that look like these; the real ones come after it.
        counts = _PAGES.findall(finished.out)
        count = int(counts[-1]) if counts else None
        if count is None or finished.code:
            if re.search("incorrect password|encrypt|security handler", finished.err, re.I):
                raise Encrypted(self.name)
            if count == 0 or "last page (0)" in finished.err:
                raise NoPages(self.name)
            raise Unreadable(self.name, _last_words(finished.err) or "it is damaged")
        if count == 0:
            raise NoPages(self.name)
        if count > max_pages:
            raise TooLarge(self.name, f"{count:,} pages", f"{max_pages:,}", "ASEAGI_MAX_PAGES")
        turned = {int(number) for number, degrees in _ROTATION.findall(finished.out) if int(degrees) % 180 == 90}
        sizes: dict[int, PageSize] = {}
        for number, width, height in _SIZE.findall(finished.out):
            size = PageSize(float(width), float(height))
            sizes[int(number)] = PageSize(*reversed(size)) if int(number) in turned else size
        for number in range(1, count + 1):
            if number not in sizes or min(sizes[number]) <= 0:
                raise Unreadable(self.name, f"page {number} has no size")
        return [sizes[number] for number in range(1, count + 1)]

    def write_text(self, out: Path, only: int | None = None) -> None:
        """Write the text layer with boxes in points (``-bbox-layout``) to ``out``, of all pages or of one.

        Raises:
            Unreadable: pdftotext failed or took too long.
        """
        args = ["-q", "-cropbox", "-bbox-layout", "-enc", "UTF-8"]
        args += [] if only is None else ["-f", str(only), "-l", str(only)]
        args += [str(self.path), str(out)]
        finished = self._run("pdftotext", *args)
        if finished.code or not out.is_file():
            raise Unreadable(self.name, f"its text layer could not be read (pdftotext stopped with {finished.code})")

    def render(self, folder: Path, first: int, last: int, *, dpi: float, smooth: bool = True) -> Rendered:
        """Render pages as grey 8-bit PGM.

        Args:
            folder: files are written into it.
            first, last: 1-based, inclusive.
            smooth: anti-alias text; without it a born-digital page at 100 dpi takes 2.4 ms instead of 5.4.
        Returns:
            All pages asked for.
        Raises:
            Unreadable: a page could not be rendered, or the time-out passed.
        """
        args = ["-gray", "-cropbox", "-r", f"{dpi:.6g}", "-f", str(first), "-l", str(last)]
        args += [] if smooth else ["-aa", "no"]
        what = f"page {first}" if first == last else f"pages {first} to {last}"
        finished = self._run("pdftoppm", *args, str(self.path), str(folder / "page"), what=what)
        images: dict[int, Path] = {}
        for image in folder.glob("page-*.pgm"):
            found = _RENDERED.search(image.name)
            if found and first <= (number := int(found.group(1))) <= last:
                images[number] = image
        if finished.code or len(images) != last - first + 1:
            # Pages are written one after the other: a renderer that dies was at the last one that it began.
            at = max(images, default=first)
            raise Unreadable(self.name, f"page {at} could not be rendered (pdftoppm stopped with {finished.code})")
        return Rendered(images, finished.complaints - self.complaints)

    def thumbnail(self, number: int, out: Path, *, long_edge_px: int) -> None:
        """Render one page as a small colour JPEG; ``out`` ends in ``.jpg``.

        Raises:
            Unreadable: it could not be rendered, or the time-out passed.
        """
        args = ["-q", "-cropbox", "-jpeg", "-jpegopt", "quality=80", "-scale-to", str(long_edge_px), "-singlefile"]
        args += ["-f", str(number), "-l", str(number), str(self.path), str(out.with_suffix(""))]
        finished = self._run("pdftoppm", *args, what=f"page {number}")
        if finished.code or not out.is_file():
            raise Unreadable(self.name, f"page {number} could not be rendered (pdftoppm stopped with {finished.code})")

    def _run(self, *args: str, what: str = "it") -> _Finished:
        return _run(args, self.name, timeout_s=self.timeout_s, what=what)


def strip(
    path: Path, name: str, number: int, box: tuple[int, int, int, int], out: Path, *, dpi: float, timeout_s: float
) -> Path:
    """Render a part of a page as grey 8-bit PGM; of a file that ``Pdf`` has opened before.

    Args:
        box: left, top, right, bottom in pixels at ``dpi``.
        out: without its extension.
    Raises:
        Unreadable: it could not be rendered, or the time-out passed.
    """
    left, top, right, bottom = (str(edge) for edge in (box[0], box[1], box[2] - box[0], box[3] - box[1]))
    args = ["-gray", "-cropbox", "-r", f"{dpi:.6g}", "-f", str(number), "-l", str(number), "-singlefile"]
    args += ["-x", left, "-y", top, "-W", right, "-H", bottom, str(path), str(out)]
    finished = _run(["pdftoppm", *args], name, timeout_s=timeout_s, what=f"page {number}")
    image = out.with_suffix(".pgm")
    if finished.code or not image.is_file():
        raise Unreadable(name, f"page {number} could not be rendered (pdftoppm stopped with {finished.code})")
    return image


def _has_end(path: Path) -> bool:
    """Whether a PDF's trailer is there. Poppler repairs a file that was cut off, and shows what is gone as empty pages.

    The last 64 KiB are searched, padding aside: servers append things.
    """
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16)))
        tail = file.read()
    return b"%%EOF" in tail or b"startxref" in tail


def _run(args: Sequence[str], name: str, *, timeout_s: float, what: str = "it") -> _Finished:
    """Run one program to its end, or to the time-out.

    Raises:
        Unreadable: the time-out passed; the program was killed. ConfigError: it is not installed.
    """
    deadline = time.monotonic() + timeout_s
    with _started(args, timeout_s) as process:
        try:
            out, err = _listen(process, deadline)
            code = process.wait(max(0.0, deadline - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            raise Unreadable(name, f"{what} took {args[0]} longer than {timeout_s:g} s") from None
    return _Finished(code, out, err.decode("utf-8", "replace"))


def _listen(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bytes]:
    """What a process says until it ends, up to ``_WORDS_KEPT`` of each stream: a broken file can make it say gigabytes.

    The end is seen as the end of its pipes: ``Popen.wait`` with a time-out would look every 50 ms.
    """
    said: dict[str, bytearray] = {"out": bytearray(), "err": bytearray()}
    with selectors.DefaultSelector() as selector:
        for stream, key in ((process.stdout, "out"), (process.stderr, "err")):
            assert stream is not None  # both were opened as pipes
            selector.register(stream, selectors.EVENT_READ, key)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError
            for stream_ready, _ in ready:
                data = os.read(stream_ready.fd, 1 << 16)
                if not data:
                    selector.unregister(stream_ready.fileobj)
                kept = said[stream_ready.data]
                kept += data[: max(0, _WORDS_KEPT - len(kept))]
    return bytes(said["out"]), bytes(said["err"])


@contextlib.contextmanager
def _started(args: Sequence[str], timeout_s: float) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, with limits; if it still runs at the end, the group is killed."""
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, process_group=0)
    except FileNotFoundError as exc:
        cure = "Install poppler-utils (macOS: poppler)."
        raise ConfigError("poppler", f"{args[0]} was not found.", cure) from exc
    with process:
        try:
            _limit(process.pid, timeout_s)
            yield process
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


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
