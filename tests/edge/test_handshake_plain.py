"""What is answered without the core of `websockets` the core accepts, too, with the same answer;
browsers and common clients ask so.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from edge.connection.handshake import Fields, plain

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Of that key, as RFC 6455 §1.3 has both."""
Header = tuple[bytes, bytes]
BARE: list[Header] = [
    (b"host", b"edge.example"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", KEY),
    (b"sec-websocket-version", b"13"),
]
DEFLATE = (b"sec-websocket-extensions", b"permessage-deflate; client_max_window_bits")
CLIENTS = {
    "python": [*BARE, (b"user-agent", b"Python/3.11 websockets/17.4")],
    "chromium": [
        *BARE,
        (b"origin", b"https://edge.example"),
        (b"pragma", b"no-cache"),
        (b"accept-encoding", b"gzip, deflate, br, zstd"),
        DEFLATE,
    ],
    "firefox": [
        *[header for header in BARE if header[0] != b"connection"],
        (b"connection", b"keep-alive, Upgrade"),
        (b"origin", b"https://edge.example"),
        DEFLATE,
    ],
    "behind proxies": [*BARE, (b"x-forwarded-for", b"10.1.1.1"), (b"x-forwarded-for", b"10.2.2.2")],
}


def told_by_reference(target: bytes, headers: list[Header]) -> Response:
    """Return what the core of `websockets` answers."""
    core = ServerProtocol()
    lines = [b"GET " + target + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    core.receive_data(b"\r\n".join([*lines, b"", b""]))
    (request,) = core.events_received()
    assert isinstance(request, Request), core.handshake_exc
    return core.accept(request)


@pytest.mark.parametrize("headers", CLIENTS.values(), ids=CLIENTS)
def test_what_clients_send_is_plain(headers: list[Header]) -> None:
    request = plain(b"/ws?token=a.b.c", headers)

    assert request is not None
    assert request.query == "token=a.b.c"
    assert request.answer.startswith(b"HTTP/1.1 101 ")
    assert request.answer.endswith(b"\r\nSec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"upgrade", b"h2c"),
        (b"upgrade", b"websocket, h2c"),
        (b"connection", b"keep-alive"),
        (b"connection", b"Upgraded"),
        (b"sec-websocket-version", b"8"),
        (b"sec-websocket-key", b"short"),
        (b"sec-websocket-key", KEY[:-1] + b"\n"),
        (b"sec-websocket-key", KEY + KEY),
    ],
)
def test_what_is_wrong_is_left_to_the_core(name: bytes, value: bytes) -> None:
    headers = [(key, value if key == name else told) for key, told in BARE]

    assert plain(b"/ws", headers) is None


@pytest.mark.parametrize("name", [name for name, _ in BARE[1:]])
def test_what_is_missing_or_comes_twice_is_left_to_the_core(name: bytes) -> None:
    twice = [*BARE, *[header for header in BARE if header[0] == name]]

    assert plain(b"/ws", [header for header in BARE if header[0] != name]) is None
    assert plain(b"/ws", twice) is None


@pytest.mark.parametrize(
    "more",
    [
        [(b"origin", b"http://a"), (b"origin", b"http://b")],
        [(b"content-length", b"5")],
        [(b"transfer-encoding", b"chunked")],
        [(b"sec-websocket-protocol", b"a b")],
    ],
)
def test_what_the_core_may_refuse_is_left_to_it(more: list[Header]) -> None:
    assert plain(b"/ws", BARE + more) is None


@pytest.mark.parametrize(
    "target", [b"/", b"/ws/", b"//ws", b"/ws#a", b"/ws?a#b", b"/ws?\xff", b"http://edge.example/ws"]
)
def test_other_targets_are_left_to_the_core(target: bytes) -> None:
    assert plain(target, BARE) is None


values = st.sampled_from(
    [
        *(b"websocket", b"WebSocket", b"Upgrade", b"upgrade, keep-alive", b"13", b"13, 8", KEY),
        *(KEY.lower(), b"", b"\xff", b"a, b", b"=" * 24, b"A" * 22 + b"==", b"https://a.example"),
    ]
)
names = st.sampled_from(
    [
        *(b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version", b"origin"),
        *(b"sec-websocket-extensions", b"sec-websocket-protocol", b"cookie", b"content-length"),
    ]
)


@given(st.lists(st.tuples(names, values), max_size=4), st.sets(st.integers(0, 4), max_size=2))
def test_what_is_plain_the_core_would_answer_alike(more: list[Header], left_out: set[int]) -> None:
    headers = [header for place, header in enumerate(BARE) if place not in left_out] + more
    request = plain(b"/ws?token=x", headers)
    if request is None:
        return
    answer = told_by_reference(b"/ws?token=x", headers)

    assert answer.status_code == 101
    accept = answer.headers["Sec-WebSocket-Accept"].encode()
    assert b"\r\nSec-WebSocket-Accept: " + accept + b"\r\n" in request.answer


def test_fields_tell_all_values_of_a_header() -> None:
    fields = Fields([(b"a", b"1"), (b"b", b"\xe9"), (b"a", b"2")])

    assert (fields.get_all("A"), fields.get_all("b"), fields.get_all("c")) == (
        ["1", "2"],
        ["é"],
        [],
    )
