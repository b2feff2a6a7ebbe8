"""Questions about a learner that change nothing: the present state, and content that fits it."""

from __future__ import annotations

from edge.admission.prices import PER_BYTE_TOLD
from edge.frames import incoming, outgoing
from edge.frames.clock import timestamp
from edge.ports import Adapted, UpstreamError
from edge.session.connected import Connected
from edge.session.replies import FORBIDDEN
from edge.session.watching import Watching
from edge.telemetry.recording import NoReceipt
from edge.telemetry.tracing import NotReceived, Received

MAX_ASKED = 8
"""Most requests for a state until it shows all that the socket has written."""


def get_state(
    socket: Connected, watching: Watching, frame: incoming.GetState, receipt: NoReceipt
) -> None:
    """Answer with the learner's present state, at least as new as this socket's own writes."""
    edge = socket.edge
    started = edge.clock()
    received = edge.traces.receive(None, "get_state")[1]
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        written = watching.written(frame.learner_id)
        with received.within():
            edge.brain.get_state(frame.learner_id, min_revision=written, done=answered)

    def is_outdated(answer: outgoing.StateResponse) -> bool:
        return socket.is_open and answer.revision < watching.written(frame.learner_id)

    def answered(answer: outgoing.StateResponse | UpstreamError) -> None:
        if isinstance(answer, outgoing.StateResponse) and is_outdated(answer):
            # A write of this socket was acknowledged during the request.
            if asked < MAX_ASKED:
                ask()
                return
            answer = UpstreamError("unavailable", "The state could not be read; try again.")
        _end(received, answer)
        if isinstance(answer, UpstreamError):
            socket.replies.refuse(answer, "get_state", frame.id, receipt)
            return
        if frame.id is not None:
            answer.id = frame.id
        answer.timestamp = timestamp()
        told = socket.replies.send(answer, receipt, trace_id=received.trace_id)
        socket.budget.charge(told * PER_BYTE_TOLD)
        edge.counters.latency.observe(edge.clock() - started)

    def allowed(answer: bool | UpstreamError) -> None:
        if answer is True:
            ask()
        else:
            _end(received, answer)
            socket.replies.refuse(answer, "get_state", frame.id, receipt)

    with received.within():
        edge.access.ask(socket.user_id, "watch", frame.learner_id, allowed)


def adapt_content(socket: Connected, frame: incoming.AdaptContent, receipt: NoReceipt) -> None:
    """Answer with the content in a form that fits the learner's present state."""
    edge = socket.edge
    received = edge.traces.receive(None, "adapt_content")[1]

    def answered(answer: Adapted | UpstreamError) -> None:
        _end(received, answer)
        if isinstance(answer, UpstreamError):
            socket.replies.refuse(answer, "adapt_content", frame.id, receipt)
            return
        socket.replies.send(
            outgoing.ContentAdapted(
                learner_id=frame.data.learner_id,
                original_content=frame.data.content,
                adapted_content=answer.content,
                timestamp=timestamp(),
                changes=answer.changes,
                id=frame.id,
            ),
            receipt,
            trace_id=received.trace_id,
        )

    def allowed(answer: bool | UpstreamError) -> None:
        if answer is True:
            with received.within():
                edge.brain.adapt(frame.data, done=answered)
        else:
            _end(received, answer)
            socket.replies.refuse(answer, "adapt_content", frame.id, receipt)

    with received.within():
        edge.access.ask(socket.user_id, "watch", frame.data.learner_id, allowed)


def _end(received: Received | NotReceived, answer: object) -> None:
    refusal = FORBIDDEN if answer is False else answer
    received.answered(refusal.code if isinstance(refusal, UpstreamError) else "")
