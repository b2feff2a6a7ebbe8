"""The lifetime of a process, whatever it does: event loop, logs, signals, exit code."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine

import uvloop

from service_runtime import logs
from service_runtime.settings import SettingsError

logger = logging.getLogger(__name__)


class Stop(asyncio.Event):
    """Set when the process should end; wait for it, then shut down in order."""


Main = Callable[[Stop], Coroutine[None, None, None]]


def run(main: Main, *, name: str) -> int:
    """Run `main` until it returns and return the exit code.

    SIGINT and SIGTERM set the `Stop` it gets; a second one ends the process at once. A
    SettingsError is printed to standard error and exits with 2, any other exception is logged and
    exits with 1.
    """
    level = (os.environ.get("LOG_LEVEL") or "INFO").upper()
    if level not in logs.LEVELS:
        print(
            f"{name} cannot start:\nLOG_LEVEL must be one of {', '.join(logs.LEVELS)}",
            file=sys.stderr,
        )
        return 2
    logs.setup(name, level=level)
    try:
        uvloop.run(_supervise(main))
    except SettingsError as error:
        print(f"{name} cannot start:\n{error}", file=sys.stderr)
        return 2
    except Exception:
        logger.exception("%s failed", name)
        return 1
    return 0


def _collect_garbage_rarely() -> None:
    """Leave what was imported out of garbage collection, and look for cycles after 50,000 objects
    instead of 700.

    Hot paths make many small values and no cycles; looking through them at the default pace costs
    several per cent.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


async def _supervise(main: Main) -> None:
    _collect_garbage_rarely()
    stop = Stop()
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        if stop.is_set():
            os._exit(128 + number)
        logger.info("stopping", extra={"signal": signal.Signals(number).name})
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, on_signal, number)
    await main(stop)
