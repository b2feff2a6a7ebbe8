"""Who may do how much: rates, sockets of a user and an address, and decisions that are kept."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.admission import access as access_module
from edge.admission.access import MAX_PER_USER, Access
from edge.admission.limits import Shares, TokenBucket
from edge.admission.registry import Registry
from edge.ports import UpstreamError
from edge.telemetry.counters import EdgeCounters
from tests.support.clocks import FakeClock
from tests.support.fakes import FakeAuth

quick = settings(max_examples=60, deadline=None)


# Limits


@quick
@given(
    rate=st.floats(0.5, 200),
    burst=st.integers(1, 200),
    gaps=st.lists(st.floats(0, 2), min_size=1, max_size=300),
)
def test_a_bucket_never_gives_more_than_its_burst_and_rate(
    rate: float, burst: int, gaps: list[float]
) -> None:
    now = start = 50.0
    bucket = TokenBucket(rate=rate, burst=burst, now=now)
    taken = 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now) == 0.0

        assert taken <= burst + (now - start) * rate + 1e-6


@quick
@given(rate=st.floats(0.5, 200), burst=st.integers(1, 50))
def test_a_bucket_gives_its_whole_burst_at_once_and_then_says_when_to_come_back(
    rate: float, burst: int
) -> None:
    bucket = TokenBucket(rate=rate, burst=burst, now=0.0)

    assert [bucket.take(0.0) for _ in range(burst)] == [0.0] * burst
    wait = bucket.take(0.0)
    assert 0 < wait <= 1 / rate + 1e-9
    assert bucket.take(wait * 0.5) > 0
    assert bucket.take(wait * 1.5 + 1e-9) == 0.0


def test_a_rate_of_zero_allows_everything() -> None:
    bucket = TokenBucket(rate=0, burst=0, now=0.0)

    assert {bucket.take(0.0) for _ in range(1000)} == {0.0}


def test_who_keeps_most_of_a_names_bytes_gives_way() -> None:
    shares: Shares[str] = Shares(100)
    assert shares.keep("home", "ada", 60) is None
    assert shares.keep("home", "ben", 40) is None
    assert shares.keep("elsewhere", "eve", 100) is None

    assert shares.keep("home", "ben", 41) == "ada"
    shares.leave("home", "ada")
    assert shares.keep("home", "ben", 100) is None
    assert shares.keep("home", "ben", 101) == "ben"


def test_what_is_kept_no_more_counts_no_more() -> None:
    shares: Shares[str] = Shares(100)
    shares.keep("home", "ada", 60)
    shares.keep("home", "ada", 30)
    assert len(shares) == 30
    shares.leave("home", "ben")
    shares.leave("elsewhere", "ada")
    shares.leave("home", "ada")
    assert len(shares) == 0


# Registry


class _Listed:
    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.session_id = ""

    def recheck(self) -> None: ...

    def revoke(self) -> None: ...


def test_a_user_has_at_most_so_many_sockets() -> None:
    counters = EdgeCounters()
    registry = Registry(counters, max_per_user=2, max_per_address=0)
    first, second, third = (_Listed("u") for _ in range(3))

    assert [registry.add(one) for one in (first, second, third)] == [True, True, False]
    assert registry.add(_Listed("v"))
    assert registry.remove(third) is False
    assert registry.remove(first) is False
    assert registry.add(third)
    assert registry.remove(second) is False
    assert registry.remove(third) is True
    assert registry.of_user("u") == []
    assert (
        counters.connections_opened,
        counters.connections_closed,
        counters.connections_active,
    ) == (4, 3, 1)


def test_an_address_has_at_most_so_many_sockets() -> None:
    registry = Registry(EdgeCounters(), max_per_user=0, max_per_address=2)

    assert [registry.addresses.take("a") for _ in range(3)] == [True, True, False]
    assert registry.addresses.take("b")
    registry.addresses.leave("a")
    assert registry.addresses.take("a")


def test_sessions_may_leave_while_all_are_told() -> None:
    registry = Registry(EdgeCounters(), max_per_user=0, max_per_address=0)
    sessions = [_Listed(user) for user in "uuvw"]
    for one in sessions:
        registry.add(one)

    seen = []
    for one in registry.sessions():
        seen.append(one)
        registry.remove(one)

    assert seen == sessions
    assert list(registry.sessions()) == []


# Access


def _access() -> tuple[Access, FakeAuth, FakeClock]:
    auth, clock = FakeAuth(), FakeClock()
    return Access(auth, clock), auth, clock


def test_a_decision_is_asked_once_until_it_expires() -> None:
    access, auth, clock = _access()
    heard: list[object] = []
    for _ in range(3):
        access.ask("u", "watch", "ada", heard.append)
    clock.advance(auth.ttl_s + 0.001)
    access.ask("u", "watch", "ada", heard.append)

    assert heard == [True] * 4
    assert len(auth.asked) == 2


def test_a_refusal_is_remembered_too_and_belongs_to_one_question_only() -> None:
    access, auth, _ = _access()
    auth.decisions["u", "watch", "ada"] = False
    heard: list[object] = []
    for user, action, resource in (("u", "watch", "ada"),) * 2 + (
        ("v", "watch", "ada"),
        ("u", "interact", "ada"),
        ("u", "watch", "ben"),
    ):
        access.ask(user, action, resource, heard.append)

    assert heard == [False, False, True, True, True]
    assert len(auth.asked) == 4


def test_an_error_is_told_and_not_remembered() -> None:
    access, auth, _ = _access()
    auth.failure = UpstreamError("unavailable", "x")
    heard: list[object] = []
    access.ask("u", "watch", "ada", heard.append)
    auth.failure = None
    access.ask("u", "watch", "ada", heard.append)

    assert heard == [heard[0], True]
    assert isinstance(heard[0], UpstreamError)


@pytest.mark.parametrize(
    "forget",
    [
        lambda access: access.forget_user("u"),
        lambda access: access.forget_learner("ada"),
        lambda access: access.forget_all(),
    ],
)
def test_what_was_revoked_while_a_question_was_under_way_is_asked_again(forget: object) -> None:
    access, auth, _ = _access()
    auth.hold = True
    heard: list[object] = []
    access.ask("u", "watch", "ada", heard.append)
    auth.decisions["u", "watch", "ada"] = False
    forget(access)  # type: ignore[operator]
    auth.release()  # the old answer: yes

    assert heard == []
    auth.release()
    assert heard == [False]
    assert access.known("u", "watch", "ada") is False


def test_a_user_who_leaves_makes_nobody_ask_again() -> None:
    access, auth, _ = _access()
    auth.hold = True
    heard: list[object] = []
    access.ask("u", "watch", "ada", heard.append)
    access.release("v")
    auth.release()

    assert heard == [True]
    assert len(auth.asked) == 1


def test_those_who_ask_the_same_are_answered_in_their_order_by_one_question() -> None:
    access, auth, _ = _access()
    auth.hold = True
    order: list[int] = []
    for number in range(3):
        access.ask("u", "interact", "ada", lambda _, number=number: order.append(number))
    auth.release()

    assert order == [0, 1, 2]
    assert len(auth.asked) == 1


def test_one_who_fails_to_take_an_answer_takes_it_from_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    access, auth, _ = _access()
    auth.hold = True
    heard: list[object] = []
    access.ask("u", "watch", "ada", lambda _: 1 / 0)
    access.ask("u", "watch", "ada", heard.append)
    with caplog.at_level(logging.ERROR):
        auth.release()

    assert heard == [True]
    assert len(caplog.records) == 1


def test_forgetting_a_learner_forgets_rooms_and_nothing_else() -> None:
    access, _, _ = _access()
    for question in (("watch", "ada"), ("watch", "ben"), ("join", "class")):
        access.ask("u", *question, lambda _: None)
    access.forget_learner("ada")

    assert access.known("u", "watch", "ada") is None
    assert access.known("u", "join", "class") is None
    assert access.known("u", "watch", "ben") is True


def test_a_user_who_asks_for_everything_does_not_fill_the_memory() -> None:
    access, _auth, _ = _access()
    for number in range(MAX_PER_USER * 2 + 5):
        access.ask("u", "watch", f"l{number}", lambda _: None)
    remembered = sum(
        access.known("u", "watch", f"l{number}") is True for number in range(MAX_PER_USER * 2 + 5)
    )

    assert 0 < remembered <= MAX_PER_USER


def test_of_users_who_never_say_goodbye_nothing_outlives_its_time() -> None:
    access, auth, clock = _access()
    for number in range(100):
        access.ask(f"u{number}", "watch", "ada", lambda _: None)
        clock.advance(1.0)
    kept = int(auth.ttl_s) + 1

    assert len(access) <= kept < 100
    assert access.known("u99", "watch", "ada") is True


def test_so_many_users_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access_module, "MAX_USERS", 3)
    access, _, _ = _access()
    for user in ("a", "b", "c", "a", "d"):
        access.ask(user, "watch", f"for {user}", lambda _: None)
        access.ask(user, "watch", f"again for {user}", lambda _: None)

    assert len(access) == 3
    assert access.known("a", "watch", "for a") is None, "whoever was asked about longest ago"
    assert access.known("d", "watch", "for d") is True
