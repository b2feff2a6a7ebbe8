"""Draining: everyone is told when to come back, sockets close evenly within the time, work under
way is waited for.
"""

from __future__ import annotations

from typing import Any

import pytest

from edge.connection.endpoint import Endpoint
from edge.frames.codes import CloseCode
from edge.settings import EdgeSettings
from tests.support.clocks import run_instantly
from tests.support.fakes import FakeEdge


class _Session:
    def __init__(self) -> None:
        self.busy = False
        self.told: list[int] = []

    def drain(self, reconnect_after_ms: int) -> None:
        self.told.append(reconnect_after_ms)


class _Connection:
    """Closes at once, and says so to the endpoint."""

    def __init__(self, endpoint: Endpoint, closes: bool = True) -> None:
        self.session = _Session()
        self.codes: list[int] = []
        self._endpoint = endpoint
        self._closes = closes

    def close(self, code: int, reason: str = "") -> None:
        assert self.session.told, "told before it is closed"
        self.codes.append(code)
        if self._closes:
            self._endpoint.discard(self)  # type: ignore[arg-type]


def _endpoint(
    count: int, *, drain_s: float = 30.0, closes: bool = True
) -> tuple[Endpoint, list[Any]]:
    edge = FakeEdge(settings=EdgeSettings(drain_s=drain_s, drain_notice_s=0.0))
    endpoint = Endpoint(edge.dependencies, call_soon=lambda call: None)
    connections = [_Connection(endpoint, closes) for _ in range(count)]
    for connection in connections:
        endpoint.add(connection)  # type: ignore[arg-type]
    return endpoint, connections


@pytest.mark.parametrize("count", [0, 1, 7, 400, 12_000])
def test_every_socket_is_told_and_closed_within_the_time(count: int) -> None:
    endpoint, connections = _endpoint(count)
    _, took = run_instantly(endpoint.drain())

    assert endpoint.draining
    assert all(connection.codes == [CloseCode.RESTART] for connection in connections)
    assert all(len(connection.session.told) == 1 for connection in connections)
    assert all(100 <= connection.session.told[0] <= 26_000 for connection in connections)
    assert took < 30


def test_sockets_with_work_under_way_are_closed_last() -> None:
    endpoint, connections = _endpoint(20)
    for connection in connections[:5]:
        connection.session.busy = True
    order: list[Any] = []
    for connection in connections:
        connection.close = lambda code, reason="", close=connection.close, one=connection: (
            order.append(one),
            close(code),
        )
    run_instantly(endpoint.drain())

    assert set(map(id, order[-5:])) == set(map(id, connections[:5]))


def test_a_socket_that_never_closes_does_not_hold_the_edge() -> None:
    endpoint, _ = _endpoint(3, drain_s=5.0, closes=False)
    _, took = run_instantly(endpoint.drain())

    assert took <= 6
