"""Long work on an event loop in slices, so that others get their turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

SLICE_S = 0.001
"""Seconds of work between two rests."""


async def sliced(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items, and rest after each slice of the consumer's work for as long as it took: it
    takes at most half of the event loop.
    """
    began = time.perf_counter()
    for item in items:
        worked = time.perf_counter() - began
        if worked >= SLICE_S:
            await asyncio.sleep(worked)
            began = time.perf_counter()
        yield item
