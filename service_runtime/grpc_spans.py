"""Spans of unary gRPC calls on both sides; the context travels in metadata. Endless streams have
none of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
import grpc.aio

from service_runtime import trace_context
from service_runtime.spans import Kind
from service_runtime.telemetry import Tracer, current, now_ns, rpc_attributes, rpc_name, within
from service_runtime.trace_context import TraceContext

T = TypeVar("T")


async def traced_call(
    tracer: Tracer | None, method: str, address: str, call: Callable[[], Awaitable[T]]
) -> T:
    """Make a unary call, in a client span when the present trace is sampled; `call` reads
    `outgoing` itself.
    """
    parent = current()
    if tracer is None or parent is None:
        return await call()
    context, start_ns, status = trace_context.child(parent), now_ns(), "OK"
    try:
        with within(context):
            return await call()
    except BaseException as error:
        status = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "CANCELLED"
        raise
    finally:
        attributes = rpc_attributes(method, address) | {"rpc.response.status_code": status}
        error_type = "" if status == "OK" else status
        tracer.record(
            rpc_name(method),
            context,
            parent,
            start_ns,
            kind=Kind.CLIENT,
            attributes=attributes,
            error=error_type,
        )


class ServerSpans(grpc.aio.ServerInterceptor):
    """Records a server span for each unary call whose caller sent a sampled `traceparent` in its
    metadata.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        """Leave a call as it is, or replace its handler by one that records."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler  # streams that never end have no spans; what travels in them has its own
        for key, value in handler_call_details.invocation_metadata:
            if key == "traceparent":
                parent = trace_context.parse(value)
                if parent is not None and parent.sampled:
                    return self._recorded(
                        handler, handler_call_details.method.removeprefix("/"), parent
                    )
        return handler

    def _recorded(self, handler: Any, method: str, parent: TraceContext) -> Any:
        async def behaviour(request: Any, context: Any) -> Any:
            own, start_ns, failed = trace_context.child(parent), now_ns(), True
            try:
                with within(own):
                    response = await handler.unary_unary(request, context)
                failed = False
                return response
            finally:
                code = context.code()
                status = getattr(code, "name", None) or ("UNKNOWN" if failed else "OK")
                attributes = rpc_attributes(method) | {"rpc.response.status_code": status}
                error = "" if status == "OK" else status
                self._tracer.record(
                    rpc_name(method),
                    own,
                    parent,
                    start_ns,
                    kind=Kind.SERVER,
                    attributes=attributes,
                    error=error,
                )

        return grpc.unary_unary_rpc_method_handler(
            behaviour, handler.request_deserializer, handler.response_serializer
        )
