"""What the engine needs from a bus: the values and the `Bus` protocol.

The bus only wakes watchers; the store has the truth. A lost publication (a failed subscriber, a
broker that was down) delays a watcher until its next heartbeat compares revisions; it never costs
an update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from brain_service.model import Assessment, Crossing


class Publication(NamedTuple):
    """One learner reached one committed revision; a plain tuple, because each interaction makes
    one.
    """

    learner_id: str
    """Whose state changed."""
    revision: int
    """The revision reached; 0 when `gone`."""
    assessment: Assessment | None
    """The assessment after it; None when it is only in the store, or the learner is gone."""
    crossings: tuple[Crossing, ...]
    """Crossings between the previous revision and this one."""
    traceparent: str
    """The W3C trace context of the interaction behind it; empty when there was none."""
    occurred_at_ms: int
    """When the interaction happened, Unix milliseconds; 0 when `gone`."""
    gone: bool = False
    """True when the learner was erased: nothing follows, unless the same id starts anew at revision
    1.
    """


class Follower(Protocol):
    """Follows what other brains commit, and whether that is known to be complete."""

    def hear(self, publications: Sequence[Publication]) -> None:
        """Handle another brain's publications; assessments are in the store."""

    def lose_touch(self) -> None:
        """From now on, changes elsewhere may go unnoticed."""

    def regain_touch(self) -> None:
        """From now on all changes are noticed; any learner may have changed before."""


class Bus(Protocol):
    """Carries publications from the engine to subscribers, and between brains."""

    def publish(self, publications: Sequence[Publication]) -> None:
        """Hand committed changes to every subscriber, oldest first; never raises and never
        blocks.
        """

    def subscribe(self, callback: Callable[[Sequence[Publication]], None]) -> Callable[[], None]:
        """Call `callback` with each later batch of this brain, on the event loop's thread; returns
        what ends the subscription.

        The callback must be quick. Ending twice is harmless.
        """

    def follow(self, follower: Follower) -> None:
        """Pass other brains' publications to `follower`, on the event loop's thread."""

    async def start(self) -> None:
        """Start the exchange with other brains; returns at once, whether or not they can be
        reached.
        """

    async def stop(self) -> None:
        """Send what was published if that is quick, and stop; stopping twice is harmless."""
