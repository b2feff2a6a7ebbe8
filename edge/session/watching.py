"""What one socket sees of learners: its subscriptions, and that it never sees less than it wrote
itself.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edge.frames import incoming, outgoing
from edge.frames.clock import timestamp
from edge.frames.incoming import BadFrame
from edge.hub.hub import MAX_RECALLED, Subscription
from edge.ports import LearnerSnapshot, Sink, UpstreamError

if TYPE_CHECKING:
    from edge.session.session import Session


class Watching:
    """The subscriptions of one socket."""

    __slots__ = (
        "_edge",
        "_epoch",
        "_held",
        "_session",
        "_subscriptions",
        "_written",
        "budget",
        "sink",
        "user_id",
    )

    def __init__(self, session: Session) -> None:
        """Begin with no subscription."""
        self._session = session
        self._edge = session.edge
        self.sink: Sink = session.sink
        self.user_id = session.user_id
        self.budget = session.budget
        self._subscriptions: dict[str, Subscription] = {}
        self._written: dict[str, int] = {}
        """Revision of this socket's newest acknowledged write per learner."""
        self._epoch = ""
        """The epoch that these revisions belong to."""
        self._held: dict[str, list[tuple[int, bytes]]] = {}
        """Answers to writes that wait until earlier updates of an `every` subscription are out."""

    # What the client asks

    def subscribe(self, frame: incoming.SubscribeLearner) -> None:
        """Begin or renew a subscription, once the auth service allows it."""
        learner_id = frame.learner_id
        limit = self._edge.settings.max_subscriptions
        if len(self._subscriptions) >= limit and learner_id not in self._subscriptions:
            message = f"A socket can watch {limit} learners."
            raise BadFrame(
                "too_many_subscriptions", message, id=frame.id, message_type="subscribe_learner"
            )
        earlier = self._subscriptions.get(learner_id)
        if earlier is not None:
            self._overtake(earlier)
        subscription = self._subscriptions[learner_id] = Subscription(
            self._edge.hub,
            self,
            learner_id,
            every=frame.mode == "every",
            interval_s=frame.min_interval_ms / 1000,
            resume=(frame.resume.epoch, frame.resume.revision) if frame.resume else None,
            request_id=frame.id,
        )
        subscription.gate = max(0, self.written(learner_id) - 1)
        subscription.receipt = self._session.receipt
        self._edge.access.ask(
            self._session.user_id, "watch", learner_id, partial(self._allowed, subscription)
        )

    def _allowed(self, subscription: Subscription, answer: bool | UpstreamError) -> None:
        if not self._is_current(subscription):
            return
        if answer is True:
            self._edge.hub.subscribe(subscription)
        else:
            self._drop(subscription.learner_id)
            self._edge.hub.unsubscribe(subscription)  # it may renew one that stands
            self._session.replies.refuse(
                answer, "subscribe_learner", subscription.request_id, subscription.receipt
            )

    def unsubscribe(self, frame: incoming.UnsubscribeLearner) -> None:
        """End a subscription; harmless when there is none."""
        subscription = self._drop(frame.learner_id)
        if subscription is not None:
            self._overtake(subscription)
            self._edge.hub.unsubscribe(subscription)
        self._session.replies.send(
            outgoing.Unsubscribed(learner_id=frame.learner_id, timestamp=timestamp(), id=frame.id),
            self._session.receipt,
        )

    # What the hub tells (edge.hub.Subscriber)

    def on_subscribed(
        self, subscription: Subscription, snapshot: LearnerSnapshot | UpstreamError, missed: int
    ) -> None:
        """Tell the client that it is subscribed, or why not."""
        receipt, subscription.receipt = subscription.receipt, None
        subscription.answered = True
        if isinstance(snapshot, UpstreamError):
            self._drop(subscription.learner_id)
            self._session.replies.refuse(
                snapshot, "subscribe_learner", subscription.request_id, receipt
            )
            return
        resume, assessment = subscription.resume, snapshot.assessment
        missing = snapshot.revision - resume[1] if resume and resume[0] == snapshot.epoch else -1
        recovered = missing >= 0 and (subscription.every or missing <= MAX_RECALLED)
        if resume is not None:
            self._edge.counters.resumes[recovered] += 1
        frame = outgoing.Subscribed(
            learner_id=subscription.learner_id,
            success=True,
            epoch=snapshot.epoch,
            revision=snapshot.revision,
            recovered=recovered,
            state=assessment.state if assessment else None,
            missed=missed,
            timestamp=timestamp(),
        )
        if assessment:
            frame.performance = assessment.performance
            frame.recommendations, frame.actions = assessment.recommendations, assessment.actions
            frame.meaning = assessment.meaning
        if snapshot.occurred_at:
            frame.occurred_at = snapshot.occurred_at
        if subscription.request_id is not None:
            frame.id = subscription.request_id
        self._session.replies.send(frame, receipt)
        self.on_delivered(subscription)

    def on_delivered(self, subscription: Subscription) -> None:
        """Let go the answers that waited until earlier updates of an `every` subscription
        were out.
        """
        held = self._held.get(subscription.learner_id)
        while held and held[0][0] <= subscription.delivered + 1:
            self.sink.send(held.pop(0)[1])

    def on_gone(self, learner_id: str) -> None:
        """Tell the client that the learner was erased."""
        self._end(learner_id, "gone")

    # What the session tells

    def written(self, learner_id: str) -> int:
        """Return the revision of this socket's newest acknowledged write, or 0."""
        epoch = self._edge.hub.epoch
        if epoch != self._epoch:
            if self._epoch:  # else this edge had not heard of any: nothing has begun again
                self._written.clear()
            self._epoch = epoch
        return self._written.get(learner_id, 0)

    def answer_write(self, learner_id: str, revision: int, payload: bytes) -> None:
        """Send the answer to a write, after which this socket must not see anything older."""
        self._written[learner_id] = max(revision, self.written(learner_id))
        subscription = self._subscriptions.get(learner_id)
        if subscription is None:
            self.sink.send(payload)
        elif subscription.every and subscription.delivered + 1 < revision:
            self._held.setdefault(learner_id, []).append((revision, payload))
        else:
            if not subscription.every:
                subscription.gate = max(subscription.gate, revision - 1)
            self.sink.send(payload)

    def flush(self) -> None:
        """Send what waited while the client read too slowly."""
        for subscription in list(self._subscriptions.values()):
            self._edge.hub.flush(subscription)

    def recheck(self) -> None:
        """Ask again about every subscription."""
        for learner_id, subscription in list(self._subscriptions.items()):
            self._edge.access.ask(
                self._session.user_id, "watch", learner_id, partial(self._rechecked, subscription)
            )

    def _rechecked(self, subscription: Subscription, answer: bool | UpstreamError) -> None:
        if answer is False and self._is_current(subscription):
            self._edge.hub.unsubscribe(subscription)
            self._end(subscription.learner_id, "revoked")

    def end(self) -> None:
        """The socket is closed."""
        subscriptions, self._subscriptions = self._subscriptions, {}
        for subscription in subscriptions.values():
            self._edge.hub.unsubscribe(subscription)

    # Inside

    def _is_current(self, subscription: Subscription) -> bool:
        return self._subscriptions.get(subscription.learner_id) is subscription

    def _drop(self, learner_id: str) -> Subscription | None:
        for _, payload in self._held.pop(learner_id, ()):
            self.sink.send(payload)
        return self._subscriptions.pop(learner_id, None)

    def _overtake(self, subscription: Subscription) -> None:
        """Answer a request that has not been, because a later one takes its place."""
        if not subscription.answered:
            subscription.answered = True
            self._edge.hub.unsubscribe(subscription)
            self._session.replies.overtaken(
                "subscribe_learner", subscription.request_id, subscription.receipt
            )

    def _end(self, learner_id: str, code: str) -> None:
        subscription = self._drop(learner_id)
        if subscription is not None and not subscription.answered:
            subscription.answered = True
            self._session.replies.refuse(
                False, "subscribe_learner", subscription.request_id, subscription.receipt
            )
        elif subscription is not None:
            self._session.replies.send(
                outgoing.Unsubscribed(
                    learner_id=learner_id, timestamp=timestamp(), code=code, retryable=False
                )
            )
