"""The stream of metrics under the real HTTP server: what it says, what ends it, and that nothing of
it stays behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest
import uvicorn

from aivo.auth.v1 import auth_pb2
from aivo.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from edge.admission.access import Access
from edge.admission.door import Door
from edge.admission.registry import Listing
from edge.http import Services, make_app
from edge.ports import Done, Identity, UpstreamError
from edge.settings import EdgeSettings
from edge.telemetry.counters import EdgeCounters
from edge.upstream.auth import _revoke
from edge.upstream.metrics import MetricsLink
from service_runtime.grpc_client import open_channel
from tests.support.clocks import FakeClock
from tests.support.eventually import until
from tests.support.fakes import FakeAuth, FakeBrain

WAIT_S = 20.0
PATH = "/api/websocket/metrics/stream"


class Metrics:
    """A metrics service whose streams yield what a test puts into them."""

    def __init__(self) -> None:
        self.streams: list[asyncio.Queue[Any]] = []
        self.closed = 0

    async def snapshots(self, interval_ms: int) -> AsyncGenerator[dict[str, Any], None]:
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self.streams.append(queue)
        try:
            yield {"number": 0}
            while True:
                value = await queue.get()
                if isinstance(value, Exception):
                    raise value
                yield value
        finally:
            self.closed += 1


class Running:
    """An edge's HTTP API with administrators `admin` and `other`, at most two streams each."""

    def __init__(self) -> None:
        self.auth, self.metrics, self.draining = FakeAuth(), Metrics(), False
        self.auth.tokens["other"] = Identity(
            "u-other", "admin", "s-other", self.auth.tokens["admin"].expires_at_ms
        )
        self.access, self.streams = Access(self.auth, FakeClock()), Listing(max_per_user=2)
        self.app = make_app(
            Services(
                settings=EdgeSettings(static_dir=None),
                door=Door(EdgeSettings()),
                brain=FakeBrain(),  # type: ignore[arg-type]
                auth=self.auth,  # type: ignore[arg-type]
                metrics=self.metrics,  # type: ignore[arg-type]
                access=self.access,
                streams=self.streams,
                is_draining=lambda: self.draining,
            )
        )
        self.client = httpx.AsyncClient()

    @contextlib.asynccontextmanager
    async def stream(self, token: str = "admin") -> AsyncIterator[AsyncIterator[str]]:
        """Open a stream and give its events."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.stream("GET", PATH, headers=headers, timeout=WAIT_S) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert response.headers["cache-control"] == "no-store"
            yield (line async for line in response.aiter_lines() if line)

    async def refused(self, token: str = "admin") -> tuple[int, str]:
        """Ask for a stream in vain and return the status and the code."""
        response = await self.client.get(
            PATH, headers={"Authorization": f"Bearer {token}"}, timeout=WAIT_S
        )
        return response.status_code, response.json()["code"]

    def revoke(self, **revocation: Any) -> None:
        """Tell the edge of a revocation, as the auth service does."""
        _revoke(auth_pb2.Revocation(**revocation), self.access, [self.streams])


async def rest(events: AsyncIterator[str]) -> list[str]:
    """Return what still comes until the stream ends, well: httpx raises when it is cut off."""
    async with asyncio.timeout(WAIT_S):
        return [event async for event in events]


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    edge = Running()
    config = uvicorn.Config(edge.app, port=0, http="httptools", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    edge.client.base_url = httpx.URL(f"http://127.0.0.1:{port}")
    yield edge
    await edge.client.aclose()
    server.should_exit = True
    await asyncio.wait_for(task, WAIT_S)
    assert list(edge.streams.sessions()) == []
    assert edge.metrics.closed == len(edge.metrics.streams)


async def test_figures_come_as_events_the_first_at_once(running: Running) -> None:
    async with running.stream() as events:
        first = await anext(events)
        running.metrics.streams[0].put_nowait({"number": 1, "name": "Zoë\n"})
        second = await anext(events)

    assert [first, second] == ['data: {"number":0}', 'data: {"number":1,"name":"Zoë\\n"}']


async def test_a_client_that_goes_takes_its_stream_with_it(running: Running) -> None:
    async with running.stream() as events:
        await anext(events)
    await until(lambda: running.metrics.closed == 1 and not list(running.streams.sessions()))


@pytest.mark.parametrize("revocation", [{"session_id": "s-admin"}, {"all_sessions": True}])
async def test_a_revoked_login_ends_its_streams_at_once_and_no_others(
    running: Running, revocation: dict[str, Any]
) -> None:
    async with running.stream() as mine, running.stream("other") as others:
        await anext(mine)
        await anext(others)
        running.revoke(user_id="u-admin", session_id="another")
        running.revoke(user_id="u-admin", **revocation)
        running.revoke(user_id="u-admin", **revocation)  # told twice
        assert await rest(mine) == []
        await until(lambda: running.metrics.closed == 1)
        running.metrics.streams[1].put_nowait({"number": 2})
        assert await anext(others) == 'data: {"number":2}'


async def test_open_streams_are_counted_while_they_are_open(running: Running) -> None:
    async with (
        running.stream() as mine,
        running.stream() as again,
        running.stream("other") as others,
    ):
        for events in (mine, again, others):
            await anext(events)
        assert len(running.streams) == 3
        running.revoke(user_id="u-admin", all_sessions=True)
        await until(lambda: len(running.streams) == 1)
    await until(lambda: len(running.streams) == 0)


async def test_who_may_administer_no_more_follows_no_more(running: Running) -> None:
    async with running.stream() as events:
        await anext(events)
        running.revoke(user_id="u-admin")
        running.metrics.streams[0].put_nowait({"number": 1})
        assert await anext(events) == 'data: {"number":1}'
        running.auth.decisions["u-admin", "administer", ""] = False
        running.revoke(user_id="u-admin")
        assert await rest(events) == []


async def test_a_stream_ends_with_its_token(running: Running) -> None:
    expiry_ms = int(time.time() * 1000) + 400
    running.auth.tokens["brief"] = Identity("u-admin", "admin", "s", expiry_ms)
    async with running.stream("brief") as events:
        await rest(events)

    assert time.time() * 1000 >= expiry_ms


async def test_what_is_revoked_while_a_stream_is_opened_is_not_missed(running: Running) -> None:
    authorize = running.auth.authorize

    def revoked_meanwhile(user_id: str, action: str, resource: str, done: Done) -> None:
        running.auth.tokens.pop("admin", None)
        running.revoke(user_id="u-admin", session_id="s-admin")
        running.auth.authorize = authorize  # type: ignore[method-assign]
        authorize(user_id, action, resource, done)

    running.auth.authorize = revoked_meanwhile  # type: ignore[method-assign]

    assert await running.refused() == (401, "unauthenticated")


async def test_a_user_has_at_most_so_many_streams(running: Running) -> None:
    async with running.stream(), running.stream("other"):
        async with running.stream():
            assert await running.refused() == (429, "rate_limited")
        await until(lambda: len(running.streams.of_user("u-admin")) == 1)
        async with running.stream() as events:
            assert await anext(events)


async def test_who_asks_for_the_head_only_holds_no_stream(running: Running) -> None:
    response = await running.client.head(
        PATH, headers={"Authorization": "Bearer admin"}, timeout=WAIT_S
    )

    assert response.status_code == 200
    await until(lambda: running.metrics.closed == 1 and not list(running.streams.sessions()))


async def test_a_failure_upstream_ends_the_stream_so_that_the_client_comes_again(
    running: Running,
) -> None:
    async with running.stream() as events:
        await anext(events)
        running.metrics.streams[0].put_nowait(UpstreamError("unavailable", "One sentence."))

        assert await rest(events) == []


# The link, against a real service


class Service(metrics_pb2_grpc.MetricsServiceServicer):
    """Yields a snapshot at once, and then does as a test says."""

    def __init__(self) -> None:
        self.intervals: list[int] = []
        self.cancelled = asyncio.Event()
        self.end: grpc.StatusCode | None = None

    async def WatchSnapshots(self, request: Any, context: Any) -> Any:
        self.intervals.append(request.interval_ms)
        yield metrics_pb2.WatchSnapshotsResponse(
            snapshot=metrics_pb2.FleetSnapshot(connections_active=3)
        )
        try:
            if self.end is None:
                await asyncio.Event().wait()
            elif self.end is not grpc.StatusCode.OK:
                await context.abort(self.end, "no")
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


@contextlib.asynccontextmanager
async def linked(service: Service, **settings: Any) -> AsyncIterator[MetricsLink]:
    server = grpc.aio.server()
    metrics_pb2_grpc.add_MetricsServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    made = EdgeSettings(**settings)
    channel = open_channel(f"127.0.0.1:{port}", made)
    try:
        yield MetricsLink(channel, made, EdgeCounters())
    finally:
        await channel.close()
        await server.stop(None)


async def test_a_closed_link_cancels_its_call() -> None:
    service = Service()
    async with linked(service) as link:
        async with contextlib.aclosing(link.snapshots(250)) as snapshots:
            assert (await anext(snapshots))["connections"]["active"] == 3
        await asyncio.wait_for(service.cancelled.wait(), WAIT_S)

    assert service.intervals == [250]


@pytest.mark.parametrize("end", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.OK, None])
async def test_a_call_that_fails_ends_or_falls_silent_is_told_as_unavailable(
    end: grpc.StatusCode | None,
) -> None:
    service = Service()
    service.end = end
    async with linked(service, upstream_s=0.1 if end is None else 5.0) as link:
        snapshots = link.snapshots(250)
        await anext(snapshots)
        with pytest.raises(UpstreamError) as failure:
            await anext(snapshots)
        if end is None:
            await asyncio.wait_for(service.cancelled.wait(), WAIT_S)

    assert failure.value.code == "unavailable"
