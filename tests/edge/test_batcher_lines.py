"""Who asks one thing at a time does not wait behind those who ask many; nobody waits for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from edge.upstream import batcher as module
from edge.upstream.batcher import FEWEST, Batcher
from tests.support.edge_values import interaction
from tests.support.eventually import until
from tests.support.fakes import FakeEdge, say

MANY = 200


class Clockwork:
    """Answers batches at once, having taken so many seconds an item."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, each_s: float) -> None:
        self.now, self._each_s = 100.0, each_s
        self.calls: list[list[str]] = []
        self.before: Callable[[], object] = lambda: None
        """What happens during a call."""
        monkeypatch.setattr(module.time, "perf_counter", lambda: self.now)

    async def call(self, items: list[str]) -> list[str]:
        self.calls.append(items)
        self.before()
        self.now += self._each_s * len(items)
        return items


@asynccontextmanager
async def _running(service: Clockwork, **limits: int) -> AsyncIterator[Batcher[str]]:
    batcher = Batcher[str](
        service.call, service="brain", **{"max_batch": MANY, "max_pending": 10_000, **limits}
    )
    task = asyncio.create_task(batcher.run())
    yield batcher
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_who_is_alone_goes_before_all_who_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    service, answers = Clockwork(monkeypatch, each_s=0.0), list[str]()
    async with _running(service, max_batch=20) as batcher:
        for number in range(60):
            batcher.submit(f"many {number}", answers.append)
        batcher.submit("alone", answers.append, alone=True)
        await until(lambda: len(answers) >= 61)

    assert answers[0] == "alone"
    assert answers[1:] == [f"many {number}" for number in range(60)]


async def test_beside_who_is_alone_a_batch_of_others_takes_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service, answers = Clockwork(monkeypatch, each_s=0.000_5), list[str]()
    async with _running(service) as batcher:
        service.before = lambda: batcher.submit("alone", answers.append, alone=True)
        for number in range(6 * MANY):
            batcher.submit(f"many {number}", answers.append)
        await until(lambda: len(answers) >= 6 * MANY)

    assert len(service.calls[0]) == MANY, "nobody was expected"
    assert all(len(call) <= 25 for call in service.calls[2:20]), "20 take 10 ms"


async def test_where_nobody_is_alone_batches_stay_large(monkeypatch: pytest.MonkeyPatch) -> None:
    service, answers = Clockwork(monkeypatch, each_s=0.000_5), list[str]()
    async with _running(service) as batcher:
        for number in range(6 * MANY):
            batcher.submit(f"many {number}", answers.append)
        await until(lambda: len(answers) >= 6 * MANY)

    assert [len(call) for call in service.calls] == [MANY] * 6


async def test_brief_calls_take_a_moment_each(monkeypatch: pytest.MonkeyPatch) -> None:
    service, answers = Clockwork(monkeypatch, each_s=0.000_1), list[str]()
    async with _running(service, brief=True) as batcher:
        for number in range(6 * MANY):
            batcher.submit(f"many {number}", answers.append)
        await until(lambda: len(answers) == 6 * MANY)

    sizes = [len(call) for call in service.calls]
    assert sizes[0] == FEWEST, "nothing is known of them yet"
    assert max(sizes) == 100, "10 ms"


async def test_who_asks_many_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    service, answers = Clockwork(monkeypatch, each_s=0.01), list[str]()
    async with _running(service) as batcher:
        for number in range(MANY):
            batcher.submit(f"many {number}", answers.append)

        def crowd() -> None:
            for _ in range(MANY):
                batcher.submit("alone", lambda _: None, alone=True)

        service.before = crowd
        await until(lambda: len(answers) >= MANY)

    last = max(n for n, call in enumerate(service.calls) if f"many {MANY - 1}" in call)
    assert last <= MANY / FEWEST + 1
    assert answers == [f"many {number}" for number in range(MANY)]


async def test_what_is_withdrawn_is_all_that_waits() -> None:
    batcher = Batcher[str](None, service="brain", max_batch=1, max_pending=2)  # type: ignore[arg-type]
    answers: list[Any] = []
    batcher.submit("one of many", answers.append)
    batcher.submit("alone", answers.append, alone=True)
    batcher.submit("too much", answers.append, alone=True)

    assert [error.code for error in answers] == ["overloaded"]
    assert [item for item, _, _ in batcher.withdraw()] == ["alone", "one of many"]
    assert len(batcher) == 0


def test_who_sends_one_after_the_other_is_alone_and_who_sends_many_is_not(edge: FakeEdge) -> None:
    session, _ = edge.session("ada")
    for _ in range(2):
        say(session, "virtual_brain_interact", data=interaction())
    edge.brain.hold = True
    for _ in range(3):
        say(session, "virtual_brain_interact", data=interaction())
    edge.brain.hold = False
    edge.brain.release()
    for _ in range(3):
        say(session, "virtual_brain_interact", data=interaction())

    assert edge.brain.alone == [True, True, True, False, False, False, True, True]
