"""Every gRPC listener asks who is calling, tells its health, and stops gracefully."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from aivo.metrics.v1 import metrics_pb2, metrics_pb2_grpc
from service_runtime import grpc_server
from service_runtime.grpc_client import ClientSettings, open_channel
from service_runtime.grpc_server import GrpcServer, ListenerSettings, check_listener
from service_runtime.settings import SettingsError

SERVICE = "aivo.metrics.v1.MetricsService"


class Servicer(metrics_pb2_grpc.MetricsServiceServicer):
    async def GetStatus(self, request: Any, context: Any) -> Any:
        return metrics_pb2.GetStatusResponse(active_connections=7)

    async def WatchSnapshots(self, request: Any, context: Any) -> Any:
        yield metrics_pb2.WatchSnapshotsResponse()


async def start(**settings: Any) -> GrpcServer:
    server = GrpcServer(
        ListenerSettings(**{"listen": "127.0.0.1:0", "drain_s": 0.1, **settings}),
        services=[SERVICE],
    )
    metrics_pb2_grpc.add_MetricsServiceServicer_to_server(Servicer(), server.server)
    await server.start()
    return server


@pytest.mark.parametrize(
    ("credential", "code"),
    [
        ("right", grpc.StatusCode.OK),
        ("wrong", grpc.StatusCode.UNAUTHENTICATED),
        (None, grpc.StatusCode.UNAUTHENTICATED),
    ],
)
async def test_only_callers_with_the_credential_are_served(
    credential: str | None, code: grpc.StatusCode
) -> None:
    server = await start(credential="right")
    upstream = open_channel(f"127.0.0.1:{server.port}", ClientSettings(credential=credential))
    stub = metrics_pb2_grpc.MetricsServiceStub(upstream.channel)

    unary = stub.GetStatus(metrics_pb2.GetStatusRequest(), metadata=upstream.metadata)
    stream = stub.WatchSnapshots(metrics_pb2.WatchSnapshotsRequest(), metadata=upstream.metadata)

    assert await unary.code() is code
    with contextlib.suppress(grpc.aio.AioRpcError):
        _ = [snapshot async for snapshot in stream]
    assert await stream.code() is code
    await upstream.close()
    await server.stop()


async def test_health_needs_no_credential_and_tells_when_the_server_stops() -> None:
    server = await start(credential="right")
    upstream = open_channel(f"127.0.0.1:{server.port}", ClientSettings())
    health = health_pb2_grpc.HealthStub(upstream.channel)
    watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))

    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    stopping = server.stop()
    await stopping
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await upstream.close()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"])
async def test_a_listener_that_asks_nobody_anything_refuses_to_start(listen: str) -> None:
    with pytest.raises(SettingsError, match="refusing to listen"):
        await start(listen=listen)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "Set X_CREDENTIAL or X_CREDENTIAL_FILE"),
        (
            {"credential": "right", "tls_key_file": Path("key.pem")},
            "both TLS_CERTIFICATE_FILE and TLS_KEY_FILE",
        ),
    ],
)
def test_a_process_learns_that_it_may_not_listen_before_it_makes_a_server(
    settings: dict[str, Any], told: str
) -> None:
    with pytest.raises(SettingsError, match=told):
        check_listener(ListenerSettings(**settings), prefix="X")
    check_listener(ListenerSettings(credential="right"), prefix="X")


async def test_a_taken_port_is_told_in_a_sentence() -> None:
    server = await start(credential="right")

    with pytest.raises(SettingsError, match="is the port taken"):
        await start(credential="right", listen=f"127.0.0.1:{server.port}")
    await server.stop()


async def test_nothing_that_a_stranger_sends_is_unpacked() -> None:
    server = await start(credential="right")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        packed = health_pb2_grpc.HealthStub(channel).Check(
            health_pb2.HealthCheckRequest(service="x" * 10_000), compression=grpc.Compression.Gzip
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await packed
    await server.stop()

    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_connection_has_so_many_calls_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    options = dict(grpc_server._OPTIONS)
    assert options["grpc.max_concurrent_streams"] == grpc_server.MAX_STREAMS
    few = tuple((options | {"grpc.max_concurrent_streams": 3}).items())
    monkeypatch.setattr(grpc_server, "_OPTIONS", few)
    server = await start(credential="right")
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest()) for _ in range(3)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await stub.Check(health_pb2.HealthCheckRequest(), timeout=0.2)
        watches[0].cancel()
        await stub.Check(health_pb2.HealthCheckRequest(), timeout=10.0)
    await server.stop()

    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
