"""Deadlines of many sockets on one timer."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.timers import TICK_S, TimerWheel
from tests.support.clocks import FakeClock

quick = settings(max_examples=60, deadline=None)


class _Timed:
    def __init__(self) -> None:
        self.tick = 0
        self.due = 0.0
        self.fired: list[float] = []

    def on_due(self, now: float) -> None:
        self.fired.append(now)


@quick
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["schedule", "cancel", "turn"]), st.integers(0, 4), st.floats(0, 3)
        ),
        max_size=60,
    )
)
def test_the_wheel_is_never_early_and_at_most_two_ticks_late(
    steps: list[tuple[str, int, float]],
) -> None:
    clock = FakeClock()
    wheel = TimerWheel(clock)
    timers = [_Timed() for _ in range(5)]
    wished: dict[int, float] = {}
    for kind, index, amount in [*steps, ("turn", 0, 10.0)]:
        timer = timers[index]
        if kind == "schedule":
            wheel.schedule(timer, clock.now + amount)
            wished[index] = clock.now + amount
        elif kind == "cancel":
            wheel.cancel(timer)
            wished.pop(index, None)
        else:
            clock.advance(amount)
            wheel.turn()
            for which, one in enumerate(timers):
                if one.fired:
                    assert one.fired == [clock.now]
                    assert wished.pop(which) <= clock.now
                    assert one.tick == 0
                    one.fired.clear()
            assert all(due + 2 * TICK_S > clock.now for due in wished.values())
    assert wished == {}


def test_what_another_ones_turn_cancels_or_moves_does_not_fire() -> None:
    clock = FakeClock()
    wheel = TimerWheel(clock)
    cancelled, moved = _Timed(), _Timed()

    class _Meddler(_Timed):
        def on_due(self, now: float) -> None:
            super().on_due(now)
            wheel.cancel(cancelled)
            wheel.schedule(moved, now + 1)

    meddler = _Meddler()
    for timer in (meddler, cancelled, moved):
        wheel.schedule(timer, clock.now + 0.01)
    clock.advance(0.2)
    wheel.turn()

    assert (len(meddler.fired), cancelled.fired, moved.fired) == (1, [], [])
    clock.advance(1.2)
    wheel.turn()
    assert (cancelled.fired, len(moved.fired)) == ([], 1)


def test_one_that_fails_takes_nobody_elses_turn(caplog: pytest.LogCaptureFixture) -> None:
    class _Faulty(_Timed):
        def on_due(self, now: float) -> None:
            raise ZeroDivisionError

    clock = FakeClock()
    wheel = TimerWheel(clock)
    faulty, sound = _Faulty(), _Timed()
    wheel.schedule(faulty, clock.now)
    wheel.schedule(sound, clock.now)
    clock.advance(1)
    with caplog.at_level(logging.ERROR):
        wheel.turn()

    assert len(sound.fired) == 1
    assert len(caplog.records) == 1
