"""Lets streams that would never end be ended when the service stops, whatever they carry."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol


class StoppingError(Exception):
    """The service stops; the call may be made again, here or elsewhere."""


class Readable(Protocol):
    """A call whose caller sends a stream."""

    async def read(self) -> Any:
        """Return the next message, or `grpc.aio.EOF`."""


class Inbound:
    """Reads callers' streams until they end or the service stops."""

    def __init__(self) -> None:
        self._stopped = False
        self._reading: set[asyncio.Task[Any]] = set()

    def stop(self) -> None:
        """End every reading with StoppingError, at once where it waits, after the present message
        where it does not.
        """
        self._stopped = True
        for task in self._reading:
            task.cancel()

    async def next(self, call: Readable) -> Any:
        """Return the next message of a call, or `grpc.aio.EOF`. Raises StoppingError when the
        service stops.
        """
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy
        if not self._stopped:
            # Without a timer or a task for each message: this is once per batch.
            self._reading.add(task)
            try:
                return await call.read()
            except asyncio.CancelledError:
                if not self._stopped or task.uncancel():
                    raise  # the caller has gone
            finally:
                self._reading.discard(task)
        raise StoppingError(
            "the service stops; send what is not acknowledged again under the same ids."
        )
