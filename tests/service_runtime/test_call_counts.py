"""A server counts the unary calls of its own services by method and status, and leaves everything
else alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from service_runtime.grpc_server import GrpcServer, ListenerSettings
from service_runtime.metrics import Buckets

SERVICE = "test.Echo"
CREDENTIAL = (("authorization", "Bearer secret"),)


READ: list[bytes] = []


class Handlers(grpc.GenericRpcHandler):
    """Answers, refuses, fails and streams."""

    def service(self, handler_call_details: Any) -> Any:
        if handler_call_details.method == f"/{SERVICE}/Read":
            return grpc.unary_unary_rpc_method_handler(answer, request_deserializer=READ.append)
        behaviours = {"Answer": answer, "Refuse": refuse, "Fail": fail}
        service, name = handler_call_details.method.strip("/").split("/")
        if service != SERVICE:
            return None
        if name == "Stream":
            return grpc.unary_stream_rpc_method_handler(stream)
        behaviour = behaviours.get(name)
        return grpc.unary_unary_rpc_method_handler(behaviour) if behaviour else None


async def answer(request: bytes, context: Any) -> bytes:
    return request


async def refuse(request: bytes, context: Any) -> bytes:
    return bytes(await context.abort(grpc.StatusCode.NOT_FOUND, "no"))


async def fail(request: bytes, context: Any) -> bytes:
    raise ValueError


async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
    yield request


async def call(channel: grpc.aio.Channel, method: str, metadata: Any = CREDENTIAL) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError):
        await channel.unary_unary(f"/{SERVICE}/{method}")(b"x", metadata=metadata, timeout=10)


@pytest.fixture
async def server() -> AsyncIterator[GrpcServer]:
    settings = ListenerSettings(listen="127.0.0.1:0", credential="secret", drain_s=0.1)
    server = GrpcServer(settings, services=[SERVICE])
    server.server.add_generic_rpc_handlers((Handlers(),))
    await server.start()
    yield server
    await server.stop()


async def test_calls_are_counted_by_method_and_status(server: GrpcServer) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for method in ("Answer", "Answer", "Refuse", "Fail", "NoSuchMethod"):
            await call(channel, method)
        await call(channel, "Answer", metadata=())
        streaming = channel.unary_stream(f"/{SERVICE}/Stream")(
            b"x", metadata=CREDENTIAL, timeout=10
        )
        assert [part async for part in streaming] == [b"x"]
        await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    durations, calls = server.calls.families()

    assert calls.values == {
        (SERVICE, "Answer", "OK"): 2,
        (SERVICE, "Answer", "UNAUTHENTICATED"): 1,
        (SERVICE, "Refuse", "NOT_FOUND"): 1,
        (SERVICE, "Fail", "UNKNOWN"): 1,
    }
    counts = {
        key: sum(one.counts) for key, one in durations.values.items() if isinstance(one, Buckets)
    }
    assert counts == {(SERVICE, "Answer"): 3, (SERVICE, "Refuse"): 1, (SERVICE, "Fail"): 1}


async def test_what_somebody_without_the_credential_sends_is_not_even_received(
    server: GrpcServer,
) -> None:
    READ.clear()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await channel.unary_unary(f"/{SERVICE}/Read")(b"x" * 3_000_000, timeout=10)
        assert READ == []
        await call(channel, "Read")

    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert READ == [b"x"]
