"""Server-sent event streams, which end with their client, their login or the edge."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypeVar

from fastapi import Query, Request
from fastapi.responses import StreamingResponse

from edge.admission.access import Access
from edge.frames import outgoing
from edge.http.callers import Administrator, BearerToken, administrator, caller
from edge.http.problems import ProblemError
from edge.http.services import Using
from edge.ports import Identity, UpstreamError

T = TypeVar("T")

Interval = Annotated[int, Query(ge=250, le=10_000, description="Milliseconds between two events.")]
"""Far below the 30 s of silence after which proxies, ours included, give a request up."""


class EventStream(StreamingResponse):
    """A response of server-sent events."""

    media_type = "text/event-stream"


class Live:
    """A stream that an administrator follows, as the registry sees it."""

    def __init__(self, who: Identity, access: Access) -> None:
        """Ends with the caller's token, or when `revoke` is called. Needs a running event loop."""
        self.user_id, self.session_id = who.user_id, who.session_id
        self._access = access
        self._clock = asyncio.get_running_loop().time
        self._end = self._clock() + who.expires_at_ms / 1000 - time.time()
        self._wait: asyncio.Timeout | None = None

    def recheck(self) -> None:
        """Check again whether its user is an administrator."""
        self._access.ask(self.user_id, "administer", "", self._rechecked)

    def _rechecked(self, answer: bool | UpstreamError) -> None:
        if answer is False:
            self.revoke()

    def revoke(self) -> None:
        """End it."""
        self._end = self._clock()
        if self._wait is not None and not self._wait.expired():
            self._wait.reschedule(self._end)

    async def follow(self, values: AsyncIterator[T]) -> AsyncIterator[T]:
        """Yield the values until they or this ends."""
        while self._clock() < self._end:
            try:
                async with asyncio.timeout_at(self._end) as self._wait:
                    value = await anext(values)
            except (StopAsyncIteration, TimeoutError):
                return
            finally:
                self._wait = None
            yield value


async def snapshots(
    request: Request,
    who: Administrator,
    services: Using,
    token: BearerToken,
    interval_ms: Interval = 2_000,
) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Follow the fleet's metrics for as long as the request lasts."""
    if services.is_draining():
        raise ProblemError(503, "unavailable", "This edge is about to stop; try again.")
    live = Live(who, services.access)
    if not services.streams.add(live):
        raise ProblemError(
            429, "rate_limited", "You follow too many streams here already; close one first."
        )
    try:
        # Check once more after listing it: earlier revocations show now, later ones end it.
        await administrator(services, await caller(request, services, token))
        async with contextlib.aclosing(services.metrics.snapshots(interval_ms)) as upstream:
            yield live.follow(upstream)
    finally:
        services.streams.discard(live)


async def events(first: Any, rest: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Yield `first` (None: there is none) and the rest as events; a failure ends them."""
    value = first
    with contextlib.suppress(UpstreamError):
        while value is not None:
            yield b"data: " + outgoing.encode(value) + b"\n\n"
            value = await anext(rest, None)
