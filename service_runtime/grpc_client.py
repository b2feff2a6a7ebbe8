"""Our gRPC channels: service credential, TLS, keepalive, message sizes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio

from service_runtime.credentials import read_file
from service_runtime.grpc_server import MAX_MESSAGE_BYTES
from service_runtime.grpc_spans import traced_call
from service_runtime.settings import SettingsError, setting
from service_runtime.telemetry import Tracer, outgoing

Response = TypeVar("Response")

_OPTIONS = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A peer that hangs or vanishes is noticed within ten seconds, also on idle streams.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 4_000),
    # The answer to a ping has a timeout of its own, by default of a minute.
    ("grpc.http2.ping_timeout_ms", 4_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # A service that restarts is found again within a second, not after gRPC's default of up to two
    # minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Each channel has its own connection, so that one service's trouble stays its own.
    ("grpc.use_local_subchannel_pool", 1),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How to call other services."""

    credential: str | None = setting(
        None, "Service credential to send to other services.", secret=True
    )
    tls_ca_file: Path | None = setting(
        None, "PEM authorities to verify other services with; set it to use TLS."
    )
    tls_certificate_file: Path | None = setting(
        None, "PEM certificate chain to show to other services (mutual TLS)."
    )
    tls_key_file: Path | None = setting(None, "PEM private key of that certificate.")
    http_proxy: str = setting(
        "",
        "HTTP proxy for calls to other services, http://host:port; variables such as http_proxy do"
        " not count.",
    )

    @property
    def channel_options(self) -> tuple[tuple[str, str | int], ...]:
        """How a channel behaves."""
        if self.http_proxy:
            return (*_OPTIONS, ("grpc.http_proxy", self.http_proxy))
        return (*_OPTIONS, ("grpc.enable_http_proxy", 0))


@dataclass(frozen=True, slots=True)
class Channel:
    """An open channel, and the metadata that every call on it must carry."""

    channel: grpc.aio.Channel
    metadata: tuple[tuple[str, str], ...]
    address: str = ""
    """Where it leads, "host:port"."""
    tracer: Tracer | None = None
    """Records the calls that belong to sampled traces."""

    async def call(
        self, method: Callable[..., Awaitable[Response]], name: str, request: Any, timeout_s: float
    ) -> Response:
        """Make a unary call named "package.Service/Method" in the present trace, for so many
        seconds.

        Raises grpc.aio.AioRpcError. Cancelled, it cancels the call.
        """
        return await traced_call(
            self.tracer,
            name,
            self.address,
            lambda: method(request, metadata=outgoing(self.metadata), timeout=timeout_s),
        )

    async def close(self) -> None:
        """Close the channel; calls under way are cancelled."""
        await self.channel.close()


def open_channel(
    address: str, settings: ClientSettings, tracer: Tracer | None = None, *, name: str = ""
) -> Channel:
    """Open a channel to `address` ("host:port"); it connects when first used and reconnects by
    itself. `name` is the host that the other's certificate must name, where the address does not.
    """
    metadata = (("authorization", f"Bearer {settings.credential}"),) if settings.credential else ()
    if settings.tls_ca_file is None:
        if settings.tls_certificate_file or settings.tls_key_file:
            raise SettingsError("TLS_CERTIFICATE_FILE and TLS_KEY_FILE need TLS_CA_FILE too")
        return Channel(
            grpc.aio.insecure_channel(address, options=settings.channel_options),
            metadata,
            address,
            tracer,
        )
    options = settings.channel_options
    if name:
        options = (*options, ("grpc.ssl_target_name_override", name))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read_file(settings.tls_ca_file),
        private_key=read_file(settings.tls_key_file) if settings.tls_key_file else None,
        certificate_chain=read_file(settings.tls_certificate_file)
        if settings.tls_certificate_file
        else None,
    )
    return Channel(
        grpc.aio.secure_channel(address, credentials, options=options),
        metadata,
        address,
        tracer,
    )
