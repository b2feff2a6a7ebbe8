"""Anybody may ask how a service is; nobody gets more out of it than that, nor keeps it from
stopping.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service_runtime import health
from service_runtime.grpc_server import GrpcServer, ListenerSettings
from service_runtime.health import Health
from tests.support.eventually import eventually, until

SERVICE = "aivo.metrics.v1.MetricsService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
WAIT_S = 10.0


class Asked:
    """A server and a stranger who asks."""

    def __init__(self, server: GrpcServer, channel: grpc.aio.Channel) -> None:
        self.server, self.channel = server, channel
        self.stub: Any = health_pb2_grpc.HealthStub(channel)

    def watch(self, service: str = "") -> Any:
        return self.stub.Watch(health_pb2.HealthCheckRequest(service=service))


@pytest.fixture
async def asked() -> AsyncIterator[Asked]:
    server = GrpcServer(
        ListenerSettings(listen="127.0.0.1:0", credential="right", drain_s=60), services=[SERVICE]
    )
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Asked(server, channel)
    await server.stop()


@pytest.mark.parametrize("limit", ["MAX_WATCHES", "MAX_WATCHES_OF_HOST"])
async def test_so_many_watch_and_no_more(
    asked: Asked, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(health, limit, 2)
    first, second = asked.watch(), asked.watch(SERVICE)
    assert [(await one.read()).status for one in (first, second)] == [SERVING] * 2

    refused = asked.watch()
    assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await asked.stub.Check(health_pb2.HealthCheckRequest())).status == SERVING

    first.cancel()

    async def one_more() -> bool:
        return await asked.watch().read() is not grpc.aio.EOF

    await eventually(one_more, bool)


async def test_what_is_not_here_is_unknown(asked: Asked) -> None:
    watch = asked.watch("elsewhere")
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await asked.stub.Check(health_pb2.HealthCheckRequest(service="elsewhere"))
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_who_watches_does_not_delay_the_stop(asked: Asked) -> None:
    watch = asked.watch()
    assert (await watch.read()).status == SERVING
    async with asyncio.timeout(WAIT_S):
        await asked.server.stop()
    assert (await watch.read()).status == NOT_SERVING
    assert await watch.code() is grpc.StatusCode.UNAVAILABLE


class Deaf:
    """A call of somebody who reads nothing."""

    def peer(self) -> str:
        return "ipv4:10.0.0.1:1234"

    async def write(self, message: Any) -> None:
        await asyncio.Event().wait()


async def test_who_watches_and_does_not_read_does_not_delay_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "GOODBYE_S", 0.01)
    service, context = Health([SERVICE]), Deaf()
    service.start()
    call = asyncio.ensure_future(service.Watch(health_pb2.HealthCheckRequest(), context))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    async with asyncio.timeout(WAIT_S):
        await service.stop()
        await until(call.cancelled)


@pytest.mark.parametrize("path", ["nothing", "*", "/", "//", "/a", "/grpc.health.v1.Health"])
async def test_a_path_that_names_no_method_is_no_fault_of_ours(
    asked: Asked, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    caplog.set_level(logging.ERROR)
    call: Any = asked.channel.unary_unary(path)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call(b"")
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert [record.message for record in caplog.records] == []
