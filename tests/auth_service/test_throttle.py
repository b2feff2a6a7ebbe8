"""Slowing brute force down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_service.throttle import Policy, Throttle, address_key

POLICY = Policy(free=3, base_s=1.0, max_s=8.0, forget_s=100.0, max_keys=50)


def fail(throttle: Throttle, key: str, times: int, now_s: float = 0.0) -> float:
    """Fail as fast as allowed; return the time after the last failure."""
    for _ in range(times):
        now_s += throttle.wait_s(key, now_s)
        throttle.attempt(key, now_s)
    return now_s


@pytest.mark.parametrize(
    ("failures", "wait_s"), [(0, 0), (2, 0), (3, 1), (4, 2), (5, 4), (6, 8), (7, 8), (200, 8)]
)
def test_waits_double_after_the_free_failures_up_to_the_longest(
    failures: int, wait_s: float
) -> None:
    throttle = Throttle(POLICY)

    now_s = fail(throttle, "ann", failures)

    assert throttle.wait_s("ann", now_s) == wait_s
    assert throttle.wait_s("bob", now_s) == 0


def test_success_of_an_account_forgives_everything() -> None:
    throttle = Throttle(POLICY)
    now_s = fail(throttle, "ann", 6)

    throttle.forgive("ann")

    assert throttle.wait_s("ann", now_s) == 0
    assert len(throttle) == 0


def test_success_between_guesses_does_not_unblock_an_address() -> None:
    throttle = Throttle(POLICY)
    now_s = fail(throttle, "address", 5)
    now_s += throttle.wait_s("address", now_s)

    throttle.refund(
        "address", throttle.attempt("address", now_s)
    )  # an own account, used to get the block lifted
    assert throttle.wait_s("address", now_s) == 0
    throttle.attempt("address", now_s)

    assert throttle.wait_s("address", now_s) == 8


def test_a_late_success_does_not_lift_the_block_of_a_later_failure() -> None:
    throttle = Throttle(POLICY)
    now_s = fail(throttle, "address", 3)
    now_s += throttle.wait_s("address", now_s)
    ticket = throttle.attempt("address", now_s)
    later_s = now_s + throttle.wait_s("address", now_s)
    throttle.attempt("address", later_s)

    throttle.refund("address", ticket)

    assert throttle.wait_s("address", later_s) == 4


def test_a_quiet_key_starts_afresh() -> None:
    throttle = Throttle(POLICY)
    now_s = fail(throttle, "ann", 6)

    now_s += POLICY.forget_s
    assert throttle.wait_s("ann", now_s) == 0
    throttle.attempt("ann", now_s)

    assert throttle.wait_s("ann", now_s) == 0


def test_the_key_quiet_for_longest_is_forgotten_when_memory_is_full() -> None:
    throttle = Throttle(POLICY)
    now_s = fail(throttle, "old", 6)
    fail(throttle, "attacked", 6, now_s)
    for number in range(POLICY.max_keys - 1):
        throttle.attempt(f"key {number}", now_s)

    assert len(throttle) == POLICY.max_keys
    assert throttle.wait_s("old", now_s) == 0
    assert throttle.wait_s("attacked", now_s) > 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from(["attempt", "refund", "forgive"]), st.floats(0, 200)
    ),
    max_size=60,
)


@given(STEPS)
def test_waits_are_bounded_and_memory_too_whatever_happens(
    steps: list[tuple[str, str, float]],
) -> None:
    policy = Policy(free=2, max_s=5.0, forget_s=50.0, max_keys=2)
    throttle = Throttle(policy)
    now_s = 0.0
    tickets: dict[str, float] = {}
    for key, what, pause_s in steps:
        now_s += pause_s
        if what == "forgive":
            throttle.forgive(key)
        elif what == "refund":
            throttle.refund(key, tickets.pop(key, 0.0))
        elif throttle.wait_s(key, now_s) == 0:
            tickets[key] = throttle.attempt(key, now_s)
        assert 0 <= throttle.wait_s(key, now_s) <= policy.max_s
        assert len(throttle) <= policy.max_keys


@given(st.integers(1, 400))
def test_guesses_per_hour_are_bounded(hours: int) -> None:
    throttle = Throttle(Policy(free=10, max_s=60.0))
    now_s, guesses = 0.0, 0
    while now_s < 3600 and guesses < hours:
        now_s += throttle.wait_s("ann", now_s)
        throttle.attempt("ann", now_s)
        guesses += 1

    assert guesses <= 10 + 6 + 3600 / 60 + 1


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:ffff::]", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", ""),
        ("not an address", ""),
    ],
)
def test_an_address_is_slowed_as_the_network_one_customer_has(address: str, key: str) -> None:
    assert key == address_key(address)
