"""Updates of one learner on their way to whoever watches, who may be slower than they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from aivo_client.errors import AivoError
from aivo_client.frames import Frame, StateUpdate
from aivo_client.values import Mode

MOST_WAITING: Final = 256
"""Updates of every revision that wait here; further ones wait in the server's log."""


class Watch:
    """An asynchronous iterator over a learner's updates, as `AivoClient.watch` gives it.

    Close it, or leave it as an asynchronous context manager, to watch no more.
    """

    def __init__(
        self,
        learner_id: str,
        mode: Mode,
        *,
        hold: Callable[[Watch], None],
        go_on: Callable[[Watch], None],
        end: Callable[[Watch], None],
    ) -> None:
        self.learner_id = learner_id
        self.mode = mode
        self._hold, self._go_on, self._end = hold, go_on, end
        self._waiting: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._error: AivoError | None = None
        self._held = False
        self._ended = False

    def show(self, frame: Frame) -> None:
        """Take an update in; of the latest only the newest waits."""
        if self._held or self._ended:
            return
        if self.mode == "latest":
            self._waiting.clear()
        self._waiting.append(frame)
        self._news.set()
        if len(self._waiting) >= MOST_WAITING:
            self._held = True
            self._hold(self)

    def fail(self, error: AivoError) -> None:
        """End with an error once what waits has been read."""
        self._error = error
        self._news.set()

    def close(self) -> None:
        """Watch no more."""
        if not self._ended:
            self._ended = True
            self._news.set()
            self._end(self)

    def __aiter__(self) -> Watch:
        """Return itself."""
        return self

    async def __anext__(self) -> StateUpdate:
        """Wait for the next update. Raises AivoError when the server grants no more of them.
        Cancelling loses nothing.
        """
        while not self._waiting:
            if self._held:
                self._held = False
                self._go_on(self)
            if self._ended:
                raise StopAsyncIteration
            if self._error is not None:
                self.close()
                raise self._error
            self._news.clear()
            await self._news.wait()
        return cast(StateUpdate, self._waiting.popleft())

    async def __aenter__(self) -> Watch:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Watch no more."""
        self.close()
