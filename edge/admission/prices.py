"""The price of everything that clients may ask for, in units of about 50 µs of the services' work.
Users and addresses that have spent their budget wait.

Work costs most one by one and least in a flood that shares messages and commits; prices lie in
between. `python -m siege.prices` measures both; change a price that does not lie between the two.
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
"""Per KiB of payload, which is parsed and mostly stored."""

PER_BYTE_TOLD: Final = 0.5 / 1024
"""Per KiB of a state: one with many skills costs far more to read, encode and send."""

STATEMENT: Final = 8.0
"""One of many interactions in a request."""

REQUEST: Final = 65.0
"""An HTTP request of a known user that a service answers: see `OF_KNOWN`."""

OF_KNOWN: Final = 6.0
"""What a request costs a user with a recently valid token, as a multiple of what it costs an
address (`of_request`).
"""

PER_ENTRY: Final = 2.5
"""One interaction read from the log, for history or a replay."""

PER_LISTENER: Final = 0.1
"""Per socket here that receives a room message, and again per KiB of the message."""

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
