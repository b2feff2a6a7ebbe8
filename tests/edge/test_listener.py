"""HTTP connections that are held without need: by bodies without end, by not reading, by saying
nothing; and answers whose client has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
from typing import Any

import pytest

from edge.admission import door
from edge.connection import listener, server
from edge.connection.listener import Listener
from edge.settings import EdgeSettings
from tests.support.edge_server import WAIT_S, Running, exchange, running_edge
from tests.support.eventually import until
from tests.support.socket import open_socket

ENDLESS = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class App:
    """Answers with how many headers it has seen, once the body is there when it `reads`, and not
    before it `may` answer.
    """

    def __init__(self, *, reads: bool = False, waits: bool = False, fails: bool = False) -> None:
        self.may, self.asked, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._reads, self._fails = reads, fails
        self.heard = ""
        if not waits:
            self.may.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.set()
        while self._reads and (await receive()).get("more_body"):
            pass
        if not self.may.is_set():
            await self._until_left(receive)
        if self._fails:
            raise RuntimeError("the answer failed")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"%d headers" % len(scope["headers"])})

    async def _until_left(self, receive: Any) -> None:
        try:
            await receive()
            self.heard = (await receive())["type"]
        except asyncio.CancelledError:
            self.heard = "cancelled"
            raise
        finally:
            self.left.set()


async def _sent_until_closed(running: Running, head: bytes, piece: bytes, *, gap_s: float) -> int:
    """Send pieces until the connection ends; return how many bytes that took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    sent = 0
    ended = asyncio.create_task(reader.read(-1))
    with contextlib.suppress(ConnectionError):
        writer.write(head)
        async with asyncio.timeout(WAIT_S):
            while not (ended.done() or writer.transport.is_closing()):
                writer.write(piece)
                sent += len(piece)
                await writer.drain()
                await asyncio.sleep(gap_s)
    writer.close()
    await asyncio.gather(ended, return_exceptions=True)
    return sent


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (ENDLESS, b"x" * 65_536),
        (CHUNKED, b"10000\r\n" + b"x" * 65_536 + b"\r\n"),
        (CHUNKED + b"1;", b"x" * 65_536),
        (CHUNKED + b"0\r\n", b"a:b\r\n" * 13_000),
    ],
    ids=["length", "chunks", "a chunk's extension", "trailers"],
)
@pytest.mark.parametrize("reads", [True, False], ids=["read", "answered before"])
async def test_what_follows_a_head_without_end_is_cut_off(
    head: bytes, piece: bytes, reads: bool
) -> None:
    async with running_edge(EdgeSettings(), App(reads=reads)) as running:
        sent = await _sent_until_closed(running, head, piece, gap_s=0)

    assert sent < 64 * listener.MAX_BODY_BYTES, "more only because the system buffers"


@pytest.mark.parametrize("head", [ENDLESS, CHUNKED + b"1;", CHUNKED + b"0\r\na:"])
async def test_what_follows_a_head_slowly_is_not_waited_for(
    head: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "REQUEST_S", 0.2)
    async with running_edge(EdgeSettings(), App()) as running:
        await _sent_until_closed(running, head, b"x", gap_s=0.02)


@pytest.mark.parametrize(("size", "count"), [(1, 10_000), (listener.PIECE_BYTES - 1, 4_000)])
async def test_a_body_comes_in_so_many_small_pieces_and_no_more(size: int, count: int) -> None:
    chunk = b"%x\r\n" % size + b"x" * size + b"\r\n"
    async with running_edge(EdgeSettings(), App(reads=True)) as running:
        assert await exchange(running, CHUNKED, chunk * count, b"0\r\n\r\n") == b""


@pytest.mark.parametrize(("size", "count"), [(1, 1_000), (2 * listener.PIECE_BYTES, 10_000)])
async def test_a_body_may_come_in_pieces_of_some_size(size: int, count: int) -> None:
    chunk = b"%x\r\n" % size + b"x" * size + b"\r\n"
    closing = CHUNKED.replace(b"x\r\n", b"x\r\nConnection: close\r\n", 1)
    async with running_edge(EdgeSettings(), App(reads=True)) as running:
        answer = await exchange(running, closing, chunk * count, b"0\r\n\r\n")
    assert b" 200 " in answer, answer


HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n"
KEPT = {
    "heads": (b"", HEAD + b"X: " + b"x" * 50_000),
    "heads of many headers": (b"", HEAD + (b"X: " + b"x" * 995 + b"\r\n") * 50),
    "bodies": (b"", ENDLESS + b"x" * 50_000),
    "heads before bodies": (b"", ENDLESS[:-2] + b"X: " + b"x" * 50_000 + b"\r\n\r\n1"),
    "bodies that a proxy brings": (
        b"127.0.0.1",
        ENDLESS[:-2] + b"X-Forwarded-For: 6.6.6.6\r\n\r\n" + b"x" * 50_000,
    ),
}


@pytest.mark.parametrize("kind", KEPT)
async def test_little_is_kept_of_an_addresss_requests_that_have_not_ended(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "UNFINISHED_BYTES", 220_000)
    proxy, unfinished = KEPT[kind]
    settings = EdgeSettings(trusted_proxies=(proxy.decode(),) if proxy else ())
    async with (
        running_edge(settings, App(waits=True)) as running,
        contextlib.AsyncExitStack() as end,
    ):
        kept = running.endpoint.door.unfinished
        small, large = HEAD, [unfinished] * 7
        clients = []
        for request in (small, *large):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            end.callback(writer.close)
            writer.write(request)
            clients.append(reader)
            await asyncio.sleep(0)
        ended = [asyncio.create_task(reader.read()) for reader in clients]
        await until(lambda: sum(task.done() for task in ended) == 3)
        assert not ended[0].done(), "who keeps little is left alone"
        assert 3 * 50_000 < len(kept) <= 220_000
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
    assert len(kept) == 0


async def test_nothing_is_kept_of_a_body_whose_request_was_answered() -> None:
    async with running_edge(EdgeSettings(), App()) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(ENDLESS + b"x" * 200_000)
        await reader.readuntil(b"headers")
        writer.write(b"x" * 200_000)
        await writer.drain()
        await until(lambda: len(running.endpoint.door.unfinished) < 1_000)
        [listening] = [one for one in gc.get_objects() if isinstance(one, Listener)]
        assert len(listening.cycle.body) == 0
        writer.close()


async def test_an_answered_request_is_not_kept_alive_by_empty_lines() -> None:
    async with running_edge(EdgeSettings(), App(), timeout_keep_alive=1) as running:
        await _sent_until_closed(running, GET, b"\r\n", gap_s=0.05)


async def test_headers_after_the_body_are_none() -> None:
    trailing = b"0\r\n" + b"x-forwarded-for: 6.6.6.6\r\n" * 3 + b"\r\n"
    async with running_edge(EdgeSettings(), App(reads=True)) as running:
        answer = await exchange(
            running, CHUNKED, trailing, GET.replace(b"x\r\n", b"x\r\nConnection: close\r\n")
        )

    assert answer.count(b"2 headers") == 2, answer


async def test_a_request_has_so_many_headers_and_no_more() -> None:
    async with running_edge(EdgeSettings(), App()) as running:
        many = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + b"a: b\r\n" * (
            listener.MAX_HEADERS - 2
        )
        assert b"128 headers" in await exchange(running, many, b"\r\n")
        assert (await exchange(running, many, b"a: b\r\n\r\n")).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("requests", "hears"),
    [
        (GET * 3, "cancelled"),
        (GET + b"POST / HT", "cancelled"),
        (GET.replace(b"GET", b"POST") * 3, "http.disconnect"),
    ],
    ids=["GET", "GET and half another", "POST"],
)
async def test_only_what_has_an_effect_goes_on_for_a_client_that_has_left(
    requests: bytes, hears: str
) -> None:
    app = App(waits=True)
    async with running_edge(EdgeSettings(), app) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(requests)
        await asyncio.wait_for(app.asked.wait(), WAIT_S)
        writer.close()
        await asyncio.wait_for(app.left.wait(), WAIT_S)

    assert app.heard == hears


@pytest.mark.parametrize("leaves", [True, False])
async def test_only_clients_that_stay_hear_of_a_failed_answer(
    leaves: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    app = App(waits=leaves, fails=True)
    async with running_edge(EdgeSettings(), app) as running:
        if leaves:
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(GET)
            await asyncio.wait_for(app.asked.wait(), WAIT_S)
            writer.close()
            await until(lambda: running.endpoint.door.abandoned_requests == 1)
        else:
            answer = await exchange(running, GET)
            assert answer.startswith(b"HTTP/1.1 500 ")

    assert ("Exception in ASGI application" in caplog.text) is not leaves


@pytest.mark.parametrize(
    "request_", [GET, ENDLESS, ENDLESS + b"x"], ids=["answer", "body", "half a body"]
)
async def test_no_client_keeps_the_process_from_stopping_or_orders_an_error(
    request_: bytes, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "GRACE_S", 0.2)
    caplog.set_level(logging.ERROR)
    app = App(reads=request_ is not GET, waits=True)
    async with running_edge(EdgeSettings(), app, timeout_graceful_shutdown=WAIT_S) as running:
        _, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(request_)
        await asyncio.wait_for(app.asked.wait(), WAIT_S)
        door = running.endpoint.door
    assert [record.message for record in caplog.records] == []
    assert len(door.connections) == 0
    writer.close()


async def test_a_socket_does_not_begin_before_earlier_requests_are_answered() -> None:
    app = App(waits=True)
    async with running_edge(EdgeSettings(), app) as running:
        assert await exchange(running, GET + UPGRADE) == b""
        assert not running.endpoint.connections


async def test_a_client_that_leaves_little_unread_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener, "READ_S", 0.2)
    listeners: list[Listener] = []
    made = Listener.connection_made

    def connection_made(self: Listener, transport: Any) -> None:
        listeners.append(self)
        made(self, transport)

    async def much(scope: Any, receive: Any, send: Any) -> None:
        """Answer until a little waits in the transport."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        transport = listeners[0].transport
        while not (transport.is_closing() or transport.get_write_buffer_size()):
            await send({"type": "http.response.body", "body": b"x" * 4096, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(Listener, "connection_made", connection_made)
    async with running_edge(EdgeSettings(), much, timeout_keep_alive=1) as running:
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            deaf.connect(("127.0.0.1", running.port))
            deaf.sendall(GET)
            await until(lambda: bool(listeners) and not running.endpoint.door.connections)
        async with open_socket(running.url, "ada") as honest:
            assert (await honest.ask("ping", sent_at=1.5))["sent_at"] == 1.5


@pytest.mark.parametrize("sent", [UPGRADE, GET, GET * 8, GET * 30])
async def test_a_connection_leaves_no_work_for_the_garbage_collector(sent: bytes) -> None:
    async with running_edge(EdgeSettings()) as running:
        gc.collect()
        gc.disable()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(20):
                with socket.create_connection(("127.0.0.1", running.port)) as client:
                    client.setblocking(False)
                    client.sendall(sent)
                    with contextlib.suppress(ConnectionError):
                        await asyncio.wait_for(
                            asyncio.get_running_loop().sock_recv(client, 4096), WAIT_S
                        )
            door = running.endpoint.door
            await until(lambda: not (running.endpoint.connections or len(door.connections)))
            gc.collect()
            left = {type(one).__name__ for one in gc.garbage}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left.isdisjoint({"Connection", "Session", "Listener", "RequestResponseCycle"})
