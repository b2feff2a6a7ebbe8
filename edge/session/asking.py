"""Questions about a learner that change nothing: the present state, and content that fits it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge.frames import incoming, outgoing
from edge.frames.clock import timestamp
from edge.ports import Adapted, UpstreamError

if TYPE_CHECKING:
    from edge.session.session import Session


def get_state(session: Session, frame: incoming.GetState) -> None:
    """Answer with the learner's present state, at least as new as this socket's own writes."""
    edge = session.edge
    started = edge.clock()

    def answered(answer: outgoing.StateResponse | UpstreamError) -> None:
        if isinstance(answer, UpstreamError):
            session.replies.refuse(answer, "get_state", frame.id)
            return
        if frame.id is not None:
            answer.id = frame.id
        answer.timestamp = timestamp()
        session.replies.send(answer)
        edge.counters.latency.observe(edge.clock() - started)

    def allowed(answer: bool | UpstreamError) -> None:
        if answer is True:
            written = session.watching.written(frame.learner_id)
            edge.brain.get_state(frame.learner_id, min_revision=written, done=answered)
        else:
            session.replies.refuse(answer, "get_state", frame.id)

    edge.access.ask(session.user_id, "watch", frame.learner_id, allowed)


def adapt_content(session: Session, frame: incoming.AdaptContent) -> None:
    """Answer with the content in a form that fits the learner's present state."""
    edge = session.edge

    def answered(answer: Adapted | UpstreamError) -> None:
        if isinstance(answer, UpstreamError):
            session.replies.refuse(answer, "adapt_content", frame.id)
            return
        session.replies.send(
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
            edge.brain.adapt(frame.data, done=answered)
        else:
            session.replies.refuse(answer, "adapt_content", frame.id)

    edge.access.ask(session.user_id, "watch", frame.data.learner_id, allowed)
