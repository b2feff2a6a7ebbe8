"""Writes the answers of a batch in protobuf's wire format: the hot path.

The assessments in them are serialised already; message objects would parse each, only to serialise
it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aivo.brain.v1 import brain_pb2
from brain_service.engine.submission import Applied, Failed, FailureCode
from brain_service.servicer.assessments import AssessmentCache
from brain_service.servicer.wire_format import BYTES, SHORT, VARINT, tag, varint

FAILURES: Final = {
    FailureCode.INVALID: brain_pb2.FAILURE_CODE_INVALID,
    FailureCode.UNAVAILABLE: brain_pb2.FAILURE_CODE_UNAVAILABLE,
    FailureCode.INTERNAL: brain_pb2.FAILURE_CODE_INTERNAL,
    FailureCode.OVERLOADED: brain_pb2.FAILURE_CODE_OVERLOADED,
    FailureCode.QUOTA: brain_pb2.FAILURE_CODE_QUOTA,
}

_OUTCOMES: Final = SHORT[tag(brain_pb2.InteractResponse.DESCRIPTOR, "outcomes", BYTES)]
_REQUEST_ID: Final = SHORT[tag(brain_pb2.Outcome.DESCRIPTOR, "request_id", VARINT)]
_APPLIED: Final = SHORT[tag(brain_pb2.Outcome.DESCRIPTOR, "applied", BYTES)]
_REVISION: Final = SHORT[tag(brain_pb2.Applied.DESCRIPTOR, "revision", VARINT)]
_ASSESSMENT: Final = SHORT[tag(brain_pb2.Applied.DESCRIPTOR, "assessment", BYTES)]
_DUPLICATE: Final = brain_pb2.Applied(duplicate=True).SerializeToString()


def response(
    epoch: str, answers: Iterable[tuple[int, Applied | Failed]], assessments: AssessmentCache
) -> bytes:
    """Return an InteractResponse: the outcome of each interaction under its request id."""
    written = [brain_pb2.InteractResponse(epoch=epoch).SerializeToString()]
    for request_id, result in answers:
        if isinstance(result, Failed):
            written += _failure(request_id, result)
            continue
        assessment = assessments.answer(result.assessment)
        head = (
            _REVISION
            + varint(result.revision)
            + (_DUPLICATE if result.duplicate else b"")
            + _ASSESSMENT
        )
        head += varint(len(assessment))
        place = _REQUEST_ID + varint(request_id) + _APPLIED + varint(len(head) + len(assessment))
        written += (
            _OUTCOMES,
            varint(len(place) + len(head) + len(assessment)),
            place,
            head,
            assessment,
        )
    return b"".join(written)


def _failure(request_id: int, failed: Failed) -> tuple[bytes, ...]:
    failure = brain_pb2.Failure(code=FAILURES[failed.code], message=failed.message)
    outcome = brain_pb2.Outcome(request_id=request_id, failure=failure).SerializeToString()
    return _OUTCOMES, varint(len(outcome)), outcome
