"""What a session does for learners: each interaction is answered once, or refused with a reason."""

from __future__ import annotations

import re
from typing import Any

import pytest

from edge.ports import UpstreamError
from edge.settings import EdgeSettings
from tests.support.edge_values import interaction
from tests.support.fakes import FakeEdge, say

UNAVAILABLE = UpstreamError("unavailable", "The brain cannot be reached.", retry_after_ms=1000)


def test_an_interaction_reaches_the_brain_and_its_answer_the_client(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    context = {"correct": True, "skill": ["a", "b"], "note": "kept"}
    data = interaction(
        context=context, interaction_id="i1", response="4", occurred_at="2026-01-01T00:00:00Z"
    )
    say(session, "virtual_brain_interact", data=data, id="q")
    (sent,) = edge.brain.sent
    response = sink.one()

    assert (sent.data.learner_id, sent.interaction_id, sent.context.correct) == ("ada", "i1", True)
    assert b"kept" in bytes(sent.data.context)
    assert (response["type"], response["id"], response["interaction_id"]) == (
        "virtual_brain_response",
        "q",
        "i1",
    )
    assert (response["revision"], response["duplicate"]) == (1, False)
    assert response["trace_id"] == sent.traceparent[3:35]
    assert response["result"]["processing_time"] >= 0


def test_without_an_id_the_edge_makes_one_that_is_ordered_in_time(edge: FakeEdge) -> None:
    session, sink = edge.session("ada")
    for _ in range(20):
        say(session, "virtual_brain_interact", data=interaction())
    ids = [sent.interaction_id for sent in edge.brain.sent]

    assert len(set(ids)) == 20
    assert all(
        re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", id)
        for id in ids
    )
    assert [id[:13] for id in ids] == sorted(id[:13] for id in ids)
    assert [frame["interaction_id"] for frame in sink.take()] == ids


@pytest.mark.parametrize(
    ("traceparent", "continued"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("nonsense", False),
        ("", False),
    ],
)
def test_a_clients_trace_is_continued(edge: FakeEdge, traceparent: str, continued: bool) -> None:
    session, _ = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction(traceparent=traceparent))
    trace_id, span_id = edge.brain.sent[0].traceparent.split("-")[1:3]

    assert (trace_id == "4bf92f3577b34da6a3ce929d0e0e4736") is continued
    assert span_id != "00f067aa0ba902b7"
    assert int(trace_id, 16) > 0


def test_an_interaction_that_is_not_allowed_reaches_nobody(edge: FakeEdge) -> None:
    edge.auth.decisions["u-ben", "interact", "ada"] = False
    session, sink = edge.session("ben")
    for number in range(2):
        say(session, "virtual_brain_interact", data=interaction(), id=number)
    errors = sink.take()

    assert [(one["code"], one["id"]) for one in errors] == [("forbidden", 0), ("forbidden", 1)]
    assert edge.brain.sent == []
    assert session.busy is False


def test_a_failed_interaction_says_when_to_try_again_and_under_which_trace(edge: FakeEdge) -> None:
    edge.brain.failure = UNAVAILABLE
    session, sink = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction(), id="q")
    error = sink.one()

    assert (error["code"], error["retryable"], error["retry_after_ms"]) == (
        "unavailable",
        True,
        1000,
    )
    assert (error["message_type"], error["id"], len(error["trace_id"])) == (
        "virtual_brain_interact",
        "q",
        32,
    )


@pytest.mark.parametrize(("code", "lines"), [("internal", 1), ("unavailable", 0)])
def test_a_fault_is_found_in_the_log_under_the_trace_that_the_client_was_told(
    edge: FakeEdge, caplog: pytest.LogCaptureFixture, code: str, lines: int
) -> None:
    session, sink = edge.session("ada")
    edge.brain.failure = UpstreamError(code, "One sentence.")
    say(session, "virtual_brain_interact", data=interaction())
    error = sink.one()

    assert error["code"] == code
    assert [getattr(line, "trace_id", "") for line in caplog.records] == [error["trace_id"]] * lines


@pytest.mark.parametrize("context", [{"correct": "yes"}, [], None, {"skill": ["s"] * 9}])
def test_a_bad_context_is_refused_before_anything_happens(edge: FakeEdge, context: Any) -> None:
    session, sink = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction(context=context), id="q")
    error = sink.one()

    assert (error["code"], error["id"], error["message_type"]) == (
        "bad_request",
        "q",
        "virtual_brain_interact",
    )
    assert error["error"].startswith("data.context")
    assert edge.brain.sent == []
    assert session.busy is False


def test_too_many_interactions_under_way_stop_the_reading_until_one_is_answered() -> None:
    edge = FakeEdge(settings=EdgeSettings(max_in_flight=3))
    edge.brain.hold = True
    session, sink = edge.session("ada")
    for _ in range(2):
        say(session, "virtual_brain_interact", data=interaction())
    assert (sink.holding, session.busy) == (False, True)
    say(session, "virtual_brain_interact", data=interaction())
    assert sink.holding is True
    edge.brain.release(1)
    assert sink.holding is False
    say(session, "virtual_brain_interact", data=interaction())
    assert sink.holding is True
    edge.brain.release()

    assert (sink.holding, session.busy) == (False, False)
    assert len(sink.of("virtual_brain_response")) == 4


def test_interactions_stay_in_order_while_permission_is_asked(edge: FakeEdge) -> None:
    edge.auth.hold = True
    session, sink = edge.session()
    say(session, "authenticate", token="ada")
    edge.auth.release()
    for number in range(4):
        say(session, "virtual_brain_interact", data=interaction(interaction_id=f"i{number}"))
        if number == 2:
            edge.auth.release()
    assert [sent.interaction_id for sent in edge.brain.sent] == ["i0", "i1", "i2", "i3"]
    assert len(sink.of("virtual_brain_response")) == 4
