"""Whose address counts, behind no proxy, one, and several; and what a liar gains: nothing."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.admission.addresses import Proxies, shared_by
from edge.admission.origins import MAX_TOLD, Origins


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "client"),
    [
        ((), "10.0.0.1", ["1.2.3.4"], "10.0.0.1"),
        (("10.0.0.1",), "10.0.0.1", [], "10.0.0.1"),
        (("10.0.0.1",), "10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        (("10.0.0.1",), "10.0.0.2", ["1.2.3.4"], "10.0.0.2"),
        (("10.0.0.0/8",), "10.9.9.9", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (("10.0.0.0/8",), "10.9.9.9", ["6.6.6.6, 1.2.3.4, 10.1.1.1"], "1.2.3.4"),
        (("10.0.0.0/8",), "10.9.9.9", ["6.6.6.6", "1.2.3.4", "10.1.1.1"], "1.2.3.4"),
        (("10.0.0.0/8",), "10.9.9.9", ["10.1.1.1, 10.2.2.2"], "10.1.1.1"),
        (("10.0.0.0/8",), "10.9.9.9", ["1.2.3.4:5678"], "1.2.3.4"),
        (("10.0.0.0/8",), "10.9.9.9", ["[2001:db8::7]:443"], "2001:db8::7"),
        (("10.0.0.0/8",), "10.9.9.9", ["2001:db8::7"], "2001:db8::7"),
        (("10.0.0.0/8",), "10.9.9.9", ["1.2.3.4, unknown"], "10.9.9.9"),
        (("10.0.0.0/8",), "10.9.9.9", ["1.2.3.4, _hidden, 10.1.1.1"], "10.1.1.1"),
        (("10.0.0.0/8",), "10.9.9.9", [" , "], "10.9.9.9"),
        (("10.0.0.0/8",), "::ffff:10.9.9.9", ["1.2.3.4"], "1.2.3.4"),
        (("::1",), "::1", ["::ffff:1.2.3.4"], "1.2.3.4"),
        (("::ffff:10.0.0.1",), "10.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        (("::ffff:10.0.0.0/104",), "::ffff:10.9.9.9", ["1.2.3.4"], "1.2.3.4"),
        (("::ffff:10.0.0.0/104",), "11.0.0.1", ["1.2.3.4"], "11.0.0.1"),
        (("*",), "10.0.0.1", ["1.2.3.4, 5.6.7.8"], "1.2.3.4"),
        (("10.0.0.1",), "local", ["1.2.3.4"], "local"),
        (("*",), "10.0.0.1", ["1.2.3.4, " * 9_000 + "5.6.7.8, " * 31 + "6.6.6.6"], "5.6.7.8"),
    ],
)
def test_the_client_is_the_last_hop_that_is_no_proxy_of_ours(
    trusted: tuple[str, ...], peer: str, forwarded: list[str], client: str
) -> None:
    assert Proxies(trusted).client(peer, forwarded) == client


@given(st.lists(st.text(max_size=30), max_size=4), st.text(max_size=30))
def test_no_header_raises_and_what_a_client_sends_itself_changes_nothing(
    forged: list[str], peer: str
) -> None:
    Proxies(("*",)).client(peer, forged)
    proxies = Proxies(("10.0.0.0/8",))

    assert proxies.client("10.0.0.1", [*forged, "1.2.3.4"]) == "1.2.3.4"


@pytest.mark.parametrize("entry", ["proxy", "10.0.0.0/99", "", "10.0.0.1:80"])
def test_what_is_no_address_cannot_be_trusted(entry: str) -> None:
    with pytest.raises(ValueError, match="does not appear"):
        Proxies((entry,))


def test_one_clients_many_ipv6_addresses_count_as_one() -> None:
    assert shared_by("2001:db8:1:2:3::4") == shared_by("2001:db8:1:2:ffff::1")
    assert shared_by("2001:db8:1:3::4") != shared_by("2001:db8:1:2::4")
    assert shared_by("1.2.3.4") == shared_by("::ffff:1.2.3.4") == "1.2.3.4"


@pytest.mark.parametrize(
    ("allowed", "origin", "host", "answer"),
    [
        ((), None, "edge.example", True),
        ((), "https://edge.example", "edge.example", True),
        ((), "https://edge.example:8443", "edge.example:8443", True),
        ((), "https://edge.example:8443", "edge.example", False),
        ((), "https://other.example", "edge.example", False),
        ((), "null", "edge.example", False),
        ((), "http://[", "edge.example", False),
        ((), "", "", False),
        (("https://other.example",), "https://other.example", "edge.example", True),
        (("https://other.example",), "http://other.example", "edge.example", False),
        (("*",), "http://[", None, True),
    ],
)
def test_a_page_may_talk_to_its_own_edge_and_to_those_that_name_it(
    allowed: tuple[str, ...], origin: str | None, host: str | None, answer: bool
) -> None:
    assert Origins(allowed).allows(origin, host) is answer


def test_a_refused_origin_is_logged_once_with_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    origins = Origins(())
    for _ in range(3):
        origins.allows("http://127.0.0.1:8000", "localhost:8000")
    for number in range(MAX_TOLD + 50):
        origins.allows(f"http://{number}.example", "localhost:8000")

    assert len(caplog.records) == MAX_TOLD
    assert "http://127.0.0.1:8000" in caplog.messages[0]
    assert "EDGE_ALLOWED_ORIGINS" in caplog.messages[0]


@pytest.mark.parametrize(
    ("trusted", "are_everybody"),
    [((), False), (("10.0.0.0/8", "::1"), False), (("*",), True), (("::1", "0.0.0.0/0"), True)],
)
def test_a_network_of_everybody_is_known_as_one(
    trusted: tuple[str, ...], are_everybody: bool
) -> None:
    assert Proxies(trusted).are_everybody is are_everybody
