"""What becomes due for a socket, by how it stands."""

from __future__ import annotations

from typing import Any

import pytest

from edge.connection.deadlines import CLOSE_S, Due, Phase, deadlines
from edge.settings import EdgeSettings

SETTINGS = EdgeSettings(authenticate_s=10.0, ping_s=20.0, ping_max_s=30.0, pong_s=5.0, slow_s=15.0)
QUIET: dict[str, Any] = {
    "since": 100.0,
    "heard": 110.0,
    "expires_at": 900.0,
    "slow_since": None,
    "holding": False,
    "ping_sent": None,
    "idle_pings": 0,
}


def due(phase: Phase = Phase.OPEN, **standing: Any) -> list[tuple[float, Due]]:
    return list(deadlines(SETTINGS, phase, **QUIET | standing))


@pytest.mark.parametrize(
    ("standing", "last"),
    [
        pytest.param({}, (130.0, Due.PING), id="quiet: a ping"),
        pytest.param({"idle_pings": 1}, (135.0, Due.PING), id="long quiet: a later one"),
        pytest.param({"idle_pings": 99}, (140.0, Due.PING), id="but not later and later"),
        pytest.param({"ping_sent": 130.0}, (135.0, Due.NO_PONG), id="a ping without answer"),
        pytest.param({"ping_sent": 105.0}, (130.0, Due.PING), id="something came after the ping"),
        pytest.param(
            {"holding": True, "ping_sent": 130.0}, (130.0, Due.LISTEN_ANEW), id="nothing is read"
        ),
    ],
)
def test_silence_is_ended_by_a_ping_and_then_the_socket(
    standing: dict[str, Any], last: tuple[float, Due]
) -> None:
    assert due(**standing) == [(900.0, Due.TOKEN_EXPIRED), last]


def test_a_slow_reader_is_given_up_before_it_is_pinged() -> None:
    assert due(slow_since=112.0)[1] == (127.0, Due.TOO_SLOW)


def test_a_stranger_has_to_say_who_it_is_and_is_not_pinged() -> None:
    assert due(expires_at=None) == [(110.0, Due.NOBODY_CAME)]


def test_after_our_close_frame_only_the_clients_is_waited_for() -> None:
    assert due(Phase.CLOSING) == [(100.0 + CLOSE_S, Due.ABORT)]
    assert due(Phase.HANDSHAKE) == due(Phase.GONE) == []
