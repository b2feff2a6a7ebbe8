"""However bytes come, a connection takes the texts of the reference, and ends as it does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from edge.connection.rfc6455 import prepare
from edge.session.session import Session
from edge.settings import EdgeSettings
from tests.edge.raw_client import FakeTransport, SteppedEndpoint, Wire, masked
from tests.support.fakes import FakeEdge

frames = st.lists(
    st.one_of(
        st.binary(max_size=140).map(lambda payload: masked(1, payload)),
        st.binary(max_size=20).map(lambda payload: masked(9, payload)),
        st.binary(max_size=20).map(lambda payload: masked(10, payload)),
        st.lists(st.binary(max_size=30), min_size=2, max_size=4).map(
            lambda parts: b"".join(
                masked(1 if index == 0 else 0, part, fin=index == len(parts) - 1)
                for index, part in enumerate(parts)
            )
        ),
        st.integers(126, 70_000).map(lambda size: masked(1, b"y" * size)),
    ),
    max_size=8,
)
QUIET = EdgeSettings(frames_per_s=0)


def _texts_of_the_edge(segments: Iterator[bytes]) -> tuple[list[bytes], int | None]:
    edge = FakeEdge(settings=QUIET, prepare=prepare)
    wire = Wire(SteppedEndpoint(edge), "/ws?token=ada")
    texts: list[bytes] = []
    wire.connection.session.on_text = texts.append  # type: ignore[method-assign]
    for segment in segments:
        if not wire.transport.closed:
            wire.raw(segment)
    return texts, wire.close_code


def _texts_of_the_reference(data: bytes) -> tuple[list[bytes], int | None]:
    client = ClientProtocol(parse_uri("ws://edge.example/ws"))
    server = ServerProtocol(max_size=QUIET.max_frame_bytes)
    client.send_request(client.connect())
    server.receive_data(b"".join(client.data_to_send()))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    client.receive_data(b"".join(server.data_to_send()))
    server.receive_data(data)
    texts: list[bytes] = []
    parts: list[bytes] = []
    for event in server.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.TEXT, Opcode.CONT):
            parts.append(bytes(event.data))
            if event.fin:
                texts.append(b"".join(parts))
                parts = []
    client.receive_data(b"".join(server.data_to_send()))
    client.events_received()
    return texts, int(client.close_rcvd.code) if client.close_rcvd else None


class _Session(Session):
    """A session whose `on_text` a test may replace."""


@pytest.fixture(autouse=True)
def _open_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.connection.endpoint.Session", _Session)


def _split(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    marks = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for start, end in itertools.pairwise(marks):
        yield data[start:end]


@settings(max_examples=120, deadline=None)
@given(frames, st.lists(st.integers(0, 1 << 20), max_size=12))
def test_however_a_stream_is_cut_its_texts_are_those_of_the_reference(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(parts)

    assert _texts_of_the_edge(_split(data, cuts)) == _texts_of_the_reference(data)


@settings(max_examples=120, deadline=None)
@given(frames, st.binary(min_size=1, max_size=60), st.lists(st.integers(0, 1 << 20), max_size=6))
def test_garbage_after_good_frames_is_ended_like_the_reference_ends_it(
    parts: list[bytes], garbage: bytes, cuts: list[int]
) -> None:
    data = b"".join(parts) + garbage + bytes(70_000)  # whatever frame it claims to be is whole
    texts, code = _texts_of_the_edge(_split(data, cuts))
    expected, expected_code = _texts_of_the_reference(data)

    if code == 4400:  # the reference takes binary frames
        assert texts == expected[: len(texts)]
    else:
        assert (texts, code) == (expected, expected_code)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=80), min_size=1, max_size=5), st.booleans())
def test_garbage_instead_of_a_handshake_raises_nothing(segments: list[bytes], ends: bool) -> None:
    connection = SteppedEndpoint(FakeEdge(prepare=prepare))()
    transport = FakeTransport()
    connection.connection_made(transport)
    for segment in segments:
        if not transport.closed:
            connection.data_received(segment)
    if ends and not transport.closed:
        connection.eof_received()
    connection.connection_lost(None)
