"""Every field of every call of every service with the values that break programs: the answer is one
of the client's errors, never a fault of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from aivo.auth.v1 import auth_pb2
from aivo.brain.v1 import brain_pb2
from aivo.metrics.v1 import metrics_pb2
from aivo.room.v1 import room_pb2
from harness.stack import Stack, private_stack

CONTRACTS = {"brain": (brain_pb2, room_pb2), "auth": (auth_pb2,), "metrics": (metrics_pb2,)}
DEADLINE_S = 20
DEEPEST = 3

OURS = {
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNKNOWN,
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}

EXTREMES: dict[int, tuple[Any, ...]] = {
    FieldDescriptor.CPPTYPE_INT32: (2**31 - 1, -(2**31), -1),
    FieldDescriptor.CPPTYPE_INT64: (2**63 - 1, -(2**63), -1, 1, 253_402_300_800_000),
    FieldDescriptor.CPPTYPE_UINT32: (2**32 - 1,),
    FieldDescriptor.CPPTYPE_UINT64: (2**64 - 1, 2**63, 2**63 - 1),
    FieldDescriptor.CPPTYPE_DOUBLE: (float("nan"), float("inf"), -1e308, 5e-324),
    FieldDescriptor.CPPTYPE_ENUM: (99, -1),
    FieldDescriptor.CPPTYPE_BOOL: (True,),
    FieldDescriptor.CPPTYPE_STRING: ("", "\0", "../..", "\U0010ffff", "x" * 100_000),
}
BYTES = (b"", b"\xff\0", b"[", b"{}", b"x" * 100_000)

GOOD: dict[str, Any] = {
    "action": 1,
    "batch_size": 1,
    "class_id": "extreme",
    "content": "c",
    "content_type": "question",
    "data_json": b"{}",
    "display_name": "Extreme",
    "email": "extreme@school.example",
    "from_ms": 1_700_000_000_000,
    "interaction_id": "x",
    "interval_ms": 1_000,
    "kind": 1,
    "learner_id": "extreme",
    "object": "extreme",
    "password": "long enough, this",
    "requested_by": "somebody",
    "role": 1,
    "room_id": "learner:extreme",
    "subject": "extreme",
    "to_ms": 1_700_000_100_000,
    "user_id": "extreme",
    "watch_id": "extreme",
}
"""Fields that a call cannot do without, so that what is refused is the extreme one."""


UNWANTED = {"EraseRecords": ("user_id",)}
"""Fields that a call does without: it takes one of two."""


class Case(NamedTuple):
    service: str
    method: MethodDescriptor


CASES = [
    Case(name, method)
    for name, modules in CONTRACTS.items()
    for module in modules
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
    if not method.client_streaming
]


def paths(descriptor: Any, before: tuple[FieldDescriptor, ...] = ()) -> Iterator[Any]:
    for field in descriptor.fields:
        if field.cpp_type != FieldDescriptor.CPPTYPE_MESSAGE:
            yield (*before, field)
        elif len(before) < DEEPEST:
            yield from paths(field.message_type, (*before, field))


def good(method: MethodDescriptor) -> Message:
    message = GetMessageClass(method.input_type)()
    for path in paths(method.input_type):
        name = path[-1].name
        if name in GOOD and not path[-1].is_repeated and name not in UNWANTED.get(method.name, ()):
            put(message, path, GOOD[name])
    return message


def put(message: Any, path: tuple[FieldDescriptor, ...], value: Any) -> None:
    *parents, field = path
    for parent in parents:
        inner = getattr(message, parent.name)
        message = (inner[0] if inner else inner.add()) if parent.is_repeated else inner
    if field.is_repeated:
        getattr(message, field.name).append(value)
    else:
        setattr(message, field.name, value)


def extreme_requests(method: MethodDescriptor) -> Iterator[tuple[str, Message]]:
    yield "nothing", GetMessageClass(method.input_type)()
    for path in paths(method.input_type):
        field = path[-1]
        values = BYTES if field.type == FieldDescriptor.TYPE_BYTES else EXTREMES[field.cpp_type]
        for value in values:
            request = good(method)
            put(request, path, value)
            yield f"{'.'.join(one.name for one in path)} = {value!r:.40}", request


def status(channel: grpc.Channel, method: MethodDescriptor, request: Message, metadata: Any) -> Any:
    make = channel.unary_stream if method.server_streaming else channel.unary_unary
    call: Any = make(
        f"/{method.containing_service.full_name}/{method.name}",
        lambda message: message.SerializeToString(),
        GetMessageClass(method.output_type).FromString,
    )
    try:
        answer = call(request, metadata=metadata, timeout=DEADLINE_S)
        if method.server_streaming:
            next(answer, None)
            answer.cancel()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with private_stack(services=["brain", "auth", "metrics"]) as made:
        yield made


@pytest.fixture(scope="module")
def channels(stack: Stack) -> Iterator[dict[str, grpc.Channel]]:
    opened = {name: grpc.insecure_channel(stack.address(name)) for name in CONTRACTS}
    yield opened
    for channel in opened.values():
        channel.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.method.full_name)
def test_an_extreme_value_is_taken_or_the_clients_error(
    stack: Stack, channels: dict[str, grpc.Channel], case: Case
) -> None:
    channel, metadata = channels[case.service], stack.metadata
    ordinary = status(channel, case.method, good(case.method), metadata)
    assert ordinary not in OURS | {grpc.StatusCode.INVALID_ARGUMENT}
    told = {
        said: status(channel, case.method, request, metadata)
        for said, request in extreme_requests(case.method)
    }

    assert {said: code for said, code in told.items() if code in OURS} == {}
