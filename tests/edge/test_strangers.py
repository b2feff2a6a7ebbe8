"""What strangers send to the listener: nothing of it raises, nothing of it stays, and everybody
else is served and sent elsewhere as if it had not been there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from edge.admission.door import Door
from edge.connection import listener
from edge.connection.proxy_protocol import SIGNATURE
from edge.settings import EdgeSettings
from tests.support.edge_server import WAIT_S, Running, exchange, running_edge
from tests.support.eventually import until
from tests.support.http_api import Api
from tests.support.socket import open_socket

GOLDEN = Path(__file__).parents[1] / "golden"
"""Served as the page."""

UPGRADE = {
    b"Host": b"edge.example",
    b"Connection": b"Upgrade",
    b"Upgrade": b"websocket",
    b"Sec-WebSocket-Version": b"13",
    b"Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
}

PATHS = [
    *(b"/", b"/index.html", b"/frames/../x", b"/api/me", b"/api/auth/login", b"/api/auth/refresh"),
    *(b"/api/learners/%00/state", b"/api/learners/ada/history?limit=x", b"/healthz", b"/docs"),
    *(b"/openapi.json", b"/docs/static/%2e%2e/x", b"/api/websocket/metrics/stream", b"/frames"),
]
no_line = st.characters(exclude_characters="\r\n", max_codepoint=255)
words = st.one_of(
    st.text(no_line, max_size=40).map(lambda text: text.encode("latin-1")),
    st.sampled_from(
        [
            *(b"", b"*", b"//[", b"/ws", b"/ws/", b"http://[", b"http://[::1", b"null", b"//["),
            *(b"http://edge.example:99999999", b"?token=%", b"/ws?token=%ff", b"/%00", b"\xff\xfe"),
            *(b"0", b"-1", b"18446744073709551616", b"unix:", b"[", b"]", b"a" * 4000),
            *(b"chunked", b"100-continue", b"bytes=0-0,1-1,2-", b"application/json", b"close"),
            *(b"Bearer ada", b"Bearer \xff", b"aivo_refresh=\xff", b"10.0.0.1, ,::1,x" * 99),
        ]
    ),
)
headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(*UPGRADE, b"Origin", b"Authorization", b"X-Forwarded-For", b"X-Forwarded-Proto"),
                *(b"Sec-WebSocket-Extensions", b"Sec-WebSocket-Protocol", b"Cookie", b"Expect"),
                *(b"Content-Length", b"Transfer-Encoding", b"Connection", b"Host", b"Origin"),
                *(
                    b"Content-Type",
                    b"Range",
                    b"If-Modified-Since",
                    b"Access-Control-Request-Method",
                ),
            ]
        ),
        words,
    ),
    max_size=4,
)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, often for a socket, in which something is odd."""
    method = draw(st.sampled_from([b"GET"] * 4 + [b"POST", b"HEAD", b"get", b"OPTIONS", b"\x00"]))
    known = st.sampled_from([*(b"/ws", b"/ws?token=ada") * 3, *PATHS])
    target = draw(st.one_of(known, known, words))
    version = draw(st.sampled_from([b"HTTP/1.1"] * 4 + [b"HTTP/1.0", b"HTTP/2", b"", b"HTTP/1.1 "]))
    kept = draw(st.sets(st.sampled_from(sorted(UPGRADE)))) if draw(st.booleans()) else set()
    lines = [name + b": " + value for name, value in UPGRADE.items() if name not in kept]
    lines += [name + b": " + value for name, value in draw(headers)]
    body = draw(st.sampled_from([b"", b"", b"{}", b"[" * 9_000, b"0\r\n\r\n", b"\x00" * 99]))
    return b"\r\n".join([b" ".join((method, target, version)), *lines, b"", body])


class _Complaints(logging.Handler):
    """What was logged that an operator would have to look at."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(self.format(record))


@contextlib.asynccontextmanager
async def _watched(settings: EdgeSettings, app: Any = None) -> Any:
    complaints = _Complaints()
    logging.getLogger().addHandler(complaints)
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: complaints.records.append(str(context))
    )
    try:
        async with running_edge(settings, app) as running:
            yield running
    finally:
        logging.getLogger().removeHandler(complaints)
    assert complaints.records == []


async def _say(running: Running, request: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    with contextlib.suppress(ConnectionError, TimeoutError):
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(0.1):
            await reader.read(1)
    writer.close()


async def _hear(batches: list[list[bytes]]) -> None:
    """Serve honest clients beside these requests, and drain."""
    api = Api(static_dir=GOLDEN, allowed_origins=("http://a",))
    trusting = EdgeSettings(
        drain_s=0.5, drain_notice_s=0.0, connections_per_s=0, trusted_proxies=("127.0.0.1",)
    )
    async with _watched(trusting, api.app) as running:
        for requests in batches:
            await asyncio.gather(*(_say(running, request) for request in requests))
            async with open_socket(running.url, "ada") as honest:
                assert (await honest.ask("ping", sent_at=1.5))["sent_at"] == 1.5
        await until(lambda: not running.endpoint.connections)
        await until(lambda: not len(running.edge.registry.addresses))
        await until(lambda: not len(running.endpoint.door.connections))
        async with open_socket(running.url, "ada") as honest:
            await running.endpoint.drain()
            assert await honest.until_closed() == 1012


def _asked(origin: bytes = b"", target: bytes = b"/ws") -> bytes:
    lines = [name + b": " + value for name, value in UPGRADE.items()]
    lines += [b"Origin: " + origin] if origin else []
    return b"\r\n".join([b"GET " + target + b" HTTP/1.1", *lines, b"", b""])


def _drawn(strategy: st.SearchStrategy[bytes]) -> list[list[bytes]]:
    """Draw many, to be heard a few at a time by one and the same edge."""
    drawn: list[bytes] = []

    @settings(max_examples=500, deadline=None, database=None, phases=[Phase.generate])
    @given(strategy)
    def collect(one: bytes) -> None:
        drawn.append(one)

    collect()
    return [drawn[start : start + 8] for start in range(0, len(drawn), 8)]


async def test_no_request_breaks_anything_for_anybody() -> None:
    known = [
        [_asked(origin=b"http://["), _asked(target=b"//["), _asked(target=b"http://[")],
        [_asked(origin=b"http://a") + b"Origin: http://b\r\n\r\n"],
        [b"GET //[ HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n"],
    ]
    await _hear(known + _drawn(requests()))


async def test_no_bytes_break_anything_for_anybody() -> None:
    await _hear(_drawn(st.binary(min_size=1, max_size=400)))


async def test_who_names_two_origins_is_refused() -> None:
    twice = _asked(origin=b"http://a.example")[:-2] + b"Origin: http://edge.example\r\n\r\n"
    async with _watched(EdgeSettings()) as running:
        answer = await exchange(running, twice)

    assert answer.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("target", [b"/healthz", b"/ws"])
@pytest.mark.parametrize(
    "hosts", [b"", b"Host: a.example\r\nHost: b.example\r\n", b"Host: a\r\nhost: a\r\n"]
)
async def test_a_request_names_one_host(hosts: bytes, target: bytes) -> None:
    asked = _asked(target=target).replace(b"Host: edge.example\r\n", hosts)
    async with _watched(EdgeSettings()) as running:
        answer = await exchange(running, asked)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"must name exactly one Host" in answer


async def test_http_before_hosts_is_answered() -> None:
    async with _watched(EdgeSettings()) as running:
        answer = await exchange(running, b"GET / HTTP/1.0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 404 ")


async def test_http_before_hosts_has_no_sockets() -> None:
    lines = [name + b": " + value for name, value in UPGRADE.items()]
    request = b"\r\n".join((b"GET /ws HTTP/1.0", *lines, b"", b""))
    async with _watched(EdgeSettings()) as running:
        assert (await exchange(running, request)).startswith(b"HTTP/1.1 505 ")


async def test_pipelined_requests_without_end_are_cut_off() -> None:
    one = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    async with _watched(EdgeSettings()) as running:
        answer = await exchange(running, one * 5_000)
        assert answer.count(b"HTTP/1.1 404 ") <= listener.MAX_PIPELINED + 1
        last = one.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await exchange(running, one * 3 + last)).count(b"HTTP/1.1 404 ") == 4


async def test_one_address_holds_so_many_connections_and_no_more() -> None:
    async with _watched(EdgeSettings(max_connections_per_address=3)) as running:
        held = [await asyncio.open_connection("127.0.0.1", running.port) for _ in range(3)]
        assert await exchange(running, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == b""
        held.pop()[1].close()
        await until(lambda: len(running.endpoint.door.connections) == 2)
        last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await exchange(running, last)).startswith(b"HTTP/1.1 404 ")
        for _, writer in held:
            writer.close()


async def test_one_address_comes_so_often_and_no_more() -> None:
    async with _watched(EdgeSettings(connections_per_s=0.2)) as running:
        last = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answers = [await exchange(running, last) for _ in range(4)]
        proxied = Door(EdgeSettings(connections_per_s=0.2, trusted_proxies=("127.0.0.1",)))

    assert [len(answer) > 0 for answer in answers] == [True, True, True, False], "one is owed"
    assert all(proxied.lets_come("127.0.0.1") for _ in range(100))


def _introduced(source: bytes = bytes([203, 0, 113, 9]), more: bytes = b"") -> bytes:
    body = source + bytes([10, 0, 0, 1]) + (5555).to_bytes(2) + (80).to_bytes(2) + more
    return SIGNATURE + b"\x21\x11" + len(body).to_bytes(2) + body


async def test_a_proxy_that_passes_bytes_on_says_who_its_client_is() -> None:
    proxied = EdgeSettings(proxy_protocol=True, trusted_proxies=("127.0.0.0/8",))
    async with _watched(proxied) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        sent = _introduced(more=b"\x04\x00\x01x") + _asked(target=b"/ws?token=ada")
        for start in range(0, len(sent), 9):
            writer.write(sent[start : start + 9])
            await writer.drain()
        async with asyncio.timeout(WAIT_S):
            assert b" 101 " in await reader.readline()
        await until(lambda: running.edge.registry.addresses.held("203.0.113.9") == 1)
        writer.close()


@pytest.mark.parametrize(
    "sent",
    [
        _asked(),
        SIGNATURE + b"\x31\x11\x00\x0c" + bytes(12),
        SIGNATURE + b"\x21\x11\x00\x04" + bytes(4),
        SIGNATURE + b"\x21\x11\xff\xff" + bytes(70_000),
        SIGNATURE[:-1] + b"x",
    ],
    ids=["none", "another version", "too short", "too long", "no signature"],
)
async def test_who_is_not_introduced_is_turned_away(
    sent: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    proxied = EdgeSettings(proxy_protocol=True, trusted_proxies=("127.0.0.1",))
    async with _watched(proxied) as running:
        assert await exchange(running, sent) == b""
        assert await exchange(running, sent) == b""
    assert caplog.text.count("turned 127.0.0.1 away") == 1
    assert "version 2" in caplog.text


async def test_who_may_not_introduce_anybody_is_told_to_the_operator(
    caplog: pytest.LogCaptureFixture,
) -> None:
    proxied = EdgeSettings(proxy_protocol=True, trusted_proxies=("10.0.0.1",))
    async with _watched(proxied) as running:
        with contextlib.suppress(ConnectionResetError):
            assert await exchange(running, _introduced() + _asked()) == b""
    assert "turned 127.0.0.1 away" in caplog.text
    assert "EDGE_TRUSTED_PROXIES" in caplog.text


async def test_a_drain_survives_a_socket_that_cannot_be_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    settings = EdgeSettings(drain_s=0.5, drain_notice_s=0.0)
    async with running_edge(settings) as running, connect(running.url) as broken:
        async with open_socket(running.url, "ada") as honest:
            for connection in running.endpoint.connections:
                if not connection.session.user_id:
                    connection.session.replies = None  # type: ignore[assignment]
            await running.endpoint.drain()
            assert await honest.until_closed() == 1012
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(broken.recv(), WAIT_S)
    assert "could not be told" in caplog.text
