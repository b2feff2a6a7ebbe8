"""The thread that writes: order, results, and its end."""

from __future__ import annotations

import asyncio
import threading

import pytest

from brain_service.store.worker import Worker, WorkerClosedError


async def test_work_is_done_in_order_in_one_thread() -> None:
    worker = Worker("test")
    done: list[int] = []
    threads = await asyncio.gather(
        *(worker.do(lambda n=n: (done.append(n), threading.get_ident())[1]) for n in range(9))
    )
    worker.close()

    assert done == list(range(9))
    assert len({*threads, threading.get_ident()}) == 2


async def test_an_exception_is_the_callers_and_later_work_goes_on() -> None:
    worker = Worker("test")
    with pytest.raises(ZeroDivisionError):
        await worker.do(lambda: 1 // 0)

    assert await worker.do(lambda: 7) == 7
    worker.close()


async def test_cancelled_work_is_done_all_the_same() -> None:
    worker = Worker("test")
    go, done = threading.Event(), threading.Event()
    first, second = worker.do(go.wait), worker.do(done.set)
    first.cancel()
    second.cancel()
    go.set()
    await asyncio.to_thread(worker.close)

    assert done.is_set()


async def test_work_here_is_done_by_the_caller_while_the_thread_has_nothing_to_do() -> None:
    worker = Worker("test")
    here, go = threading.get_ident(), threading.Event()
    assert worker.is_idle
    assert worker.do_here(threading.get_ident) == here

    held = worker.do(go.wait)
    assert not worker.is_idle
    with pytest.raises(AssertionError):
        worker.do_here(threading.get_ident)
    go.set()
    await held
    await worker.do(lambda: None)

    assert await worker.do(threading.get_ident) != here
    await asyncio.to_thread(worker.close)
    with pytest.raises(WorkerClosedError):
        worker.do_here(threading.get_ident)


async def test_closing_finishes_what_was_asked_for_and_takes_no_more() -> None:
    worker = Worker("test")
    asked = [worker.do(lambda n=n: n) for n in range(5)]
    await asyncio.to_thread(worker.close)
    worker.close()

    assert await asyncio.gather(*asked) == list(range(5))
    with pytest.raises(WorkerClosedError):
        worker.do(lambda: 0)


def test_a_loop_that_ended_meanwhile_harms_nothing() -> None:
    worker = Worker("test")
    go = threading.Event()

    async def ask() -> None:
        worker.do(go.wait)

    asyncio.run(ask())
    go.set()
    worker.close()
