"""Sends many small requests as few calls: what arrives during a call goes into the next one.

Light load means batches of one with no added wait, heavy load means large ones. Senders with one
item in flight do not wait behind those with many: they go first, and while there are some, a batch
takes only a moment's work of the others.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from typing import Any, Final, Generic, TypeAlias, TypeVar

from edge.ports import Done, UpstreamError
from edge.telemetry.tracing import NO_CALL_TRACES, NoCallTraces, Queued
from edge.upstream.errors import translate
from service_runtime import telemetry
from service_runtime.metrics import DURATION_S, SIZES, Histogram

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

MOMENT_S: Final = 0.01
"""How long a batch may take while senders with one item are expected."""

FEWEST: Final = 16
"""Fewest items of senders with many in flight that a batch takes, however long that takes."""

LATELY_S: Final = 1.0
"""How long after one went first another is expected."""


class Calls:
    """Counters of one kind of call."""

    __slots__ = ("durations_s", "failures", "sizes")

    def __init__(self) -> None:
        """Start at zero."""
        self.durations_s = Histogram(DURATION_S)
        """From sending a batch to its answers, retries included."""
        self.sizes = Histogram(SIZES)
        self.failures = 0
        """Calls whose whole batch got no answer."""


Asked: TypeAlias = tuple[Item, Done[Any], Queued | None]
"""A request, its callback, and its trace."""


class Batcher(Generic[Item]):
    """One call at a time; every item gets exactly one answer or UpstreamError."""

    def __init__(
        self,
        call: Callable[[list[Item]], Awaitable[Sequence[Any]]],
        *,
        service: str,
        max_batch: int,
        max_pending: int,
        brief: bool = False,
        traces: NoCallTraces = NO_CALL_TRACES,
    ) -> None:
        """`call` answers a batch in its order, or raises; `service` is its name in error messages.

        `brief` keeps calls to about a moment each, for items of very different cost. `traces`
        records the calls of sampled items.
        """
        self._call = call
        self._service = service
        self._max_batch = max_batch
        self._max_pending = max_pending
        self.calls = Calls()
        self.traces = traces
        self._first: deque[Asked[Item]] = deque()
        """Items that go before `_waiting`."""
        self._waiting: deque[Asked[Item]] = deque()
        self._first_until = math.inf if brief else 0.0
        """Until when another sender that goes first is expected."""
        self._share = FEWEST if brief else max_batch
        """Items of `_waiting` that take about a moment."""
        self._under_way: list[Asked[Item]] = []
        self._running: asyncio.Task[Any] | None = None
        self._is_withdrawn = False
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._first) + len(self._waiting)

    def submit(
        self,
        item: Item,
        done: Done[Any],
        queued: Queued | None = None,
        *,
        alone: bool = False,
    ) -> None:
        """Put an item into the next call; `done` gets its answer, or `overloaded` at once when too
        many wait.

        `queued` is its trace, if not the present one. `alone` means that its sender has nothing
        else in flight; it goes before the others.
        """
        if len(self._waiting) + len(self._first) >= self._max_pending:
            done(
                UpstreamError(
                    "overloaded",
                    "Too much is going on; try again in a moment.",
                    retry_after_ms=1000,
                )
            )
            return
        line = self._first if alone else self._waiting
        line.append((item, done, queued or self.traces.queue()))
        self._arrived.set()

    def withdraw(self) -> list[Asked[Item]]:
        """Return what is in flight and what waits, unanswered and in order, for another batcher.
        The present call is cancelled; whether it had an effect is unknown.
        """
        asked = [*self._under_way, *self._first, *self._waiting]
        self._first.clear()
        self._waiting.clear()
        if self._under_way and self._running is not None:
            self._under_way = []
            self._is_withdrawn = True
            self._running.cancel()
        return asked

    async def run(self) -> None:
        """Send what arrives until cancelled; what waits then gets `unavailable`."""
        self._running = asyncio.current_task()
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._first or self._waiting:
                    await self._answer_batch()
                    # Clients' next frames, prompted by the answers, have arrived but are not read
                    # yet. Going on now would send the few already read as a batch of their own, and
                    # all others would wait for it.
                    await asyncio.sleep(0)
        finally:
            for _, done, _ in (*self._first, *self._waiting):
                self._finish(
                    done,
                    UpstreamError(
                        "unavailable", "The edge is stopping; try again.", retry_after_ms=1000
                    ),
                )
            self._first.clear()
            self._waiting.clear()

    def _next_batch(self, now: float) -> list[Asked[Item]]:
        """Take those that go first, and as many of the others as fit."""
        first, waiting, most = self._first, self._waiting, self._max_batch
        if first:
            if waiting:
                self._first_until = max(self._first_until, now + LATELY_S)
            left = min(FEWEST, most // 2) if waiting else 0  # or the others would starve
            batch = [first.popleft() for _ in range(min(len(first), most - left))]
            most -= len(batch)
        else:
            batch = []
        if now < self._first_until:
            most = min(most, self._share)
        batch += [waiting.popleft() for _ in range(min(len(waiting), most))]
        return batch

    def _learn(self, size: int, took_s: float) -> None:
        """Adapt how many items take a moment to how long a batch took; small batches say little."""
        if size >= self._share or took_s > MOMENT_S:
            fit = int(size * MOMENT_S / max(took_s, 1e-6))
            self._share = max(FEWEST, min(self._max_batch, fit, 2 * self._share))

    async def _answer_batch(self) -> None:
        began = time.perf_counter()
        batch = self._under_way = self._next_batch(began)
        traced = [queued for _, _, queued in batch if queued is not None]
        sent_ns = telemetry.now_ns() if traced else 0
        try:
            with telemetry.within(traced[0].context) if traced else nullcontext():
                answers = await self._call([item for item, _, _ in batch])
            if len(answers) != len(batch):
                raise ValueError(f"{len(answers)} answers to {len(batch)} questions")
        except asyncio.CancelledError:
            if self._is_withdrawn:
                self._is_withdrawn = False
                if self._running is not None and not self._running.uncancel():
                    return
            self._waiting.extendleft(reversed(self._under_way))
            raise
        except Exception as error:
            self.calls.failures += 1
            failure = translate(error, self._service)
            if failure.code == "internal":
                extra = {"upstream": self._service} | (
                    {"trace_id": traced[0].context.trace_id, "span_id": traced[0].context.span_id}
                    if traced
                    else {}
                )
                logger.error("a call failed", extra=extra, exc_info=error)
            answers = [failure] * len(batch)
        if self._is_withdrawn:  # it timed out at the same moment
            self._is_withdrawn = False
            if self._running is not None:
                self._running.uncancel()
            return
        self._under_way = []
        self.calls.sizes.observe(len(batch))
        took_s = time.perf_counter() - began
        self.calls.durations_s.observe(took_s)
        self._learn(len(batch), took_s)
        if traced:
            errors = [
                answer.code if isinstance(answer, UpstreamError) else "" for answer in answers
            ]
            items = [
                (one[2], error)
                for one, error in zip(batch, errors, strict=True)
                if one[2] is not None
            ]
            self.traces.answered(items, size=len(batch), sent_ns=sent_ns)
        for (_, done, _), answer in zip(batch, answers, strict=True):
            self._finish(done, answer)

    @staticmethod
    def _finish(done: Done[Any], answer: Any) -> None:
        try:
            done(answer)
        except Exception:
            logger.exception("an answer could not be handled")
