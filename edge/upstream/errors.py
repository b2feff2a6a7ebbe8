"""One table from gRPC statuses to the errors that clients of the edge see."""

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
"""Absent statuses become `internal`. UNAUTHENTICATED is absent on purpose: a refused service
credential is the edge's fault, not the client's.
"""

_SPOKEN = frozenset({"bad_request", "not_found", "conflict", "rate_limited"})
"""Codes whose details were written for the user; the others get a sentence of ours."""


_BROKEN_WRITE = "Internal error from Core"
"""Details of the status that grpc.aio invents when the connection breaks while a message is being
sent.
"""


def _code(error: grpc.aio.AioRpcError) -> grpc.StatusCode:
    if error.code() is grpc.StatusCode.INTERNAL and error.details() == _BROKEN_WRITE:
        return grpc.StatusCode.UNAVAILABLE
    return error.code()


def translate(error: BaseException, service: str) -> UpstreamError:
    """Return the client's error for a failed call to `service`."""
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
    """Return a service's message as a sentence, with a capital and a full stop; field names stay as
    is.
    """
    first = words.partition(" ")[0]
    begun = words[:1].upper() + words[1:] if first.isalpha() else words
    return begun if begun.endswith((".", "!", "?")) else begun + "."


def unavailable(service: str) -> UpstreamError:
    """Return the client's error while a service cannot be reached."""
    return UpstreamError(
        "unavailable",
        f"The {service} service cannot be reached now; try again.",
        retry_after_ms=_soon_ms(),
    )


def not_let_in(service: str) -> UpstreamError:
    """Return the client's error while a service refuses this edge itself; the log says so too."""
    return UpstreamError(
        "unavailable",
        f"The {service} service refuses this edge; an operator must fix that.",
        retry_after_ms=_soon_ms(),
    )


def overloaded(message: str) -> UpstreamError:
    """Return the error for a request that may succeed in a moment."""
    return UpstreamError("overloaded", message, retry_after_ms=_soon_ms())


def _soon_ms() -> int:
    """About a second, jittered: clients must not all retry at once."""
    return int(random.uniform(500, 1500))  # noqa: S311 - not a secret


def is_transient(error: BaseException) -> bool:
    """Return whether the same call may succeed in a moment."""
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
