"""Lets grpcio-testing call servicers written with `async def`.

By itself grpcio-testing takes the un-awaited coroutine of such a handler for its response and
reports success, so a broken servicer would pass its tests. Here every handler runs to its end on an
event loop of its own, with a context whose `abort` can be awaited.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import grpc
import grpc_testing
from grpc.aio import AbortError


class Reply(NamedTuple):
    """How a call ended."""

    response: Any
    """The response of a unary call, the tuple of responses of a streaming one, None when it failed.
    """
    code: grpc.StatusCode
    details: str
    trailing: tuple[tuple[str, str], ...]


class UnitServer:
    """Calls servicers directly, without a network, and tells status and metadata like a real
    server.
    """

    def __init__(self, services: dict[Any, Any]) -> None:
        """Serve `{service descriptor: servicer}`, as in
        `DESCRIPTOR.services_by_name["AuthService"]`.
        """
        self._methods = {method.name: method for service in services for method in service.methods}
        adapted = {service: _Adapter(servicer, service) for service, servicer in services.items()}
        self._server = grpc_testing.server_from_dictionary(adapted, grpc_testing.strict_real_time())

    def unary(self, method: str, request: Any, metadata: Iterable[tuple[str, str]] = ()) -> Reply:
        """Call a unary method and return how it ended."""
        rpc = self._server.invoke_unary_unary(self._methods[method], tuple(metadata), request, None)
        response, trailing, code, details = rpc.termination()
        return _reply(response, trailing, code, details)

    def stream(self, method: str, request: Any, metadata: Iterable[tuple[str, str]] = ()) -> Reply:
        """Call a method that streams a finite number of responses and return them all."""
        rpc = self._server.invoke_unary_stream(
            self._methods[method], tuple(metadata), request, None
        )
        trailing, code, details = rpc.termination()
        responses = []
        while code is grpc.StatusCode.OK:
            try:
                responses.append(rpc.take_response())
            except ValueError:
                break
        return _reply(tuple(responses), trailing, code, details)


def _reply(
    response: Any, trailing: Any, code: grpc.StatusCode | None, details: str | None
) -> Reply:
    code = code or grpc.StatusCode.OK
    ok = code is grpc.StatusCode.OK
    return Reply(response if ok else None, code, details or "", tuple(_own_metadata(trailing)))


def _own_metadata(trailing: Any) -> Iterator[tuple[str, str]]:
    """Leave out the entry by which grpcio-testing reminds us that a runtime may add its own."""
    for key, value in trailing or ():
        if key != "grpc.metadata_added_by_runtime":
            yield key, value


class _Adapter:
    """A servicer whose methods are plain functions."""

    def __init__(self, servicer: Any, service: Any) -> None:
        for method in service.methods:
            handler = getattr(servicer, method.name, None)
            if handler is None:
                raise AssertionError(f"{type(servicer).__name__} does not implement {method.name}")
            adapt = _adapt_stream if inspect.isasyncgenfunction(handler) else _adapt_unary
            setattr(self, method.name, adapt(handler))


def _adapt_unary(handler: Any) -> Any:
    def call(request: Any, context: Any) -> Any:
        try:
            return asyncio.run(handler(request, _Context(context)))
        except AbortError:
            return None

    return call


def _adapt_stream(handler: Any) -> Any:
    def call(request: Any, context: Any) -> Iterator[Any]:
        async def collect() -> list[Any]:
            return [response async for response in handler(request, _Context(context))]

        try:
            yield from asyncio.run(collect())
        except AbortError:
            return

    return call


class _Context:
    """The part of `grpc.aio.ServicerContext` that servicers use, over grpcio-testing's synchronous
    one.
    """

    def __init__(self, context: Any) -> None:
        self._context = context

    def invocation_metadata(self) -> Any:
        return self._context.invocation_metadata()

    def set_trailing_metadata(self, metadata: Any) -> None:
        self._context.set_trailing_metadata(tuple(metadata))

    def time_remaining(self) -> float | None:
        remaining: float | None = self._context.time_remaining()
        return remaining

    def cancelled(self) -> bool:
        return False

    def done(self) -> bool:
        return False

    def peer(self) -> str:
        return "ipv4:127.0.0.1:1"

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> None:
        if trailing_metadata:
            self._context.set_trailing_metadata(tuple(trailing_metadata))
        self._context.set_code(code)
        self._context.set_details(details)
        raise AbortError
