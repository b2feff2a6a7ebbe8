"""What tests of sessions and connections begin with."""

from __future__ import annotations

import pytest

from tests.edge.raw_client import SteppedEndpoint, Wire
from tests.support.fakes import FakeEdge
from tests.support.http_api import Api


@pytest.fixture
def edge() -> FakeEdge:
    return FakeEdge()


@pytest.fixture
def endpoint(edge: FakeEdge) -> SteppedEndpoint:
    return SteppedEndpoint(edge)


@pytest.fixture
def wire(endpoint: SteppedEndpoint) -> Wire:
    """An authenticated connection."""
    wire = Wire(endpoint, "/ws?token=ada")
    assert wire.frames.pop()["type"] == "connection_established"
    return wire


@pytest.fixture
def api() -> Api:
    return Api()
