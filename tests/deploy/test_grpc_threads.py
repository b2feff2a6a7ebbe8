"""gRPC runs without its pool of threads wherever we start a service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.environment import GRPC_EXPERIMENTS, inherited

DEPLOY = Path(__file__).parents[2] / "deploy"
_SERVES = """
import asyncio
import grpc.aio

async def serve():
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.channel_ready()
    await server.stop(None)

asyncio.run(serve())
"""


def test_this_grpc_knows_what_it_is_told() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _SERVES],
        env=os.environ | {"GRPC_EXPERIMENTS": GRPC_EXPERIMENTS},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ended.stderr == ""


def test_a_stack_says_so_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRPC_EXPERIMENTS", raising=False)
    assert inherited()["GRPC_EXPERIMENTS"] == GRPC_EXPERIMENTS

    monkeypatch.setenv("GRPC_EXPERIMENTS", "of our own")
    assert inherited()["GRPC_EXPERIMENTS"] == "of our own"


@pytest.mark.parametrize("file", ["Dockerfile", "systemd/aivo-.service.d/common.conf"])
def test_image_and_units_say_the_same(file: str) -> None:
    assert f"GRPC_EXPERIMENTS={GRPC_EXPERIMENTS}\n" in (DEPLOY / file).read_text()
