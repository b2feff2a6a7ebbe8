"""Every kind of hostile client against an edge: what it may hold is bounded, it ends when they go,
and who is honest is answered meanwhile. How fast, no test here says: `make siege` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from edge.connection import deadlines, framing
from edge.settings import EdgeSettings
from siege.honest import Person
from siege.hostile import besiege
from siege.kinds import PUPILS, STRANGERS, Kind
from siege.wire import Front, Line
from tests.support.edge_server import Running, running_edge
from tests.support.eventually import until
from tests.support.http_api import Api
from tests.support.socket import open_socket

CLIENTS = 4
SECONDS = 0.05
READ_BYTES = 256 * 1024
"""What an event loop reads at a time."""


def _held(running: Running) -> int:
    """Return the bytes that the edge keeps of sockets, in both directions."""
    return max((socket.held_bytes for socket in running.endpoint.connections), default=0)


async def _attacked(running: Running, kind: Kind) -> int:
    """Let some of a kind attack beside an honest client; return the most that a socket held."""
    front = Front(
        port=running.port,
        line=Line(200e6 / 8),
        people=tuple(
            Person(learner_id=name, token=name, email=name, password=name)
            for name in ("ada", "ben")
        ),
        one_user=kind.one_user,
    )
    most = 0
    async with open_socket(running.url, "admin") as honest:
        siege = asyncio.create_task(besiege(front, [kind], clients=CLIENTS, seconds=SECONDS))
        while not siege.done():
            assert (await honest.ask("ping", sent_at=1.5))["sent_at"] == 1.5
            most = max(most, _held(running))
            await asyncio.sleep(0.01)
        await siege
        await until(lambda: len(running.endpoint.connections) == 1)
    await until(lambda: not len(running.endpoint.door.connections))
    assert front.opened >= CLIENTS
    return most


@pytest.mark.parametrize("kinds", [STRANGERS, PUPILS], ids=["strangers", "pupils"])
async def test_no_kind_of_hostile_client_holds_much_or_keeps_anybody_waiting(
    kinds: Sequence[Kind], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "CLOSE_S", 0.05)
    caplog.set_level(logging.ERROR)
    settings = EdgeSettings(connections_per_s=0)
    async with running_edge(settings, Api().app) as running:
        held = {kind.name: await _attacked(running, kind) for kind in kinds}

    most = settings.max_frame_bytes + READ_BYTES + 2 * framing.HIGH_WATER_BYTES
    assert {name: size for name, size in held.items() if size > most} == {}
    assert [record.message for record in caplog.records] == []
