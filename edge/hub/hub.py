"""Who watches whom at this edge, and how an update reaches them: encoded once, the newest for
whoever is slow.

Promises kept here (docs/protocol.md): growing revisions per socket and learner, nothing twice;
`latest` may skip, says so, and never skips a crossing silently; `every` skips nothing; a slow
reader costs nobody else time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Protocol

from edge.admission.budgets import PER_ENTRY, Budget
from edge.admission.turns import Turns
from edge.frames.clock import timestamp
from edge.frames.codes import CloseCode
from edge.frames.incoming import RequestId
from edge.frames.outgoing import Crossing, StateUpdate, encode
from edge.ports import Brain, Done, Feed, LearnerSnapshot, Prepare, Sink, Update, UpstreamError
from edge.sweep import Sweep
from edge.telemetry.counters import EdgeCounters
from edge.telemetry.recording import Receipt
from edge.telemetry.tracing import MAX_CAUSES, EdgeTraces
from service_runtime.telemetry import now_ns

MAX_RECALLED = 1_000
"""Missed revisions whose crossings a resuming `latest` subscription still hears of; beyond, it is
not recovered.
"""

MAX_QUEUED = 1_024
"""Updates kept for one slow subscriber of every revision; beyond, its socket closes and it resumes
from the log.
"""

MAX_ASKED = 8
"""Snapshots asked for until one shows all that the socket has written; only brains that lag behind
each other need more than two.
"""

REPLAY_PAGE = 100
"""Updates read from the log at a time for one subscriber; the next are read once these are out."""


class Subscriber(Protocol):
    """A socket's session, as the hub sees it."""

    sink: Sink
    user_id: str
    budget: Budget

    def written(self, learner_id: str) -> int:
        """Revision of the newest write that this socket heard acknowledged, or 0: it must not be
        shown less.
        """

    def on_subscribed(
        self, subscription: Subscription, snapshot: LearnerSnapshot | UpstreamError, missed: int
    ) -> None:
        """The subscription stands after `missed` replayed updates, or could not be made."""

    def on_delivered(self, subscription: Subscription) -> None:
        """An update of an `every` subscription went out; answers that waited for it may go."""

    def on_gone(self, learner_id: str) -> None:
        """The learner was erased; the subscription is over."""


class Subscription:
    """One socket's subscription to one learner."""

    __slots__ = (
        "answered",
        "asked",
        "blocked",
        "causes",
        "crossings",
        "delivered",
        "direct",
        "every",
        "gate",
        "hub",
        "interval_s",
        "learner_id",
        "missed",
        "next_at",
        "queue",
        "recalled",
        "receipt",
        "request_id",
        "resume",
        "settled",
        "sink",
        "slot",
        "subscriber",
        "tick",
    )

    def __init__(
        self,
        hub: Hub,
        subscriber: Subscriber,
        learner_id: str,
        *,
        every: bool,
        interval_s: float,
        resume: tuple[str, int] | None,
        request_id: RequestId,
    ) -> None:
        """Prepare a subscription; `resume` is the (epoch, revision) that the client has seen."""
        self.hub = hub
        self.subscriber = subscriber
        self.sink = subscriber.sink
        self.learner_id = learner_id
        self.every = every
        self.interval_s = interval_s
        self.resume = resume
        self.request_id = request_id
        self.receipt: Receipt | None = None
        """Of the frame that asked for it, until it is answered; None while nothing is recorded."""
        self.answered = False
        """Whether the client has heard what became of its request."""
        self.asked = 0
        """How often a snapshot was asked for that is new enough to be shown."""
        self.missed = 0
        """Updates that were replayed before it stood."""
        self.delivered = 0
        """Revision sent last."""
        self.gate = 0
        """Only newer revisions pass: the one sent last, or the one before a write that this socket
        saw acknowledged.
        """
        self.settled = False
        """False while a snapshot or a replay is under way; updates wait."""
        self.blocked: _Replay | None = None
        """A replay that goes on when the client reads again."""
        self.direct = False
        """True when an update can go out at once with the bytes that everyone gets."""
        self.slot: Update | None = None
        """Newest update that waits, in `latest` mode."""
        self.crossings: list[Crossing] = []
        """Crossings of updates that were skipped."""
        self.recalled: list[Crossing] = []
        """Crossings before the snapshot that the client has not heard of."""
        self.causes: tuple[tuple[int, tuple[str, ...]], ...] = ()
        """Trace contexts behind the update that waits, with their revisions, newest first; only
        while traced.
        """
        self.queue: deque[Update] = deque() if every else _NEVER
        self.next_at = 0.0
        self.tick = 0

    def on_due(self, now: float) -> None:
        """The interval between two updates is over."""
        self.hub.flush(self)


_NEVER: deque[Update] = deque(maxlen=0)
"""Shared by all subscriptions that queue nothing."""


class _Replay:
    """Brings a subscription from the revision it got last to a later one, from the log, as fast as
    its client reads.
    """

    __slots__ = ("_epoch", "_hub", "_page", "_sent", "_subscription", "_then", "_until")

    def __init__(
        self, hub: Hub, subscription: Subscription, until: int, then: Callable[[int], None]
    ) -> None:
        """`then` hears how many updates were sent."""
        self._hub = hub
        self._epoch = hub.epoch
        self._subscription = subscription
        self._until = until
        self._then = then
        self._page: deque[Update] = deque()
        self._sent = 0

    def go_on(self) -> None:
        """Send what was read, read more, or end."""
        if self._hub.epoch != self._epoch:
            self._then(self._sent)  # what is in the log now is another history
            return
        subscription, page = self._subscription, self._page
        sink = subscription.sink
        while page and not sink.paused:
            self._hub.send(subscription, page.popleft())
            self._sent += 1
        if sink.paused:
            subscription.blocked = self
        elif subscription.delivered < self._until:
            self._hub.read_log(
                subscription, min(self._until, subscription.delivered + REPLAY_PAGE), self._read
            )
        else:
            self._then(self._sent)

    def _read(self, updates: list[Update]) -> None:
        if updates and updates[0].epoch == self._epoch:
            self._page.extend(updates)
            self.go_on()
        else:
            self._then(self._sent)  # the log has a hole; `coalesced` of the next update tells


class _Topic:
    """One learner that somebody here watches."""

    __slots__ = ("revision", "subscriptions")

    def __init__(self) -> None:
        self.revision = -1
        """Newest heard from the brain; -1 before the first snapshot."""
        self.subscriptions: dict[Subscriber, Subscription] = {}


class Hub:
    """Fans updates out to subscriptions."""

    def __init__(
        self,
        *,
        brain: Brain,
        prepare: Prepare,
        sweep: Sweep,
        clock: Callable[[], float],
        counters: EdgeCounters,
        readers: Turns | None = None,
        traces: EdgeTraces | None = None,
    ) -> None:
        """`prepare` turns a payload into bytes that any sink sends as they are; `clock` gives
        monotonic seconds. Each user reads the log once at a time, in their turn among `readers`;
        `traces` records deliveries that sampled interactions caused.
        """
        self.feed: Feed
        self.epoch = ""
        self._brain = brain
        self._prepare = prepare
        self._sweep = sweep
        self._clock = clock
        self._counters = counters
        self._readers = readers or Turns()
        self._traces = traces
        self._topics: dict[str, _Topic] = {}

    # What the feed asks and brings.

    def learners(self) -> list[str]:
        """Return the learners that are watched here."""
        return list(self._topics)

    def cursor(self, learner_id: str) -> tuple[str, int, bool] | None:
        """Return (epoch, revision, every) to watch a learner from, or None when nobody here wants
        it.
        """
        topic = self._topics.get(learner_id)
        if topic is None:
            return None
        every = any(subscription.every for subscription in topic.subscriptions.values())
        return (self.epoch, topic.revision, every) if topic.revision >= 0 else ("", 0, every)

    def begin_epoch(self, epoch: str) -> bool:
        """Note the store's epoch; True when it changed: revisions begin again, snapshots must be
        delivered.
        """
        if epoch == self.epoch:
            return False
        had_one, self.epoch = bool(self.epoch), epoch
        if had_one:
            for topic in self._topics.values():
                topic.revision = min(topic.revision, 0)
                for subscription in topic.subscriptions.values():
                    subscription.delivered = subscription.gate = 0
                    subscription.slot = None
                    subscription.crossings = []
                    subscription.causes = ()
                    subscription.queue.clear()
        return had_one

    def deliver(self, update: Update) -> None:
        """Send an update to everyone who watches its learner."""
        topic = self._topics.get(update.learner_id)
        if topic is None:
            return
        if update.assessment is None:
            self._end_topic(update.learner_id, topic)
            return
        revision = update.revision
        if revision <= topic.revision:
            return  # heard before: the stream was opened again
        topic.revision = revision
        began_ns = 0 if self._traces is None else now_ns()
        frames: dict[int, bytes] = {}  # by what a socket got last: nearly always one for all
        sent = skipped = 0
        for subscription in topic.subscriptions.values():
            sink, delivered = subscription.sink, subscription.delivered
            if not subscription.direct or revision <= subscription.gate or sink.paused:
                self._park(subscription, update)
                continue
            if delivered not in frames:
                # A coalesced update may tell of crossings that this socket knows from a newer
                # snapshot.
                crossings = [one for one in update.crossings if one.revision > delivered]
                frames[delivered] = self._prepare(_encode(update, delivered, crossings))
            sink.send_prepared(frames[delivered])
            sent += 1
            skipped += revision - delivered - 1
            subscription.delivered = subscription.gate = revision
        self._counters.updates_sent += sent
        self._counters.revisions_skipped += skipped
        if self._traces is not None and sent:
            waiting = len(topic.subscriptions) - sent
            self._traces.fanned_out(update.traceparents, began_ns, sent=sent, waiting=waiting)

    # What sessions ask.

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscription, or renew one; its session hears `on_subscribed` when the snapshot is
        there.
        """
        learner_id, subscriber = subscription.learner_id, subscription.subscriber
        topic = self._topics.get(learner_id)
        if topic is None:
            topic = self._topics[learner_id] = _Topic()
        earlier = topic.subscriptions.get(subscriber)
        if earlier is None:
            self._counters.learners.add(learner_id)
        else:
            self._sweep.cancel(earlier)
        topic.subscriptions[subscriber] = subscription
        self.feed.watch(learner_id, lambda snapshot: self._joined(subscription, snapshot))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription, or the one that it was to renew; harmless when it is gone."""
        topic = self._topics.get(subscription.learner_id)
        if topic is None:
            return
        standing = topic.subscriptions.pop(subscription.subscriber, None)
        if standing is None:
            return
        self._counters.learners.remove(subscription.learner_id)
        self._sweep.cancel(standing)
        if not topic.subscriptions:
            del self._topics[subscription.learner_id]
            self.feed.unwatch(subscription.learner_id)

    def flush(self, subscription: Subscription) -> None:
        """Send what waits, if it may go now."""
        if subscription.sink.paused:
            return
        if not subscription.settled:
            replay, subscription.blocked = subscription.blocked, None
            if replay is not None:
                replay.go_on()
            return
        if subscription.every:
            self._flush_queue(subscription)
        elif subscription.slot is not None:
            self._flush_slot(subscription, subscription.slot)
        if subscription.settled:
            subscription.direct = not (
                subscription.every
                or subscription.interval_s
                or subscription.slot
                or subscription.crossings
            )

    # Inside.

    def _joined(
        self, subscription: Subscription, snapshot: LearnerSnapshot | UpstreamError
    ) -> None:
        if not self._is_current(subscription):
            return
        if isinstance(snapshot, UpstreamError):
            self.unsubscribe(subscription)
            subscription.subscriber.on_subscribed(subscription, snapshot, 0)
            return
        self.begin_epoch(snapshot.epoch)
        topic = self._topics[subscription.learner_id]
        if (
            topic.revision < 0
        ):  # else the stream tells, or others would miss what this snapshot already has
            topic.revision = snapshot.revision
        if self._is_behind(subscription, snapshot):
            self._ask_again(subscription)
            return
        resume = subscription.resume
        seen = max(resume[1], subscription.delivered) if resume else 0
        if (
            subscription.every
            and resume
            and resume[0] == snapshot.epoch
            and seen < snapshot.revision
        ):
            subscription.delivered = seen
            _Replay(
                self,
                subscription,
                snapshot.revision,
                lambda missed: self._caught_up(subscription, snapshot, missed),
            ).go_on()
        elif (
            resume and resume[0] == snapshot.epoch and 0 < snapshot.revision - seen <= MAX_RECALLED
        ):
            subscription.delivered = seen
            self.read_log(
                subscription,
                snapshot.revision,
                lambda missed: self._recall(subscription, snapshot, missed),
            )
        else:
            self._settle(subscription, snapshot)

    def _recall(
        self, subscription: Subscription, snapshot: LearnerSnapshot, missed: list[Update]
    ) -> None:
        """Have the update that follows list the crossings of those that a resuming `latest`
        subscription missed.
        """
        subscription.recalled += [crossing for update in missed for crossing in update.crossings]
        self._caught_up(subscription, snapshot, 0)

    def _caught_up(
        self, subscription: Subscription, snapshot: LearnerSnapshot, missed: int
    ) -> None:
        subscription.missed += missed
        if snapshot.epoch != self.epoch:  # the history began again meanwhile
            subscription.recalled = []
            self._ask_again(subscription)
        elif self._is_behind(subscription, snapshot):
            subscription.delivered = max(subscription.delivered, snapshot.revision)
            self._ask_again(subscription)
        else:
            self._settle(subscription, snapshot)

    def _is_behind(self, subscription: Subscription, snapshot: LearnerSnapshot) -> bool:
        """Whether the socket has meanwhile heard a write acknowledged that this does not show."""
        written = subscription.subscriber.written(subscription.learner_id)
        return snapshot.revision < written and subscription.asked < MAX_ASKED

    def _ask_again(self, subscription: Subscription) -> None:
        subscription.asked += 1
        self.feed.watch(subscription.learner_id, lambda newer: self._joined(subscription, newer))

    def _settle(self, subscription: Subscription, snapshot: LearnerSnapshot) -> None:
        subscription.delivered = snapshot.revision
        subscription.gate = max(subscription.gate, snapshot.revision)
        newer = [one for one in subscription.crossings if one.revision > snapshot.revision]
        subscription.crossings = subscription.recalled + newer
        subscription.causes = tuple(
            one for one in subscription.causes if one[0] > snapshot.revision
        )
        subscription.recalled = []
        subscription.settled = True
        subscription.subscriber.on_subscribed(subscription, snapshot, subscription.missed)
        self.flush(subscription)

    def read_log(
        self, subscription: Subscription, until: int, then: Callable[[list[Update]], None]
    ) -> None:
        """Read the revisions after the one delivered last, up to `until`, if the subscription still
        stands then.
        """

        def answered(updates: list[Update] | UpstreamError) -> None:
            if not self._is_current(subscription):
                return
            if isinstance(updates, UpstreamError):
                subscription.sink.close(
                    CloseCode.TRY_LATER, "missed updates cannot be read now; resume later"
                )
                return
            then(updates)

        def read(done: Done) -> None:
            if self._is_current(subscription):
                after = subscription.delivered
                self._brain.replay(subscription.learner_id, after=after, until=until, done=done)
            else:
                done([])

        subscriber = subscription.subscriber
        subscriber.budget.charge((until - subscription.delivered) * PER_ENTRY)
        self._readers.take(subscriber.user_id, read, answered)

    def _park(self, subscription: Subscription, update: Update) -> None:
        """Keep an update for later, or drop one that the socket must not see any more."""
        if subscription.every:
            subscription.queue.append(update)
            if len(subscription.queue) > MAX_QUEUED:
                subscription.sink.close(
                    CloseCode.TRY_LATER, "reading too slowly; resume to get the rest"
                )
            self.flush(subscription)
            return
        subscription.crossings += [
            one for one in update.crossings if one.revision > subscription.delivered
        ]
        subscription.direct = False
        if update.revision > subscription.gate:
            subscription.slot = update
            if self._traces is not None:
                subscription.causes = (
                    (update.revision, update.traceparents),
                    *subscription.causes,
                )[:MAX_CAUSES]
            self.flush(subscription)

    def _flush_slot(self, subscription: Subscription, update: Update) -> None:
        now = self._clock()
        if update.revision <= subscription.gate:
            subscription.slot = None
            subscription.causes = ()
        elif now < subscription.next_at:
            self._sweep.schedule(subscription, subscription.next_at)
        else:
            subscription.slot = None
            subscription.next_at = now + subscription.interval_s
            crossings, subscription.crossings = subscription.crossings, []
            self.send(subscription, update, crossings)

    def _flush_queue(self, subscription: Subscription) -> None:
        queue = subscription.queue
        while queue and not subscription.sink.paused:
            update = queue[0]
            if update.revision > subscription.delivered + 1:
                subscription.settled = False
                _Replay(
                    self,
                    subscription,
                    update.revision - 1,
                    partial(self._gap_read, subscription, update),
                ).go_on()
                return
            self._send_first(subscription)

    def _gap_read(self, subscription: Subscription, filled: Update, _: int) -> None:
        """Go on after the gap before `filled` was read; a hole in the log itself must not be read
        again and again.
        """
        subscription.settled = True
        queue = subscription.queue
        if queue and queue[0] is filled and not subscription.sink.paused:
            self._send_first(subscription)
        self.flush(subscription)

    def _send_first(self, subscription: Subscription) -> None:
        update = subscription.queue.popleft()
        if update.revision > subscription.delivered:
            self.send(subscription, update)
            subscription.subscriber.on_delivered(subscription)

    def send(
        self, subscription: Subscription, update: Update, crossings: list[Crossing] | None = None
    ) -> None:
        """Send an update to one socket, whatever waits."""
        began_ns = 0 if self._traces is None else now_ns()
        payload = _encode(
            update, subscription.delivered, update.crossings if crossings is None else crossings
        )
        self._counters.updates_sent += 1
        self._counters.revisions_skipped += max(0, update.revision - subscription.delivered - 1)
        subscription.delivered = update.revision
        subscription.gate = max(subscription.gate, update.revision)
        subscription.sink.send(payload)
        if self._traces is not None:
            merged, subscription.causes = subscription.causes, ()
            causes = (
                [one for _, traceparents in merged for one in traceparents]
                if merged
                else update.traceparents
            )
            self._traces.fanned_out(causes, began_ns, sent=1)

    def _end_topic(self, learner_id: str, topic: _Topic) -> None:
        del self._topics[learner_id]
        for subscriber, subscription in topic.subscriptions.items():
            self._sweep.cancel(subscription)
            self._counters.learners.remove(learner_id)
            subscriber.on_gone(learner_id)
        self.feed.unwatch(learner_id)

    def _is_current(self, subscription: Subscription) -> bool:
        topic = self._topics.get(subscription.learner_id)
        return (
            topic is not None and topic.subscriptions.get(subscription.subscriber) is subscription
        )


def _encode(update: Update, delivered: int, crossings: list[Crossing]) -> bytes:
    """Return the frame for a socket that got revision `delivered` last."""
    assessment = update.assessment
    assert assessment is not None  # noqa: S101 - updates of learners who are gone are never encoded
    return encode(
        StateUpdate(
            learner_id=update.learner_id,
            state=assessment.state,
            timestamp=timestamp(),
            epoch=update.epoch,
            revision=update.revision,
            coalesced=max(0, update.revision - delivered - 1),
            crossings=crossings,
            performance=assessment.performance,
            recommendations=assessment.recommendations,
            actions=assessment.actions,
            occurred_at=update.occurred_at,
            meaning=assessment.meaning,
            trace_id=update.trace_id,
        )
    )
