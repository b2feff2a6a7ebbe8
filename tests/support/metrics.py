"""Follows the stream of metrics over HTTP, blocking; its end is told from its being cut off."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import httpx

from harness.stack import Stack
from tests.support.socket import WAIT_S


@contextlib.contextmanager
def figures_stream(
    stack: Stack, token: str, interval_ms: int = 250
) -> Iterator[Iterator[dict[str, Any]]]:
    """Open the stream and give its values, to its end; httpx.RemoteProtocolError when it is cut
    off.
    """
    url = f"{stack.http_url}/api/websocket/metrics/stream"
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.stream(
        "GET", url, params={"interval_ms": interval_ms}, headers=headers, timeout=WAIT_S
    ) as answer:
        assert answer.status_code == 200, answer.read()
        yield (json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line)
