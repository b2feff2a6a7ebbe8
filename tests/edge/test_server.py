"""The edge's server: TLS that is not spoken is not waited for, an address that is taken is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from edge.admission.door import Door
from edge.connection import server
from edge.settings import EdgeSettings
from service_runtime.settings import SettingsError
from tests.support.certificate import make_certificate
from tests.support.edge_server import WAIT_S, running_edge
from tests.support.http_api import Api

Secured = tuple[dict[str, Any], ssl.SSLContext]


@pytest.fixture
def secured(tmp_path: Path) -> Secured:
    """What makes a server speak TLS, and who trusts it."""
    trusting = make_certificate(tmp_path, "127.0.0.1")
    files = {"ssl_certfile": tmp_path / "tls-certificate", "ssl_keyfile": tmp_path / "tls-key"}
    return {name: str(path) for name, path in files.items()}, trusting


async def test_tls_carries_requests_and_sockets(secured: Secured) -> None:
    config, trusting = secured
    async with running_edge(EdgeSettings(), Api().app, **config) as running:
        url = f"wss://127.0.0.1:{running.port}/ws?token=ada"
        async with connect(url, ssl=trusting) as client:
            assert "connection_established" in await asyncio.wait_for(client.recv(), WAIT_S)
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port, ssl=trusting)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert b"strict-transport-security: " in await asyncio.wait_for(reader.read(-1), WAIT_S)
        writer.close()


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n"])
async def test_who_does_not_speak_tls_is_not_waited_for(
    secured: Secured, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(server, "TLS_S", 0.1)
    async with running_edge(EdgeSettings(), **secured[0]) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(said)
        async with asyncio.timeout(WAIT_S):
            assert b"HTTP/1.1 200" not in await reader.read(-1)
        writer.close()


async def test_an_address_that_is_taken_is_told_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        config = server.uvicorn.Config(Api().app, port=port, lifespan="off", log_config=None)
        with pytest.raises(SettingsError, match=rf"HOST and PORT: .* 127.0.0.1 port {port}: .*use"):
            await server.Server(config, door=Door(EdgeSettings())).serve()
