"""What an edge tells Prometheus: every frame, error and resume once, under names and labels that
are closed sets.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge.frames.codes import RETRYABLE
from edge.frames.incoming import CLIENT_TYPES
from edge.metrics import CLOSE_CODES, LATENCY_BOUNDS_MS, families
from edge.ports import UpstreamError
from edge.telemetry.counters import BUCKETS, EdgeCounters, Latency
from edge.telemetry.recording import Receipt, Recording
from edge.telemetry.skew import Skew
from edge.upstream.batcher import Batcher
from edge.upstream.brains import Brains
from service_runtime.metrics import Buckets, Family
from tests.support.clocks import FakeClock
from tests.support.edge_values import interaction
from tests.support.fakes import FakeEdge, say

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
LEARNER, TEACHER = "learner:ada", "teacher:t"


class Reached:
    """A service's link, as far as metrics look at it."""

    def __init__(self, **batchers: Batcher[Any]) -> None:
        self.batchers = batchers
        self.is_open = asyncio.Event()
        self.skew = Skew("auth")


def told(counters: EdgeCounters, **links: Any) -> dict[str, Family]:
    auth = links.get("auth", Reached())
    brains = links.get("brains", Brains([]))
    return {
        family.name: family
        for family in families(
            counters,
            refused_requests=0,
            abandoned_requests=0,
            brains=brains,
            auth=auth,
            auth_address="auth:8002",
            fleet=links.get("fleet", Reached()),
            fleet_address="metrics:8003",
            streams=links.get("streams", 0),
            draining=False,
        )
    }


def frames(edge: FakeEdge) -> dict[tuple[str, ...], float]:
    values = told(edge.counters)["aivo_websocket_frames"].values
    return {labels: value for labels, value in values.items() if value}  # type: ignore[misc]


def test_frames_are_counted_by_type_and_direction() -> None:
    edge = FakeEdge()
    session, _ = edge.session("ada")
    say(session, "ping")
    say(session, "subscribe_learner", learner_id="ada")
    say(session, "virtual_brain_interact", data=interaction("ada"))
    edge.move("ada")
    edge.move("ada")

    assert frames(edge) == {
        ("in", "ping"): 1,
        ("in", "subscribe_learner"): 1,
        ("in", "virtual_brain_interact"): 1,
        ("out", "connection_established"): 1,
        ("out", "pong"): 1,
        ("out", "subscribed"): 1,
        ("out", "virtual_brain_response"): 1,
        ("out", "state_update"): 2,
    }


def test_an_update_counts_once_per_watcher() -> None:
    edge = FakeEdge()
    for _ in range(3):
        session, _ = edge.session("ada")
        say(session, "subscribe_learner", learner_id="ada")
    edge.move("ada")

    assert frames(edge)["out", "state_update"] == 3


def test_skipped_revisions_of_a_slow_reader_are_counted_once_it_is_told() -> None:
    edge = FakeEdge()
    session, sink = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada")
    sink.paused = True
    for _ in range(5):
        edge.move("ada")
    before = told(edge.counters)["aivo_websocket_coalesced_updates"].values
    sink.paused = False
    session.on_writable()

    assert before == {(): 0}
    assert told(edge.counters)["aivo_websocket_coalesced_updates"].values == {(): 4}
    assert sink.take()[-1]["coalesced"] == 4


def test_errors_are_counted_by_code_and_in_all() -> None:
    edge = FakeEdge()
    session, _ = edge.session("ada")
    session.on_text(b"{")
    say(session, "no_such_type")
    say(session, "no_such_type")
    errors = told(edge.counters)["aivo_websocket_errors"].values

    assert {labels: value for labels, value in errors.items() if value} == {
        ("bad_request",): 1,
        ("unknown_type",): 2,
    }
    assert edge.counters.errors == 3


@pytest.mark.parametrize(
    ("epoch", "revision", "outcome"),
    [("e1", 1, "recovered"), ("e1", 2, "recovered"), ("e0", 1, "lost"), ("e1", 9, "lost")],
)
def test_a_resume_is_recovered_or_lost(epoch: str, revision: int, outcome: str) -> None:
    edge = FakeEdge()
    edge.feed.revisions["ada"] = 2
    session, _ = edge.session("ada")
    say(
        session,
        "subscribe_learner",
        learner_id="ada",
        resume={"epoch": epoch, "revision": revision},
    )
    resumes = told(edge.counters)["aivo_websocket_resumes"].values

    assert resumes == {("recovered",): outcome == "recovered", ("lost",): outcome == "lost"}


def test_subscribing_afresh_is_no_resume() -> None:
    edge = FakeEdge()
    session, _ = edge.session("ada")
    say(session, "subscribe_learner", learner_id="ada")

    assert edge.counters.resumes == {True: 0, False: 0}


@pytest.mark.parametrize(("flags", "traced"), [("01", True), ("00", False)])
def test_a_latency_has_its_trace_only_when_that_is_sampled(flags: str, traced: bool) -> None:
    edge = FakeEdge()
    session, _ = edge.session("ada")
    data = interaction("ada", traceparent=f"00-{TRACE}-00f067aa0ba902b7-{flags}")
    say(session, "virtual_brain_interact", data=data)
    latency = told(edge.counters)["aivo_websocket_latency_ms"].values[()]

    assert isinstance(latency, Buckets)
    assert sum(latency.counts) == 1
    assert [one.trace_id for one in latency.exemplars.values()] == [TRACE] * traced


def test_reports_take_nothing_from_what_prometheus_sees() -> None:
    counters = EdgeCounters()
    counters.latency.observe(0.002, TRACE)
    taken = counters.take_latency()
    counters.latency.observe(0.003)

    assert sum(taken.counts) == 1
    assert sum(counters.latency.counts) == 1
    whole = told(counters)["aivo_websocket_latency_ms"].values[()]
    assert isinstance(whole, Buckets)
    assert sum(whole.counts) == 2
    assert whole.sum == pytest.approx(5.0)
    assert len(whole.exemplars) == 1


def test_latencies_are_told_in_the_guides_unit_and_in_seconds() -> None:
    counters = EdgeCounters()
    counters.latency.observe(0.002, TRACE)
    counters.latency.observe(0.003)
    ms = told(counters)["aivo_websocket_latency_ms"].values[()]
    seconds = told(counters)["aivo_websocket_latency_seconds"].values[()]

    assert isinstance(ms, Buckets)
    assert isinstance(seconds, Buckets)
    assert seconds.counts == ms.counts
    assert (seconds.sum, ms.sum) == (pytest.approx(0.005), pytest.approx(5))
    assert seconds.bounds == pytest.approx([bound / 1000 for bound in ms.bounds])
    (exemplar,) = seconds.exemplars.values()
    assert (exemplar.trace_id, exemplar.value) == (TRACE, pytest.approx(0.002))


@pytest.mark.parametrize("ms", [0.01, 0.05, 0.0501, 1.0, 3.2, 1000.0, 2000.0, 1e7])
def test_a_latency_lies_within_the_bounds_that_are_told(ms: float) -> None:
    latency = Latency()
    latency.observe(ms / 1000)
    (place,) = [place for place, count in enumerate(latency.counts) if count]

    assert len(LATENCY_BOUNDS_MS) == BUCKETS - 1
    assert place == 0 or LATENCY_BOUNDS_MS[place - 1] < ms * (1 + 1e-9)
    assert place == BUCKETS - 1 or ms <= LATENCY_BOUNDS_MS[place] * (1 + 1e-9)


def test_close_codes_of_clients_own_making_share_one_label() -> None:
    counters = EdgeCounters()
    for code in (1000, 1006, 4401, 3000, 3001, 4999):
        counters.closes[code] += 1
    closes = told(counters)["aivo_websocket_closes"].values

    assert {labels: value for labels, value in closes.items() if value} == {
        ("1000",): 1, ("1006",): 1, ("4401",): 1, ("other",): 3,
    }  # fmt: skip
    assert len(closes) == len(CLOSE_CODES) + 1


async def test_calls_are_counted_with_their_sizes_durations_and_failures() -> None:
    answers: list[Any] = []
    faults = [ConnectionError()]

    async def call(items: list[int]) -> list[int]:
        if faults:
            raise faults.pop()
        return items

    batcher = Batcher(call, service="auth", max_batch=4, max_pending=10)
    all_answered = asyncio.Event()

    def done(answer: Any) -> None:
        answers.append(answer)
        if len(answers) == 6:
            all_answered.set()

    for number in range(6):
        batcher.submit(number, done)
    waiting = told(EdgeCounters(), auth=Reached(Authorize=batcher))["aivo_edge_pending"].values
    running = asyncio.create_task(batcher.run())
    await all_answered.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    metrics = told(EdgeCounters(), auth=Reached(Authorize=batcher))
    key = ("auth", "Authorize", "auth:8002")
    sizes, durations = (
        metrics[f"aivo_edge_call_{name}"].values[key] for name in ("batch_size", "duration_seconds")
    )

    assert waiting == {key: 6}
    assert [isinstance(answer, UpstreamError) for answer in answers] == [True] * 4 + [False] * 2
    assert isinstance(sizes, Buckets)
    assert isinstance(durations, Buckets)
    assert (sum(sizes.counts), sizes.sum) == (2, 6)
    assert sum(durations.counts) == 2
    assert metrics["aivo_edge_call_failures"].values == {key: 1}
    assert metrics["aivo_edge_pending"].values == {key: 0}


def test_open_event_streams_are_told() -> None:
    assert told(EdgeCounters(), streams=3)["aivo_edge_event_streams"].values == {(): 3}


def test_records_are_told_while_they_are_made() -> None:
    clock = FakeClock()
    recording = Recording(capacity=1, keeps_content=False, clock=clock)
    for _ in range(3):
        Receipt(recording, "u", "learner", clock(), b"{}").answered("pong", b"{}")
    clock.advance(2.5)
    metrics = {
        family.name: family.values[()]
        for family in families(
            EdgeCounters(),
            refused_requests=0,
            abandoned_requests=0,
            brains=Brains([]),
            auth=Reached(),
            auth_address="",
            fleet=Reached(),  # type: ignore[arg-type]
            fleet_address="",
            streams=0,
            draining=False,
            recording=recording,  # type: ignore[arg-type]
        )
        if family.name.startswith("aivo_edge_records")
    }

    assert metrics == {
        "aivo_edge_records_sent": 0,
        "aivo_edge_records_dropped": 4,
        "aivo_edge_records_waiting": 1,
        "aivo_edge_records_lag_seconds": 2.5,
    }
    assert not [name for name in told(EdgeCounters()) if name.startswith("aivo_edge_records")]


def test_labels_are_there_from_the_start_so_that_rates_are_right_from_the_first_event() -> None:
    metrics = told(EdgeCounters())

    assert {labels[0] for labels in metrics["aivo_websocket_errors"].values} == set(RETRYABLE)
    types = {labels for labels in metrics["aivo_websocket_frames"].values}
    assert {("in", kind) for kind in CLIENT_TYPES} <= types
    assert {
        ("out", kind) for kind in ("state_update", "error", "room_message", "server_draining")
    } <= types
