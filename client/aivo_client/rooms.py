"""An asynchronous iterator over a room's frames."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from aivo_client.flow import Flow
from aivo_client.frames import Frame

MOST_UNHEARD: Final = 1024
"""Most waiting frames of a room; the oldest are dropped."""


class Room(Flow[Frame]):
    """An asynchronous iterator over a room's frames, from `AivoClient.room`: `room_joined`,
    `user_joined`, `user_left`, `room_message`.

    Close it, or leave it as an asynchronous context manager, to leave the room.
    """

    def __init__(self, room_id: str, *, end: Callable[[Room], None]) -> None:
        super().__init__(end)
        self.room_id = room_id
        self._waiting = deque(maxlen=MOST_UNHEARD)
