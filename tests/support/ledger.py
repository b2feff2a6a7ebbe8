"""What the durable log has, read in two ways that know nothing of each other: the HTTP API, and the
file itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from harness.stack import Stack
from tests.support.brain_log import read_log
from tests.support.school import School, request

PAGE = 1000


def history(school: School, learner_id: str, token: str) -> list[dict[str, Any]]:
    """Return a learner's whole history, page by page."""
    entries: list[dict[str, Any]] = []
    while True:
        after = entries[-1]["revision"] if entries else 0
        status, page = request(
            school.stack,
            "GET",
            f"/api/learners/{learner_id}/history?after={after}&limit={PAGE}",
            token=token,
        )
        assert status == 200, page
        entries += page["entries"]
        if not page["has_more"]:
            return entries


def rows(stack: Stack, interaction_id: str) -> int:
    """Return how many committed rows of the brain's file carry this interaction."""
    logged = read_log(stack.database("brain"))
    return sum(row.interaction_id == interaction_id for _, row in logged)


async def assert_in_log_exactly_once(
    school: School, token: str, acknowledged: Mapping[str, Mapping[str, int]]
) -> dict[str, int]:
    """Check what was acknowledged (learner → interaction id → revision) and return each learner's
    newest revision.
    """
    newest = {}
    for learner_id, told in acknowledged.items():
        entries = await asyncio.to_thread(history, school, learner_id, token)
        logged = [entry["interaction_id"] for entry in entries]
        assert [entry["revision"] for entry in entries] == list(range(1, len(entries) + 1)), (
            learner_id
        )
        assert len(set(logged)) == len(logged), learner_id
        revisions = {entry["interaction_id"]: entry["revision"] for entry in entries}
        assert {id: revisions.get(id) for id in told} == dict(told), learner_id
        newest[learner_id] = len(entries)
    return newest
