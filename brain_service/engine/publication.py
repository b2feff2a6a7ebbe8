"""What the engine asks of a bus, in the engine's terms: the values and the `Bus` protocol.

The bus only wakes: the store is the truth. A publication that gets lost (a subscriber that failed,
a broker that was down) costs a watcher the delay until its next heartbeat compares revisions, never
an update.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from brain_service.model import Assessment, Crossing


class Publication(NamedTuple):
    """Says that one learner reached one revision, which is committed; a plain tuple, for each
    interaction makes one.
    """

    learner_id: str
    """Whose state changed."""
    revision: int
    """The revision reached; 0 when `gone`."""
    assessment: Assessment | None
    """The assessment after it; None when it is only in the store, or the learner is gone."""
    crossings: tuple[Crossing, ...]
    """What a watcher must not miss between the revision before and this one."""
    traceparent: str
    """The W3C trace context of the interaction behind it; empty when there was none."""
    occurred_at_ms: int
    """When the interaction happened, Unix milliseconds; 0 when `gone`."""
    gone: bool = False
    """True when the learner was erased: nothing follows, unless the same id starts anew at revision
    1.
    """


class Follower(Protocol):
    """Hears what other brains committed, as far as it is known to be everything."""

    def hear(self, publications: Sequence[Publication]) -> None:
        """Take note of what another brain published: without assessments, which the store has."""

    def lose_touch(self) -> None:
        """From now on anything may happen elsewhere without being heard."""

    def regain_touch(self) -> None:
        """All that happens from now on is heard; any learner may have changed unheard before."""


class Bus(Protocol):
    """Carries publications from the engine to whoever subscribed, and between brains."""

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
        """Tell `follower` of what other brains publish, on the event loop's thread."""

    async def start(self) -> None:
        """Begin to exchange with other brains; returns at once, whether or not they are reached."""

    async def stop(self) -> None:
        """Send what was published, as far as that takes no time, and end; ending twice is
        harmless.
        """
