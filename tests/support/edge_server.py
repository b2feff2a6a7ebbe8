"""An edge's sockets behind its real HTTP listener, on a free port, with everything behind it
faked.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import uvicorn
from fastapi import FastAPI

from edge.admission.door import Door
from edge.connection.endpoint import Endpoint
from edge.connection.listener import Listener
from edge.connection.rfc6455 import prepare
from edge.connection.server import Server
from edge.settings import EdgeSettings
from tests.support.fakes import FakeEdge

WAIT_S = 10.0


class _Server(Server):
    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config, door=door)
        self.listening = asyncio.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()


class Running:
    """A listener with an edge behind it."""

    def __init__(self, edge: FakeEdge, endpoint: Endpoint, port: int) -> None:
        self.edge, self.endpoint = edge, endpoint
        self.port = port
        self.url = f"ws://127.0.0.1:{port}/ws"


@contextlib.asynccontextmanager
async def running_edge(
    settings: EdgeSettings, app: Any = None, **uvicorn_config: Any
) -> AsyncIterator[Running]:
    """Serve until the block ends."""
    clock = asyncio.get_running_loop().time
    edge = FakeEdge(settings=settings, prepare=prepare, clock=clock)  # type: ignore[arg-type]
    edge.timers.start()
    endpoint = Endpoint(edge.dependencies)
    http = partial(Listener, endpoint.door, proxied=settings.proxy_protocol)
    config = uvicorn.Config(
        app or FastAPI(),
        port=0,
        http=http,  # type: ignore[arg-type]
        ws=endpoint,  # type: ignore[arg-type]
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        **uvicorn_config,
    )
    server = _Server(config, endpoint.door)
    task = asyncio.create_task(server.serve())
    await asyncio.wait_for(server.listening.wait(), WAIT_S)
    try:
        yield Running(edge, endpoint, server.servers[0].sockets[0].getsockname()[1])
    finally:
        edge.timers.stop()
        server.should_exit = True
        await asyncio.wait_for(task, WAIT_S)


async def exchange(running: Running, *pieces: bytes) -> bytes:
    """Send pieces of a request; return all that comes back until the server ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
        answer = b""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(WAIT_S):
                while piece := await reader.read(65_536):
                    answer += piece
        return answer
    finally:
        writer.close()
