"""Who may call a gRPC server of ours: a shared service credential, TLS, mutual TLS."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from service_runtime.settings import SettingsError

OPEN_SERVICES = ("grpc.health.v1.Health",)
"""Anyone who reaches the port may ask these: an orchestrator's health check has no credential."""


_REFUSE = "refuse the service credential"

REFUSED = (("aivo-refused", "credential"),)
"""Tells callers that it is their credential that was refused, and nothing that they asked about."""


def is_credential_refused(error: grpc.aio.AioRpcError) -> bool:
    """Whether a service refused the caller itself."""
    return REFUSED[0] in tuple(error.trailing_metadata() or ())


class CredentialInterceptor(grpc.aio.ServerInterceptor):
    """Refuses every call without the service credential, except health checks."""

    def __init__(self, credential: str) -> None:
        self._expected = f"Bearer {credential}".encode()

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Let the call through, or replace its handler by one that answers UNAUTHENTICATED."""
        service = handler_call_details.method.removeprefix("/").partition("/")[0]
        handler = await continuation(handler_call_details)
        if handler is None or service in OPEN_SERVICES:
            return handler
        for key, value in handler_call_details.invocation_metadata:
            if key == "authorization" and hmac.compare_digest(value.encode(), self._expected):
                return handler
        return _refusal(handler)


def is_refusal(handler: Any) -> bool:
    """Whether this handler stands in for one that a caller may not reach."""
    return getattr(handler.stream_unary, "__name__", "") == _REFUSE


def _refusal(handler: Any) -> Any:
    """Answer without reading what was sent: only handlers of streams need not receive a message
    first, and on the wire there is no difference.
    """

    async def refuse(requests: Any, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.UNAUTHENTICATED,
            "the service credential is missing or wrong; send it as metadata 'authorization: Bearer"
            " <credential>'",
            trailing_metadata=REFUSED,
        )

    async def refuse_stream(requests: Any, context: Any) -> Any:
        await refuse(requests, context)
        yield

    refuse.__name__ = _REFUSE
    make, behaviour = (
        (grpc.stream_stream_rpc_method_handler, refuse_stream)
        if handler.response_streaming
        else (grpc.stream_unary_rpc_method_handler, refuse)
    )
    return make(behaviour, handler.request_deserializer, handler.response_serializer)


def server_credentials(
    certificate_file: Path | None, key_file: Path | None, client_ca_file: Path | None
) -> grpc.ServerCredentials | None:
    """Return what the server shows and asks for, or None without TLS. Raises SettingsError for half
    a configuration.
    """
    if certificate_file is None and key_file is None:
        if client_ca_file is not None:
            raise SettingsError(
                "TLS_CLIENT_CA_FILE needs TLS_CERTIFICATE_FILE and TLS_KEY_FILE too"
            )
        return None
    if certificate_file is None or key_file is None:
        raise SettingsError("TLS needs both TLS_CERTIFICATE_FILE and TLS_KEY_FILE")
    return grpc.ssl_server_credentials(
        [(read_file(key_file), read_file(certificate_file))],
        root_certificates=read_file(client_ca_file) if client_ca_file else None,
        require_client_auth=client_ca_file is not None,
    )


def read_file(path: Path) -> bytes:
    """Return a file's bytes; raises SettingsError that names it."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
