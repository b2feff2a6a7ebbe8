"""Long work leaves half of the event loop to others."""

from __future__ import annotations

import pytest

from service_runtime import slices
from service_runtime.slices import sliced
from tests.support.turns import turns_beside


async def _taken(count: int) -> list[int]:
    return [item async for item in sliced(range(count))]


async def test_items_come_in_order_and_others_have_their_turn_after_each_slice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 0.0)
    taken, turns = await turns_beside(_taken(100))
    assert taken == list(range(100))
    assert turns >= 100


async def test_short_work_is_not_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SLICE_S", 60.0)
    assert await turns_beside(_taken(1_000)) == (list(range(1_000)), 0)


async def test_a_slice_is_followed_by_a_rest_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    now = 0.0

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(slices.asyncio, "sleep", rest)
    monkeypatch.setattr(slices.time, "perf_counter", lambda: now)
    async for _ in sliced(range(6)):
        now += 0.0006
    assert rests == pytest.approx([0.0012, 0.0012])
