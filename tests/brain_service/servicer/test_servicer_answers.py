"""Answers written byte by byte are the messages of the contract."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aivo.brain.v1 import brain_pb2
from brain_service import model
from brain_service.engine.submission import Applied, Failed, FailureCode
from brain_service.model.interaction import interaction_from_context
from brain_service.servicer import answers
from brain_service.servicer.assessments import AssessmentCache
from brain_service.servicer.wire_format import varint
from tests.brain_service.servicer.contract import assessment_of

_LEARNED = model.apply(
    None,
    model.Statistics(),
    interaction_from_context("practice", "3 + 4", {"skill": "sums", "correct": True}),
    1.0,
).assessment
_VIEWED = model.apply(
    None, model.Statistics(), interaction_from_context("content_view", "3 + 4", {}), 1.0
).assessment

results = st.one_of(
    st.builds(
        lambda told, revision, duplicate: Applied(told._replace(revision=revision), duplicate),
        st.sampled_from([_LEARNED, _VIEWED]),
        st.integers(1, 2**64 - 1),
        st.booleans(),
    ),
    st.builds(Failed, code=st.sampled_from(FailureCode), message=st.text(max_size=300)),
)


@given(
    epoch=st.text(max_size=40),
    told=st.lists(st.tuples(st.integers(0, 2**64 - 1), results), max_size=8),
)
def test_a_response_says_what_its_messages_would(
    epoch: str, told: list[tuple[int, Applied | Failed]]
) -> None:
    expected = brain_pb2.InteractResponse(epoch=epoch)
    for request_id, result in told:
        outcome = expected.outcomes.add(request_id=request_id)
        if isinstance(result, Failed):
            outcome.failure.code = answers.FAILURES[result.code]
            outcome.failure.message = result.message
        else:
            outcome.applied.revision = result.revision
            outcome.applied.duplicate = result.duplicate
            outcome.applied.assessment.CopyFrom(assessment_of(result.assessment))

    assert (
        brain_pb2.InteractResponse.FromString(answers.response(epoch, told, AssessmentCache()))
        == expected
    )


@given(st.integers(0, 2**64 - 1))
def test_a_whole_number_is_written_as_protobuf_writes_it(value: int) -> None:
    assert (
        b"\x08" + varint(value) == brain_pb2.Applied(revision=value).SerializeToString()
        or value == 0
    )
