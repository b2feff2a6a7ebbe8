"""Batches of what other systems recorded."""

from __future__ import annotations

import logging
from typing import Any

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
