"""An asynchronous iterator over the server's frames."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Generic, Self, TypeVar, cast

from aivo_client.errors import AivoError
from aivo_client.frames import Frame

Told = TypeVar("Told", bound=Mapping[str, Any])


class Flow(Generic[Told]):
    """An asynchronous iterator over frames. Unlike with a generator, cancelling a wait loses
    nothing and ends nothing.

    Close it, or leave it as an asynchronous context manager, to end it.
    """

    def __init__(self, end: Callable[[Any], None]) -> None:
        self._end = end
        self._waiting: deque[Frame] = deque()
        self._news = asyncio.Event()
        self._error: AivoError | None = None
        self._ended = False

    def take(self, frame: Frame) -> None:
        """Take a frame in."""
        if not self._ended:
            self._waiting.append(frame)
            self._news.set()

    def fail(self, error: AivoError) -> None:
        """End with an error once what waits has been read."""
        self._error = error
        self._news.set()

    def close(self) -> None:
        """End it."""
        if not self._ended:
            self._ended = True
            self._news.set()
            self._end(self)

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> Told:
        """Wait for the next. Raises AivoError when the server ends it. Cancelling loses nothing."""
        while not self._waiting:
            self._drained()
            if self._ended:
                raise StopAsyncIteration
            if self._error is not None:
                self.close()
                raise self._error.with_traceback(None)  # others raise it too
            self._news.clear()
            await self._news.wait()
        return cast(Told, self._waiting.popleft())

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        self.close()

    def _drained(self) -> None:
        """Nothing waits, and somebody wants more."""
