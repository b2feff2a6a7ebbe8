"""One table from gRPC statuses to what a client of the edge hears."""

from __future__ import annotations

import random

import grpc
import grpc.aio

from edge.ports import UpstreamError
from service_runtime.credentials import is_credential_refused

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: "bad_request",
    grpc.StatusCode.NOT_FOUND: "not_found",
    grpc.StatusCode.ALREADY_EXISTS: "conflict",
    grpc.StatusCode.ABORTED: "conflict",
    grpc.StatusCode.FAILED_PRECONDITION: "conflict",
    grpc.StatusCode.PERMISSION_DENIED: "forbidden",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "rate_limited",
    grpc.StatusCode.UNAVAILABLE: "unavailable",
    grpc.StatusCode.DEADLINE_EXCEEDED: "unavailable",
    grpc.StatusCode.CANCELLED: "unavailable",
}
"""Statuses that are absent become `internal`. UNAUTHENTICATED is absent on purpose: who may call a
service is the edge's affair, and no fault of the client.
"""

_SPOKEN = frozenset({"bad_request", "not_found", "conflict", "rate_limited"})
"""Codes whose details were written for the person who asked; the others get a sentence of ours."""


_BROKEN_WRITE = "Internal error from Core"
"""Details of the status that grpc.aio makes up itself when the connection broke under a message on
its way out.
"""


def _code(error: grpc.aio.AioRpcError) -> grpc.StatusCode:
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == _BROKEN_WRITE:
        return grpc.StatusCode.UNAVAILABLE
    return error.code()


def translate(error: BaseException, service: str) -> UpstreamError:
    """Return what a client hears when a call to `service` failed."""
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        if is_credential_refused(error):
            return not_let_in(service)
        code = CODES.get(_code(error), "internal")
        if code in _SPOKEN:
            return UpstreamError(
                code, sentence(error.details() or "Refused."), retry_after_ms=_retry_after_ms(error)
            )
        if code == "forbidden":
            return UpstreamError(code, "You may not do this.")
        if code == "unavailable":
            return unavailable(service)
    elif isinstance(error, TimeoutError):
        return unavailable(service)
    return UpstreamError("internal", f"The {service} service failed; its log has the details.")


def sentence(words: str) -> str:
    """Return what a service said as a person reads it, with a capital and a full stop; names of
    fields stay as is.
    """
    first = words.partition(" ")[0]
    begun = words[:1].upper() + words[1:] if first.isalpha() else words
    return begun if begun.endswith((".", "!", "?")) else begun + "."


def unavailable(service: str) -> UpstreamError:
    """Return what a client hears while a service cannot be reached."""
    return UpstreamError(
        "unavailable",
        f"The {service} service cannot be reached now; try again.",
        retry_after_ms=_soon_ms(),
    )


def not_let_in(service: str) -> UpstreamError:
    """Return what a client hears while a service refuses this edge itself; its log says so, too."""
    return UpstreamError(
        "unavailable",
        f"The {service} service does not let this edge in; whoever runs it must mend that.",
        retry_after_ms=_soon_ms(),
    )


def overloaded(message: str) -> UpstreamError:
    """Return what a client hears whose request may succeed in a moment."""
    return UpstreamError("overloaded", message, retry_after_ms=_soon_ms())


def _soon_ms() -> int:
    """About a second, another one for everybody: they must not all come back at once."""
    return int(random.uniform(500, 1500))  # noqa: S311 - not a secret


def is_transient(error: BaseException) -> bool:
    """Tell whether the same call may succeed in a moment."""
    if isinstance(error, grpc.aio.AioRpcError):
        return _code(error) in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
            grpc.StatusCode.UNKNOWN,
        )
    return isinstance(error, grpc.aio.UsageError | ConnectionError)


def _retry_after_ms(error: grpc.aio.AioRpcError) -> int | None:
    for key, value in error.trailing_metadata() or ():
        if key == "retry-after-ms" and str(value).isdigit():
            return int(str(value))
    return None
