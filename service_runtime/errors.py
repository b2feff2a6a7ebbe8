"""One table from a service's own exceptions to gRPC statuses, applied to every method of its
servicer.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio

from service_runtime import trace_context

logger = logging.getLogger(__name__)

T = TypeVar("T")

INTERNAL_DETAILS = "internal error; the log of the service has the details"
"""The text of unexpected errors, which leaks nothing."""


class ErrorTable:
    """The status of each exception of a service; subclasses follow their nearest listed base."""

    def __init__(self, table: Mapping[type[Exception], grpc.StatusCode]) -> None:
        self._table = dict(table)

    def status(self, error: BaseException) -> grpc.StatusCode | None:
        """Return the status for `error`, or None when the table has none."""
        for cls in type(error).__mro__:
            if cls in self._table:
                return self._table[cls]
        return None

    def guard(self, servicer: type[T]) -> type[T]:
        """Decorate a servicer class: its public methods end with the table's status and the
        exception's own sentence.

        Unlisted exceptions become INTERNAL with a fixed text and are logged. An exception's
        `trailing_metadata` is sent along. Cancellation and statuses that a method set itself pass
        through.
        """
        for name, method in list(vars(servicer).items()):
            if name.startswith("_"):
                continue
            if inspect.isasyncgenfunction(method):
                setattr(servicer, name, self._guard_stream(method))
            elif inspect.iscoroutinefunction(method):
                setattr(servicer, name, self._guard_unary(method))
        return servicer

    def _guard_unary(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        async def guarded(servicer: Any, request: Any, context: Any) -> Any:
            try:
                return await method(servicer, request, context)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception as error:
                await self._abort(error, method.__name__, context)

        return guarded

    def _guard_stream(
        self, method: Callable[..., AsyncIterator[Any]]
    ) -> Callable[..., AsyncIterator[Any]]:
        @functools.wraps(method)
        async def guarded(servicer: Any, request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for response in method(servicer, request, context):
                    yield response
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception as error:
                await self._abort(error, method.__name__, context)

        return guarded

    async def _abort(self, error: Exception, method: str, context: Any) -> NoReturn:
        status = self.status(error)
        if status is None:
            logger.exception("unexpected error", extra={"rpc": method, **_trace(context)})
            await context.abort(grpc.StatusCode.INTERNAL, INTERNAL_DETAILS)
        await context.abort(status, str(error), getattr(error, "trailing_metadata", ()))
        raise AssertionError("abort always raises")


def _trace(context: Any) -> dict[str, str]:
    """Return the ids of the trace that the caller sent in the metadata, for the log."""
    sent = dict(context.invocation_metadata() or ())
    return trace_context.log_fields(str(sent.get("traceparent", "")))
