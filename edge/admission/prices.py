"""What each thing costs that clients may ask for, in units of about 50 µs of the services' work.
Whoever has spent what a user or address may ask for waits.

Work is dearest one by one and cheapest where a flood shares messages and commits: prices stand in
between. `python -m siege.prices` measures both; change a price where a row's two are not around it.
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
        "subscribe_learner": 15.0,  # may they, and the present state
        "virtual_brain_interact": 34.0,  # the model, and a commit that it shares with others
        "get_state": 19.0,
        "adapt_content": 25.0,
        "join_room": 14.0,
        "leave_room": 3.0,
    }
)
"""What a frame of each type costs besides; the others ask no service."""

PER_BYTE: Final = 2.0 / 1024
"""What is sent along: it is parsed, and much of it stored."""

PER_BYTE_TOLD: Final = 0.5 / 1024
"""What a state is long: one with many skills is read, put together and sent for far more."""

STATEMENT: Final = 8.0
"""An interaction among many of one request."""

REQUEST: Final = 65.0
"""Any HTTP request that is answered to somebody who is known, and by a service: see `OF_KNOWN`."""

OF_KNOWN: Final = 6.0
"""What any request costs whoever shows a token that was good lately, times what it would cost an
address (`of_request`).
"""

PER_ENTRY: Final = 2.5
"""One interaction read from the log, as history or for who missed it."""

PER_LISTENER: Final = 0.1
"""Each socket here that hears a message in a room, and each KiB of it again."""

DEAR_REQUESTS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "/docs/static/": 10.0,  # large documents
        "/docs/asyncapi.json": 5.0,
        "/openapi.json": 5.0,
        "/api/auth/login": 20.0,  # another service is asked, which checks far fewer passwords
    }
)
"""What a request costs an address where it is not 1, by the beginning of its path."""


def of_request(path: str) -> float:
    """Return what a request costs its address, before it is known who asks."""
    for beginning, price in DEAR_REQUESTS.items():
        if path.startswith(beginning):
            return price
    return 1.0
