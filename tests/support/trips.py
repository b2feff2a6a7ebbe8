"""Counts the round trips between a client and a PostgreSQL, by what goes over the wire."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

_WAITED_FOR: Final = (b"S", b"Q")
"""Sync and Query: the server answers them, and the client waits for that."""


class Trips:
    """A socket in front of a server's own; `count` grows by one with each round trip."""

    def __init__(self, server: Path, folder: Path) -> None:
        """Listen in `folder` for who would connect to the server whose sockets are in another."""
        self.count = 0
        self.folder = folder
        self._server = server / ".s.PGSQL.5432"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._open = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def address(self, address: str) -> str:
        """Return the address of a database by way of this."""
        return f"{address.split('?')[0]}?host={quote(str(self.folder))}"

    def close(self) -> None:
        """End all connections."""
        for one in self._open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(str(self._server))
                self._open += [client, server]
                for work in (self._ask, self._answer):
                    threading.Thread(target=work, args=(client, server), daemon=True).start()

    def _answer(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(65_536):
                client.sendall(data)

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on what the client says, message by message; the first has no type."""
        waiting, begun = b"", False
        with suppress(OSError):
            while data := client.recv(65_536):
                waiting += data
                while len(waiting) >= (head := 5 if begun else 4):
                    length = int.from_bytes(waiting[head - 4 : head], "big") + head - 4
                    if len(waiting) < length:
                        break
                    if begun and waiting[:1] in _WAITED_FOR:
                        self.count += 1
                    # Requests for encryption (eight bytes) come before the first message.
                    begun = begun or length > 8
                    message, waiting = waiting[:length], waiting[length:]
                    server.sendall(message)
