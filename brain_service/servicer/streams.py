"""Lets streams that would never end be ended when the service stops; knows nothing of what they
carry.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable
from typing import TypeVar

T = TypeVar("T")


class StoppingError(Exception):
    """The service stops; the call may be made again, here or elsewhere."""


class Inbound:
    """Reads callers' streams until they end or the service stops."""

    def __init__(self) -> None:
        self._stopped = False
        self._reads: set[asyncio.Timeout] = set()

    def stop(self) -> None:
        """End every reading with StoppingError, at once where it waits, after the present message
        where it does not.
        """
        self._stopped = True
        now = asyncio.get_running_loop().time()
        for read in tuple(self._reads):
            read.reschedule(now)

    async def messages(self, requests: AsyncIterable[T]) -> AsyncGenerator[T, None]:
        """Yield messages until the caller ends the stream; raises StoppingError when the service
        stops.
        """
        iterator = aiter(requests)
        while not self._stopped:
            try:
                # Without a deadline it costs no timer; `stop` sets one that has passed.
                async with asyncio.timeout(None) as read:
                    self._reads.add(read)
                    try:
                        message = await anext(iterator)
                    finally:
                        self._reads.discard(read)
            except StopAsyncIteration:
                return
            except TimeoutError:
                break
            yield message
        raise StoppingError(
            "the service stops; send what is not acknowledged again under the same ids."
        )
