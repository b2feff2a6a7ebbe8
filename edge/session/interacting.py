"""The interactions of one socket: each goes to the brain once and is answered once. The hot
path.
"""

from __future__ import annotations

import logging
import os
import time
import uuid

from edge.frames import incoming, outgoing
from edge.frames.clock import timestamp
from edge.ports import Interaction, UpstreamError
from edge.session.connected import Connected
from edge.session.replies import FORBIDDEN
from edge.session.watching import Watching
from edge.telemetry.recording import OK, NoReceipt
from service_runtime import trace_context

logger = logging.getLogger(__name__)


class Interacting:
    """The interactions of one socket that are in flight."""

    __slots__ = ("_lone", "_watching", "in_flight", "socket")

    def __init__(self, socket: Connected, watching: Watching) -> None:
        """Begin with none; `watching` must learn of each write before its answer goes out."""
        self.socket = socket
        self._watching = watching
        self.in_flight = 0
        self._lone = 1
        """Interactions in a row that were alone in flight when they arrived. A socket begins as if
        there had been one: behind those who go first a crowd that has just come would wait for
        seconds.
        """

    @property
    def is_alone(self) -> bool:
        """Whether the last interaction is alone in flight, and the one before it was too."""
        return self.in_flight == 1 and self._lone > 1

    def interact(self, frame: incoming.VirtualBrainInteract, receipt: NoReceipt) -> None:
        """Send an interaction to the learner's model, if this user may."""
        socket, data = self.socket, frame.data
        context = incoming.decode_context(data.context)
        if data.occurred_at is not None:
            incoming.check_moment(data.occurred_at, "data.occurred_at")
        interaction = _Interaction(self, frame, context, receipt)
        self.in_flight += 1
        self._lone = self._lone + 1 if self.in_flight == 1 else 0
        if self.in_flight == socket.edge.settings.max_in_flight:
            socket.sink.hold_reading(True)
        access, user_id = socket.edge.access, socket.user_id
        if access.known(user_id, "interact", data.learner_id):
            interaction.decided(True)
        else:
            with interaction.received.within():
                access.ask(user_id, "interact", data.learner_id, interaction.decided)

    def acknowledge(
        self, interaction: _Interaction, answer: outgoing.VirtualBrainResponse | UpstreamError
    ) -> None:
        """Answer an interaction that is committed, or say why it is not."""
        socket = self.socket
        edge = socket.edge
        if self.in_flight == edge.settings.max_in_flight:
            socket.sink.hold_reading(False)
        self.in_flight -= 1
        receipt = interaction.receipt
        if not socket.is_open:
            outcome = answer.code if isinstance(answer, UpstreamError) else OK
            receipt.unanswered(outcome, interaction.trace.trace_id)
            return
        if isinstance(answer, UpstreamError):
            trace_id = interaction.trace.trace_id
            if answer.code == "internal":
                extra = {"trace_id": trace_id, "span_id": interaction.trace.span_id}
                logger.error("an interaction failed: %s", answer, extra=extra)
            socket.replies.refuse(
                answer, "virtual_brain_interact", interaction.id, receipt, trace_id=trace_id
            )
            return
        elapsed = edge.clock() - interaction.started
        edge.counters.latency.observe(
            elapsed, interaction.trace.trace_id if interaction.trace.sampled else ""
        )
        # `round` is three times as slow.
        answer.result.processing_time = int(elapsed * 1e6) / 1e6
        answer.timestamp = timestamp()
        answer.trace_id = interaction.trace.trace_id
        answer.id = interaction.id
        payload = outgoing.encode(answer)
        self._watching.answer_write(answer.learner_id, answer.revision, payload)
        receipt.answered("virtual_brain_response", payload, OK, interaction.trace.trace_id)


class _Interaction(Interaction):
    """One interaction in flight, and what its answer needs."""

    __slots__ = ("_interacting", "id", "receipt", "received", "started")

    def __init__(
        self,
        interacting: Interacting,
        frame: incoming.VirtualBrainInteract,
        context: incoming.Context,
        receipt: NoReceipt,
    ) -> None:
        data, edge = frame.data, interacting.socket.edge
        parent = trace_context.parse(data.traceparent) if data.traceparent else None
        trace, self.received = edge.traces.receive(parent, "virtual_brain_interact")
        super().__init__(
            data,
            context,
            interaction_id=data.interaction_id or _uuid7(),
            received_at_ms=int(time.time() * 1000),
            trace=trace,
        )
        self._interacting = interacting
        self.id = frame.id
        self.receipt = receipt
        self.started = edge.clock()

    def decided(self, answer: bool | UpstreamError) -> None:
        """Send it, if that is allowed."""
        if answer is not True:
            self.answered(answer or FORBIDDEN)
            return
        interacting = self._interacting
        interacting.socket.edge.brain.interact(self, self.answered, alone=interacting.is_alone)

    def answered(self, answer: outgoing.VirtualBrainResponse | UpstreamError) -> None:
        """Pass the brain's answer on."""
        self._interacting.acknowledge(self, answer)
        self.received.answered(answer.code if isinstance(answer, UpstreamError) else "")


def _uuid7() -> str:
    """Make a time-ordered id (RFC 9562, version 7), which keeps the store's index of ids local."""
    random = int.from_bytes(os.urandom(10))
    value = (
        int(time.time() * 1000) << 80
        | 0x7 << 76
        | (random >> 68) << 64
        | 0b10 << 62
        | random & (1 << 62) - 1
    )
    return str(uuid.UUID(int=value))
