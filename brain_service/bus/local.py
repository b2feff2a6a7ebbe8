"""Wakes whoever watches learners inside this process: the whole bus of a brain that is alone, and
this process's end of one between brains.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from brain_service.engine.publication import Follower, Publication

logger = logging.getLogger(__name__)


class LocalBus:
    """A bus within one process: plain calls, in the order of subscription."""

    def __init__(self) -> None:
        # Keyed by an object of its own, so that one callable may subscribe twice and each ends by
        # itself.
        self._subscribers: dict[object, Callable[[Sequence[Publication]], None]] = {}

    def publish(self, publications: Sequence[Publication]) -> None:
        """Call each subscriber; one that fails is logged and hurts neither the others nor the
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
        """A brain that is alone hears no other."""

    async def start(self) -> None:
        """Nothing needs to begin."""

    async def stop(self) -> None:
        """Nothing needs to end."""
