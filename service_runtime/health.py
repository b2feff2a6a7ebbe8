"""The standard health service, for callers without a credential: bounded, and never in the way of a
stop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

SERVICE_NAME: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

MAX_WATCHES: Final = 1_024
"""Watches in all."""
MAX_WATCHES_OF_HOST: Final = 64
"""Watches of one host, whatever its connections; a client needs one for each of its channels."""
GOODBYE_S: Final = 0.5
"""Seconds that watchers have to hear that the service stops; one that does not read may not delay
it.
"""

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN: Final = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN

Context = grpc.aio.ServicerContext[Any, Any]


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # has no types
    """Says whether the process serves; one answer for all of its services."""

    def __init__(self, services: Iterable[str]) -> None:
        """Not serving yet."""
        self._services = frozenset(("", *services))
        self._status = _NOT_SERVING
        self._changed = asyncio.Event()
        self._hosts = Counter[str]()
        self._watching: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Report that the process serves."""
        self._tell(_SERVING)

    async def stop(self) -> None:
        """Report that the process does not serve any more, and end all watches."""
        self._tell(_NOT_SERVING)
        if self._watching:
            _, late = await asyncio.wait(self._watching, timeout=GOODBYE_S)
            for task in late:
                task.cancel()

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """Answer once."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return health_pb2.HealthCheckResponse(status=self._status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        """Answer now and whenever that changes."""
        host, task = context.peer().rpartition(":")[0], asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy
        if self._hosts[host] >= MAX_WATCHES_OF_HOST or len(self._watching) >= MAX_WATCHES:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many watches of health")
        self._hosts[host] += 1
        self._watching.add(task)
        try:
            await self._follow(request.service in self._services, context)
        finally:
            self._watching.discard(task)
            self._hosts -= Counter((host,))

    async def _follow(self, is_known: bool, context: Context) -> None:
        while True:
            status, changed = self._status, self._changed
            told = status if is_known else _UNKNOWN
            await context.write(health_pb2.HealthCheckResponse(status=told))
            if status == _NOT_SERVING:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the service stops")
            await changed.wait()

    def _tell(self, status: health_pb2.HealthCheckResponse.ServingStatus) -> None:
        self._status = status
        self._changed.set()
        self._changed = asyncio.Event()
