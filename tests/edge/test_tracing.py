"""Spans of the edge: ids that travel are ids of spans, and every delivery names the interactions
behind it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from edge.hub.subscription import Subscription
from edge.ports import UpstreamError
from edge.telemetry.tracing import CallTraces, EdgeTraces
from edge.upstream.batcher import Batcher
from service_runtime import telemetry, trace_context
from service_runtime.spans import Span
from service_runtime.telemetry import Sampler, Tracer
from service_runtime.trace_context import TraceContext
from tests.edge.test_hub import Watcher, subscribe
from tests.support.background import running
from tests.support.edge_values import interaction, update
from tests.support.eventually import until
from tests.support.fakes import FakeEdge, say

ALL = Sampler(1 << 64, True)
NONE = Sampler(0, True)


@pytest.fixture
def spans() -> list[Span]:
    return []


@pytest.fixture
def edge(spans: list[Span]) -> FakeEdge:
    return FakeEdge(traces=EdgeTraces(Tracer(ALL, spans.append)))


def cause(revision: int, *, sampled: bool = True) -> TraceContext:
    return TraceContext(f"{revision:032x}", f"{revision:016x}", sampled)


def move(edge: FakeEdge, *revisions: int, sampled: bool = True) -> None:
    """Deliver updates of these revisions, each caused by one interaction."""
    for revision in revisions:
        causes = (trace_context.render(cause(revision, sampled=sampled)),)
        edge.hub.deliver(replace(update("ada", revision), traceparents=causes))


def watch(
    edge: FakeEdge, *, every: bool = False, interval_s: float = 0
) -> tuple[Watcher, Subscription]:
    watcher = Watcher()
    return watcher, subscribe(edge, watcher, every=every, interval_s=interval_s)


def test_one_span_tells_of_all_sockets_that_an_update_went_to(
    edge: FakeEdge, spans: list[Span]
) -> None:
    for _ in range(3):
        watch(edge)
    paused, _ = watch(edge)
    paused.sink.paused = True
    move(edge, 1)

    (span,) = spans
    assert (span.name, span.parent, span.links) == ("fan-out", cause(1), (cause(1),))
    assert (span.attributes["aivo.sockets.sent"], span.attributes["aivo.sockets.waiting"]) == (3, 1)
    assert span.context.trace_id == cause(1).trace_id


def test_a_slow_socket_gets_one_update_linked_to_all_that_it_stands_for(
    edge: FakeEdge, spans: list[Span]
) -> None:
    watcher, subscription = watch(edge)
    move(edge, 1)
    watcher.sink.paused = True
    move(edge, *range(2, 22))
    spans.clear()
    watcher.sink.paused = False
    subscription.flush()
    move(edge, 22)

    late, next = spans
    assert late.links == tuple(map(cause, range(21, 5, -1)))  # the newest 16
    assert late.parent == cause(21)
    assert next.links == (cause(22),)


def test_what_a_snapshot_already_told_is_no_cause_of_a_later_update(
    edge: FakeEdge, spans: list[Span]
) -> None:
    edge.feed.hold = True
    edge.feed.revisions["ada"] = 2
    watch(edge)
    move(edge, 1, 2, 3)
    edge.feed.release()

    (span,) = spans
    assert span.links == (cause(3),)


def test_each_revision_of_a_queue_is_linked_to_its_own_cause(
    edge: FakeEdge, spans: list[Span]
) -> None:
    watcher, subscription = watch(edge, every=True)
    watcher.sink.paused = True
    move(edge, 1, 2, 3)
    watcher.sink.paused = False
    subscription.flush()

    assert [span.links for span in spans] == [(cause(1),), (cause(2),), (cause(3),)]


def test_updates_of_unsampled_interactions_leave_no_span(edge: FakeEdge, spans: list[Span]) -> None:
    watch(edge, interval_s=1)
    watch(edge)
    move(edge, 1, 2, sampled=False)

    assert spans == []


def test_a_frame_is_one_span_and_its_id_is_what_the_answer_tells(
    edge: FakeEdge, spans: list[Span]
) -> None:
    session, sink = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction())
    say(
        session, "adapt_content", data={"learner_id": "ada", "content": "x", "content_type": "text"}
    )
    say(session, "get_state", learner_id="ada")

    assert [span.attributes["aivo.frame.type"] for span in spans] == [
        "virtual_brain_interact",
        "adapt_content",
        "get_state",
    ]
    assert {(span.name, span.parent, span.error) for span in spans} == {("ws.receive", None, "")}
    assert sink.take()[0]["trace_id"] == spans[0].context.trace_id
    assert trace_context.parse(edge.brain.sent[0].traceparent) == spans[0].context


@pytest.mark.parametrize("failure", [None, UpstreamError("unavailable", "Try again.")])
def test_a_refusal_is_told_by_its_code(
    edge: FakeEdge, spans: list[Span], failure: UpstreamError | None
) -> None:
    edge.brain.failure = failure
    edge.auth.default = failure is not None
    session, _ = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction())
    say(session, "get_state", learner_id="ada")

    assert [span.error for span in spans] == [failure.code if failure else "forbidden"] * 2


def test_nothing_is_recorded_of_what_is_sampled_out(spans: list[Span]) -> None:
    edge = FakeEdge(traces=EdgeTraces(Tracer(NONE, spans.append)))
    session, sink = edge.session("ada")
    say(session, "virtual_brain_interact", data=interaction())

    assert spans == []
    assert len(sink.take()[0]["trace_id"]) == 32
    assert edge.brain.sent[0].traceparent.endswith("-00")


async def test_a_batch_of_questions_is_one_call_in_the_first_ones_trace_and_the_others_link_to_it(
    spans: list[Span],
) -> None:
    sent: list[telemetry.Metadata] = []

    async def call(items: list[int]) -> list[int | UpstreamError]:
        sent.append(telemetry.outgoing(()))
        return [UpstreamError("not_found", "No.") if item == 3 else item for item in items]

    traces = CallTraces(Tracer(ALL, spans.append), "a.B/C", "127.0.0.1:1")
    batcher: Batcher[int] = Batcher(call, service="b", max_batch=8, max_pending=8, traces=traces)
    for item, context in ((1, None), (2, cause(2)), (3, cause(3))):
        if context is None:
            batcher.submit(item, lambda _: None)
        else:
            with telemetry.within(context):
                batcher.submit(item, lambda _: None)
    async with running(batcher.run()):
        await until(lambda: len(spans) == 2)

    first, second = spans
    assert (first.parent, second.parent) == (cause(2), cause(3))
    assert sent == [(("traceparent", trace_context.render(first.context)),)]
    assert (first.links, second.links) == ((), (first.context,))
    assert (first.error, second.error) == ("", "not_found")
    assert first.attributes["messaging.batch.message_count"] == 3
    assert telemetry.current() is None
