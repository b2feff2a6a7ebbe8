"""Tools of others find every method by reflection, by either of its names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2 as pb

from aivo.brain.v1 import brain_pb2
from service_runtime.reflection import NAMES, add_reflection

SERVICE = "aivo.brain.v1.BrainService"
METHODS = brain_pb2.DESCRIPTOR.services_by_name["BrainService"].methods_by_name
PATIENCE_S = 10


@pytest.fixture(params=NAMES)
async def ask(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Ask one question of a server that offers the brain."""
    server = grpc.aio.server()
    add_reflection([SERVICE], server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()

    async def ask(**question: Any) -> pb.ServerReflectionResponse:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.stream_stream(
                f"/{request.param}/ServerReflectionInfo",
                pb.ServerReflectionRequest.SerializeToString,
                pb.ServerReflectionResponse.FromString,
            )(iter([pb.ServerReflectionRequest(**question)]), timeout=PATIENCE_S)
            return await anext(aiter(call))

    yield ask
    await server.stop(None)


def files(answer: pb.ServerReflectionResponse) -> list[str]:
    return [
        FileDescriptorProto.FromString(file).name
        for file in answer.file_descriptor_response.file_descriptor_proto
    ]


async def test_both_names_and_the_service_are_listed(ask: Any) -> None:
    answer = await ask(list_services="")

    listed = {service.name for service in answer.list_services_response.service}
    assert listed == {SERVICE, *NAMES}


@pytest.mark.parametrize(
    "symbol",
    [
        SERVICE,
        *(f"{SERVICE}.{name}" for name in METHODS),
        "aivo.brain.v1.Interaction",
        "aivo.brain.v1.Interaction.content",
        "aivo.brain.v1.Outcome.result",
        "aivo.brain.v1.Level",
        "aivo.brain.v1.LEVEL_FATIGUE",
    ],
)
async def test_whatever_the_contract_names_is_found(ask: Any, symbol: str) -> None:
    assert files(await ask(file_containing_symbol=symbol)) == ["aivo/brain/v1/brain.proto"]


@pytest.mark.parametrize("name", NAMES)
async def test_reflection_describes_itself(ask: Any, name: str) -> None:
    (by_name,) = files(await ask(file_containing_symbol=name))
    (by_method,) = files(await ask(file_containing_symbol=f"{name}.ServerReflectionInfo"))

    assert by_method == by_name
    assert files(await ask(file_by_filename=by_name)) == [by_name]


@pytest.mark.parametrize(
    "symbol",
    ["", ".", "aivo.brain.v1", f"{SERVICE}.Nothing", f"{SERVICE}.", "aivo.Nothing.Method", "ü.ü"],
)
async def test_what_is_not_there_is_not_found(ask: Any, symbol: str) -> None:
    answer = await ask(file_containing_symbol=symbol)

    assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
