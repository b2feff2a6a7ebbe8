"""Ends endless streams when the service stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

T = TypeVar("T")
AGAIN: Final = "open the stream again."


class StoppingError(Exception):
    """The service stops; the call may be made again, here or elsewhere. Error tables tell callers
    UNAVAILABLE.
    """


class Streams:
    """The streams of a servicer. They do all their waiting here: for the caller's next message,
    news, time.
    """

    def __init__(self) -> None:
        self._stopped = False
        self._waiting: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """End every stream with StoppingError, at once where it waits, after the present message
        where it does not.
        """
        self._stopped = True
        for task in self._waiting:
            task.cancel()

    async def wait(self, wanted: Callable[[], Awaitable[T]], *, advice: str = AGAIN) -> T:
        """Return the awaited result. Raises StoppingError with this advice when the service
        stops.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy
        if not self._stopped:
            # Without a timer or a task for each message: this is once per batch.
            self._waiting.add(task)
            try:
                return await wanted()
            except asyncio.CancelledError:
                if not self._stopped or task.uncancel():
                    raise  # the caller has gone
            finally:
                self._waiting.discard(task)
        raise StoppingError(f"the service stops; {advice}")
