"""gRPC is set up before it is imported, whichever service runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_IMPORTED = (
    "import os, sys, {service}; print('grpc' in sys.modules, os.environ['GRPC_EXPERIMENTS'])"
)
_SERVES = """
import asyncio
import {service}
import grpc.aio

async def serve():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{{port}}") as channel:
        await channel.channel_ready()
    await server.stop(None)

asyncio.run(serve())
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize("service", ["edge", "brain_service", "auth_service", "metrics_service"])
def test_a_service_sets_grpc_up_before_it_is_imported(service: str) -> None:
    ended = python(_IMPORTED.format(service=service))

    assert ended.stdout == "False -event_engine_client,-event_engine_listener\n"


def test_this_grpc_knows_what_it_is_told() -> None:
    ended = python(_SERVES.format(service="edge"))

    assert ended.stderr == ""


def test_an_operators_own_choice_stays() -> None:
    ended = python(_IMPORTED.format(service="edge"), GRPC_EXPERIMENTS="tcp_frame_size_tuning")

    assert ended.stdout == "False tcp_frame_size_tuning\n"
