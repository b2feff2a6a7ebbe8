"""Which processes a stack has, and where each of them is reached."""

from __future__ import annotations

from collections.abc import Sequence

from harness.ports import Ports

SERVICES = ("metrics", "auth", "brain", "edge")
"""In the order of starting: nobody starts before those it calls. Stopping goes the other way."""


class Layout:
    """The names of a stack's processes and their addresses."""

    def __init__(
        self, host: str, ports: Ports, more: Sequence[Ports], *, edges: int, brains: int
    ) -> None:
        """The edge listens on `host`, the services on loopback; a second edge or brain takes its
        ports from `more`.
        """
        self.host = host
        self.ports = ports
        self._blocks = (ports, *more)
        self._counts = {"edge": edges, "brain": brains}

    @property
    def services(self) -> list[str]:
        """The names of all processes of the services, in the order of starting."""
        return [name for service in SERVICES for name in self.named(service)]

    def named(self, service: str) -> list[str]:
        """Return the names of one service's processes."""
        further = range(2, self._counts.get(service, 1) + 1)
        return [service, *(f"{service}-{number}" for number in further)]

    @property
    def has_one_edge(self) -> bool:
        """Whether nobody shares the edge's port."""
        return self._counts["edge"] == 1

    @property
    def http_url(self) -> str:
        """Where the page and `/api` are."""
        return f"http://{self._reached}:{self.ports.edge}"

    @property
    def ws_url(self) -> str:
        """Where the socket is."""
        return f"ws://{self._reached}:{self.ports.edge}/ws"

    @property
    def _reached(self) -> str:
        """The host to ask for the edge; one that listens everywhere is asked on loopback."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104
        return f"[{host}]" if ":" in host else host

    def address(self, name: str) -> str:
        """Return "host:port" of a process."""
        return f"127.0.0.1:{getattr(self._block(name), service_of(name))}"

    def exposition(self, name: str) -> str:
        """Return "host:port" where Prometheus scrapes a process."""
        return f"127.0.0.1:{self._block(name).expositions[service_of(name)]}"

    def _block(self, name: str) -> Ports:
        return self._blocks[int(name.partition("-")[2] or 1) - 1]


def service_of(name: str) -> str:
    """Return the service that a process of this name runs; empty for other processes."""
    service, _, number = name.partition("-")
    return service if service in SERVICES and (not number or number.isdecimal()) else ""
