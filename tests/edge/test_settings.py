"""Settings that cannot work are told at the start, by the names that operators know."""

from __future__ import annotations

import pytest

from edge.settings import EdgeSettings
from service_runtime.settings import SettingsError, load


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"EDGE_MAX_IN_FLIGHT": "0"}, "EDGE_MAX_IN_FLIGHT must be above zero"),
        ({"EDGE_MAX_FRAME_BYTES": "-1"}, "EDGE_MAX_FRAME_BYTES must be above zero"),
        ({"EDGE_AUTHENTICATE_S": "0"}, "EDGE_AUTHENTICATE_S must be above zero"),
        ({"EDGE_FRAMES_PER_S": "-1"}, "EDGE_FRAMES_PER_S must be zero or more"),
        ({"PORT": "70000"}, "PORT must be at most 65535"),
        ({"PORT": "-1"}, "PORT must be zero or more"),
        (
            {"EDGE_PING_S": "30", "EDGE_PING_MAX_S": "20"},
            "EDGE_PING_MAX_S must be at least EDGE_PING_S",
        ),
        (
            {"EDGE_SERVER_CERTIFICATE_FILE": "/etc/tls.pem"},
            "EDGE_SERVER_CERTIFICATE_FILE and EDGE_SERVER_KEY_FILE need each other",
        ),
        ({"EDGE_BRAIN_ADDRESSES": ","}, "EDGE_BRAIN_ADDRESSES must name a brain"),
    ],
)
def test_what_cannot_work_is_refused_by_its_name(environ: dict[str, str], told: str) -> None:
    with pytest.raises(SettingsError, match=f"^{told}"):
        load(EdgeSettings, environ, prefix="EDGE")


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load(EdgeSettings, {"EDGE_MAX_IN_FLIGHT": "0", "EDGE_MAX_ROOMS": "-1"}, prefix="EDGE")
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    "name", ["EDGE_FRAMES_PER_S", "EDGE_MAX_SOCKETS_PER_USER", "EDGE_MAX_ROOMS", "PORT"]
)
def test_zero_is_taken_where_it_means_something(name: str) -> None:
    load(EdgeSettings, {name: "0"}, prefix="EDGE")
