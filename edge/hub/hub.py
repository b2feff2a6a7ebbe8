"""Who watches whom at this edge, and how an update reaches them: encoded once, only the newest for
slow readers.

Promises kept here and in the subscriptions (docs/protocol.md): growing revisions per socket and
learner, nothing twice; a slow reader delays nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge.admission.keyed_queue import KeyedQueue
from edge.admission.prices import PER_ENTRY
from edge.frames.clock import timestamp
from edge.frames.codes import CloseCode
from edge.frames.outgoing import Crossing, StateUpdate, encode
from edge.hub.every import Every
from edge.hub.latest import Latest
from edge.hub.subscription import Subscriber, Subscription
from edge.ports import Brain, Done, Feed, LearnerSnapshot, Prepare, Update, UpstreamError
from edge.telemetry.counters import EdgeCounters
from edge.telemetry.tracing import NO_TRACES, NoTraces
from edge.timers import TimerWheel


class _Topic:
    """A learner who is watched here."""

    __slots__ = ("revision", "subscriptions")

    def __init__(self) -> None:
        self.revision = -1
        """Newest revision from the brain; -1 before the first snapshot."""
        self.subscriptions: dict[Subscriber, Subscription] = {}


class Hub:
    """Fans updates out to subscriptions."""

    def __init__(
        self,
        *,
        brain: Brain,
        prepare: Prepare,
        timers: TimerWheel,
        clock: Callable[[], float],
        counters: EdgeCounters,
        readers: KeyedQueue | None = None,
        traces: NoTraces = NO_TRACES,
    ) -> None:
        """`prepare` turns a payload into bytes that any sink sends as they are; `clock` gives
        monotonic seconds. Each user reads the log once at a time, by their turn in `readers`;
        `traces` records deliveries that sampled interactions caused.
        """
        self.feed: Feed
        self.epoch = ""
        self._brain = brain
        self._prepare = prepare
        self._timers = timers
        self._clock = clock
        self._counters = counters
        self._readers = readers or KeyedQueue()
        self._traces = traces
        self._topics: dict[str, _Topic] = {}

    # For the feed.

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
        """Note the store's epoch; True when it changed: revisions restart, and snapshots must be
        delivered.
        """
        if epoch == self.epoch:
            return False
        had_one, self.epoch = bool(self.epoch), epoch
        if had_one:
            for topic in self._topics.values():
                topic.revision = min(topic.revision, 0)
                for subscription in topic.subscriptions.values():
                    subscription.begin_epoch()
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
            return  # known already: the stream was reopened
        topic.revision = revision
        began_ns = self._traces.now_ns()
        # By the revision a socket got last, which is nearly always the same for all.
        frames: dict[int, bytes] = {}
        sent = skipped = 0
        for subscription in topic.subscriptions.values():
            sink, delivered = subscription.sink, subscription.delivered
            if not subscription.direct or revision <= subscription.gate or sink.paused:
                subscription.take(update)
                continue
            if delivered not in frames:
                # A coalesced update may list crossings that this socket knows from a newer
                # snapshot.
                crossings = [one for one in update.crossings if one.revision > delivered]
                frames[delivered] = self._prepare(_encode(update, delivered, crossings))
            sink.send_prepared(frames[delivered])
            sent += 1
            skipped += revision - delivered - 1
            subscription.delivered = subscription.gate = revision
        self._counters.updates_sent += sent
        self._counters.revisions_skipped += skipped
        if sent:
            waiting = len(topic.subscriptions) - sent
            self._traces.fanned_out(update.traceparents, began_ns, sent=sent, waiting=waiting)

    # For sessions.

    def subscription(
        self,
        subscriber: Subscriber,
        learner_id: str,
        *,
        every: bool,
        interval_s: float = 0.0,
        resume: tuple[str, int] | None = None,
    ) -> Subscription:
        """Make a subscription, for `subscribe`; `resume` is the (epoch, revision) that the client
        has seen.
        """
        if every:
            return Every(self, subscriber, learner_id, resume)
        return Latest(self, subscriber, learner_id, resume, interval_s=interval_s)

    def subscribe(self, subscription: Subscription) -> None:
        """Add a subscription, or renew one; its session gets `on_subscribed` when the snapshot is
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
            self._timers.cancel(earlier)
        topic.subscriptions[subscriber] = subscription
        self.ask(subscription)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove a subscription, or the one it was to renew; harmless when it is gone."""
        topic = self._topics.get(subscription.learner_id)
        if topic is None:
            return
        standing = topic.subscriptions.pop(subscription.subscriber, None)
        if standing is None:
            return
        self._counters.learners.remove(subscription.learner_id)
        self._timers.cancel(standing)
        if not topic.subscriptions:
            del self._topics[subscription.learner_id]
            self.feed.unwatch(subscription.learner_id)

    # For subscriptions.

    def now(self) -> float:
        """Monotonic seconds."""
        return self._clock()

    def wake(self, subscription: Subscription, at: float) -> None:
        """Call its `on_due` then."""
        self._timers.schedule(subscription, at)

    def ask(self, subscription: Subscription) -> None:
        """Request the snapshot that a subscription begins with."""
        self.feed.watch(
            subscription.learner_id, lambda snapshot: self._joined(subscription, snapshot)
        )

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
        if topic.revision < 0:
            topic.revision = snapshot.revision  # the stream brings later ones, to all
        subscription.on_snapshot(snapshot)

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

        def read(done: Done[list[Update]]) -> None:
            if self._is_current(subscription):
                after = subscription.delivered
                self._brain.replay(subscription.learner_id, after=after, until=until, done=done)
            else:
                done([])

        subscriber = subscription.subscriber
        subscriber.budget.charge((until - subscription.delivered) * PER_ENTRY)
        self._readers.take(subscriber.user_id, read, answered)

    def send(
        self,
        subscription: Subscription,
        update: Update,
        crossings: list[Crossing],
        causes: Sequence[str],
    ) -> None:
        """Send an update to one socket; `causes` are the trace contexts behind it."""
        began_ns = self._traces.now_ns()
        delivered = subscription.delivered
        payload = _encode(update, delivered, crossings)
        self._counters.updates_sent += 1
        self._counters.revisions_skipped += max(0, update.revision - delivered - 1)
        subscription.reached(update.revision)
        subscription.sink.send(payload)
        self._traces.fanned_out(causes, began_ns, sent=1)

    def _end_topic(self, learner_id: str, topic: _Topic) -> None:
        del self._topics[learner_id]
        for subscriber, subscription in topic.subscriptions.items():
            self._timers.cancel(subscription)
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
