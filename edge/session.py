"""What one socket may do and how each of its frames is answered. It knows frames and ports, no transport.

Nothing here awaits: answers come back by callbacks, so a frame costs no task and no future.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from edge.access import Access
from edge.counters import Counters
from edge.frames import incoming, outgoing
from edge.frames.clock import rfc3339, timestamp
from edge.frames.codes import CloseCode
from edge.frames.incoming import BadFrame, RequestId
from edge.hub import Hub, Subscription
from edge.limits import TokenBucket
from edge.ports import Acknowledged, Adapted, Auth, Brain, Identity, Member, RoomLink, Sink, Snapshot, UpstreamError
from edge.registry import Registry
from edge.rooms import Rooms
from edge.settings import EdgeSettings
from edge.sweep import Sweep
from service_runtime import trace_context

logger = logging.getLogger(__name__)

MAX_REFUSALS = 200
"""Frames refused in a row, for their rate or their form, after which the socket is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Everything of the edge that a session works with."""

    settings: EdgeSettings
    hub: Hub
    rooms: Rooms
    registry: Registry
    access: Access
    brain: Brain
    auth: Auth
    room_link: RoomLink
    counters: Counters
    sweep: Sweep
    clock: Callable[[], float]


class Session:
    """One socket from its first frame to its last."""

    __slots__ = (
        "_bucket",
        "_edge",
        "_held",
        "_in_flight",
        "_opened",
        "_refusals",
        "_rooms",
        "_subscriptions",
        "_waiting_token",
        "_written",
        "connection_id",
        "expires_at_ms",
        "role",
        "session_id",
        "sink",
        "user_id",
    )

    def __init__(self, edge: Surroundings, sink: Sink) -> None:
        """Begin with nobody known; the first frame must authenticate, unless `authenticate` is called before it."""
        now = edge.clock()
        self._edge = edge
        self.sink = sink
        self.connection_id = ""
        self.user_id = ""
        self.role = ""
        self.session_id = ""
        self.expires_at_ms = 0
        self._opened = now
        self._bucket = TokenBucket(rate=edge.settings.frames_per_s, burst=edge.settings.frames_burst, now=now)
        self._refusals = 0
        self._in_flight = 0
        self._waiting_token = False
        self._subscriptions: dict[str, Subscription] | None = None  # made when first needed: most sockets are idle
        self._rooms: set[str] | None = None
        self._written: dict[str, int] | None = None  # revision of this socket's newest acknowledged write per learner
        self._held: dict[str, list[tuple[int, bytes]]] | None = None  # answers that wait for earlier updates

    # Frames

    def on_text(self, payload: bytes) -> None:
        """Answer one frame."""
        edge = self._edge
        edge.counters.messages_received += 1
        wait = self._bucket.take(edge.clock())
        if wait:
            self._refuse(BadFrame("rate_limited", "Too many frames; slow down."), retry_after_ms=int(wait * 1000) + 1)
            return
        try:
            frame = incoming.decode(payload)
            if not self.user_id:
                self._on_first(frame)
            else:
                _HANDLERS[type(frame)](self, frame)
                self._refusals = 0
        except BadFrame as error:
            self._refuse(error)
        except Exception:
            logger.exception("a frame could not be handled")
            self._error("internal", "Something went wrong here; the log of the edge has the details.", None, None)

    def _on_first(self, frame: incoming.AnyClientFrame) -> None:
        if isinstance(frame, incoming.Authenticate):
            self.authenticate(frame.token, frame.id)
        elif not self._waiting_token:
            raise BadFrame("unauthenticated", "Authenticate first.", id=frame.id)
        else:
            raise BadFrame("unauthenticated", "Wait for connection_established.", id=frame.id)

    def _refuse(self, error: BadFrame, *, retry_after_ms: int | None = None) -> None:
        self._refusals += 1
        if self._refusals > MAX_REFUSALS:
            if error.code == "rate_limited":
                self._error("rate_limited", "Too many frames for too long.", None, None, retry_after_ms=10_000)
                self.sink.close(CloseCode.RATE_LIMITED, "too many frames")
            else:
                self.sink.close(CloseCode.NOT_JSON, "too many refused frames")
            return
        self._error(error.code, str(error), error.id, error.message_type, retry_after_ms=retry_after_ms)

    # Who is connected

    def authenticate(self, token: str, id: RequestId = None) -> None:
        """Find out whose token it is; a first one opens the session, a later one of the same user prolongs it."""
        if self._waiting_token:
            raise BadFrame("conflict", "A token is being checked already.", id=id, message_type="authenticate")
        self._waiting_token = True
        self._edge.auth.authenticate(token, lambda answer: self._identified(answer, id))

    def _identified(self, answer: Identity | UpstreamError, id: RequestId) -> None:
        self._waiting_token = False
        if isinstance(answer, UpstreamError):
            self._edge.counters.errors += 1
            if self.user_id:  # the old token goes on until it expires
                self._fail("authenticate", id, answer)
            elif answer.code == "unauthenticated":
                self._error("unauthenticated", str(answer), id, "authenticate")
                self.sink.close(CloseCode.UNAUTHENTICATED, str(answer))
            else:
                self._fail("authenticate", id, answer)
                self.sink.close(CloseCode.TRY_LATER, "the token cannot be checked now")
        elif self.user_id:
            self._prolong(answer, id)
        else:
            self._open(answer, id)

    def _open(self, identity: Identity, id: RequestId) -> None:
        edge = self._edge
        self.user_id, self.role, self.session_id, self.expires_at_ms = identity
        if not edge.registry.add(self):
            self.user_id = ""
            message = "This user has too many sockets open."
            self._error("rate_limited", message, id, "authenticate", retry_after_ms=30_000)
            self.sink.close(CloseCode.RATE_LIMITED, message)
            return
        self.connection_id = str(uuid.uuid4())
        self.sink.deadline_changed()
        settings = edge.settings
        self._send(
            outgoing.ConnectionEstablished(
                connection_id=self.connection_id,
                timestamp=timestamp(),
                user=outgoing.User(self.user_id, self.role),
                expires_at=rfc3339(self.expires_at_ms),
                heartbeat_ms=int(settings.ping_s * 1000),
                limits={
                    "frame_bytes": settings.max_frame_bytes,
                    "subscriptions": settings.max_subscriptions,
                    "rooms": settings.max_rooms,
                    "frames_per_second": settings.frames_per_s,
                    "burst": settings.frames_burst,
                    "in_flight": settings.max_in_flight,
                },
                id=id,
            )
        )

    def _prolong(self, identity: Identity, id: RequestId) -> None:
        if identity.user_id != self.user_id:
            self._error("forbidden", "The new token is another user's; open a new socket.", id, "authenticate")
            return
        self.role, self.session_id, self.expires_at_ms = identity.role, identity.session_id, identity.expires_at_ms
        self.sink.deadline_changed()
        self._send(outgoing.Authenticated(expires_at=rfc3339(self.expires_at_ms), timestamp=timestamp(), id=id))

    # Watching

    def _on_subscribe(self, frame: incoming.SubscribeLearner) -> None:
        subscriptions = self._subscriptions if self._subscriptions is not None else {}
        if len(subscriptions) >= self._edge.settings.max_subscriptions and frame.learner_id not in subscriptions:
            raise BadFrame(
                "too_many_subscriptions",
                f"A socket can watch {self._edge.settings.max_subscriptions} learners.",
                id=frame.id,
                message_type="subscribe_learner",
            )
        subscription = Subscription(
            self._edge.hub,
            self,
            frame.learner_id,
            every=frame.mode == "every",
            interval_s=frame.min_interval_ms / 1000,
            resume=(frame.resume.epoch, frame.resume.revision) if frame.resume else None,
            request_id=frame.id,
        )
        if self._written is not None:
            subscription.gate = max(0, self._written.get(frame.learner_id, 0) - 1)
        subscriptions[frame.learner_id] = subscription
        self._subscriptions = subscriptions

        def allowed(answer: bool | UpstreamError) -> None:
            if subscriptions.get(frame.learner_id) is not subscription:
                return
            if answer is True:
                self._edge.hub.subscribe(subscription)
            else:
                self._drop(frame.learner_id)
                self._fail("subscribe_learner", frame.id, answer)

        self._edge.access.ask(self.user_id, "watch", frame.learner_id, allowed)

    def on_subscribed(self, subscription: Subscription, snapshot: Snapshot | UpstreamError, missed: int) -> None:
        """Tell the client that it is subscribed, or why not."""
        if isinstance(snapshot, UpstreamError):
            self._drop(subscription.learner_id)
            self._fail("subscribe_learner", subscription.request_id, snapshot)
            return
        resume, advice = subscription.resume, snapshot.advice
        frame = outgoing.Subscribed(
            learner_id=subscription.learner_id,
            success=True,
            epoch=snapshot.epoch,
            revision=snapshot.revision,
            recovered=resume is not None and resume[0] == snapshot.epoch and resume[1] <= snapshot.revision,
            state=advice.state if advice else None,
            missed=missed,
            timestamp=timestamp(),
        )
        if advice:
            frame.performance = advice.performance
            frame.recommendations, frame.actions = advice.recommendations, advice.actions
        if subscription.request_id is not None:
            frame.id = subscription.request_id
        self._send(frame)
        self.on_delivered(subscription)

    def on_delivered(self, subscription: Subscription) -> None:
        """Let go the answers that waited until earlier updates of an `every` subscription were out."""
        held = self._held.get(subscription.learner_id) if self._held else None
        while held and held[0][0] <= subscription.delivered + 1:
            self.sink.send(held.pop(0)[1])

    def on_gone(self, learner_id: str) -> None:
        """Tell the client that the learner was erased."""
        self._release(learner_id)
        self._end_subscription(learner_id, "gone")

    def _on_unsubscribe(self, frame: incoming.UnsubscribeLearner) -> None:
        subscription = self._drop(frame.learner_id)
        if subscription is not None:
            self._edge.hub.unsubscribe(subscription)
        self._send(outgoing.Unsubscribed(learner_id=frame.learner_id, timestamp=timestamp(), id=frame.id))

    def _drop(self, learner_id: str) -> Subscription | None:
        self._release(learner_id)
        return self._subscriptions.pop(learner_id, None) if self._subscriptions else None

    def _release(self, learner_id: str) -> None:
        for _, payload in (self._held or {}).pop(learner_id, ()):
            self.sink.send(payload)

    def _end_subscription(self, learner_id: str, code: str) -> None:
        if self._drop(learner_id) is not None:
            self._send(outgoing.Unsubscribed(learner_id=learner_id, timestamp=timestamp(), code=code, retryable=False))

    # Interacting

    def _on_interact(self, frame: incoming.VirtualBrainInteract) -> None:
        data = frame.data
        try:
            context = incoming.decode_context(data.context)
        except BadFrame as error:
            error.id, error.message_type = frame.id, "virtual_brain_interact"
            raise
        answer = _Interaction(self, frame.id, data.learner_id, data.interaction_id or _uuid7(), data.traceparent)
        edge = self._edge
        self._in_flight += 1
        if self._in_flight == edge.settings.max_in_flight:
            self.sink.hold_reading(True)
        may = edge.access.known(self.user_id, "interact", data.learner_id)
        if may:
            answer.send(data, context)
        else:
            edge.access.ask(
                self.user_id,
                "interact",
                data.learner_id,
                lambda allowed: answer.send(data, context) if allowed is True else answer.refuse(allowed),
            )

    def acknowledge(self, interaction: _Interaction, answer: Acknowledged | UpstreamError) -> None:
        """Answer an interaction that is committed, or say why it is not."""
        edge = self._edge
        if self._in_flight == edge.settings.max_in_flight:
            self.sink.hold_reading(False)
        self._in_flight -= 1
        elapsed = edge.clock() - interaction.started
        if not self.user_id:
            return  # the socket closed meanwhile
        if isinstance(answer, UpstreamError):
            self._fail("virtual_brain_interact", interaction.id, answer, trace_id=interaction.trace.trace_id)
            return
        edge.counters.latency.observe(elapsed)
        revision, duplicate, result = answer
        result.processing_time = round(elapsed, 6)
        frame = outgoing.VirtualBrainResponse(
            learner_id=interaction.learner_id,
            result=result,
            timestamp=timestamp(),
            interaction_id=interaction.interaction_id,
            revision=revision,
            trace_id=interaction.trace.trace_id,
            id=interaction.id,
        )
        frame.duplicate = duplicate
        self._answer_write(interaction.learner_id, revision, outgoing.encode(frame))

    def _answer_write(self, learner_id: str, revision: int, payload: bytes) -> None:
        """Send the answer to a write, after which this socket must not see anything older."""
        if self._written is None:
            self._written = {}
        self._written[learner_id] = max(revision, self._written.get(learner_id, 0))
        subscription = self._subscriptions.get(learner_id) if self._subscriptions else None
        if subscription is None:
            self.sink.send(payload)
        elif subscription.every and subscription.delivered + 1 < revision:
            self._held = self._held or {}
            self._held.setdefault(learner_id, []).append((revision, payload))
        else:
            if not subscription.every:
                subscription.gate = max(subscription.gate, revision - 1)
            self.sink.send(payload)

    # Reading and adapting

    def _on_get_state(self, frame: incoming.GetState) -> None:
        started = self._edge.clock()

        def answered(answer: outgoing.StateResponse | UpstreamError) -> None:
            if isinstance(answer, UpstreamError):
                self._fail("get_state", frame.id, answer)
                return
            if frame.id is not None:
                answer.id = frame.id
            answer.timestamp = timestamp()
            self._send(answer)
            self._edge.counters.latency.observe(self._edge.clock() - started)

        def allowed(answer: bool | UpstreamError) -> None:
            if answer is True:
                written = self._written.get(frame.learner_id, 0) if self._written else 0
                self._edge.brain.get_state(frame.learner_id, min_revision=written, done=answered)
            else:
                self._fail("get_state", frame.id, answer)

        self._edge.access.ask(self.user_id, "watch", frame.learner_id, allowed)

    def _on_adapt(self, frame: incoming.AdaptContent) -> None:
        def answered(answer: Adapted | UpstreamError) -> None:
            if isinstance(answer, UpstreamError):
                self._fail("adapt_content", frame.id, answer)
                return
            self._send(
                outgoing.ContentAdapted(
                    learner_id=frame.data.learner_id,
                    original_content=frame.data.content,
                    adapted_content=answer.content,
                    timestamp=timestamp(),
                    changes=answer.changes,
                    id=frame.id,
                )
            )

        def allowed(answer: bool | UpstreamError) -> None:
            if answer is True:
                self._edge.brain.adapt(frame.data, done=answered)
            else:
                self._fail("adapt_content", frame.id, answer)

        self._edge.access.ask(self.user_id, "watch", frame.data.learner_id, allowed)

    # Rooms

    def _on_join(self, frame: incoming.JoinRoom) -> None:
        rooms = self._rooms = self._rooms if self._rooms is not None else set()
        if len(rooms) >= self._edge.settings.max_rooms and frame.room_id not in rooms:
            limit = self._edge.settings.max_rooms
            raise BadFrame(
                "too_many_subscriptions", f"A socket can be in {limit} rooms.", id=frame.id, message_type="join_room"
            )
        rooms.add(frame.room_id)
        member = Member(self.connection_id, self.user_id, self.role)

        def joined(answer: list[Member] | UpstreamError) -> None:
            if isinstance(answer, UpstreamError):
                self._quit(frame.room_id)
                self._fail("join_room", frame.id, answer)
            elif frame.room_id in rooms:
                self._send(
                    outgoing.RoomJoined(
                        room_id=frame.room_id,
                        connection_id=self.connection_id,
                        user=outgoing.User(self.user_id, self.role),
                        members=[_member(one) for one in answer],
                        timestamp=timestamp(),
                        id=frame.id,
                    )
                )

        def allowed(answer: bool | UpstreamError) -> None:
            if frame.room_id not in rooms:
                return
            if answer is True:
                self._edge.rooms.enter(frame.room_id, self, member)
                self._edge.room_link.join(frame.room_id, member, joined)
            else:
                rooms.discard(frame.room_id)
                self._fail("join_room", frame.id, answer)

        self._edge.access.ask(self.user_id, "join", frame.room_id, allowed)

    def _quit(self, room_id: str) -> None:
        if self._rooms and room_id in self._rooms:
            self._rooms.discard(room_id)
            self._edge.rooms.leave(room_id, self.connection_id)
            self._edge.room_link.leave(room_id, self.connection_id, None)

    def _on_leave(self, frame: incoming.LeaveRoom) -> None:
        self._quit(frame.room_id)
        self._send(
            outgoing.RoomLeft(
                room_id=frame.room_id,
                connection_id=self.connection_id,
                user=outgoing.User(self.user_id, self.role),
                timestamp=timestamp(),
                id=frame.id,
            )
        )

    def _on_room_message(self, frame: incoming.SendRoomMessage) -> None:
        incoming.check_object(frame.data, "data")
        if not self._rooms or frame.room_id not in self._rooms:
            raise BadFrame("forbidden", "Join the room first.", id=frame.id, message_type="room_message")

        def published(answer: Any) -> None:
            if isinstance(answer, UpstreamError):
                self._fail("room_message", frame.id, answer)

        self._edge.room_link.publish(frame.room_id, self.connection_id, bytes(frame.data), published)

    def _on_ping(self, frame: incoming.Ping) -> None:
        self._send(outgoing.Pong(timestamp=timestamp(), sent_at=frame.sent_at, id=frame.id))

    def _on_authenticate(self, frame: incoming.Authenticate) -> None:
        self.authenticate(frame.token, frame.id)

    # What the edge tells the session

    def on_writable(self) -> None:
        """The client reads again: send what waited."""
        for subscription in list((self._subscriptions or {}).values()):
            self._edge.hub.flush(subscription)

    def recheck(self) -> None:
        """Ask again about every subscription and room, because relations or decisions may have changed."""
        for learner_id, subscription in list((self._subscriptions or {}).items()):
            self._edge.access.ask(self.user_id, "watch", learner_id, partial(self._recheck_subscription, subscription))
        for room_id in list(self._rooms or ()):
            self._edge.access.ask(self.user_id, "join", room_id, partial(self._recheck_room, room_id))

    def _recheck_room(self, room_id: str, may: bool | UpstreamError) -> None:
        if may is False:
            self._quit(room_id)
            self._send(
                outgoing.RoomLeft(
                    room_id=room_id,
                    connection_id=self.connection_id,
                    user=outgoing.User(self.user_id, self.role),
                    timestamp=timestamp(),
                )
            )

    def _recheck_subscription(self, subscription: Subscription, may: bool | UpstreamError) -> None:
        if may is False and (self._subscriptions or {}).get(subscription.learner_id) is subscription:
            self._edge.hub.unsubscribe(subscription)
            self._end_subscription(subscription.learner_id, "revoked")

    def revoke(self) -> None:
        """Close the socket: its login was ended."""
        self._error("forbidden", "Access was revoked.", None, None)
        self.sink.close(CloseCode.FORBIDDEN, "access revoked")

    @property
    def busy(self) -> bool:
        """Whether interactions are under way."""
        return self._in_flight > 0

    def drain(self, reconnect_after_ms: int) -> None:
        """Tell the client that the edge is about to stop."""
        self._send(outgoing.ServerDraining(reconnect_after_ms=reconnect_after_ms, timestamp=timestamp()))

    def end(self) -> None:
        """The socket is closed: take everything of it out of the edge."""
        if not self.user_id:
            return
        for subscription in (self._subscriptions or {}).values():
            self._edge.hub.unsubscribe(subscription)
        for room_id in list(self._rooms or ()):
            self._quit(room_id)
        if self._edge.registry.remove(self):
            self._edge.access.forget_user(self.user_id)
        self._subscriptions = self._rooms = self._held = None
        self.user_id = ""

    # Sending

    def _send(self, frame: Any) -> None:
        self.sink.send(outgoing.encode(frame))

    def _error(
        self,
        code: str,
        message: str,
        id: RequestId,
        message_type: str | None,
        *,
        retry_after_ms: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        self._edge.counters.errors += 1
        self._send(
            outgoing.error(
                code, message, id=id, message_type=message_type, retry_after_ms=retry_after_ms, trace_id=trace_id
            )
        )

    def _fail(self, message_type: str, id: RequestId, answer: Any, *, trace_id: str | None = None) -> None:
        """Answer with what a service said, or, when it said no, that this is not allowed."""
        if isinstance(answer, UpstreamError):
            self._error(
                answer.code, str(answer), id, message_type, retry_after_ms=answer.retry_after_ms, trace_id=trace_id
            )
        else:
            self._error("forbidden", "You may not do this.", id, message_type, trace_id=trace_id)


class _Interaction:
    """An interaction under way, and what its answer needs."""

    __slots__ = ("id", "interaction_id", "learner_id", "session", "started", "trace")

    def __init__(self, session: Session, id: RequestId, learner_id: str, interaction_id: str, traceparent: str) -> None:
        parent = trace_context.parse(traceparent) if traceparent else None
        self.session = session
        self.id = id
        self.learner_id = learner_id
        self.interaction_id = interaction_id
        self.trace = trace_context.child(parent) if parent else trace_context.new_root()
        self.started = session._edge.clock()

    def send(self, data: incoming.InteractionData, context: incoming.Context) -> None:
        self.session._edge.brain.interact(
            data,
            context,
            interaction_id=self.interaction_id,
            received_at_ms=int(time.time() * 1000),
            traceparent=trace_context.render(self.trace),
            done=self,
        )

    def refuse(self, answer: bool | UpstreamError) -> None:
        refusal = answer if isinstance(answer, UpstreamError) else UpstreamError("forbidden", "You may not do this.")
        self.session.acknowledge(self, refusal)

    def __call__(self, answer: Acknowledged | UpstreamError) -> None:
        self.session.acknowledge(self, answer)


def _member(member: Member) -> dict[str, Any]:
    return {"connection_id": member.connection_id, "user": {"id": member.user_id, "role": member.role}}


def _uuid7() -> str:
    """Make a time-ordered id (RFC 9562, version 7), which keeps the store's index of ids local."""
    random = int.from_bytes(os.urandom(10))
    value = int(time.time() * 1000) << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62 | random & (1 << 62) - 1
    return str(uuid.UUID(int=value))


_HANDLERS: dict[type, Callable[[Session, Any], None]] = {
    incoming.Authenticate: Session._on_authenticate,
    incoming.SubscribeLearner: Session._on_subscribe,
    incoming.UnsubscribeLearner: Session._on_unsubscribe,
    incoming.VirtualBrainInteract: Session._on_interact,
    incoming.GetState: Session._on_get_state,
    incoming.AdaptContent: Session._on_adapt,
    incoming.JoinRoom: Session._on_join,
    incoming.LeaveRoom: Session._on_leave,
    incoming.SendRoomMessage: Session._on_room_message,
    incoming.Ping: Session._on_ping,
}
