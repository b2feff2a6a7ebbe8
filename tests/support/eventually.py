"""Waiting for what only can be looked at, not heard of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tests.support.socket import WAIT_S

T = TypeVar("T")

PAUSE_S = 0.1
"""Between looks; also keeps a socket that asks below its rate limit."""


async def eventually(
    look: Callable[[], Awaitable[T]], met: Callable[[T], bool], *, within_s: float = WAIT_S
) -> T:
    """Look again and again until what is seen meets a condition, and return it."""
    async with asyncio.timeout(within_s):
        while not met(seen := await look()):  # noqa: ASYNC110 - other processes set no event here
            await asyncio.sleep(PAUSE_S)
    return seen


async def until(met: Callable[[], object]) -> None:
    """Let the loop turn until something holds that another task of this process reaches, where no
    event tells of it.
    """
    async with asyncio.timeout(WAIT_S):
        while not met():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)
