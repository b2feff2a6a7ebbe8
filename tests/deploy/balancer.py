"""The load balancer of compose.yaml as a process: names are looked up here, and edges may be simple
stand-ins.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import yaml

from harness.supervisor import Child
from tests.deploy.composed import ROOT, Containers


class Names:
    """Answers what addresses `edge` has, as Docker's name server does: over UDP, one record for
    each container.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.port = 0
        self.edges: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        """Listen on a free port."""
        names = self

        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                assert names._transport is not None
                names._transport.sendto(names.answer(data), addr)

        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            Protocol, local_addr=(self.address, 0)
        )
        self.port = self._transport.get_extra_info("sockname")[1]

    def answer(self, query: bytes) -> bytes:
        """Return the answer (RFC 1035) to a query of one question; only the name `edge` is
        known.
        """
        end = query.index(0, 12) + 5  # of the question: name, type, class
        known, kind = query[12:end].lower().startswith(b"\x04edge\x00"), query[end - 4 : end - 2]
        edges = self.edges if known and kind == b"\x00\x01" else []
        records = [
            b"\xc0\x0c\x00\x01\x00\x01" + struct.pack("!IH", 600, 4) + socket.inet_aton(address)
            for address in edges
        ]
        flags = b"\x81\x80" if known else b"\x81\x83"
        return (
            query[:2]
            + flags
            + struct.pack("!HHHH", 1, len(records), 0, 0)
            + query[12:end]
            + b"".join(records)
        )

    def stop(self) -> None:
        """Stop listening."""
        if self._transport is not None:
            self._transport.close()


class StandIn:
    """Answers in an edge's place: how ready it is, the headers it got, and bytes back once a
    request is upgraded.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.ready = True
        self.asked = 0
        """Requests other than health checks."""
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        """Listen on the edge's port."""
        self._server = await asyncio.start_server(self._serve, self.address, 8000)

    async def stop(self) -> None:
        """Stop listening and cut everything."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with (
            contextlib.suppress(asyncio.IncompleteReadError, ConnectionError),
            contextlib.closing(writer),
        ):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                request, *lines = head.strip().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines)
                }
                if request.split()[1] == "/readyz":
                    writer.write(_answer("200 OK" if self.ready else "503 Service Unavailable", {}))
                    continue
                self.asked += 1
                if headers.get("upgrade") == "websocket":
                    writer.write(
                        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection:"
                        b" Upgrade\r\n\r\n"
                    )
                    writer.write(f"{self.address}\n".encode())
                    while data := await reader.read(1000):
                        writer.write(data)
                    return
                writer.write(_answer("200 OK", {"edge": self.address, "headers": headers}))


def _answer(status: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


def prepare_proxy(made: Containers, names: Names) -> Child:
    """Write the configuration as mounted, with addresses of this machine, and return the
    process.
    """
    service = made.compose["services"]["proxy"]
    place = made.folder / "envoy"
    place.mkdir()
    for entry in service["volumes"]:
        source, target, *_ = entry.split(":")
        text = made.here((ROOT / source).read_text(encoding="utf-8"), "proxy").replace(
            "/etc/envoy", str(place)
        )
        if target == "/etc/envoy/envoy.yaml":
            text = _adapted(text, names, made.address("proxy"))
        (place / Path(target).name).write_text(text, encoding="utf-8")
    command = [
        *service["entrypoint"],
        *(part.replace("/etc/envoy", str(place)) for part in service["command"]),
    ]
    return made.add(
        "proxy",
        command,
        {"PATH": made.environment("edge")["PATH"], "HOME": os.environ.get("HOME", "/")},
    )


def _adapted(text: str, names: Names, address: str) -> str:
    """Look names up here, and come from the proxy's own address, as a container does."""
    config = yaml.safe_load(text)
    (cluster,) = config["static_resources"]["clusters"]
    cluster["upstream_bind_config"] = {"source_address": {"address": address, "port_value": 0}}
    cluster["cluster_type"]["typed_config"]["typed_dns_resolver_config"] = {
        "name": "envoy.network.dns_resolver.cares",
        "typed_config": {
            "@type": (
                "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"
            ),
            "resolvers": [{"socket_address": {"address": names.address, "port_value": names.port}}],
            "dns_resolver_options": {"no_default_search_domain": True},
        },
    }
    return yaml.safe_dump(config, sort_keys=False)


@contextlib.asynccontextmanager
async def looked_up(address: str, *edges: str) -> AsyncIterator[Names]:
    """Run a name server that knows these edges."""
    names = Names(address)
    names.edges = list(edges)
    await names.start()
    try:
        yield names
    finally:
        names.stop()
