"""What a service's failure becomes for a client, and whether the edge itself tries again."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest

from edge.upstream.errors import is_transient, translate

Code = grpc.StatusCode


def failure(code: grpc.StatusCode, details: str = "secret details") -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


@pytest.mark.parametrize(
    ("error", "code", "transient"),
    [
        (failure(Code.UNAVAILABLE), "unavailable", True),
        (failure(Code.CANCELLED), "unavailable", True),
        (failure(Code.DEADLINE_EXCEEDED), "unavailable", False),
        (failure(Code.INTERNAL, "Internal error from Core"), "unavailable", True),
        (failure(Code.INTERNAL), "internal", False),
        (failure(Code.UNAUTHENTICATED), "internal", False),
        (failure(Code.PERMISSION_DENIED), "forbidden", False),
        (ValueError("secret details"), "internal", False),
    ],
)
def test_a_failure_is_told_without_details_and_tried_again_when_the_connection_broke(
    error: Exception, code: str, transient: bool
) -> None:
    told = translate(error, "brain")

    assert told.code == code
    assert "secret" not in str(told)
    assert is_transient(error) is transient


@pytest.mark.parametrize(
    ("details", "told"),
    [
        ("too many attempts; try again in 1 s", "Too many attempts; try again in 1 s."),
        ("learner_id must be 1 to 128 characters.", "learner_id must be 1 to 128 characters."),
        ("", "Refused."),
    ],
)
def test_what_was_written_for_the_caller_is_passed_on_as_a_sentence(
    details: str, told: str
) -> None:
    assert str(translate(failure(Code.INVALID_ARGUMENT, details), "brain")) == told
