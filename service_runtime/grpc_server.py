"""Our gRPC servers: health, reflection, credential, keepalive, graceful stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
from grpc_health.v1 import health_pb2_grpc

from service_runtime.addresses import is_loopback
from service_runtime.call_counts import CallCounts
from service_runtime.credentials import CredentialInterceptor, server_credentials
from service_runtime.grpc_spans import ServerSpans
from service_runtime.health import SERVICE_NAME as HEALTH
from service_runtime.health import Health
from service_runtime.reflection import add_reflection
from service_runtime.settings import SettingsError, setting
from service_runtime.telemetry import Tracer

logger = logging.getLogger(__name__)

MAX_MESSAGE_BYTES = 16 * 1024 * 1024
"""Largest message either side accepts: a full batch of the largest frames fits."""

MAX_STREAMS = 1_000
"""Calls at a time on one connection; a caller's further ones wait. Anybody may watch our health."""

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Clients ping idle streams every 5 s; without this the server answers them with GOAWAY
    # (too_many_pings).
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 2_000),
    # On a busy machine pings come in bunches; callers have a credential, so strangers cannot flood
    # with them.
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.ping_timeout_ms", 10_000),
    # Health needs no credential: a stranger's few compressed KB must not expand to GBs.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    # Two servers on one port would share its calls at random.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Where a service listens, and its credentials."""

    listen: str = setting(
        "127.0.0.1:0", "Address and port of the gRPC server; port 0 takes any free one."
    )
    credential: str | None = setting(
        None, "Service credential that callers must send.", secret=True
    )
    tls_certificate_file: Path | None = setting(None, "PEM certificate chain to serve TLS with.")
    tls_key_file: Path | None = setting(None, "PEM private key of the certificate.")
    tls_client_ca_file: Path | None = setting(
        None, "PEM authorities whose client certificates are required (mutual TLS)."
    )
    drain_s: float = setting(
        10.0, "Seconds that calls in progress may take when the process stops."
    )


def check_listener(settings: ListenerSettings, *, prefix: str = "") -> None:
    """Raise SettingsError when a server with these settings would be open to strangers, or lacks
    half of its TLS.

    The server itself asks before it listens; a process asks first of all, before it makes or
    migrates a database. `prefix` is that of the process's environment variables, to name them in
    the error.
    """
    server_credentials(
        settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
    )
    if settings.credential or settings.tls_client_ca_file:
        return
    where = (
        "even on loopback, any local program could call it"
        if is_loopback(settings.listen)
        else "anyone could call it"
    )
    name = f"{prefix}_" if prefix else ""
    raise SettingsError(
        f"refusing to listen on {settings.listen} without asking callers who they are: {where}. "
        f"Set {name}CREDENTIAL or {name}CREDENTIAL_FILE (a shared secret), or "
        f"{name}TLS_CLIENT_CA_FILE (mutual TLS)."
    )


class GrpcServer:
    """Owns a `grpc.aio.Server`: add servicers to `.server`, then start and stop it here."""

    def __init__(
        self,
        settings: ListenerSettings,
        *,
        services: Sequence[str],
        prefix: str = "",
        tracer: Tracer | None = None,
    ) -> None:
        """Prepare a server for the services with these full names.

        `prefix` is that of the process's environment variables, to name them in errors; `tracer`
        records unary calls of sampled traces.
        """
        self.calls = CallCounts(services)
        # Outermost, so that refused calls count too.
        interceptors: list[grpc.aio.ServerInterceptor] = [self.calls]
        if settings.credential:
            interceptors.append(CredentialInterceptor(settings.credential))
        if tracer is not None:
            interceptors.append(ServerSpans(tracer))
        self._settings = settings
        self._prefix = prefix
        self._health = Health(services)
        self.server = grpc.aio.server(interceptors=interceptors, options=_OPTIONS)
        self.port = 0
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self.server)
        add_reflection((*services, HEALTH), self.server)

    async def start(self) -> int:
        """Listen and report healthy; return the port.

        Raises SettingsError when the listener would be open to strangers or cannot be had.
        """
        try:
            check_listener(self._settings, prefix=self._prefix)
            self.port = self._bind()
            await self.server.start()
        except BaseException:
            await self.server.stop(None)
            raise
        self._health.start()
        logger.info("listening", extra={"address": self._settings.listen, "port": self.port})
        return self.port

    async def stop(self) -> None:
        """Report unhealthy, let calls under way finish for `drain_s` seconds, then cancel
        the rest.
        """
        await self._health.stop()
        await self.server.stop(self._settings.drain_s)

    def _bind(self) -> int:
        settings = self._settings
        credentials = server_credentials(
            settings.tls_certificate_file, settings.tls_key_file, settings.tls_client_ca_file
        )
        try:
            if credentials is not None:
                return self.server.add_secure_port(settings.listen, credentials)
            if not is_loopback(settings.listen):
                logger.warning(
                    "listening without TLS beyond loopback", extra={"address": settings.listen}
                )
            return self.server.add_insecure_port(settings.listen)
        except RuntimeError as error:
            raise SettingsError(
                f"cannot listen on {settings.listen}: is the port taken by another process?"
            ) from error
