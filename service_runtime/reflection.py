"""gRPC reflection as grpcurl, ghz and evans ask for it: under both its names, and for methods."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2

NAMES: Final = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)
"""Newer tools ask for the first, some for nothing else; older ones know only the second. The
messages are the same on the wire.
"""


def add_reflection(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Let callers list and describe these services, and reflection itself."""
    servicer = reflection.aio.ReflectionServicer((*services, *NAMES), pool=_Described())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers([
        grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": handler})
        for name in NAMES
    ])  # fmt: skip


class _Described:
    """What the default pool of descriptors finds, and what it does not: methods, and the newer
    contract of reflection.
    """

    def __init__(self) -> None:
        self._default: Any = descriptor_pool.Default()
        self._pools: Any = (self._default, _newer_reflection())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._default, name)

    def FindFileByName(self, name: str) -> Any:
        """Return a file's descriptor; raises KeyError."""
        return self._first(lambda pool: pool.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        """Return the descriptor of the file that defines a symbol; raises KeyError."""
        try:
            return self._first(lambda pool: pool.FindFileContainingSymbol(symbol))
        except KeyError:
            service, _, method = symbol.rpartition(".")
            found = self._first(lambda pool: pool.FindServiceByName(service))
            return found.methods_by_name[method].containing_service.file

    def _first(self, find: Any) -> Any:
        for pool in self._pools:
            try:
                return find(pool)
            except KeyError:
                continue
        raise KeyError


def _newer_reflection() -> Any:
    """Return a pool with version 1 of reflection's contract: the older one under its new name."""
    older = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(older)
    text = text_format.MessageToString(older).replace("v1alpha", "v1")
    newer = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
    newer.options.ClearField("deprecated")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(newer)
    return pool
