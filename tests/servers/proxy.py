"""A TCP proxy that is cut, frozen or made slow: what a tunnel does."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress


class Proxy:
    """Listens on a port of its own and passes everything on to another.

    Attributes:
        delay_s: before each piece that is passed on.
        reset_after: bytes sent to the server after which a connection is reset, once.
    """

    def __init__(self, target: int) -> None:
        self.target, self.delay_s, self.reset_after = target, 0.0, None  # type: int, float, int | None
        self._open = threading.Event()
        self._open.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._frozen: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Close every connection and accept none."""
        self._open.clear()
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)

    def freeze(self) -> None:
        """Through the connections that are there nothing passes any more, and nobody is told; new ones are well."""
        with self._lock:
            self._frozen.update(client for client, _ in self._pairs)

    def mend(self) -> None:
        """Connections are accepted again."""
        self._open.set()

    def close(self) -> None:
        self.cut()
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            if not self._open.is_set():
                _close(client)
                continue
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.target), timeout=10)
        except OSError:
            _close(client)
            return
        server.settimeout(None)
        with self._lock:
            self._pairs.append((client, server))
        threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
        self._pass(server, client, False)

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        sent = 0
        try:
            while piece := source.recv(65536):
                if source in self._frozen or target in self._frozen:
                    continue
                if self.delay_s:
                    time.sleep(self.delay_s)
                if up and self.reset_after is not None and sent + len(piece) > self.reset_after:
                    self.reset_after = None
                    break
                target.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        _close(source, target)


def _close(*sockets: socket.socket) -> None:
    for one in sockets:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()
