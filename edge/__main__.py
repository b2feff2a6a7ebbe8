"""Runs an edge: `python -m edge`. The only place that reads the environment, opens channels and
starts the server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import uvicorn

from edge.admission.access import Access
from edge.admission.addresses import Proxies
from edge.admission.door import Door
from edge.admission.registry import Listing, Registry
from edge.connection.endpoint import Endpoint
from edge.connection.listener import Listener
from edge.connection.rfc6455 import prepare
from edge.connection.server import Server
from edge.http import Services, make_app
from edge.hub.hub import Hub
from edge.hub.rooms import Rooms
from edge.metrics import families
from edge.session.dependencies import Dependencies
from edge.settings import EdgeSettings
from edge.telemetry import reachability
from edge.telemetry.counters import EdgeCounters
from edge.telemetry.recording import NO_RECORDING, Recording
from edge.telemetry.tracing import NO_TRACES, EdgeTraces
from edge.timers import TimerWheel
from edge.upstream import discovery
from edge.upstream.auth import AuthLink
from edge.upstream.brain import BrainLink
from edge.upstream.brains import Brains
from edge.upstream.metrics import MetricsLink
from edge.upstream.recording import RecordingLink
from edge.upstream.rooms import RoomsLink
from edge.upstream.watch import WatchLink
from service_runtime import process, telemetry
from service_runtime.addresses import is_address
from service_runtime.exposition import exposed
from service_runtime.grpc_client import Channel, open_channel
from service_runtime.metrics import Family
from service_runtime.settings import describe, load
from service_runtime.telemetry import Tracer
from service_runtime.version import told

logger = logging.getLogger(__name__)

HELP = """\
usage: python -m edge [--version]

Serves browsers: the WebSocket at /ws, the HTTP API at /api (described at /docs) and the page at /.
Needs the brain, auth and metrics services. Settings are environment variables:

"""


class Edge:
    """The edge's rooms, wired together."""

    def __init__(self, settings: EdgeSettings, tracer: Tracer | None = None) -> None:
        """Wire; nothing runs yet. Needs a running event loop."""
        traces = NO_TRACES if tracer is None else EdgeTraces(tracer)
        clock = asyncio.get_running_loop().time
        self.settings = settings
        self.timers = TimerWheel(clock)
        self.door = Door(settings)
        self.auth_channel = open_channel(settings.auth_address, settings, tracer)
        self.metrics_channel = open_channel(settings.metrics_address, settings, tracer)
        self.counters = counters = EdgeCounters()
        self.auth = AuthLink(self.auth_channel, settings)
        self.recording = (
            Recording(
                capacity=settings.record_queue, keeps_content=settings.record_content, clock=clock
            )
            if settings.recording
            else None
        )
        self.metrics = MetricsLink(self.metrics_channel, settings, counters, self.recording)
        self.access = Access(self.auth, clock)
        self.brains = Brains(settings.brain_addresses, patience_s=settings.upstream_s)
        hub = Hub(
            brain=self.brains,
            prepare=prepare,
            timers=self.timers,
            clock=clock,
            counters=counters,
            readers=self.door.readers,
            traces=traces,
        )
        hub.feed = self.brains
        rooms = Rooms(
            prepare=prepare,
            counters=counters,
            hides_guardians=not settings.guardians_see_each_other,
        )
        name = discovery.common_name(settings.brain_addresses)

        def make_links(
            address: str, is_mine: Callable[[str], bool], on_change: Callable[[], None]
        ) -> tuple[Channel, BrainLink, WatchLink, RoomsLink]:
            channel = open_channel(address, settings, tracer, name=name)
            return (
                channel,
                BrainLink(channel, settings),
                WatchLink(channel, settings, hub, is_mine=is_mine, on_change=on_change),
                RoomsLink(channel, rooms, is_mine=is_mine),
            )

        self.brains.begin(make_links, hub, rooms)
        self.registry = Registry(
            counters,
            max_per_user=settings.max_sockets_per_user,
            max_per_address=settings.max_sockets_per_address,
        )
        self.streams = Listing(max_per_user=settings.max_streams_per_user)
        self.endpoint = Endpoint(
            Dependencies(
                settings=settings,
                hub=hub,
                rooms=rooms,
                registry=self.registry,
                budgets=self.door.budgets,
                access=self.access,
                brain=self.brains,
                auth=self.auth,
                room_link=self.brains,
                counters=counters,
                timers=self.timers,
                clock=clock,
                traces=traces,
                recording=NO_RECORDING if self.recording is None else self.recording,
            ),
            door=self.door,
        )
        self.services = Services(
            settings=settings,
            door=self.door,
            brain=self.brains,
            auth=self.auth,
            metrics=self.metrics,
            access=self.access,
            streams=self.streams,
            is_draining=lambda: self.endpoint.draining,
            tracer=tracer,
        )

    def measured(self) -> Iterator[Family]:
        """Name what this edge counts, as it is now."""
        return families(
            self.counters,
            refused_requests=self.door.refused_requests,
            abandoned_requests=self.door.abandoned_requests,
            brains=self.brains,
            auth=self.auth,
            auth_address=self.settings.auth_address,
            fleet=self.metrics,
            fleet_address=self.settings.metrics_address,
            streams=len(self.streams),
            draining=self.endpoint.draining,
            recording=self.recording,
        )

    def missing(self) -> dict[str, str]:
        """Return the services this edge needs but cannot reach: addresses and gRPC statuses by
        name.
        """
        links: list[tuple[str, str, WatchLink | AuthLink]] = [
            ("brain", node.address, node.watch) for node in self.brains.nodes
        ]
        missing: dict[str, list[str]] = {}
        for name, address, link in (*links, ("auth", self.settings.auth_address, self.auth)):
            if not link.is_open.is_set():
                missing.setdefault(name, []).append(f"{address} {link.status}".rstrip())
        return {name: ", ".join(told) for name, told in missing.items()}

    async def drain(self) -> None:
        """Send all clients to other edges: streams at once, sockets in batches."""
        for stream in self.streams.sessions():
            stream.revoke()
        await self.endpoint.drain()

    async def run(self) -> None:
        """Talk to the services until cancelled."""
        self.timers.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.auth.run())
                group.create_task(
                    self.auth.follow_revocations(self.access, self.registry, self.streams)
                )
                group.create_task(self.metrics.run())
                group.create_task(reachability.tell(self.missing))
                if self.recording is not None:
                    link = RecordingLink(
                        self.metrics_channel, self.settings, self.recording, self.metrics.edge_id
                    )
                    group.create_task(link.run())
                group.create_task(self.brains.run(every_s=self.settings.brain_discovery_s))
        finally:
            self.timers.stop()
            for channel in (self.auth_channel, self.metrics_channel):
                await channel.close()


def make_server(edge: Edge) -> Server:
    """Return the HTTP server whose sockets the edge serves."""
    settings = edge.settings
    return Server(
        uvicorn.Config(
            make_app(edge.services),
            host=settings.host,
            port=settings.port,
            http=partial(Listener, edge.door, proxied=settings.proxy_protocol),  # type: ignore[arg-type]
            ws=edge.endpoint,  # type: ignore[arg-type]
            lifespan="off",
            log_config=None,
            access_log=False,  # it would log query strings, which may carry a token
            server_header=False,
            proxy_headers=False,  # the door decides, for sockets and HTTP alike
            ssl_certfile=settings.server_certificate_file,
            ssl_keyfile=settings.server_key_file,
            timeout_graceful_shutdown=5,
        ),
        door=edge.door,
        reuse_port=settings.reuse_port,
    )


async def serve(settings: EdgeSettings, stop: process.Stop) -> None:
    """Serve until `stop`, then drain: unready first, work under way acknowledged, sockets closed in
    batches.
    """
    async with telemetry.exporting("edge", os.environ) as tracer:
        await _serve(settings, stop, tracer)


async def _serve(settings: EdgeSettings, stop: process.Stop, tracer: Tracer | None) -> None:
    if Proxies(settings.trusted_proxies).are_everybody:
        logger.warning(
            "EDGE_TRUSTED_PROXIES trusts everybody's X-Forwarded-For: limits by address hold"
            " only behind a proxy that replaces that header"
        )
    edge = Edge(settings, tracer)
    server = make_server(edge)
    links = asyncio.create_task(edge.run())
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    try:
        async with exposed(
            settings.exposition_listen, edge.measured, variable="EDGE_EXPOSITION_LISTEN"
        ):
            await asyncio.wait({links, serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not serving.done():
                await edge.drain()
                server.should_exit = True
            await serving
    finally:
        for task in (stopping, links):
            task.cancel()
        await asyncio.gather(links, stopping, return_exceptions=True)


def _own(environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return the environment without a HOST that names a kind of machine instead of an address."""
    host = environ.get("HOST", "")
    if not host or is_address(host):
        return environ
    logger.warning("HOST=%.100s is not an address and is ignored", host)
    return {name: value for name, value in environ.items() if name != "HOST"}


def main() -> int:
    """Run from the command line and return the exit code."""
    if len(sys.argv) > 1:
        if sys.argv[1] in ("-h", "--help"):
            print(HELP + describe(EdgeSettings, prefix="EDGE"))
            return 0
        if sys.argv[1] == "--version":
            print(told("edge"))
            return 0
        print(
            f"edge: {sys.argv[1]!r} is unknown: settings are environment variables, see --help",
            file=sys.stderr,
        )
        return 2

    async def run(stop: process.Stop) -> None:
        await serve(load(EdgeSettings, _own(os.environ), prefix="EDGE"), stop)

    return process.run(run, name="edge")


if __name__ == "__main__":
    sys.exit(main())
