"""Waits grow, are never longer than said, and differ."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_service.webhooks.retrying import asked_to_wait_s, fault_of, wait_s

failures = st.integers(1, 10_000)
chances = st.floats(0, 1)


def test_waits_double_up_to_the_longest() -> None:
    waits = [wait_s(n, first_s=2, longest_s=30, chance=0) for n in range(1, 7)]
    assert waits == [2, 4, 8, 16, 30, 30]


@given(failures, chances)
def test_chance_takes_up_to_a_half(count: int, chance: float) -> None:
    whole = wait_s(count, first_s=1, longest_s=900, chance=0)
    assert whole / 2 <= wait_s(count, first_s=1, longest_s=900, chance=chance) <= whole <= 900


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        *((200, ""), (204, ""), (299, ""), (301, "redirect"), (307, "redirect")),
        *((400, "refused"), (410, "gone"), (429, "refused"), (500, "broken"), (503, "broken")),
        (101, "refused"),
    ],
)
def test_only_2xx_is_taken(status: int, fault: str) -> None:
    assert fault_of(status) == fault


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("", 0),
        ("3", 3),
        ("-3", 0),
        ("1e9", 0),
        ("9" * 400, 60),
        ("Fri, 27 Nov 2026 12:00:00 GMT", 0),
    ],
    ids=["none", "seconds", "negative", "exponent", "endless", "date"],
)
def test_a_receiver_may_ask_for_a_wait_within_bounds(header: str, seconds: float) -> None:
    assert asked_to_wait_s(header, longest_s=60) == seconds
