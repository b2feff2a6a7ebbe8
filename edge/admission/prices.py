"""What each thing that clients may ask for costs, in units of about 20 µs of the services' work
when it travels alone. A user or address that has spent its budget waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

FRAME: Final = 1.0
"""Any frame: it is read, answered and recorded."""

MORE_THAN_A_FRAME: Final[Mapping[str, float]] = MappingProxyType(
    {
        "authenticate": 20.0,  # a signature is checked, by another service
        "subscribe_learner": 9.0,  # may they, and the present state
        "virtual_brain_interact": 7.0,  # the model, and a commit that it shares with others
        "get_state": 4.0,
        "adapt_content": 15.0,
        "join_room": 4.0,
        "leave_room": 2.0,
    }
)
"""What a frame of each type costs besides; the others ask no service."""

PER_BYTE: Final = 1.0 / 1024
"""What is sent along: it is parsed, and much of it stored."""

STATEMENT: Final = 4.0
"""An interaction among many of one request."""

REQUEST: Final = 20.0
"""Any HTTP request of somebody who is known."""

PER_ENTRY: Final = 1.0
"""One interaction read from the log, as history or for who missed it."""

PER_LISTENER: Final = 0.1
"""Each socket here that hears a message in a room, and each KiB of it again."""

LARGE_DOCUMENTS: Final[Mapping[str, float]] = MappingProxyType(
    {"/docs/static/": 10.0, "/docs/asyncapi.json": 5.0, "/openapi.json": 5.0}
)
"""What a request costs an address where it is not 1, by the beginning of its path."""


def of_request(path: str) -> float:
    """Return what a request costs its address, before it is known who asks."""
    for beginning, price in LARGE_DOCUMENTS.items():
        if path.startswith(beginning):
            return price
    return 1.0
