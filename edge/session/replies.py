"""How a session answers its client: frames, and errors in the words of the protocol."""

from __future__ import annotations

from typing import Any

from edge.frames import outgoing
from edge.frames.incoming import RequestId
from edge.ports import Sink, UpstreamError
from edge.telemetry.counters import EdgeCounters
from edge.telemetry.recording import NO_RECEIPT, OK, NoReceipt

FORBIDDEN = UpstreamError("forbidden", "You may not do this.")


class Replies:
    """Sends to one socket."""

    __slots__ = ("_counters", "sink")

    def __init__(self, sink: Sink, counters: EdgeCounters) -> None:
        """Answer through `sink`."""
        self.sink = sink
        self._counters = counters

    def send(
        self,
        frame: Any,
        receipt: NoReceipt = NO_RECEIPT,
        outcome: str = OK,
        trace_id: str | None = None,
    ) -> int:
        """Send a frame and return its bytes; with a `receipt` it is the answer to that."""
        kind = type(frame)
        self._counters.sent[kind] += 1
        payload = outgoing.encode(frame)
        self.sink.send(payload)
        receipt.answered(outgoing.TYPES[kind], payload, outcome, trace_id or "")
        return len(payload)

    def error(
        self,
        code: str,
        message: str,
        id: RequestId = None,
        message_type: str | None = None,
        *,
        receipt: NoReceipt = NO_RECEIPT,
        retry_after_ms: int | None = None,
        trace_id: str | None = None,
    ) -> None:
        """Send an error; the socket stays open."""
        self._counters.count_error(code)
        self.send(
            outgoing.error(
                code,
                message,
                id=id,
                message_type=message_type,
                retry_after_ms=retry_after_ms,
                trace_id=trace_id,
            ),
            receipt,
            code,
            trace_id,
        )

    def overtaken(self, message_type: str, id: RequestId, receipt: NoReceipt) -> None:
        """Answer a request that a later one has superseded, if it has an id: its sender waits for
        that.

        Without an id nobody waits, and an error would only confuse.
        """
        if id is not None:
            message = "A later request of this socket replaced it."
            self.error("conflict", message, id, message_type, receipt=receipt)
        else:
            receipt.unanswered("conflict")

    def refuse(
        self,
        answer: UpstreamError | bool,
        message_type: str,
        id: RequestId,
        receipt: NoReceipt,
        *,
        trace_id: str | None = None,
    ) -> None:
        """Send a service's error, or, when the answer is False, that this is not allowed."""
        error = answer if isinstance(answer, UpstreamError) else FORBIDDEN
        self.error(
            error.code,
            str(error),
            id,
            message_type,
            receipt=receipt,
            retry_after_ms=error.retry_after_ms,
            trace_id=trace_id,
        )
