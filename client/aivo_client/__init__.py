"""A Python client of AIVO realtime: it records interactions exactly once and watches learners
through every reconnect, as the browser's client does.
"""

from aivo_client.client import AivoClient, Store, uuid7
from aivo_client.errors import AivoError, ClosedError
from aivo_client.rooms import Room
from aivo_client.values import Config, Waiting
from aivo_client.watching import Watch

__all__ = [
    "AivoClient",
    "AivoError",
    "ClosedError",
    "Config",
    "Room",
    "Store",
    "Waiting",
    "Watch",
    "uuid7",
]
