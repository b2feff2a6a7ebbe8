"""Notifies watchers inside this process: the whole bus of a single brain, and the local end of one
between brains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from brain_service.engine.publication import Follower, Publication

logger = logging.getLogger(__name__)


class LocalBus:
    """A bus within one process: plain calls, in the order of subscription."""

    def __init__(self) -> None:
        # Keyed by a unique object, so that a callable may subscribe twice and end each separately.
        self._subscribers: dict[object, Callable[[Sequence[Publication]], None]] = {}

    def publish(self, publications: Sequence[Publication]) -> None:
        """Call each subscriber; a failure is logged and affects neither the others nor the
        caller.
        """
        if not publications:
            return
        for callback in tuple(self._subscribers.values()):
            try:
                callback(publications)
            except Exception:
                logger.exception(
                    "a subscriber of the bus failed on a batch of %d", len(publications)
                )

    def subscribe(self, callback: Callable[[Sequence[Publication]], None]) -> Callable[[], None]:
        """Call `callback` with each later batch; returns what ends the subscription."""
        key = object()
        self._subscribers[key] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    def follow(self, follower: Follower) -> None:
        """A single brain has no others to follow."""

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""
