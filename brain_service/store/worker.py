"""One thread that does blocking work in order.

A `ThreadPoolExecutor` of one does the same at twice the CPU: about 100 µs a call against 50, paid
by every commit. Most of those 50 is waking threads; `do_here` avoids that where nobody else would
wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Final, TypeVar

T = TypeVar("T")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class WorkerClosedError(RuntimeError):
    """The worker takes no more work."""


class Worker:
    """Does one job after the other. An interpreter that exits without `close` ends it as a crash
    would.
    """

    def __init__(self, name: str) -> None:
        self._jobs: Final[SimpleQueue[_Job | None]] = SimpleQueue()
        self._closing = Lock()
        self._closed = False
        self._asked = self._done = 0
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Queue `work`; its result or exception becomes the future's.

        Call it on an event loop, which the future belongs to. Cancelling the future does not stop
        the work. Raises `WorkerClosedError`.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        # Otherwise a job could land behind the one that ends the thread, and its caller would wait
        # for ever.
        with self._closing:
            if self._closed:
                raise WorkerClosedError("the worker is closed")
            self._asked += 1
            self._jobs.put((loop, future, work))
        return future

    @property
    def is_idle(self) -> bool:
        """Whether all queued work is done."""
        return self._asked == self._done

    def do_here(self, work: Callable[[], T]) -> T:
        """Do `work` on the calling thread, which must be the one that calls `do`, while the worker
        is idle. Raises `WorkerClosedError`, and what `work` raises.
        """
        assert self.is_idle  # noqa: S101 - two threads at the same work
        with self._closing:
            if self._closed:
                raise WorkerClosedError("the worker is closed")
            return work()

    def close(self) -> None:
        """Finish the queued work and end the thread. Blocks; harmless twice."""
        with self._closing:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(*job)
            del job  # or what it holds of a learner would stay until the next one comes

    def _do(
        self,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
        work: Callable[[], Any],
    ) -> None:
        result, failure = None, None
        try:
            result = work()
        except BaseException as error:
            failure = error
        self._done += 1  # before the loop learns of it and asks whether all is done
        # A loop that was closed meanwhile has nobody waiting.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, future, result, failure)


def _settle(future: asyncio.Future[Any], result: object, failure: BaseException | None) -> None:
    if future.done():
        return
    if failure is None:
        future.set_result(result)
    else:
        future.set_exception(failure)
