"""Port blocks are eight in a row, free, and never given twice."""

from __future__ import annotations

import socket

import pytest

from harness.ports import COUNT, block, reserve, taken


def test_a_block_begins_with_the_edge_and_ends_with_the_expositions():
    ports = block(9000)

    assert (ports.edge, ports.brain, ports.auth, ports.metrics) == (9000, 9001, 9002, 9003)
    assert ports.expositions == {"edge": 9004, "brain": 9005, "auth": 9006, "metrics": 9007}


@pytest.mark.parametrize("first", [0, -1, 65_529, 70_000])
def test_a_block_that_does_not_fit_is_refused(first: int):
    with pytest.raises(ValueError, match="PORT must be"):
        block(first)


def test_two_reservations_never_overlap():
    one, first_claim = reserve()
    two, second_claim = reserve()
    with first_claim, second_claim:
        assert abs(one.edge - two.edge) >= COUNT


def test_a_port_that_something_listens_on_is_taken():
    ports, claim = reserve()
    with claim, socket.create_server(("127.0.0.1", ports.auth)):
        assert taken(ports.edge) == [ports.auth]
