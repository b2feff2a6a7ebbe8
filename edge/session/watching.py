"""One socket's subscriptions; it never sees less than it wrote itself."""

from __future__ import annotations

from functools import partial

from edge.frames import incoming, outgoing
from edge.frames.clock import timestamp
from edge.frames.incoming import BadFrameError, RequestId
from edge.hub.latest import MAX_RECALLED
from edge.hub.subscription import Subscription
from edge.ports import LearnerSnapshot, UpstreamError
from edge.session.connected import Connected
from edge.telemetry.recording import NoReceipt

_TYPE = "subscribe_learner"


class _Request:
    """What a client asked to watch, and whether that was answered."""

    __slots__ = ("answered", "id", "receipt", "subscription")

    def __init__(self, id: RequestId, receipt: NoReceipt, subscription: Subscription) -> None:
        self.id = id
        self.receipt = receipt
        self.subscription = subscription
        self.answered = False


class Watching:
    """The subscriptions of one socket, as the hub sees them (edge.hub.subscription)."""

    __slots__ = ("_epoch", "_held", "_requests", "_socket", "_written", "budget", "sink", "user_id")

    def __init__(self, socket: Connected) -> None:
        """Begin with no subscription."""
        self._socket = socket
        self.sink = socket.sink
        self.user_id = socket.user_id
        self.budget = socket.budget
        self._requests: dict[str, _Request] = {}
        self._written: dict[str, int] = {}
        """Revision of this socket's newest acknowledged write per learner."""
        self._epoch = ""
        """The epoch that these revisions belong to."""
        self._held: dict[str, list[tuple[int, bytes]]] = {}
        """Answers to writes that wait until earlier updates of an `every` subscription are out."""

    # Called for the client

    def subscribe(self, frame: incoming.SubscribeLearner, receipt: NoReceipt) -> None:
        """Begin or renew a subscription, once the auth service allows it."""
        learner_id, edge = frame.learner_id, self._socket.edge
        limit = edge.settings.max_subscriptions
        if len(self._requests) >= limit and learner_id not in self._requests:
            raise BadFrameError(
                "too_many_subscriptions", f"A socket can watch at most {limit} learners."
            )
        if (earlier := self._requests.get(learner_id)) is not None:
            self._overtake(earlier)
        subscription = edge.hub.subscription(
            self,
            learner_id,
            every=frame.mode == "every",
            interval_s=frame.min_interval_ms / 1000,
            resume=(frame.resume.epoch, frame.resume.revision) if frame.resume else None,
        )
        request = self._requests[learner_id] = _Request(frame.id, receipt, subscription)
        edge.access.ask(self.user_id, "watch", learner_id, partial(self._allowed, request))

    def _allowed(self, request: _Request, answer: bool | UpstreamError) -> None:
        subscription = request.subscription
        if not self._is_current(request):
            return
        if answer is True:
            self._socket.edge.hub.subscribe(subscription)
        else:
            self._drop(subscription.learner_id)
            self._socket.edge.hub.unsubscribe(subscription)  # it may renew one that stands
            self._socket.replies.refuse(answer, _TYPE, request.id, request.receipt)

    def unsubscribe(self, frame: incoming.UnsubscribeLearner, receipt: NoReceipt) -> None:
        """End a subscription; harmless when there is none."""
        if (request := self._drop(frame.learner_id)) is not None:
            self._overtake(request)
            self._socket.edge.hub.unsubscribe(request.subscription)
        self._socket.replies.send(
            outgoing.Unsubscribed(learner_id=frame.learner_id, timestamp=timestamp(), id=frame.id),
            receipt,
        )

    # Called by the hub

    def on_subscribed(
        self, subscription: Subscription, snapshot: LearnerSnapshot | UpstreamError, missed: int
    ) -> None:
        """Tell the client that it is subscribed, or why not."""
        request = self._requests[subscription.learner_id]
        request.answered = True
        if isinstance(snapshot, UpstreamError):
            self._drop(subscription.learner_id)
            self._socket.replies.refuse(snapshot, _TYPE, request.id, request.receipt)
            return
        recovered = _is_recovered(subscription, snapshot, missed)
        if subscription.resume is not None:
            self._socket.edge.counters.resumes[recovered] += 1
        frame = _subscribed(subscription.learner_id, snapshot, recovered, missed)
        if request.id is not None:
            frame.id = request.id
        self._socket.replies.send(frame, request.receipt)
        self.on_delivered(subscription)

    def on_delivered(self, subscription: Subscription) -> None:
        """Release the answers that waited until earlier updates of an `every` subscription were
        sent.
        """
        held = self._held.get(subscription.learner_id)
        while held and held[0][0] <= subscription.delivered + 1:
            self.sink.send(held.pop(0)[1])

    def on_gone(self, learner_id: str) -> None:
        """Tell the client that the learner was erased."""
        self._end(learner_id, "gone")

    # Called by the session

    def written(self, learner_id: str) -> int:
        """Return the revision of this socket's newest acknowledged write, or 0."""
        epoch = self._socket.edge.hub.epoch
        if epoch != self._epoch:
            if self._epoch:  # else this edge knew none: no history has restarted
                self._written.clear()
            self._epoch = epoch
        return self._written.get(learner_id, 0)

    def answer_write(self, learner_id: str, revision: int, payload: bytes) -> None:
        """Send the answer to a write, after which this socket must not see anything older."""
        self._written[learner_id] = max(revision, self.written(learner_id))
        request = self._requests.get(learner_id)
        if request is not None:
            subscription = request.subscription
            if subscription.every and subscription.delivered + 1 < revision:
                self._held.setdefault(learner_id, []).append((revision, payload))
                return
            subscription.wrote(revision)
        self.sink.send(payload)

    def flush(self) -> None:
        """Send what waited while the client read too slowly."""
        for request in list(self._requests.values()):
            request.subscription.flush()

    def recheck(self) -> None:
        """Check every subscription again."""
        for learner_id, request in list(self._requests.items()):
            self._socket.edge.access.ask(
                self.user_id, "watch", learner_id, partial(self._rechecked, request)
            )

    def _rechecked(self, request: _Request, answer: bool | UpstreamError) -> None:
        if answer is False and self._is_current(request):
            self._socket.edge.hub.unsubscribe(request.subscription)
            self._end(request.subscription.learner_id, "revoked")

    def end(self) -> None:
        """The socket is closed."""
        requests, self._requests = self._requests, {}
        for request in requests.values():
            self._socket.edge.hub.unsubscribe(request.subscription)

    # Inside

    def _is_current(self, request: _Request) -> bool:
        return self._requests.get(request.subscription.learner_id) is request

    def _drop(self, learner_id: str) -> _Request | None:
        for _, payload in self._held.pop(learner_id, ()):
            self.sink.send(payload)
        return self._requests.pop(learner_id, None)

    def _overtake(self, request: _Request) -> None:
        """Answer a pending request that a later one replaces."""
        if not request.answered:
            request.answered = True
            self._socket.edge.hub.unsubscribe(request.subscription)
            self._socket.replies.overtaken(_TYPE, request.id, request.receipt)

    def _end(self, learner_id: str, code: str) -> None:
        request = self._drop(learner_id)
        if request is None:
            return
        if request.answered:
            self._socket.replies.send(
                outgoing.Unsubscribed(
                    learner_id=learner_id, timestamp=timestamp(), code=code, retryable=False
                )
            )
        else:
            request.answered = True
            self._socket.replies.refuse(False, _TYPE, request.id, request.receipt)


def _is_recovered(subscription: Subscription, snapshot: LearnerSnapshot, replayed: int) -> bool:
    """Whether a resuming client continues without a gap. In `every` mode the log may no longer have
    all that it missed; fewer updates are replayed then.
    """
    resume = subscription.resume
    if resume is None or resume[0] != snapshot.epoch:
        return False
    missing = snapshot.revision - resume[1]
    return 0 <= missing <= (replayed if subscription.every else MAX_RECALLED)


def _subscribed(
    learner_id: str, snapshot: LearnerSnapshot, recovered: bool, missed: int
) -> outgoing.Subscribed:
    assessment = snapshot.assessment
    frame = outgoing.Subscribed(
        learner_id=learner_id,
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
    return frame
