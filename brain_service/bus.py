"""Wakes whoever watches learners inside this process; knows neither the store, nor watchers, nor a transport.

The bus only wakes: the store is the truth. A publication that gets lost (a subscriber that failed, later a broker that
was down) costs a watcher the delay until its next heartbeat compares revisions, never an update. A bus between several
brains implements the same `Bus`: `publish` sends to the broker besides calling its own subscribers, and what arrives
from the broker goes to the subscribers with `outcome` None, for them to read from the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from brain_service.model import Crossing, Outcome

logger = logging.getLogger(__name__)


class Publication(NamedTuple):
    """Says that one learner reached one revision, which is committed; a plain tuple, for each interaction makes one."""

    learner_id: str
    """Whose state changed."""
    revision: int
    """The revision reached; 0 when `gone`."""
    outcome: Outcome | None
    """The reading after it; None when it is only in the store, or the learner is gone."""
    crossings: tuple[Crossing, ...]
    """What a watcher must not miss between the revision before and this one."""
    traceparent: str
    """The W3C trace context of the interaction behind it; empty when there was none."""
    occurred_at_ms: int
    """When the interaction happened, Unix milliseconds; 0 when `gone`."""
    gone: bool = False
    """True when the learner was erased: nothing follows, unless the same id starts anew at revision 1."""


class Bus(Protocol):
    """Carries publications from the engine to whoever subscribed."""

    def publish(self, publications: Sequence[Publication]) -> None:
        """Hand committed changes to every subscriber, oldest first; never raises and never blocks."""

    def subscribe(self, callback: Callable[[Sequence[Publication]], None]) -> Callable[[], None]:
        """Call `callback` with each later batch, on the event loop's thread; returns what ends the subscription.

        The callback must be quick. Ending twice is harmless.
        """


class LocalBus:
    """A bus within one process: plain calls, in the order of subscription."""

    def __init__(self) -> None:
        # Keyed by an object of its own, so that one callable may subscribe twice and each ends by itself.
        self._subscribers: dict[object, Callable[[Sequence[Publication]], None]] = {}

    def publish(self, publications: Sequence[Publication]) -> None:
        """Call each subscriber; one that fails is logged and hurts neither the others nor the caller."""
        if not publications:
            return
        for callback in tuple(self._subscribers.values()):
            try:
                callback(publications)
            except Exception:
                logger.exception("a subscriber of the bus failed on a batch of %d", len(publications))

    def subscribe(self, callback: Callable[[Sequence[Publication]], None]) -> Callable[[], None]:
        """Call `callback` with each later batch; returns what ends the subscription."""
        key = object()
        self._subscribers[key] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe
