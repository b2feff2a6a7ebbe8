"""Batches of what other systems recorded."""

from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest

from aivo.brain.v1 import brain_pb2 as pb
from tests.brain_service.servicer.servicer_support import Stack, interaction


async def test_a_recorded_batch_keeps_its_order_and_tells_of_each(stack: Stack) -> None:
    batch = [interaction("mia", interaction_id=f"b-{n}", request_id=n) for n in range(3)]
    batch.insert(1, interaction("", request_id=9))
    request = pb.RecordInteractionsRequest(interactions=batch)

    response = await stack.call("RecordInteractions", request)
    again = await stack.call("RecordInteractions", request)

    assert [one.request_id for one in response.outcomes] == [0, 9, 1, 2]
    assert [one.applied.revision for one in response.outcomes] == [1, 0, 2, 3]
    assert response.outcomes[1].failure.code == pb.FAILURE_CODE_INVALID
    assert [one.applied.duplicate for one in again.outcomes] == [True, False, True, True]
    assert response.epoch


async def test_the_log_has_the_numbers_of_a_batch_and_nobody(
    stack: Stack, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    batch = [interaction("mia", interaction_id=f"b-{n}") for n in range(3)]

    await stack.call("RecordInteractions", pb.RecordInteractionsRequest(interactions=batch[:1]))
    batch.append(interaction(""))
    await stack.call("RecordInteractions", pb.RecordInteractionsRequest(interactions=batch))

    told: list[Any] = [one for one in caplog.records if one.msg == "interactions recorded"]
    assert [(one.stored, one.duplicates, one.refused) for one in told] == [(1, 0, 0), (2, 1, 1)]
    assert "mia" not in str([vars(one) for one in told])


async def recorded_by(stack: Stack) -> list[tuple[str, str, int]]:
    entries = await stack.store.newest_audit(100)
    return [(each.action, each.requested_by, each.interactions) for each in entries]


async def test_the_audit_log_tells_who_recorded_what_is_new(stack: Stack) -> None:
    batch = [interaction("mia", interaction_id=f"b-{n}") for n in range(3)]
    request = pb.RecordInteractionsRequest(
        interactions=[*batch, interaction("")], requested_by="Library import"
    )
    for _ in range(2):  # a resend is no second recording
        await stack.call("RecordInteractions", request)
    alone = pb.RecordInteractionRequest(interaction=interaction("ben"), requested_by="u-ann")
    for _ in range(2):
        await stack.call("RecordInteraction", alone)

    assert await recorded_by(stack) == [("record", "Library import", 3), ("record", "u-ann", 1)]


@pytest.mark.parametrize("method", ["RecordInteraction", "RecordInteractions"])
async def test_who_names_nobody_is_a_service(stack: Stack, method: str) -> None:
    if method == "RecordInteraction":
        await stack.record("mia", count=2)
    else:
        batch = [interaction("mia"), interaction("mia")]
        await stack.call(method, pb.RecordInteractionsRequest(interactions=batch))

    assert await recorded_by(stack) == [("record", "a service", 2)]


async def test_what_learners_send_themselves_is_not_audited(stack: Stack) -> None:
    call = stack.stub.Interact(metadata=stack.channel.metadata)
    await call.write(pb.InteractRequest(interactions=[interaction("mia")]))
    await call.read()
    call.cancel()

    assert await recorded_by(stack) == []


@pytest.mark.parametrize("name", [" ", "a" * 257, "two\nlines", "\u202eright to left"])
@pytest.mark.parametrize(
    ("method", "request_of"),
    [
        ("RecordInteraction", lambda **of: pb.RecordInteractionRequest(
            interaction=interaction("mia"), **of
        )),
        ("RecordInteractions", lambda **of: pb.RecordInteractionsRequest(
            interactions=[interaction("mia")], **of
        )),
    ],
)  # fmt: skip
async def test_a_name_that_no_log_can_hold_records_nothing(
    stack: Stack, method: str, request_of: Any, name: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stack.call(method, request_of(requested_by=name))

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "requested_by must be 1 to 256 printable characters" in str(refused.value.details())
    assert await stack.store.revisions(["mia"]) == {}
    assert await recorded_by(stack) == []
