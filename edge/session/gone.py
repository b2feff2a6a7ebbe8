"""The sink of a session whose socket has closed."""

from __future__ import annotations

from typing import Final


class Gone:
    """Drops what is still said. A session keeps this instead of its connection: the two would hold
    each other until the garbage collector comes, which after a few thousand sockets of strangers
    stopped the event loop for 0.1 s.
    """

    address = ""
    paused = False

    def send(self, payload: bytes) -> None:
        """Drop a frame."""

    def send_prepared(self, frame: bytes) -> None:
        """Drop a frame."""

    def close(self, code: int, reason: str = "") -> None:
        """Do nothing: it is closed."""

    def deadline_changed(self) -> None:
        """Do nothing: nothing is due any more."""

    def hold_reading(self, hold: bool) -> None:
        """Do nothing: nothing comes any more."""


GONE: Final = Gone()
