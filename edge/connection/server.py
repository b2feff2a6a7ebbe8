"""uvicorn's server with arrivals of its own, a deadline for TLS handshakes, and without its signal
handlers.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn

from edge.admission.door import Door
from edge.connection.arrivals import Arrivals, listen
from edge.connection.listener import Listener
from service_runtime.settings import SettingsError

TLS_S = 10.0
"""Seconds for a TLS handshake, and for its close. Until then the client does not count for its
address.
"""


GRACE_S = 4.0
"""Seconds that requests in progress may take when the process stops. Then their connections end;
uvicorn's own limit comes later and logs each as an error.
"""


class Server(uvicorn.Server):
    """Serves until `should_exit`; sockets are drained before that is set."""

    def __init__(self, config: uvicorn.Config, *, door: Door, reuse_port: bool = False) -> None:
        """Clients that `door` refuses are not served; `reuse_port` shares the port with other
        edges.
        """
        super().__init__(config)
        self._door = door
        self._reuse_port = reuse_port

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        """Serve what is in progress, but not for clients that send or read too slowly."""
        cut = asyncio.get_running_loop().call_later(GRACE_S, self._cut)
        try:
            await super().shutdown(sockets)
        finally:
            cut.cancel()

    def _cut(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Listener):
                connection.abort()

    async def startup(self, sockets: Any = None) -> None:
        """Listen. uvicorn itself accepts one connection per turn of the event loop, without a
        deadline for TLS.

        Raises SettingsError when the address cannot be bound.
        """
        config = self.config

        def connection() -> asyncio.Protocol:
            return config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state={}
            )

        tls: dict[str, Any] = {}
        if config.ssl is not None:
            tls = {
                "ssl": config.ssl,
                "ssl_handshake_timeout": TLS_S,
                "ssl_shutdown_timeout": TLS_S,
            }
        try:
            listening = listen(
                config.host, config.port, backlog=config.backlog, reuse_port=self._reuse_port
            )
        except OSError as error:
            raise SettingsError(
                f"HOST and PORT: cannot listen on {config.host} port {config.port}:"
                f" {error.strerror or error}"
            ) from None
        self.servers = [Arrivals(listening, connection, door=self._door, **tls)]  # type: ignore[list-item]
        self._log_started_message(listening)
        self.started = True
