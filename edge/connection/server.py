"""uvicorn's server, with a deadline for TLS handshakes and without its signal handlers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import uvicorn

from service_runtime.settings import SettingsError

TLS_S = 10.0
"""Seconds that a client has to say hello, and to say goodbye. Until hello nobody knows it, so no
limit of its address holds.
"""


class Server(uvicorn.Server):
    """Serves until `should_exit`; sockets are drained before that is set."""

    def __init__(self, config: uvicorn.Config, *, reuse_port: bool = False) -> None:
        """`reuse_port` shares the port with other processes that do the same."""
        super().__init__(config)
        self._reuse_port = reuse_port or None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def startup(self, sockets: Any = None) -> None:
        """Listen; uvicorn's own way has no say about how long TLS may take.

        Raises SettingsError when the address cannot be had.
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
            listening = await asyncio.get_running_loop().create_server(
                connection,
                host=config.host,
                port=config.port,
                backlog=config.backlog,
                reuse_port=self._reuse_port,
                **tls,
            )
        except OSError as error:
            raise SettingsError(
                f"HOST and PORT: cannot listen on {config.host} port {config.port}:"
                f" {error.strerror or error}"
            ) from None
        self.servers = [listening]
        self._log_started_message(listening.sockets)
        self.started = True
