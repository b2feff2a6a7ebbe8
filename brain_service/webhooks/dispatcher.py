"""Delivers the outbox: in order for each learner, with retries until accepted or too old.

Of several brains that share a database, the lease holder delivers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol, TypeVar

from brain_service.engine.notices import Backlog, Outbox, Postponed, Waiting
from brain_service.engine.storage import StoreError
from brain_service.webhooks import retrying
from brain_service.webhooks.endpoints import Endpoint, Webhooks
from brain_service.webhooks.sending import TOGETHER, Answer
from service_runtime.metrics import Histogram

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_S: Final = 1.0
"""Seconds between looks at the outbox for what other brains put there."""
SWEEP_S: Final = 10.0
"""Seconds between looks for what is too old."""
_STOPPING_S: Final = 5.0
"""How long requests in progress may take when the brain stops; they are repeated later."""
DELAYS_S: Final = (0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0)


class Poster(Protocol):
    """Makes attempts at one endpoint; see `sending.Sender`."""

    async def post(self, message_id: str, body: bytes, now_s: float) -> Answer:
        """Make one attempt."""


class WebhookCounters:
    """Counts attempts, and what waits, by the names of endpoints."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        """Start with zeros, so that metrics name each endpoint from the start."""
        self.delivered: Counter[str] = Counter({one.name: 0 for one in endpoints})
        self.faults: Counter[tuple[str, str]] = Counter(
            {(one.name, fault): 0 for one in endpoints for fault in retrying.FAULTS}
        )
        self.given_up = 0
        self.delays_s = Histogram(DELAYS_S)
        self.backlog: Mapping[str, Backlog] = {}
        """Known to the lease holder only."""


class Dispatcher:
    """Delivers for as long as it runs. All methods belong to one event loop."""

    def __init__(
        self,
        outbox: Outbox,
        settings: Webhooks,
        posters: Mapping[str, Poster],
        *,
        reload: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`posters` by the names of endpoints; `reload` reads files again, in a thread; `clock`
        gives Unix seconds.
        """
        self._outbox = outbox
        self._settings = settings
        self._posters = posters
        self._reload = reload
        self._clock = clock
        self._holder = uuid.uuid4().hex
        self._longest_s = max(one.timeout_s for one in settings.endpoints)
        # An attempt begins only where it ends within the lease, which is prolonged four times.
        self._lease_s = 2 * self._longest_s + 1.0
        self._held_until = float("-inf")
        self._wakes = {one.name: asyncio.Event() for one in settings.endpoints}
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.counters = WebhookCounters(settings.endpoints)

    def start(self) -> None:
        """Begin to deliver."""
        self._stopping.clear()
        self._tasks = [
            asyncio.create_task(self._keep_lease(), name="webhooks"),
            *(
                asyncio.create_task(self._serve(one.name), name=f"webhooks {one.name}")
                for one in self._settings.endpoints
            ),
        ]

    async def stop(self) -> None:
        """Stop: requests in progress get some seconds, and another brain may take over at once."""
        self._stopping.set()
        self.wake()
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=_STOPPING_S)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._held_until = float("-inf")
        with contextlib.suppress(StoreError):
            await self._outbox.release(self._holder)

    def wake(self) -> None:
        """Look at the outbox now."""
        for wake in self._wakes.values():
            wake.set()

    async def _keep_lease(self) -> None:
        swept_at = float("-inf")
        while not self._stopping.is_set():
            asked_at = _now()
            held = await self._tried(self._take_lease(asked_at))
            if held and asked_at - swept_at >= SWEEP_S:
                swept_at = asked_at
                await self._tried(self._sweep())
            await asyncio.to_thread(self._reload)
            pause_s = self._lease_s / 4
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._stopping.wait(), pause_s if held else min(pause_s, POLL_S)
                )

    async def _take_lease(self, asked_at: float) -> bool:
        held = _now() < self._held_until
        if await self._outbox.lease(self._holder, self._lease_s):
            self._held_until = asked_at + self._lease_s
            if not held:
                self.wake()
            return True
        self._held_until = float("-inf")
        self.counters.backlog = {}
        return False

    async def _sweep(self) -> bool:
        now_s = self._clock()
        given_up = await self._outbox.sweep(
            dead_before_ms=int((now_s - self._settings.max_age_s) * 1000),
            gone_before_ms=int((now_s - self._settings.keep_dead_s) * 1000),
            now_ms=int(now_s * 1000),
        )
        self._gave_up(given_up)
        nothing = {one.name: Backlog(0, 0, 0) for one in self._settings.endpoints}
        self.counters.backlog = nothing | await self._outbox.backlog()
        return True

    def _may_send(self) -> bool:
        """Whether an attempt that begins now ends within the lease."""
        return _now() + self._longest_s < self._held_until and not self._stopping.is_set()

    async def _serve(self, name: str) -> None:
        """Deliver to one endpoint; a failing one gets one message at a time, ever more rarely, and
        one that is gone gets none.
        """
        wake = self._wakes[name]
        failures, pause_until = 0, float("-inf")
        while not self._stopping.is_set():
            wake.clear()
            pause_s = pause_until - _now()
            tried: list[Answer] = []
            if pause_s <= 0 and self._may_send():
                limit = 1 if failures else TOGETHER
                tried = await self._tried(self._round(name, limit)) or []
            faulty = [answer for answer in tried if answer.fault]
            if tried and not faulty:
                failures = 0
                continue
            if any(answer.fault == "gone" for answer in faulty):
                logger.error("endpoint %s is gone: it gets no more until the brain restarts", name)
                return
            if faulty:
                failures = failures + 1 if len(faulty) == len(tried) else 1
                pause_s = max(self._wait_s(failures), *(answer.wait_s for answer in faulty))
                pause_until = _now() + pause_s
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._stopping.wait() if pause_s > 0 else wake.wait(),
                    max(pause_s, 0.0) or POLL_S,
                )

    async def _round(self, name: str, limit: int) -> list[Answer]:
        now_ms = int(self._clock() * 1000)
        waiting = await self._outbox.due(name, now_ms=now_ms, limit=limit)
        if not waiting or not self._may_send():
            return []
        began = self._clock()
        poster = self._posters[name]
        answers = await asyncio.gather(
            *(poster.post(each.message_id, each.body, began) for each in waiting)
        )
        await self._record(name, list(zip(waiting, answers, strict=True)))
        return answers

    async def _record(self, name: str, tried: list[tuple[Waiting, Answer]]) -> None:
        now_s = self._clock()
        done = [each for each, answer in tried if not answer.fault]
        left = [self._postponed(each, answer, now_s) for each, answer in tried if answer.fault]
        if left:
            await self._outbox.postpone(left, now_ms=int(now_s * 1000))
        if done:
            await self._outbox.delivered([each.place for each in done])
        self._count(name, tried, done, now_s)
        self._gave_up(sum(each.dead for each in left))
        if left:
            logger.warning(
                "endpoint %s: %d of %d messages not taken: %s",
                *(name, len(left), len(tried), ", ".join(sorted({each.why for each in left}))),
            )

    def _postponed(self, each: Waiting, answer: Answer, now_s: float) -> Postponed:
        wait_s = max(self._wait_s(each.attempts + 1), answer.wait_s)
        dead = now_s - each.since_ms / 1000 > self._settings.max_age_s
        return Postponed(each.place, int((now_s + wait_s) * 1000), answer.said, dead)

    def _count(
        self, name: str, tried: list[tuple[Waiting, Answer]], done: list[Waiting], now_s: float
    ) -> None:
        counters = self.counters
        counters.delivered[name] += len(done)
        counters.faults.update((name, answer.fault) for _, answer in tried if answer.fault)
        for each in done:
            counters.delays_s.observe(max(0.0, now_s - each.since_ms / 1000))

    def _gave_up(self, count: int) -> None:
        self.counters.given_up += count
        if count:
            logger.error("gave up %d messages: `webhooks list` shows them", count)

    def _wait_s(self, failures: int) -> float:
        return retrying.wait_s(
            failures,
            first_s=self._settings.first_retry_s,
            longest_s=self._settings.longest_retry_s,
            chance=random.random(),  # noqa: S311 - parts those who failed together
        )

    async def _tried(self, work: Awaitable[T]) -> T | None:
        """Return the result of `work`; None while the store is away, which is retried."""
        try:
            return await work
        except StoreError as error:
            logger.warning("the outbox is not available: %s", error)
        except Exception:
            logger.exception("webhooks go on after a fault")
        return None


def _now() -> float:
    return asyncio.get_running_loop().time()
