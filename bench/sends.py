"""The floor of fan-out: a process that writes the same frame to every socket by a bare loop of
`send`, and does nothing else. It speaks as much of the protocol as the scenario needs.
"""

from __future__ import annotations

import argparse
import selectors
import socket
from collections.abc import Sequence
from typing import Final

from harness import traffic

_SWITCH: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
)
_GREETING: Final = b'{"type":"connection_established"}'
_INTERACTION: Final = b'"virtual_brain_interact"'


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.sends", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True, help="of each update")
    options = parser.parse_args(arguments)
    Sends(options.port, options.bytes).serve()


class Sends:
    """All sockets, and what each is sent."""

    def __init__(self, port: int, size: int) -> None:
        """Listen; each update has `size` bytes of payload."""
        self._selector = selectors.DefaultSelector()
        self._listening = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._update = _frame(traffic.UPDATE.ljust(size, b" "))
        self._greeted: set[socket.socket] = set()
        self._watchers: list[socket.socket] = []

    def serve(self) -> None:
        """Answer everybody, for ever."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listening:
                    arrived, _ = self._listening.accept()
                    arrived.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self._selector.register(arrived, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)

    def _read(self, speaker: socket.socket) -> None:
        try:
            said = speaker.recv(65_536)
        except OSError:
            said = b""
        if not said:
            self._forget(speaker)
        elif speaker not in self._greeted:
            self._greeted.add(speaker)
            speaker.send(_SWITCH + _frame(_GREETING))
        elif _INTERACTION in said:
            speaker.send(_frame(traffic.RESPONSE + b"}"))
            for watcher in self._watchers:
                watcher.send(self._update)
        else:
            self._watchers.append(speaker)
            speaker.send(_frame(traffic.SUBSCRIBED + b"}"))

    def _forget(self, speaker: socket.socket) -> None:
        self._selector.unregister(speaker)
        self._greeted.discard(speaker)
        if speaker in self._watchers:
            self._watchers.remove(speaker)
        speaker.close()


def _frame(payload: bytes) -> bytes:
    """Return a whole text frame, as a server sends it."""
    if len(payload) < 126:
        return bytes((0x81, len(payload))) + payload
    return b"\x81\x7e" + len(payload).to_bytes(2, "big") + payload


if __name__ == "__main__":
    main()
