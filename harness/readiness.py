"""Whether a process of a stack answers that it is ready, asked from outside."""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Asks this machine, whatever proxy the environment names."""


def edge_is_ready(http_url: str) -> bool:
    """Tell whether an edge says that it is."""
    try:
        with _DIRECT.open(f"{http_url}/readyz", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def edge_reaches_all(exposition: str) -> bool:
    """Tell whether one edge among several reaches all services: by their common port another may
    answer.
    """
    try:
        with _DIRECT.open(f"http://{exposition}/metrics", timeout=1) as answer:
            lines = answer.read().decode().splitlines()
    except (urllib.error.URLError, OSError):
        return False
    reached = [line for line in lines if line.startswith("aivo_edge_upstream_up{")]
    return bool(reached) and all(line.endswith(" 1.0") for line in reached)


@contextlib.contextmanager
def health_stub(address: str) -> Iterator[health_pb2_grpc.HealthStub]:
    """Yield what asks a gRPC service for its health."""
    options = (("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 200))
    with grpc.insecure_channel(address, options=options) as channel:
        yield health_pb2_grpc.HealthStub(channel)


def serves(stub: health_pb2_grpc.HealthStub) -> bool:
    """Tell whether a gRPC service says that it does."""
    try:
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=1)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
