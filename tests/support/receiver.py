"""A system outside that is told by webhooks: a small HTTP server that answers as a test wants."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.socket import WAIT_S

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def write_webhooks(folder: Path, url: str) -> Path:
    """Write a file of webhooks with one endpoint, `desk`, which is tried again soon."""
    (folder / "desk.secret").write_text(SECRET + "\n")
    path = folder / "webhooks.toml"
    path.write_text(
        "first_retry_s = 0.2\nlongest_retry_s = 1\n[[endpoints]]\n"
        f'name = "desk"\nurl = "{url}"\nsecret_file = "desk.secret"\ntimeout_s = 2\n'
    )
    return path


class Delivery(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def message_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def content(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def learner_id(self) -> str:
        return str(self.content["data"]["learner_id"])

    @property
    def revision(self) -> int:
        return int(self.content["data"]["revision"])

    @property
    def is_genuine(self) -> bool:
        """Whether one of the signatures is by `SECRET`, computed as the specification has it."""
        signed = f"{self.message_id}.{self.headers['webhook-timestamp']}.".encode() + self.body
        wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        return f"v1,{wanted}" in self.headers["webhook-signature"].split()


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    """Write an answer."""
    lines = [f"HTTP/1.1 {code} So", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


Answers = Callable[[Delivery], bytes | None]


class Receiver:
    """Keeps what it was sent, in the order of arrival."""

    def __init__(self) -> None:
        self.deliveries: list[Delivery] = []
        self.answers: Answers = lambda _: status(204)
        """The bytes of an answer; empty hangs up, None leaves the other side waiting."""
        self.port = 0
        self.most_open = self.open = 0
        self._changed = asyncio.Condition()

    def url(self, path: str = "/hook", *, scheme: str = "http") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    async def until(self, met: Callable[[list[Delivery]], object]) -> list[Delivery]:
        """Wait until what arrived meets a condition, and return it."""
        async with asyncio.timeout(WAIT_S), self._changed:
            await self._changed.wait_for(lambda: met(self.deliveries))
        return list(self.deliveries)

    async def arrived(self, count: int) -> list[Delivery]:
        """Wait for so many requests, and return them."""
        return await self.until(lambda these: len(these) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests of one connection, and answer them."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().rstrip("\r\n").split("\r\n")
                pairs = (line.split(": ", 1) for line in lines)
                headers = {name.lower(): value for name, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                delivery = Delivery(first.split(" ")[1], headers, body)
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                async with self._changed:
                    self.deliveries.append(delivery)
                    self._changed.notify_all()
                answer = self.answers(delivery)
                if answer is None:
                    await reader.read()  # until the other side has enough
                    self.open -= 1
                    return
                writer.write(answer)
                await writer.drain()
                self.open -= 1
                if not answer:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return  # asyncio's streams would complain of a handler that is cancelled
        finally:
            writer.close()


@asynccontextmanager
async def receiving(*, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Receiver]:
    """Run a receiver on this machine."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", port, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()
        if hasattr(server, "close_clients"):
            server.close_clients()
