"""Files of the bucket on their way to a browser: an address that the bucket lets in by, or the bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import quote

from tornado.web import HTTPError, RequestHandler

from aseagi_tasks import services
from aseagi_tasks.doors.monitor.access import Guard
from aseagi_tasks.errors import AseagiError, NotFound
from aseagi_tasks.keys import content_type

#: An address of the bucket opens for so long.
SIGNED_FOR_S = 300
_CHUNK = 1 << 18


class Named(NamedTuple):
    """A key, and what its file is called where it is kept; ``is_shown``: a browser may show it where it is."""

    key: str
    file_name: str
    is_shown: bool = False


class Sending(Guard, RequestHandler):
    """A handler that answers with a file of the bucket."""

    async def send(self, find: Callable[[], Named]) -> None:
        """Lead to the bucket, which lets in for ``SIGNED_FOR_S``; a folder's file is sent from here.

        Args:
            find: runs in a thread; NotFound and other errors of ours become the browser's.
        """
        run = asyncio.get_running_loop().run_in_executor
        try:
            key, file_name, is_shown = await run(None, find)
            address = await run(None, services.storage().url_get, key, SIGNED_FOR_S)
        except NotFound as exc:
            raise HTTPError(404, str(exc).replace("%", "%%")) from exc
        except AseagiError as exc:
            raise HTTPError(503, str(exc).replace("%", "%%")) from exc
        if not address.startswith("file:"):
            self.redirect(address)
            return
        self.set_header("Content-Type", content_type(key))
        # documents come from strangers: nothing in them runs here
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'; img-src 'self'")
        kind = "inline" if is_shown else "attachment"
        self.set_header("Content-Disposition", f"{kind}; filename*=UTF-8''{quote(file_name)}")
        self.set_header("Cache-Control", "private, max-age=3600" if is_shown else "no-store")
        with TemporaryDirectory() as folder:
            path = Path(folder) / "file"
            await run(None, services.storage().download, key, path)
            with path.open("rb") as file:
                while chunk := await run(None, file.read, _CHUNK):
                    self.write(chunk)
                    await self.flush()
