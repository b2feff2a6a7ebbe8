"""Starts the metrics service: the only place that reads the environment and opens listeners."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence

from aivo.metrics.v1 import metrics_pb2_grpc
from metrics_service.aggregate import Aggregate
from metrics_service.servicer import SERVICE_NAME, MetricsServicer
from metrics_service.settings import PREFIX, MetricsSettings
from service_runtime.grpc_server import GrpcServer
from service_runtime.process import Stop, run
from service_runtime.settings import describe, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit code."""
    _parser().parse_args(arguments)
    return run(_serve, name="metrics_service")


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="python -m metrics_service",
        description="Knows what the whole fleet of edges is doing. Without a command it serves.",
        epilog=f"environment variables:\n{describe(MetricsSettings, prefix=PREFIX)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


async def _serve(stop: Stop) -> None:
    settings = load(MetricsSettings, os.environ, prefix=PREFIX)
    aggregate = Aggregate(monotonic=time.monotonic, wall_ms=_wall_ms)
    servicer = MetricsServicer(aggregate, edge_silence_s=settings.edge_silence_s)
    server = GrpcServer(settings, services=(SERVICE_NAME,))
    servicer.register(server.server)
    await server.start()
    await stop.wait()
    servicer.drain()
    await server.stop()


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


if __name__ == "__main__":
    sys.exit(main())
