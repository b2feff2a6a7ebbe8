"""Streams of changes."""

from __future__ import annotations

import pytest

from auth_service.domain import Change
from auth_service.revocations import Broadcaster, WatchCutError

ONE, TWO = Change(user_id="1"), Change(learner_id="2")
NEVER_S = 60.0


async def test_every_stream_gets_every_change_in_order() -> None:
    broadcaster = Broadcaster(10)
    with broadcaster.watch() as first, broadcaster.watch() as second:
        broadcaster.publish([ONE])
        broadcaster.publish([TWO, ONE])

        for watch in (first, second):
            assert await anext(watch.batches(NEVER_S)) == (ONE, TWO, ONE)


async def test_a_quiet_stream_gets_heartbeats() -> None:
    broadcaster = Broadcaster(10)
    with broadcaster.watch() as watch:
        batches = watch.batches(0.001)

        assert [await anext(batches), await anext(batches)] == [(), ()]
        broadcaster.publish([ONE])
        assert (ONE,) in [await anext(batches), await anext(batches)]


async def test_a_stream_that_lags_is_cut_and_holds_nothing_while_others_go_on() -> None:
    broadcaster = Broadcaster(2)
    with broadcaster.watch() as slow, broadcaster.watch() as quick:
        batches = quick.batches(NEVER_S)
        for _ in range(5):
            broadcaster.publish([ONE])
            assert await anext(batches) == (ONE,)

        assert slow.take() == ()
        with pytest.raises(WatchCutError):
            await anext(slow.batches(NEVER_S))


async def test_a_closed_stream_is_forgotten() -> None:
    broadcaster = Broadcaster(2)
    with broadcaster.watch():
        assert len(broadcaster) == 1

    assert len(broadcaster) == 0


async def test_cutting_all_makes_every_stream_fail() -> None:
    broadcaster = Broadcaster(2)
    with broadcaster.watch() as watch:
        broadcaster.cut_all()

        with pytest.raises(WatchCutError):
            await anext(watch.batches(NEVER_S))
