"""A small OpenID provider (oidc-provider-mock) in its own process."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx

from tests.support.socket import WAIT_S


@contextlib.contextmanager
def running_provider() -> Iterator[str]:
    """Run a provider that signs in anybody by the name they give, and return its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "oidc_provider_mock", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://localhost:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{address}/.well-known/openid-configuration").status_code == 200
        except httpx.TransportError:
            return False

    try:
        deadline = time.monotonic() + WAIT_S
        while not answers():
            assert time.monotonic() < deadline, "the provider does not answer"
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()
