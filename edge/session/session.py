"""One socket from its first frame to its last: who is connected, and to whom each frame goes."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

from edge.admission.limits import TokenBucket
from edge.admission.prices import FRAME, MORE_THAN_A_FRAME, PER_BYTE
from edge.frames import incoming, outgoing
from edge.frames.clock import rfc3339, timestamp
from edge.frames.codes import CloseCode
from edge.frames.incoming import BadFrameError, RequestId
from edge.ports import Identity, Sink, UpstreamError
from edge.session import asking
from edge.session.connected import Connected
from edge.session.dependencies import Dependencies
from edge.session.gone import GONE
from edge.session.interacting import Interacting
from edge.session.replies import Replies
from edge.session.talking import Talking
from edge.session.watching import Watching
from edge.telemetry.recording import NO_RECEIPT, NoReceipt

logger = logging.getLogger(__name__)

MAX_REFUSALS = 200
"""How far refused frames (too fast or malformed) may outnumber accepted ones before the socket is
closed.
"""

MAX_REFUSALS_OF_STRANGERS = 20
"""The same before authentication."""


class Session:
    """The state of one socket. Most sockets are idle, so each activity is created when it
    begins.
    """

    __slots__ = (
        "_bucket",
        "_ended",
        "_identifying",
        "_interacting",
        "_refusals",
        "_socket",
        "_talking",
        "_watching",
        "edge",
        "expires_at_ms",
        "replies",
        "session_id",
        "sink",
    )

    def __init__(self, edge: Dependencies, sink: Sink) -> None:
        """Begin unauthenticated; a first frame, or a call of `authenticate`, must bring a token."""
        self.edge = edge
        self.sink = sink
        self.replies = Replies(sink, edge.counters)
        self.session_id = ""
        self.expires_at_ms = 0
        self._socket: Connected | None = None
        """None before authentication and after the end."""
        settings = edge.settings
        self._bucket = TokenBucket(
            rate=settings.frames_per_s, burst=settings.frames_burst, now=edge.clock()
        )
        self._refusals = 0
        self._identifying = False
        self._ended = False
        self._watching: Watching | None = None
        self._interacting: Interacting | None = None
        self._talking: Talking | None = None

    @property
    def user_id(self) -> str:
        """Who is connected; empty before authentication and after the end."""
        return "" if self._socket is None else self._socket.user_id

    @property
    def connection_id(self) -> str:
        """The id by which others know this socket; empty before authentication and after the
        end.
        """
        return "" if self._socket is None else self._socket.connection_id

    @property
    def is_stranger(self) -> bool:
        """Whether nobody is authenticated and no authentication is in progress."""
        return self._socket is None and not self._identifying

    # Activities

    @property
    def socket(self) -> Connected:
        """The authenticated socket."""
        assert self._socket is not None  # noqa: S101 - frames of strangers never come so far
        return self._socket

    @property
    def watching(self) -> Watching:
        """This socket's subscriptions."""
        if self._watching is None:
            self._watching = Watching(self.socket)
        return self._watching

    @property
    def interacting(self) -> Interacting:
        """This socket's interactions."""
        if self._interacting is None:
            self._interacting = Interacting(self.socket, self.watching)
        return self._interacting

    @property
    def talking(self) -> Talking:
        """This socket's rooms."""
        if self._talking is None:
            self._talking = Talking(self.socket)
        return self._talking

    # Frames

    def on_text(self, payload: bytes) -> None:
        """Answer one frame."""
        edge = self.edge
        edge.counters.messages_received += 1
        now, socket = edge.clock(), self._socket
        user_id, role = ("", "") if socket is None else (socket.user_id, socket.role)
        receipt = edge.recording.receipt(user_id, role, now, payload)
        wait = self._bucket.take(now)
        if socket is not None:
            wait = wait or socket.budget.take(FRAME + len(payload) * PER_BYTE, now)
        if wait:
            self._refuse(
                incoming.unread(payload, "rate_limited", "Too many frames; slow down."),
                receipt,
                retry_after_ms=int(wait * 1000) + 1,
            )
            return
        try:
            frame = incoming.decode(payload)
        except BadFrameError as error:
            self._refuse(error, receipt)
            return
        kind = type(frame)
        edge.counters.received[kind] += 1
        receipt.understood(incoming.TYPES[kind], frame)
        try:
            if socket is None:
                self._on_first(frame, receipt)
            else:
                socket.budget.charge(MORE[kind])
                HANDLERS[kind](self, frame, receipt)
                if self._refusals:
                    self._refusals -= 1
        except BadFrameError as error:
            error.id = frame.id
            error.message_type = incoming.TYPES[kind]
            self._refuse(error, receipt)
        except Exception:
            logger.exception("a frame could not be handled")
            message = "Something went wrong here; the log of the edge has the details."
            self.replies.error("internal", message, frame.id, incoming.TYPES[kind], receipt=receipt)

    def on_control(self) -> bool:
        """Count a ping, a pong or a piece of a message; False when it is one too many."""
        if not self._bucket.take(self.edge.clock()):
            return True
        self._refusals += 1
        if self._refusals > self._max_refusals:
            self._close_for_rate(NO_RECEIPT)
        return False

    def _on_first(self, frame: incoming.AnyClientFrame, receipt: NoReceipt) -> None:
        if isinstance(frame, incoming.Authenticate):
            self.authenticate(frame.token, frame.id, receipt)
        elif self._identifying:
            raise BadFrameError("unauthenticated", "Wait for connection_established.")
        else:
            raise BadFrameError("unauthenticated", "Authenticate first.")

    def _refuse(
        self, error: BadFrameError, receipt: NoReceipt, *, retry_after_ms: int | None = None
    ) -> None:
        self._refusals += 1
        if error.message_type:
            receipt.understood(error.message_type)
        if self._refusals <= self._max_refusals:
            self.replies.error(
                error.code,
                str(error),
                error.id,
                error.message_type,
                receipt=receipt,
                retry_after_ms=retry_after_ms,
            )
        elif error.code == "rate_limited":
            self._close_for_rate(receipt)
        else:
            receipt.unanswered(error.code)
            self.sink.close(CloseCode.NOT_JSON, "too many refused frames")

    @property
    def _max_refusals(self) -> int:
        return MAX_REFUSALS_OF_STRANGERS if self._socket is None else MAX_REFUSALS

    def _close_for_rate(self, receipt: NoReceipt) -> None:
        self.replies.error(
            "rate_limited", "Too many frames for too long.", receipt=receipt, retry_after_ms=10_000
        )
        self.sink.close(CloseCode.RATE_LIMITED, "too many frames")

    # Who is connected

    def authenticate(
        self, token: str, id: RequestId = None, receipt: NoReceipt = NO_RECEIPT
    ) -> None:
        """Check a token; the first one opens the session, a later one of the same user extends
        it.
        """
        if self._identifying:
            raise BadFrameError("conflict", "A token is being checked already.")
        self._identifying = True
        self._identify(token, id, receipt)

    def _identify(self, token: str, id: RequestId, receipt: NoReceipt) -> None:
        generation = self.edge.access.generation

        def answered(answer: Identity | UpstreamError) -> None:
            if generation == self.edge.access.generation or isinstance(answer, UpstreamError):
                self._identified(answer, id, receipt)
            # Something was revoked during the check, perhaps this very session.
            else:
                self._identify(token, id, receipt)

        self.edge.auth.authenticate(token, answered)

    def _identified(
        self, answer: Identity | UpstreamError, id: RequestId, receipt: NoReceipt
    ) -> None:
        self._identifying = False
        if self._ended:
            return  # the socket closed while its token was checked
        if isinstance(answer, UpstreamError):
            self.replies.refuse(answer, "authenticate", id, receipt)
            if self._socket is not None:
                return  # the old token stays valid until it expires
            if answer.code == "unauthenticated":
                self.sink.close(CloseCode.UNAUTHENTICATED, str(answer))
            else:
                self.sink.close(CloseCode.TRY_LATER, "the token cannot be checked now")
        elif self._socket is None:
            self._open(answer, id, receipt)
        else:
            self._prolong(self._socket, answer, id, receipt)

    def _open(self, identity: Identity, id: RequestId, receipt: NoReceipt) -> None:
        edge, user_id = self.edge, identity.user_id
        self._know(identity)
        receipt.identified(user_id, identity.role)
        self._socket = Connected(
            edge=edge,
            sink=self.sink,
            replies=self.replies,
            connection_id=str(uuid.uuid4()),
            user_id=user_id,
            role=identity.role,
            budget=edge.budgets.of(user_id, edge.clock()),
        )
        if not edge.registry.add(self):
            self._socket = None
            message = "This user has too many sockets open."
            self.replies.error(
                "rate_limited", message, id, "authenticate", receipt=receipt, retry_after_ms=30_000
            )
            self.sink.close(CloseCode.RATE_LIMITED, message)
            return
        edge.access.tell_own(user_id, identity.own_learners, identity.decision_ttl_s)
        self.sink.deadline_changed()
        settings = edge.settings
        self.replies.send(
            outgoing.ConnectionEstablished(
                connection_id=self._socket.connection_id,
                timestamp=timestamp(),
                user=outgoing.User(user_id, identity.role),
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
            ),
            receipt,
        )

    def _prolong(
        self, socket: Connected, identity: Identity, id: RequestId, receipt: NoReceipt
    ) -> None:
        if identity.user_id != socket.user_id:
            message = "The new token is another user's; open a new socket."
            self.replies.error("forbidden", message, id, "authenticate", receipt=receipt)
            return
        self._know(identity)
        socket.role = identity.role
        self.edge.access.tell_own(socket.user_id, identity.own_learners, identity.decision_ttl_s)
        self.sink.deadline_changed()
        frame = outgoing.Authenticated(
            expires_at=rfc3339(self.expires_at_ms), timestamp=timestamp(), id=id
        )
        self.replies.send(frame, receipt)

    def _know(self, identity: Identity) -> None:
        self.session_id, self.expires_at_ms = identity.session_id, identity.expires_at_ms

    # Called by the edge

    @property
    def busy(self) -> bool:
        """Whether interactions are in flight."""
        return self._interacting is not None and self._interacting.in_flight > 0

    def on_writable(self) -> None:
        """The client reads again: send what waited."""
        if self._watching is not None:
            self._watching.flush()

    def recheck(self) -> None:
        """Check every subscription and room again, because relations or decisions may have
        changed.
        """
        if self._watching is not None:
            self._watching.recheck()
        if self._talking is not None:
            self._talking.recheck()

    def revoke(self) -> None:
        """Close the socket: its login was ended."""
        self.replies.error("forbidden", "Access was revoked.")
        self.sink.close(CloseCode.FORBIDDEN, "access revoked")

    def drain(self, reconnect_after_ms: int) -> None:
        """Tell the client that the edge is about to stop."""
        self.replies.send(
            outgoing.ServerDraining(reconnect_after_ms=reconnect_after_ms, timestamp=timestamp())
        )

    def end(self) -> None:
        """The socket is closed: remove it from the edge."""
        self._ended = True
        self.sink = self.replies.sink = GONE
        socket = self._socket
        if socket is None:
            return
        socket.is_open = False
        if self._watching is not None:
            self._watching.end()
        if self._talking is not None:
            self._talking.end()
        if self.edge.registry.remove(self):
            self.edge.access.release(socket.user_id)
        self._socket = None


def _pong(session: Session, frame: incoming.Ping, receipt: NoReceipt) -> None:
    session.replies.send(
        outgoing.Pong(timestamp=timestamp(), sent_at=frame.sent_at, id=frame.id), receipt
    )


HANDLERS: dict[type, Callable[[Session, Any, NoReceipt], None]] = {
    incoming.Authenticate: lambda session, frame, receipt: session.authenticate(
        frame.token, frame.id, receipt
    ),
    incoming.SubscribeLearner: lambda session, *asked: session.watching.subscribe(*asked),
    incoming.UnsubscribeLearner: lambda session, *asked: session.watching.unsubscribe(*asked),
    incoming.VirtualBrainInteract: lambda session, frame, receipt: session.interacting.interact(
        frame, receipt
    ),
    incoming.GetState: lambda session, *asked: asking.get_state(
        session.socket, session.watching, *asked
    ),
    incoming.AdaptContent: lambda session, *asked: asking.adapt_content(session.socket, *asked),
    incoming.JoinRoom: lambda session, *asked: session.talking.join(*asked),
    incoming.LeaveRoom: lambda session, *asked: session.talking.leave(*asked),
    incoming.SendRoomMessage: lambda session, *asked: session.talking.say(*asked),
    incoming.Ping: _pong,
}
"""Handlers of the frames of authenticated clients."""

MORE = {frame: MORE_THAN_A_FRAME.get(tag, 0.0) for frame, tag in incoming.TYPES.items()}
"""Extra price per frame."""
