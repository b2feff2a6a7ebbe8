"""The trace of one interaction, read back from a real Jaeger as its page reads it."""

from __future__ import annotations

import asyncio

import pytest

from harness.stack import private_stack
from tests.support import jaeger
from tests.support.school import found_school
from tests.support.socket import open_socket

AUTHORIZE = "auth.Authorize"
ONCE = (
    "ws.receive",
    "queued",
    "brain.interact",
    "interact",
    "apply",
    "commit",
    "state_update send",
    "fan-out",
)


@pytest.mark.skipif(
    jaeger.find() is None, reason="no Jaeger here; AIVO_JAEGER names the script that starts one"
)
def test_jaeger_shows_one_tree_across_edge_auth_and_brain() -> None:
    script = jaeger.find()
    assert script is not None
    with jaeger.running(script) as running, private_stack(env=running.environment) as stack:
        school = found_school(stack)

        async def play() -> str:
            async with (
                open_socket(stack.ws_url, school.token("teacher")) as teacher,
                # An administrator may act for everybody, but only auth knows that; a learner's own
                # token tells it.
                open_socket(stack.ws_url, school.token("admin")) as own,
            ):
                await teacher.ask("subscribe_learner", learner_id="ada")
                response = await own.interact("ada")
                await teacher.until_revision("ada", response["revision"])
            return str(response["trace_id"])

        trace_id = asyncio.run(play())
        spans = running.spans(trace_id, dict.fromkeys(ONCE, 1) | {AUTHORIZE: 2})
        services = running.get("/api/v3/services")["services"]

    assert {"edge", "brain_service", "auth_service"} <= set(services)
    assert {one["traceId"] for found in spans.values() for one in found} == {trace_id}
    assert {name: len(spans[name]) for name in ONCE} == dict.fromkeys(ONCE, 1)
    ids = {name: spans[name][0]["spanId"] for name in ONCE}
    parents = {name: spans[name][0].get("parentSpanId", "") for name in ONCE}
    assert parents["ws.receive"] == ""
    assert parents["brain.interact"] == parents["queued"] == ids["ws.receive"]
    assert parents["interact"] == ids["brain.interact"]
    assert {parents[name] for name in ("apply", "commit", "state_update send", "fan-out")} == {
        ids["interact"]
    }
    for name in ("state_update send", "fan-out"):
        assert [link["spanId"] for link in spans[name][0]["links"]] == [ids["interact"]]
    assert {spans[name][0]["service"] for name in ("interact", "apply", "commit")} == {
        "brain_service"
    }
    assert {one["service"] for one in spans[AUTHORIZE]} == {"edge", "auth_service"}
    assert ids["ws.receive"] in {one["parentSpanId"] for one in spans[AUTHORIZE]}
