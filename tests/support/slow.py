"""A client that stops reading: its own buffers fill, then the kernel's, then the edge's."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.request
from typing import Any

from tests.support.eventually import eventually
from tests.support.school import School, request
from tests.support.socket import WAIT_S, Socket

QUESTIONS = 8
"""Asked at once: their answers fit into what the edge keeps for a slow reader."""
CONTENT = 16_000
"""Each answer repeats the content twice."""


def small_socket(school: School) -> socket.socket:
    """Connect to the edge with a small receive buffer, which a few frames fill."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", school.stack.ports.edge))
    raw.setblocking(False)
    return raw


async def clog(school: School, slow: Socket, learner: str) -> dict[str, Any]:
    """Make a client that stops reading, and ask until the kernel's buffers are full and the edge
    counts it as slow.

    Returns the fleet's metrics from before. Needs short reports (EDGE_REPORT_S) and a burst of 200
    frames.
    """
    admin = school.token("admin")

    async def metrics() -> dict[str, Any]:
        status, told = await asyncio.to_thread(
            request, school.stack, "GET", "/api/websocket/metrics", None, admin
        )
        assert status == 200, told
        return dict(told)

    before, slow_before = await metrics(), await _slow_readers(school)
    slow.stop_reading()
    data = {"learner_id": learner, "content": "x" * CONTENT, "content_type": "text"}
    answered = before["messages"]["sent"]
    async with asyncio.timeout(2 * WAIT_S):
        while await _slow_readers(school) == slow_before:
            for _ in range(QUESTIONS):
                await slow.send({"type": "adapt_content", "data": data})
            answered += QUESTIONS
            await eventually(metrics, lambda now, least=answered: now["messages"]["sent"] >= least)
    return before


async def _slow_readers(school: School) -> float:
    url = f"http://{school.stack.exposition('edge')}/metrics"
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
    [count] = re.findall(r"^aivo_websocket_slow_readers (\S+)$", text, re.MULTILINE)
    return float(count)
