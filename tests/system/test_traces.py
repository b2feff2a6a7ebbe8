"""One trace leads from the browser's frame through all processes and back, and on to everyone who
watches.

The spans are received as a collector receives them: OTLP over gRPC, from the four real processes.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.stack import private_stack
from tests.support.collector import Collector, Seen, collecting
from tests.support.school import PASSWORD, School, found_school, request
from tests.support.second_edge import second_edge
from tests.support.socket import Frame, open_socket

CONTENT = "Who-wrote-this-question"
RESPONSE = "Nobody-may-read-this-answer"
AUTHORIZE = "auth.Authorize"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector for the stack of this module."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def traced(collector: Collector) -> Iterator[School]:
    """A stack that records every trace."""
    env = collector.environment | {
        "OTEL_TRACES_SAMPLER": "parentbased_always_on",
        "EDGE_FRAMES_PER_S": "0",
        "EDGE_USER_UNITS_PER_S": "0",
        "EDGE_MAX_IN_FLIGHT": "1024",
    }
    with private_stack(env=env) as stack:
        yield found_school(stack)


@pytest.fixture
def learner(traced: School) -> str:
    """A learner that no other test has touched."""
    return traced.new_learner()


def browser(*, sampled: bool = True) -> str:
    """Return a browser's traceparent."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"


def has(**names: int) -> Callable[[list[Seen]], bool]:
    """Tell whether a trace has at least so many spans of each name (written with _ for blanks and
    dots).
    """

    def complete(spans: list[Seen]) -> bool:
        found = Counter(
            span.name.replace(" ", "_").replace(".", "_").replace("-", "_") for span in spans
        )
        return all(found[name] >= count for name, count in names.items())

    return complete


def the(spans: list[Seen], name: str) -> Seen:
    """Return the only span of a name."""
    (span,) = [span for span in spans if span.name == name]
    return span


WHOLE = has(
    ws_receive=1,
    queued=1,
    brain_interact=1,
    interact=1,
    apply=1,
    commit=1,
    state_update_send=1,
    fan_out=1,
)


def test_one_trace_leads_from_the_frame_to_the_store_and_back_to_the_watchers_of_two_edges(
    traced: School, collector: Collector, learner: str
) -> None:
    sent = browser()

    async def play() -> str:
        async with (
            open_socket(traced.stack.ws_url, traced.token("teacher")) as teacher,
            open_socket(other, traced.token("teacher")) as far,
            # An administrator may act for everybody, but only auth knows that; a learner's own
            # token tells it.
            open_socket(traced.stack.ws_url, traced.token("admin")) as own,
        ):
            await teacher.ask("subscribe_learner", learner_id=learner)
            await far.ask("subscribe_learner", learner_id=learner)
            response = await own.interact(learner, traceparent=sent)
            near, away = (
                await teacher.until_revision(learner, 1),
                await far.until_revision(learner, 1),
            )
        assert near[0]["trace_id"] == away[0]["trace_id"] == response["trace_id"]
        return str(response["trace_id"])

    with second_edge(traced.stack) as other:
        trace_id = asyncio.run(play())
        spans = collector.until(
            trace_id,
            lambda found: (
                WHOLE(found)
                and has(fan_out=2, state_update_send=2)(found)
                and _named(found, AUTHORIZE) == 2
            ),
        )

    assert trace_id == sent.split("-")[1]
    receive, queued, client = (
        the(spans, "ws.receive"),
        the(spans, "queued"),
        the(spans, "brain.interact"),
    )
    server, apply, commit = the(spans, "interact"), the(spans, "apply"), the(spans, "commit")
    parents = [
        (receive, sent.split("-")[2]),
        (queued, receive.span_id),
        (client, receive.span_id),
        (server, client.span_id),
        (apply, server.span_id),
        (commit, server.span_id),
    ]
    assert [(span.name, span.parent_id) for span, _ in parents] == [
        (span.name, id) for span, id in parents
    ]
    for span in spans:
        if span.name in ("state_update send", "fan-out"):
            assert (span.parent_id, span.links) == (server.span_id, (server.id,))
    assert {span.service for span in spans} == {"edge", "brain_service", "auth_service"}
    assert [span.kind for span, _ in parents] == [
        "SERVER",
        "INTERNAL",
        "CLIENT",
        "SERVER",
        "INTERNAL",
        "INTERNAL",
    ]
    assert {span.kind for span in spans if span.name == "fan-out"} == {"CONSUMER"}
    assert {span.kind for span in spans if span.name == "state_update send"} == {"PRODUCER"}
    # What was first asked of the auth service is part of the trace too.
    asked, decided = [span for span in spans if span.name == AUTHORIZE]
    assert (asked.kind, asked.parent_id) == ("CLIENT", receive.span_id)
    assert (decided.kind, decided.parent_id, decided.service) == (
        "SERVER",
        asked.span_id,
        "auth_service",
    )
    # In the order of time, each within the one that caused it.
    assert (
        receive.start_ns
        <= queued.start_ns
        <= queued.end_ns
        == client.start_ns
        <= server.start_ns
        <= apply.start_ns
    )
    assert (
        apply.end_ns
        <= commit.start_ns
        <= commit.end_ns
        <= server.end_ns
        <= client.end_ns
        <= receive.end_ns
    )
    assert not [span for span in spans if span.error]
    assert client.attributes["rpc.method"] == "aivo.brain.v1.BrainService/Interact"
    assert client.attributes["server.port"] == traced.stack.ports.brain
    assert client.attributes["messaging.batch.message_count"] == 1


def test_without_a_browsers_trace_the_edge_begins_one_and_tells_its_id(
    traced: School, collector: Collector, learner: str
) -> None:
    async def play() -> str:
        async with open_socket(traced.stack.ws_url, traced.token(learner)) as own:
            return str((await own.interact(learner))["trace_id"])

    trace_id = asyncio.run(play())
    spans = collector.until(trace_id, has(ws_receive=1, interact=1, apply=1, commit=1))

    assert the(spans, "ws.receive").parent_id == ""
    assert len({span.span_id for span in spans}) == len(spans)


def test_a_coalesced_update_is_linked_to_every_interaction_behind_it(
    traced: School, collector: Collector, learner: str
) -> None:
    """The edge holds updates back for a calm watcher; the newest 16 interactions are named."""
    count = 20

    async def play() -> tuple[list[str], list[Frame]]:
        async with open_socket(traced.stack.ws_url, traced.token("teacher")) as teacher:
            await teacher.ask("subscribe_learner", learner_id=learner, min_interval_ms=2_000)
            async with open_socket(traced.stack.ws_url, traced.token(learner)) as own:
                ids = [(await own.interact(learner))["trace_id"] for _ in range(count)]
            return ids, await teacher.until_revision(learner, count)

    ids, updates = asyncio.run(play())
    update = max(updates, key=lambda one: int(one["coalesced"]))
    behind = ids[update["revision"] - 1 - update["coalesced"] : update["revision"]][::-1]
    spans = collector.until(behind[0], has(fan_out=1, interact=1))
    causes = [the(collector.until(id, has(interact=1)), "interact").id for id in behind]

    assert update["coalesced"] > 0
    assert update["trace_id"] == behind[0]
    fan_out = the(spans, "fan-out")
    assert fan_out.links == tuple(causes[:16])
    assert fan_out.parent_id == the(spans, "interact").span_id


def test_interactions_of_one_group_share_one_commit_and_each_leads_to_it(
    traced: School, collector: Collector, learner: str
) -> None:
    async def play() -> list[str]:
        async with open_socket(traced.stack.ws_url, traced.token(learner)) as own:
            ids = await own.send_answers(learner, 60)
            return [frame["trace_id"] for frame in await own.responses(ids)]

    trace_ids = asyncio.run(play())
    spans = [
        span
        for id in trace_ids
        for span in collector.until(id, has(ws_receive=1, interact=1, apply=1))
    ]
    commits = {span.id: span for span in spans if span.name == "commit"}
    servers = {span.id for span in spans if span.name == "interact"}

    assert len(commits) < len(trace_ids)
    told: Counter[tuple[str, str]] = Counter()
    for span in spans:
        if span.name == "apply":
            own = [id for id, commit in commits.items() if commit.parent_id == span.parent_id]
            (commit_id,) = own or span.links
            assert own or (span.trace_id, span.parent_id) in commits[commit_id].links
            told[commit_id] += 1
    assert told == {id: 1 + len(commit.links) for id, commit in commits.items()}
    assert {link for commit in commits.values() for link in commit.links} < servers
    sizes = {
        span.attributes["messaging.batch.message_count"]
        for span in spans
        if span.name == "brain.interact"
    }
    assert max(sizes) > 1


def test_a_refused_interaction_has_a_span_that_says_so(
    traced: School, collector: Collector, learner: str
) -> None:
    sent = browser()

    async def play() -> None:
        async with open_socket(traced.stack.ws_url, traced.token("stranger")) as stranger:
            frame = await stranger.interact(learner, traceparent=sent)
            assert (frame["code"], frame["trace_id"]) == ("forbidden", sent.split("-")[1])

    asyncio.run(play())
    spans = collector.until(sent.split("-")[1], has(ws_receive=1))

    assert the(spans, "ws.receive").error
    assert the(spans, "ws.receive").attributes["error.type"] == "forbidden"
    assert "brain.interact" not in {span.name for span in spans}


def test_a_browser_that_does_not_record_leaves_no_span_and_still_gets_its_id(
    traced: School, collector: Collector, learner: str
) -> None:
    unsampled, sampled = browser(sampled=False), browser()

    async def play() -> None:
        async with open_socket(traced.stack.ws_url, traced.token(learner)) as own:
            await own.ask("subscribe_learner", learner_id=learner)
            frame = await own.interact(learner, traceparent=unsampled)
            assert frame["trace_id"] == unsampled.split("-")[1]
            await own.interact(learner, traceparent=sampled)

    asyncio.run(play())
    collector.until(sampled.split("-")[1], has(ws_receive=1, commit=1))  # sent after the other

    assert collector.trace(unsampled.split("-")[1]) == []


def test_an_http_request_leads_to_the_metrics_service(traced: School, collector: Collector) -> None:
    sent, token = browser(), traced.token("admin")
    call = urllib.request.Request(
        f"{traced.stack.http_url}/api/websocket/metrics",
        headers={"Authorization": f"Bearer {token}", "traceparent": sent},
    )
    with urllib.request.urlopen(call, timeout=10) as answer:
        assert answer.status == 200
    method = "metrics.GetSnapshot"
    spans = collector.until(
        sent.split("-")[1],
        lambda found: (
            _named(found, method) == 2 and _named(found, "GET /api/websocket/metrics") == 1
        ),
    )

    (outer,) = [span for span in spans if span.service == "edge" and span.kind == "SERVER"]
    assert (outer.name, outer.parent_id) == ("GET /api/websocket/metrics", sent.split("-")[2])
    assert outer.attributes["http.response.status_code"] == 200
    client, server = (span for span in spans if span.name == method)
    assert (client.kind, client.parent_id, client.service) == ("CLIENT", outer.span_id, "edge")
    assert (server.kind, server.parent_id, server.service) == (
        "SERVER",
        client.span_id,
        "metrics_service",
    )
    assert server.attributes["rpc.response.status_code"] == "OK"
    for span in (client, server):
        assert span.attributes["rpc.method"] == "aivo.metrics.v1.MetricsService/GetSnapshot"


def test_adapted_content_is_traced_from_frame_to_brain(
    traced: School, collector: Collector, learner: str
) -> None:
    seen = len(collector.spans)

    async def play() -> None:
        async with open_socket(traced.stack.ws_url, traced.token("teacher")) as teacher:
            data = {"learner_id": learner, "content": CONTENT, "content_type": "text"}
            await teacher.ask("adapt_content", data=data)
            await teacher.ask("get_state", learner_id=learner)

    asyncio.run(play())
    for method in ("AdaptContent", "GetState"):
        name = f"brain.{method}"
        found = [span for span in collector.spans[seen:] if span.name == name]
        trace_id = found[0].trace_id if found else _wait_for(collector, name, seen)
        spans = collector.until(
            trace_id, lambda all, name=name: _named(all, name) == 2 and has(ws_receive=1)(all)
        )  # type: ignore[misc]
        client, server = (span for span in spans if span.name == name)
        assert (client.service, server.service) == ("edge", "brain_service")
        assert (client.parent_id, server.parent_id) == (
            the(spans, "ws.receive").span_id,
            client.span_id,
        )


def _named(spans: list[Seen], name: str) -> int:
    return sum(span.name == name for span in spans)


def _wait_for(collector: Collector, name: str, seen: int) -> str:
    collector.until("", lambda _: any(span.name == name for span in collector.spans[seen:]))
    return next(span.trace_id for span in collector.spans[seen:] if span.name == name)


def test_no_span_holds_a_token_an_address_of_a_person_or_what_somebody_wrote(
    traced: School, collector: Collector, learner: str
) -> None:
    sent = browser()

    async def play() -> None:
        url, token = traced.stack.ws_url, traced.token(learner)
        async with open_socket(f"{url}?token={token}") as own:
            await own.expect(type="connection_established")
            await own.ask("subscribe_learner", learner_id=learner)
            await own.interact(learner, content=CONTENT, response=RESPONSE, traceparent=sent)
            data = {"learner_id": learner, "content": CONTENT, "content_type": "text"}
            await own.ask("adapt_content", data=data)

    asyncio.run(play())
    request(
        traced.stack,
        "POST",
        "/api/auth/login",
        {"email": "wrong@school.example", "password": RESPONSE},
    )
    request(traced.stack, "GET", f"/api/learners/{learner}/state", token=traced.token("teacher"))
    collector.until(sent.split("-")[1], has(ws_receive=1, commit=1, fan_out=1, state_update_send=1))

    forbidden = [
        *traced.secrets,
        traced.stack.credential,
        PASSWORD,
        CONTENT,
        RESPONSE,
        "school.example",
        learner,
    ]
    assert not [text for text in forbidden if text.encode() in collector.raw]
    assert collector.raw


def test_nothing_is_exported_of_what_is_sampled_out_and_logs_have_the_ids_all_the_same() -> None:
    with collecting() as collector:
        env = collector.environment | {
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": "0",
        }
        with private_stack(env=env) as stack:
            school = found_school(stack)

            async def play() -> str:
                async with open_socket(stack.ws_url, school.token("ada")) as own:
                    await own.ask("subscribe_learner", learner_id="ada")
                    return str((await own.interact("ada"))["trace_id"])

            assert len(asyncio.run(play())) == 32
            request(stack, "GET", "/api/websocket/status")
        # Everything was flushed when the processes ended.
        assert collector.spans == []


def test_what_waits_when_processes_end_is_sent() -> None:
    with collecting() as collector:
        with private_stack(
            env=collector.environment | {"OTEL_BSP_SCHEDULE_DELAY": "600000"}
        ) as stack:
            school = found_school(stack)

            async def play() -> str:
                async with open_socket(stack.ws_url, school.token("ada")) as own:
                    return str((await own.interact("ada"))["trace_id"])

            trace_id = asyncio.run(play())
            assert collector.trace(trace_id) == []

        names = {span.name for span in collector.trace(trace_id)}
        assert {"ws.receive", "queued", "brain.interact", "interact", "apply", "commit"} <= names


def test_a_collector_that_is_down_costs_spans_and_nothing_else() -> None:
    """Interactions are answered, watchers told, processes end in time; logs say it without
    a flood.
    """
    with collecting() as collector:
        env = collector.environment | {
            "OTEL_BSP_MAX_QUEUE_SIZE": "64",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "32",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5",
        }
    with private_stack(
        env=env
        | {"EDGE_FRAMES_PER_S": "0", "EDGE_USER_UNITS_PER_S": "0", "EDGE_MAX_IN_FLIGHT": "1024"}
    ) as stack:
        school = found_school(stack)

        async def play() -> None:
            async with open_socket(stack.ws_url, school.token("ada")) as own:
                await own.ask("subscribe_learner", learner_id="ada")
                ids = await own.send_answers("ada", 300)
                frames = await own.responses(ids)
                assert sorted(frame["revision"] for frame in frames) == list(range(1, 301))
                await own.until_revision("ada", 300)

        asyncio.run(play())
        assert stack.stop(grace_s=15.0) == []
        told = {log.name: _lines_about_export(log) for log in sorted(stack.logs.iterdir())}
        assert 0 < told["edge.log"] < 20
        assert max(told.values()) < 20


def _lines_about_export(log: Path) -> int:
    """Count the log's lines about spans; every line is one of JSON."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    return sum(line["logger"].startswith("opentelemetry") for line in lines)
