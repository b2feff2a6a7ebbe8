"""A client that stops reading: its own buffers fill, then the kernel's, then the edge's."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from tests.support.eventually import eventually
from tests.support.school import School, request
from tests.support.socket import Socket

QUESTIONS = 200
CONTENT = 16_000
"""Each answer repeats the content twice: 6 MB in all, more than the kernel holds for one
connection.
"""


def small_socket(school: School) -> socket.socket:
    """Connect to the edge with a small receive buffer, which a few frames fill."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.connect(("127.0.0.1", school.stack.ports.edge))
    raw.setblocking(False)
    return raw


async def clog(school: School, slow: Socket, learner: str) -> dict[str, Any]:
    """Make a client that stops reading, and wait until the edge has written more to it than all
    buffers hold.

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

    before = await metrics()
    slow.stop_reading()
    data = {"learner_id": learner, "content": "x" * CONTENT, "content_type": "text"}
    for _ in range(QUESTIONS):
        await slow.send({"type": "adapt_content", "data": data})
    await eventually(
        metrics, lambda now: now["messages"]["sent"] >= before["messages"]["sent"] + QUESTIONS
    )
    return before
