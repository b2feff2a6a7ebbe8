"""The endpoint under the real HTTP server on port 0, with a real client: handshake, frames, slow
reader, drain.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from edge.connection import listener
from edge.settings import EdgeSettings
from tests.support.edge_server import Running, exchange, running_edge
from tests.support.socket import open_socket

WAIT_S = 20.0


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with running_edge(
        EdgeSettings(drain_s=5.0, drain_notice_s=0.0, frames_per_s=0)
    ) as running:
        yield running


async def test_a_real_client_connects_asks_and_watches(running: Running) -> None:
    async with open_socket(running.url, "ada") as socket:
        assert (await socket.ask("ping", sent_at=1.5))["sent_at"] == 1.5
        await socket.ask("subscribe_learner", learner_id="ada")
        running.edge.move("ada")
        assert (await socket.until_revision("ada", 1))[0]["coalesced"] == 0
        big = await socket.ask(
            "adapt_content",
            data={"learner_id": "ada", "content": "y" * 16_000, "content_type": "t"},
        )
        assert big["adapted_content"] == "Y" * 16_000
    assert running.edge.counters.connections_active == 0


@pytest.mark.parametrize(
    ("send", "code"),
    [(b"\x00", 4400), ("x" * 70_000, 1009), ('{"type":"authenticate","token":"nobody"}', 4401)],
)
async def test_a_close_reaches_a_real_client_with_its_code(
    running: Running, send: Any, code: int
) -> None:
    async with open_socket(running.url) as socket:
        await socket.send(send)
        assert await socket.until_closed() == code


async def test_a_reader_that_stops_gets_the_newest_and_nobody_else_waits(running: Running) -> None:
    async with (
        open_socket(running.url, "ada") as quick,
        connect(running.url, compression=None, max_queue=1, max_size=None) as slow,
    ):
        await slow.send('{"type":"authenticate","token":"ben"}')
        await slow.send('{"type":"subscribe_learner","learner_id":"ada"}')
        await quick.ask("subscribe_learner", learner_id="ada")
        async with asyncio.timeout(WAIT_S):
            while json.loads(await slow.recv())["type"] != "subscribed":
                pass
        connection = next(
            one for one in running.endpoint.connections if one.session.user_id == "u-ben"
        )
        revision = 0
        async with asyncio.timeout(WAIT_S):
            while not connection.paused:  # until the kernel takes no more
                for _ in range(200):
                    revision += 1
                    running.edge.move("ada")
                await quick.until_revision("ada", revision)
        for _ in range(50):
            revision += 1
            running.edge.move("ada")
        await quick.until_revision("ada", revision)
        seen: list[int] = []
        skipped = 0
        async with asyncio.timeout(WAIT_S):
            while not seen or seen[-1] < revision:
                frame = json.loads(await slow.recv())
                seen.append(frame["revision"])
                skipped += frame["coalesced"]

    assert len(quick.updates("ada")) == revision
    assert seen == sorted(set(seen))
    assert skipped > 0
    assert len(seen) + skipped == revision


async def test_a_drain_tells_everyone_and_closes_with_1012(running: Running) -> None:
    async with open_socket(running.url, "ada") as ada, open_socket(running.url, "ben") as ben:
        await running.endpoint.drain()
        assert [await ada.until_closed(), await ben.until_closed()] == [1012, 1012]
    for socket in (ada, ben):
        (told,) = [frame for frame in socket.frames if frame["type"] == "server_draining"]
        assert told["reconnect_after_ms"] > 0
    with pytest.raises(ConnectionClosed):
        async with connect(running.url) as late:
            await asyncio.wait_for(late.recv(), WAIT_S)


async def test_a_head_without_end_is_refused(running: Running) -> None:
    answer = await exchange(running, b"GET / HTTP/1.1\r\nX: ", *[b"a" * 4096] * 17)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"too large" in answer


async def test_a_large_body_is_no_large_head(running: Running) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 131072\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await exchange(running, head, *[b"a" * 4096] * 32, last)

    assert answer.count(b"HTTP/1.1 404 ") == 2


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    running: Running, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(listener, "REQUEST_S", 0.1)
    answer = await exchange(running, sent)

    assert answer.count(b"HTTP/1.1 ") == sent.count(b"\r\n\r\n")


async def test_a_socket_lives_on_after_the_time_of_its_request(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "REQUEST_S", 0.05)
    async with open_socket(running.url, "ada") as socket:
        await asyncio.sleep(0.2)
        assert (await socket.ask("ping", sent_at=1.5))["sent_at"] == 1.5
