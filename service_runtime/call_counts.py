"""Counts the unary calls that a gRPC server answers: how long they take and with which status."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Any

import grpc
import grpc.aio

from service_runtime.credentials import is_refusal
from service_runtime.metrics import DURATION_S, Family, Histogram, Labels, counter, histogram


class CallCounts(grpc.aio.ServerInterceptor):
    """Counts around the handlers of some services. Endless streams have no duration and are left
    alone.
    """

    def __init__(self, services: Collection[str]) -> None:
        """Count calls to `services`, by their full names; health checks and the like are nobody's
        load.
        """
        self._services = frozenset(services)
        self._durations_s: dict[Labels, Histogram] = {}
        self._codes: defaultdict[Labels, int] = defaultdict(int)

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Leave a call as it is, or replace its handler by one that counts."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.response_streaming:
            return handler
        if handler.request_streaming and not is_refusal(handler):
            return handler
        service, _, method = handler_call_details.method.removeprefix("/").partition("/")
        return self._counted(handler, service, method) if service in self._services else handler

    def families(self) -> Iterator[Family]:
        """Name what was counted."""
        yield histogram(
            "aivo_rpc_server_duration_seconds",
            "Seconds from receiving a unary call to its answer.",
            self._durations_s,
            "service",
            "method",
        )
        yield counter(
            "aivo_rpc_server_calls",
            "Unary calls answered, by status.",
            self._codes,
            "service",
            "method",
            "code",
        )

    def _counted(self, handler: Any, service: str, method: str) -> Any:
        answer = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def behaviour(request: Any, context: Any) -> Any:
            began, code = time.perf_counter(), "OK"
            try:
                return await answer(request, context)
            except asyncio.CancelledError:
                code = "CANCELLED"
                raise
            except BaseException:
                code = getattr(context.code(), "name", "UNKNOWN")
                raise
            finally:
                durations = self._durations_s.get((service, method))
                if durations is None:
                    durations = self._durations_s[service, method] = Histogram(DURATION_S)
                durations.observe(time.perf_counter() - began)
                self._codes[service, method, code] += 1

        make = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(behaviour, handler.request_deserializer, handler.response_serializer)
