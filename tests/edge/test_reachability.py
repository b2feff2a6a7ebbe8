"""An operator reads in the log which services an edge cannot reach."""

from __future__ import annotations

import asyncio
import logging

import pytest

from aivo.auth.v1 import auth_pb2_grpc
from aivo.brain.v1 import brain_pb2_grpc
from aivo.metrics.v1 import metrics_pb2_grpc
from edge.__main__ import Edge
from edge.settings import EdgeSettings
from edge.telemetry import reachability
from service_runtime.grpc_server import GrpcServer, ListenerSettings

BRAIN = {"brain": "127.0.0.1:8001"}


async def test_what_stays_away_is_told_once_and_its_return_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    seen = iter([BRAIN, BRAIN, BRAIN, BRAIN, {}, {}, BRAIN, {}])
    done = asyncio.Event()

    def missing() -> dict[str, str]:
        try:
            return next(seen)
        except StopIteration:
            done.set()
            return {}

    telling = asyncio.create_task(reachability.tell(missing, patience_s=0.001))
    async with asyncio.timeout(10):
        await done.wait()
    telling.cancel()

    lines = [(record.levelname, record.__dict__.get("missing")) for record in caplog.records]
    assert lines == [("WARNING", BRAIN), ("INFO", None)], (
        "the last absence was shorter than the patience"
    )


async def test_a_wrong_credential_is_told_apart_from_a_service_that_is_not_there(
    caplog: pytest.LogCaptureFixture, unused_tcp_port: int
) -> None:
    server = GrpcServer(ListenerSettings(credential="right", drain_s=0.0), services=[])
    auth_pb2_grpc.add_AuthServiceServicer_to_server(
        auth_pb2_grpc.AuthServiceServicer(), server.server
    )
    brain_pb2_grpc.add_BrainServiceServicer_to_server(
        brain_pb2_grpc.BrainServiceServicer(), server.server
    )
    metrics_pb2_grpc.add_MetricsServiceServicer_to_server(
        metrics_pb2_grpc.MetricsServiceServicer(), server.server
    )
    there, nobody = f"127.0.0.1:{await server.start()}", f"127.0.0.1:{unused_tcp_port}"
    settings = EdgeSettings(
        credential="wrong",
        brain_addresses=(there, nobody),
        auth_address=there,
        metrics_address=there,
        report_s=0.01,
    )
    edge = Edge(settings)
    wanted = {
        "brain": f"{there} UNAUTHENTICATED, {nobody} UNAVAILABLE",
        "auth": f"{there} UNAUTHENTICATED",
    }
    tasks = [
        asyncio.create_task(edge.run()),
        asyncio.create_task(reachability.tell(edge.missing, patience_s=0.1)),
    ]
    refused = "the metrics service refuses EDGE_CREDENTIAL"
    try:
        async with asyncio.timeout(20):
            while wanted not in told(caplog, "missing") or refused not in caplog.messages:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop()

    assert told(caplog, "status") == ["UNAUTHENTICATED"] * 2, (
        "brain and metrics once each, though tried again and again"
    )


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[object]:
    """Return what the log's lines carry under a name."""
    return [record.__dict__[name] for record in caplog.records if name in record.__dict__]
