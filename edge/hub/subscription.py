"""One socket's subscription to one learner: its position, and how it begins.

There are two kinds, `latest` and `every`. The hub gives them updates and sends what they release.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from typing import ClassVar, Final, Protocol

from edge.admission.budgets import Budget
from edge.frames.outgoing import Crossing
from edge.ports import LearnerSnapshot, Sink, Update, UpstreamError

MAX_ASKED: Final = 8
"""Most snapshots to request until one shows all that the socket has written; only brains that lag
behind each other need more than two.
"""


class Phase(Enum):
    """What a subscription is waiting for."""

    JOINING = "joining"
    """The snapshot to begin with; updates wait."""
    REPLAYING = "replaying"
    """Missed revisions from the log; updates wait."""
    STANDING = "standing"
    """Nothing: updates go out."""


class Subscriber(Protocol):
    """A socket's session, as the hub sees it."""

    sink: Sink
    user_id: str
    budget: Budget

    def written(self, learner_id: str) -> int:
        """Revision of this socket's newest acknowledged write, or 0; it must not be shown less."""

    def on_subscribed(
        self, subscription: Subscription, snapshot: LearnerSnapshot | UpstreamError, missed: int
    ) -> None:
        """The subscription stands after `missed` replayed updates, or could not be made."""

    def on_delivered(self, subscription: Subscription) -> None:
        """An update of an `Every` went out; answers that waited for it may go."""

    def on_gone(self, learner_id: str) -> None:
        """The learner was erased; the subscription is over."""


class Outlet(Protocol):
    """What a subscription needs from the hub."""

    epoch: str

    def send(
        self,
        subscription: Subscription,
        update: Update,
        crossings: list[Crossing],
        causes: Sequence[str],
    ) -> None:
        """Send an update to one socket; `causes` are the trace contexts behind it."""

    def ask(self, subscription: Subscription) -> None:
        """Request a snapshot; `on_snapshot` gets it."""

    def read_log(
        self, subscription: Subscription, until: int, then: Callable[[list[Update]], None]
    ) -> None:
        """Read the revisions after the one delivered last, up to `until`."""

    def now(self) -> float:
        """Monotonic seconds."""

    def wake(self, subscription: Subscription, at: float) -> None:
        """Call `on_due` then."""


class Paused(Protocol):
    """Something that continues when the client reads again."""

    def go_on(self) -> None:
        """The client reads."""


class Subscription(ABC):
    """What both kinds have in common. Sessions read its fields and call `wrote`; the rest is
    between it and the hub.
    """

    __slots__ = (
        "_asked",
        "_missed",
        "blocked",
        "delivered",
        "gate",
        "learner_id",
        "outlet",
        "phase",
        "resume",
        "sink",
        "subscriber",
        "tick",
    )

    every: ClassVar[bool]
    direct: bool
    """True when an update can go out at once with the bytes that everyone gets."""

    def __init__(
        self,
        outlet: Outlet,
        subscriber: Subscriber,
        learner_id: str,
        resume: tuple[str, int] | None,
    ) -> None:
        """Begin; `resume` is the (epoch, revision) that the client has seen."""
        self.outlet = outlet
        self.subscriber = subscriber
        self.sink = subscriber.sink
        self.learner_id = learner_id
        self.resume = resume
        self.phase = Phase.JOINING
        self.delivered = 0
        """Revision sent last."""
        self.gate = max(0, subscriber.written(learner_id) - 1)
        """Only newer revisions pass: the last one sent, or the one before this socket's
        acknowledged write.
        """
        self.blocked: Paused | None = None
        """A replay that waits for the client to read again."""
        self.tick = 0
        self._asked = 0
        """Requests so far for a snapshot that is new enough."""
        self._missed = 0
        """Updates replayed before it was established."""

    # Called by the session

    def wrote(self, revision: int) -> None:
        """This socket's write was acknowledged as `revision`: it is shown nothing older."""
        self.gate = max(self.gate, revision - 1)

    # Called by the hub

    def on_snapshot(self, snapshot: LearnerSnapshot) -> None:
        """Begin with this snapshot, after the updates that a resuming client missed."""
        if self._is_behind(snapshot):
            self._ask_again()
            return
        resume = self.resume
        if resume is not None and resume[0] == snapshot.epoch:
            seen = max(resume[1], self.delivered)
            if seen < snapshot.revision and self._recalls(snapshot.revision - seen):
                self.delivered = seen
                self.phase = Phase.REPLAYING
                self._catch_up(snapshot)
                return
        self._settle(snapshot)

    @abstractmethod
    def take(self, update: Update) -> None:
        """Send an update when it may go, or drop one that is too old for the socket."""

    def flush(self) -> None:
        """Send what waits, if it may go now."""
        if self.sink.paused:
            return
        if self.phase is Phase.STANDING:
            self._send_waiting()
            return
        replay, self.blocked = self.blocked, None
        if replay is not None:
            replay.go_on()

    def on_due(self, now: float) -> None:
        """The interval between two updates is over."""
        self.flush()

    def reached(self, revision: int) -> None:
        """A revision goes out."""
        self.delivered = revision
        self.gate = max(self.gate, revision)

    def begin_epoch(self) -> None:
        """The history restarted: revisions are smaller from now on."""
        self.delivered = self.gate = 0

    # Inside

    @abstractmethod
    def _recalls(self, missed: int) -> bool:
        """Return whether this many missed revisions are read from the log."""

    @abstractmethod
    def _catch_up(self, snapshot: LearnerSnapshot) -> None:
        """Look them up, then call `_caught_up`."""

    @abstractmethod
    def _send_waiting(self) -> None:
        """Send what may go; only while established and while the client reads."""

    def _caught_up(self, snapshot: LearnerSnapshot, missed: int) -> None:
        self._missed += missed
        if snapshot.epoch != self.outlet.epoch:  # the history restarted meanwhile
            self._ask_again()
        elif self._is_behind(snapshot):
            self.delivered = max(self.delivered, snapshot.revision)
            self._ask_again()
        else:
            self._settle(snapshot)

    def _is_behind(self, snapshot: LearnerSnapshot) -> bool:
        """Whether the socket has an acknowledged write that this snapshot does not show."""
        written = self.subscriber.written(self.learner_id)
        return snapshot.revision < written and self._asked < MAX_ASKED

    def _ask_again(self) -> None:
        self._asked += 1
        self.phase = Phase.JOINING
        self.outlet.ask(self)

    def _settle(self, snapshot: LearnerSnapshot) -> None:
        self.reached(snapshot.revision)
        self.phase = Phase.STANDING
        self.subscriber.on_subscribed(self, snapshot, self._missed)
        self.flush()
