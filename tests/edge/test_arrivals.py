"""Whoever comes is taken soon, however busy it is, or turned away before anything is made of it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from edge.admission.door import Door
from edge.connection import arrivals
from edge.connection.arrivals import Arrivals, listen
from edge.settings import EdgeSettings
from tests.support.certificate import make_certificate
from tests.support.edge_server import WAIT_S, running_edge
from tests.support.eventually import until

CROWD = 300


class _Made(asyncio.Protocol):
    """Notes which connections were given a protocol."""

    def __init__(self, made: list[asyncio.BaseTransport]) -> None:
        self._made = made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._made.append(transport)


@contextlib.asynccontextmanager
async def _arriving(
    listening: socket.socket, made: list[asyncio.BaseTransport]
) -> AsyncIterator[Arrivals]:
    taking = Arrivals([listening], lambda: _Made(made), door=Door(EdgeSettings()))
    try:
        yield taking
    finally:
        for transport in made:
            transport.close()
        taking.close()
        await taking.wait_closed()


async def _turns_of_a_crowd() -> int:
    """Return how many turns of the loop it takes until all of a crowd are connected."""
    async with running_edge(EdgeSettings()) as running:
        crowd = [socket.socket() for _ in range(CROWD)]
        for one in crowd:
            one.setblocking(False)
            assert one.connect_ex(("127.0.0.1", running.port)) in (0, errno.EINPROGRESS)
        turns = 0
        async with asyncio.timeout(WAIT_S):
            while len(running.endpoint.door.connections) < CROWD:
                await asyncio.sleep(0)
                turns += 1
        for one in crowd:
            one.close()
        return turns


def test_a_crowd_is_taken_in_a_few_turns_of_the_loop() -> None:
    turns = uvloop.run(_turns_of_a_crowd())  # whose own server takes one a turn

    assert turns < CROWD / 10


async def test_who_has_come_too_often_is_turned_away_before_tls(tmp_path: Path) -> None:
    make_certificate(tmp_path, "127.0.0.1")
    files = {
        "ssl_certfile": str(tmp_path / "tls-certificate"),
        "ssl_keyfile": str(tmp_path / "tls-key"),
    }
    settings = EdgeSettings(connections_per_s=0.2)
    async with running_edge(settings, **files) as running:
        opened = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(4)]
        async with asyncio.timeout(5.0):
            assert await opened[3][0].read(1) == b"", "nobody waited for its hello"
        assert not any(reader.at_eof() for reader, _ in opened[:3]), "one is owed"
        assert running.endpoint.door.refused_requests == 1
        for _, writer in opened:
            writer.close()


async def test_a_machine_that_is_full_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [errno.EMFILE, errno.ECONNABORTED]

    class Full(socket.socket):
        def accept(self) -> Any:
            if errors:
                raise OSError(errors.pop(0), "not now")
            return super().accept()

    monkeypatch.setattr(arrivals, "PAUSE_S", 0.01)
    (first,) = listen("127.0.0.1", 0, backlog=8, reuse_port=False)
    full, made = Full(fileno=first.detach()), list[asyncio.BaseTransport]()
    full.setblocking(False)
    async with _arriving(full, made) as taking:
        with socket.create_connection(taking.sockets[0].getsockname()):
            await until(lambda: len(made) == 1)
    assert errors == []


async def test_what_stopped_listening_takes_no_more() -> None:
    (listening,) = listen("127.0.0.1", 0, backlog=8, reuse_port=False)
    address, made = listening.getsockname(), list[asyncio.BaseTransport]()
    async with _arriving(listening, made):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_edges_share_a_port_only_when_all_say_so() -> None:
    first = listen("127.0.0.1", 0, backlog=8, reuse_port=True)
    port = first[0].getsockname()[1]
    second = listen("127.0.0.1", port, backlog=8, reuse_port=True)
    with pytest.raises(OSError, match="use"):
        listen("127.0.0.1", port, backlog=8, reuse_port=False)
    for one in (*first, *second):
        one.close()
