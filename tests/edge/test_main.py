"""What the command says that runs an edge, and what it starts."""

from __future__ import annotations

import sys

import pytest

from edge.__main__ import Edge, main, make_server
from edge.connection.listener import Listener
from edge.settings import EdgeSettings


@pytest.mark.parametrize(
    ("argument", "code", "told"),
    [("--help", 0, "EDGE_BRAIN_ADDRESSES"), ("--port=9000", 2, "'--port=9000' is unknown")],
)
def test_settings_are_variables(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    argument: str,
    code: int,
    told: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge", argument])

    assert main() == code
    shown = capsys.readouterr()
    assert told in (shown.err if code else shown.out)


async def test_requests_arrive_through_the_listener_with_limits() -> None:
    edge = Edge(EdgeSettings())
    try:
        assert make_server(edge).config.http.func is Listener  # type: ignore[union-attr]
    finally:
        brains = [node.channel for node in edge.brains.nodes]
        for channel in (edge.auth_channel, edge.metrics_channel, *brains):
            await channel.close()
