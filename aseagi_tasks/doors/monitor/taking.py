"""Files that are sent: written to disk as they come, so that one of any size takes no memory, and nothing is left of
one that did not come whole.

A form's files come as ``multipart/form-data``, a program's one file as the body itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import BinaryIO, Protocol

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPHeaders, HTTPInputError, _parse_header
from tornado.web import HTTPError, RequestHandler, stream_request_body

from aseagi_tasks.admission import check_disk, is_disk_full
from aseagi_tasks.doors.monitor.access import SAFE, Guard, in_background
from aseagi_tasks.errors import AseagiError, DiskFull, TooLarge
from aseagi_tasks.settings import settings

#: What a form may need beside its files; the Droplet's nginx lets as much pass.
BESIDE_BYTES = 1 << 20
_MOST_PARTS, _HEADER_BYTES, _FIELD_BYTES, _NAME_BYTES = 1_000, 10_240, 65_536, 200


def safe_name(given: str) -> str:
    """A file's name without folders and control characters, short enough for any disk."""
    name = "".join(char for char in given.replace("\\", "/").rpartition("/")[2] if char.isprintable()).strip()
    if name in ("", ".", ".."):
        return "upload"
    stem, dot, suffix = name.rpartition(".")
    if len(name.encode()) > _NAME_BYTES:
        kept = f"{dot}{suffix}" if stem and len(suffix.encode()) <= 16 else ""
        return (stem or name).encode()[: _NAME_BYTES - len(kept.encode())].decode(errors="ignore") + kept
    return name


class Body(Protocol):
    """Something that is given a body piece by piece."""

    files: list[Path]

    def feed(self, piece: bytes) -> None:
        """The next piece."""

    def end(self) -> None:
        """It was the last one."""


class _File:
    """A file as it comes; ``folder`` is its own."""

    def __init__(self, folder: Path, name: str, max_bytes: int) -> None:
        folder.mkdir()
        self.path, self._max_bytes, self._bytes = folder / name, max_bytes, 0
        self._file: BinaryIO = self.path.open("wb")

    def write(self, piece: bytes | memoryview) -> None:
        self._bytes += len(piece)
        if self._bytes > self._max_bytes:
            raise TooLarge(
                self.path.name, f"more than {self._max_bytes:,} bytes", f"{self._max_bytes:,}", "ASEAGI_MAX_BYTES"
            )
        self._file.write(piece)

    def close(self) -> None:
        self._file.close()


class Whole:
    """The body is the file.

    Args:
        folder: where it is written.
        name: the file's name.
        max_bytes: TooLarge beyond.
    """

    def __init__(self, folder: Path, name: str, max_bytes: int) -> None:
        self._file = _File(folder / "0", safe_name(name), max_bytes)
        self.files = [self._file.path]

    def feed(self, piece: bytes) -> None:
        """The next piece."""
        self._file.write(piece)

    def end(self) -> None:
        """All of it is on disk."""
        self._file.close()


class Form:
    """A form with files, taken apart as it comes.

    Args:
        boundary: what stands between its parts.
        folder: where files are written, each in a folder of its own.
        max_bytes: of one file; TooLarge beyond.
        before_files: called with the form's fields (name → values) when its first file begins; may refuse.
    Raises:
        HTTPError: 400, the form is not well-formed.
    """

    def __init__(
        self,
        boundary: bytes,
        folder: Path,
        max_bytes: int,
        before_files: Callable[[dict[str, list[bytes]]], None] = lambda _fields: None,
    ) -> None:
        self.files: list[Path] = []
        self.fields: dict[str, list[bytes]] = {}
        self._between, self._folder, self._max_bytes = b"\r\n--" + boundary, folder, max_bytes
        self._before_files = before_files
        self._rest, self._parts = bytearray(b"\r\n"), 0
        self._step: Callable[[], bool] = self._begin
        self._file: _File | None = None
        self._field: tuple[str, bytearray] | None = None

    def feed(self, piece: bytes) -> None:
        """The next piece."""
        self._rest += piece
        while self._step():
            pass

    def end(self) -> None:
        """All of it has come."""
        if self._file is not None:
            self._file.close()
        if self._step != self._over:
            raise HTTPError(400, "The form did not come whole; send it again.")

    def _begin(self) -> bool:
        at = self._rest.find(self._between)
        if at < 0:
            del self._rest[: -len(self._between)]
            return False
        del self._rest[: at + len(self._between)]
        self._step = self._after_boundary
        return True

    def _after_boundary(self) -> bool:
        if len(self._rest) < 2:
            return False
        if self._rest.startswith(b"--"):
            self._step = self._over
            return True
        if not self._rest.startswith(b"\r\n"):
            raise HTTPError(400, "The form is not as forms are (RFC 7578).")
        del self._rest[:2]
        self._step = self._header
        return True

    def _header(self) -> bool:
        at = self._rest.find(b"\r\n\r\n", 0, _HEADER_BYTES)
        if at < 0:
            if len(self._rest) > _HEADER_BYTES:
                raise HTTPError(400, "A part's header in the form is too long.")
            return False
        name, file_name = _about(bytes(self._rest[:at]))
        del self._rest[: at + 4]
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise HTTPError(400, f"A form has at most {_MOST_PARTS:,} parts; send fewer files at a time.")
        if file_name is None:
            self._field = (name, bytearray())
        else:
            if not self.files:
                self._before_files(self.fields)
            self._file = _File(self._folder / str(self._parts), safe_name(file_name), self._max_bytes)
            if file_name:  # a form in which no file was chosen has one without a name
                self.files.append(self._file.path)
        self._step = self._content
        return True

    def _content(self) -> bool:
        at = self._rest.find(self._between)
        ready = at if at >= 0 else max(0, len(self._rest) - len(self._between))
        with memoryview(self._rest) as seen:
            self._take(seen[:ready])
        del self._rest[:ready]
        if at < 0:
            return False
        if self._file is not None:
            self._file.close()
        elif self._field is not None:
            self.fields.setdefault(self._field[0], []).append(bytes(self._field[1]))
        self._file = self._field = None
        self._step = self._begin
        return True

    def _take(self, content: memoryview) -> None:
        if self._file is not None:
            self._file.write(content)
        elif self._field is not None:
            self._field[1].extend(content)
            if len(self._field[1]) > _FIELD_BYTES:
                raise HTTPError(400, f"The form's field {self._field[0]} is too long.".replace("%", "%%"))

    def _over(self) -> bool:
        self._rest.clear()
        return False


def _about(header: bytes) -> tuple[str, str | None]:
    """Name of a part, and of its file if it is one."""
    try:
        kind, about = _parse_header(HTTPHeaders.parse(header.decode(), _chars_are_bytes=False)["Content-Disposition"])
    except (UnicodeDecodeError, HTTPInputError, KeyError, ValueError):
        kind, about = "", {}
    if kind != "form-data" or not about.get("name"):
        raise HTTPError(400, "A part of the form has no name.")
    return about["name"], about.get("filename")


@stream_request_body
class Taking(Guard, RequestHandler):
    """A handler whose POST takes files; ``sent`` has them while it runs, and they are gone when it has.

    The form's own token is looked at when the first file begins: it stands before them.
    """

    wants_form_token = False  # before the body has come there is none to look at
    #: whether the body is the file, whose name is the query's ``name``; else it is a form
    takes_whole = False
    _folder: Path | None = None
    _body: Body | None = None
    _problem_with_it: Exception | None = None
    _is_used = False

    async def prepare(self) -> None:
        """Let in, and make ready for what is sent."""
        await super().prepare()
        if self._finished or self.request.method in SAFE:
            return
        conf, length = settings(), self.request.headers.get("Content-Length", "0")
        limit, connection = conf.max_bytes + BESIDE_BYTES, self.request.connection
        is_too_much = length.isdecimal() and int(length) > limit
        assert isinstance(connection, HTTP1Connection)
        connection.set_max_body_size(int(length) if is_too_much else limit)
        if is_too_much:  # who still sends may see the connection close instead: the pages look at sizes themselves
            raise HTTPError(
                413, f"That is more than {conf.max_bytes:,} bytes (ASEAGI_MAX_BYTES) at once; send fewer, or split it."
            )
        try:
            self._body = await in_background(self._make_ready, conf.scratch_root, conf.max_bytes)
        except (AseagiError, HTTPError) as exc:
            self._problem_with_it = exc

    def _make_ready(self, scratch: Path, max_bytes: int) -> Body:
        check_disk()
        scratch.mkdir(parents=True, exist_ok=True)
        if self.takes_whole:
            self._folder = Path(mkdtemp(dir=scratch, prefix="sent-"))
            return Whole(self._folder, self.get_query_argument("name", ""), max_bytes)
        kind, about = _parse_header(self.request.headers.get("Content-Type", ""))
        boundary = about.get("boundary", "")
        if kind != "multipart/form-data" or not 0 < len(boundary) <= 200:
            raise HTTPError(400, "No file was sent: files come in a form (multipart/form-data).")
        self._folder = Path(mkdtemp(dir=scratch, prefix="sent-"))
        return Form(boundary.encode(), self._folder, max_bytes, self._look_at_fields)

    def _look_at_fields(self, fields: dict[str, list[bytes]]) -> None:
        for name, values in fields.items():
            self.request.arguments[name] = self.request.body_arguments[name] = values
        if not self.who.by_token and self.lacks_form_token():
            raise HTTPError(403, "The page was open for too long: load it again.")

    async def data_received(self, chunk: bytes) -> None:
        """Write it; what comes after something went wrong is thrown away, and ``post`` says what it was."""
        await self._in_hand(lambda body: body.feed(chunk))

    async def _in_hand(self, work: Callable[[Body], None]) -> None:
        if self._body is None or self._problem_with_it is not None:
            return
        try:
            await in_background(work, self._body)
        except Exception as exc:
            conf = settings()
            full = DiskFull(str(conf.scratch_root), 0, conf.min_free_mb, "ASEAGI_SCRATCH")
            self._problem_with_it = full if is_disk_full(exc) else exc
            self._clear()

    async def sent(self) -> list[Path]:
        """The files, each under its own name.

        Raises:
            HTTPError: none came, or what came was no form. AseagiError: TooLarge, DiskFull.
        """
        self._is_used = True
        await self._in_hand(lambda body: body.end())
        if self._problem_with_it is not None:
            raise self._problem_with_it
        if isinstance(self._body, Form):
            self._look_at_fields(self._body.fields)
        if self._body is None or not self._body.files:
            raise HTTPError(400, "No file was sent.")
        return self._body.files

    def on_finish(self) -> None:
        """Nothing stays here."""
        super().on_finish()
        self._clear()

    def on_connection_close(self) -> None:
        """Whoever sent it has left; what is used already is used."""
        super().on_connection_close()
        if not self._is_used:
            self._clear()

    def _clear(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
