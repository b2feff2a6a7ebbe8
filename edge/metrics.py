"""Turns an edge's counters into Prometheus metrics at each scrape."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from edge.frames import outgoing
from edge.frames.codes import CloseCode
from edge.frames.incoming import AnyClientFrame
from edge.telemetry.counters import BUCKETS, EdgeCounters
from edge.telemetry.recording import Recording
from edge.upstream.auth import AuthLink
from edge.upstream.batcher import Batcher
from edge.upstream.brains import Brains
from edge.upstream.metrics import MetricsLink
from service_runtime.metrics import Buckets, Family, Labels, counter, gauge, histogram, in_seconds

LATENCY_BOUNDS_MS = tuple(0.05 * 2 ** (index / 4) for index in range(BUCKETS - 1))

_OWN_CODES = {value for name, value in vars(CloseCode).items() if name.isupper()}
CLOSE_CODES = _OWN_CODES | {1001, 1002, 1003, 1005, 1007, 1008, 1009}
"""Close codes with a label of their own; a client may send any number, and that must not become a
label.
"""

_SENT = tuple(
    value
    for value in vars(outgoing).values()
    if isinstance(value, type)
    and hasattr(value, "__struct_config__")
    and value.__struct_config__.tag
)
_ROOM_EVENTS = {"joined": "user_joined", "left": "user_left", "message": "room_message"}


def families(
    counters: EdgeCounters,
    *,
    refused_requests: int,
    abandoned_requests: int,
    brains: Brains,
    auth: AuthLink,
    auth_address: str,
    fleet: MetricsLink,
    fleet_address: str,
    streams: int,
    draining: bool,
    recording: Recording | None = None,
) -> Iterator[Family]:
    """Yield the current metrics; `streams` is the number of open event streams."""
    yield from _sockets(counters)
    yield from _frames(counters)
    yield from _subscriptions(counters)
    yield from _upstream(brains, auth, auth_address, {("metrics", fleet_address): fleet.is_open})
    if recording is not None:
        yield from _records(recording)
    yield counter(
        "aivo_edge_refused_requests",
        "Connections and requests turned away at the door: no HTTP, too many, too slow, or not"
        " introduced by a proxy of ours.",
        refused_requests,
    )
    yield counter(
        "aivo_edge_abandoned_requests",
        "Requests whose answer failed because their client had gone.",
        abandoned_requests,
    )
    yield gauge(
        "aivo_edge_event_streams", "Streams of server-sent events open now at this edge.", streams
    )
    yield gauge(
        "aivo_edge_draining",
        "1 while this edge moves its sockets to others because it stops.",
        draining,
    )


def _sockets(counters: EdgeCounters) -> Iterator[Family]:
    closes: dict[Labels, int] = {("other",): 0}
    closes.update(((str(code),), 0) for code in sorted(CLOSE_CODES))
    for code, count in counters.closes.items():
        closes[(str(code) if code in CLOSE_CODES else "other",)] += count
    yield gauge(
        "aivo_websocket_active_connections",
        "Authenticated sockets open now at this edge.",
        counters.connections_active,
    )
    yield gauge(
        "aivo_websocket_connected_users",
        "Distinct users with a socket now at this edge.",
        len(counters.users),
    )
    yield counter(
        "aivo_websocket_handshakes",
        "Sockets opened, authenticated or not.",
        counters.sockets_opened,
    )
    yield counter(
        "aivo_websocket_connections", "Sockets that authenticated.", counters.connections_opened
    )
    yield counter(
        "aivo_websocket_disconnections",
        "Authenticated sockets that ended.",
        counters.connections_closed,
    )
    yield counter(
        "aivo_websocket_closes",
        "Sockets that ended, by close code; 1006 is without one.",
        closes,
        "code",
    )
    yield gauge(
        "aivo_websocket_slow_readers",
        "Sockets that read too slowly.",
        counters.slow_readers,
    )
    yield counter(
        "aivo_websocket_slow_readings",
        "How often a socket became a slow reader.",
        counters.slow_readings,
    )


def _frames(counters: EdgeCounters) -> Iterator[Family]:
    latency = counters.whole_latency()
    frames: dict[Labels, int] = {}
    for kind in AnyClientFrame.__args__:
        frames["in", _tag(kind)] = counters.received[kind]
    for kind in _SENT:
        frames["out", _tag(kind)] = counters.sent[kind]
    for event, tag in _ROOM_EVENTS.items():
        frames["out", tag] += counters.room_events_sent[event]
    frames["out", "state_update"] += counters.updates_sent
    frames["out", "virtual_brain_response"] += sum(latency.counts)
    yield counter(
        "aivo_websocket_messages_sent", "Frames sent to browsers.", counters.messages_sent
    )
    yield counter(
        "aivo_websocket_messages_received",
        "Frames received from browsers.",
        counters.messages_received,
    )
    yield counter(
        "aivo_websocket_frames",
        "Frames understood (in) and made (out), by type.",
        frames,
        "direction",
        "type",
    )
    errors: dict[Labels, int] = {(code,): count for code, count in counters.errors_by_code.items()}
    yield counter("aivo_websocket_errors", "Error frames sent, by their code.", errors, "code")
    # Milliseconds are the original guide's spelling.
    latency_ms = Family(
        kind="histogram",
        name="aivo_websocket_latency_ms",
        meaning="Milliseconds from receiving an interaction to writing its answer.",
        labels=(),
        values={
            (): Buckets(LATENCY_BOUNDS_MS, tuple(latency.counts), latency.sum_ms, latency.exemplars)
        },
    )
    yield latency_ms
    yield in_seconds(latency_ms)


def _subscriptions(counters: EdgeCounters) -> Iterator[Family]:
    yield gauge(
        "aivo_websocket_subscribed_learners",
        "Distinct learners watched at this edge.",
        len(counters.learners),
    )
    yield gauge(
        "aivo_websocket_active_rooms",
        "Distinct rooms with a member at this edge.",
        len(counters.rooms),
    )
    resumes: dict[Labels, int] = {
        ("recovered",): counters.resumes[True],
        ("lost",): counters.resumes[False],
    }
    yield counter(
        "aivo_websocket_resumes",
        "Subscriptions that tried to resume, by outcome.",
        resumes,
        "outcome",
    )
    yield counter(
        "aivo_websocket_coalesced_updates",
        "Revisions that subscribers of the latest state were not sent, because a later one was"
        " there.",
        counters.revisions_skipped,
    )


def _upstream(
    brains: Brains, auth: AuthLink, auth_address: str, others: Mapping[Labels, asyncio.Event]
) -> Iterator[Family]:
    batchers: dict[Labels, Batcher[Any]] = {}
    reached: dict[Labels, float] = {labels: is_open.is_set() for labels, is_open in others.items()}
    reached["auth", auth_address] = auth.is_open.is_set()
    for name, batcher in auth.batchers.items():
        batchers["auth", name, auth_address] = batcher
    ahead: dict[Labels, float] = {("auth", auth_address): auth.skew.seconds}
    for node in brains.nodes:
        ahead["brain", node.address] = node.watch.skew.seconds
        reached["brain", node.address] = node.watch.is_open.is_set()
        for name, batcher in (node.link.batchers | node.watch.batchers).items():
            batchers["brain", name, node.address] = batcher
    labels = ("service", "method", "peer")
    yield gauge(
        "aivo_edge_upstream_up",
        "1 while the stream with this service is open.",
        reached,
        "service",
        "peer",
    )
    yield gauge(
        "aivo_edge_clock_skew_seconds",
        "Seconds by which the clock of this service is ahead of the edge's.",
        ahead,
        "service",
        "peer",
    )
    yield gauge(
        "aivo_edge_pending",
        "Questions of sockets that wait for the next call.",
        {key: len(one) for key, one in batchers.items()},
        *labels,
    )
    yield histogram(
        "aivo_edge_call_duration_seconds",
        "Seconds from sending a batch to its answers, retries included.",
        {key: one.calls.durations_s for key, one in batchers.items()},
        *labels,
    )
    yield histogram(
        "aivo_edge_call_batch_size",
        "Questions that went in one call.",
        {key: one.calls.sizes for key, one in batchers.items()},
        *labels,
    )
    yield counter(
        "aivo_edge_call_failures",
        "Calls that got no answer for the whole batch.",
        {key: one.calls.failures for key, one in batchers.items()},
        *labels,
    )


def _records(recording: Recording) -> Iterator[Family]:
    yield counter(
        "aivo_edge_records_sent", "Message records sent to the metrics service.", recording.sent
    )
    yield counter(
        "aivo_edge_records_dropped",
        "Message records dropped, because too many waited to be sent.",
        recording.dropped,
    )
    yield gauge(
        "aivo_edge_records_waiting",
        "Recorded frames that wait to be sent, with their answers.",
        len(recording),
    )
    yield gauge(
        "aivo_edge_records_lag_seconds", "How long the oldest of them has waited.", recording.lag_s
    )


def _tag(kind: Any) -> str:
    return str(kind.__struct_config__.tag)
