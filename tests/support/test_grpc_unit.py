"""The adapter over grpcio-testing tells what really happened."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from aivo.auth.v1 import auth_pb2
from service_runtime.errors import INTERNAL_DETAILS, ErrorTable
from tests.support.grpc_unit import UnitServer

SERVICE = auth_pb2.DESCRIPTOR.services_by_name["AuthService"]


class RefusedError(Exception):
    trailing_metadata = (("retry-after-ms", "5"),)


class _Everything:
    """Answers any method; the tests override what they call."""

    def __getattr__(self, name: str) -> Any:
        async def unimplemented(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED)

        return unimplemented


@ErrorTable({RefusedError: grpc.StatusCode.RESOURCE_EXHAUSTED}).guard
class Servicer(_Everything):
    async def GetJwks(self, request: Any, context: Any) -> Any:
        await asyncio.sleep(0)
        return auth_pb2.GetJwksResponse(jwks_json="{}")

    async def Login(self, request: Any, context: Any) -> Any:
        raise RefusedError("slower, please")

    async def Refresh(self, request: Any, context: Any) -> Any:
        raise ValueError("the secret is hunter2")

    async def WatchRevocations(self, request: Any, context: Any) -> Any:
        for user in ("a", "b"):
            yield auth_pb2.WatchRevocationsResponse(revocations=[auth_pb2.Revocation(user_id=user)])


def test_an_async_handler_runs_to_its_end() -> None:
    reply = UnitServer({SERVICE: Servicer()}).unary("GetJwks", auth_pb2.GetJwksRequest())

    assert (reply.code, reply.response.jwks_json) == (grpc.StatusCode.OK, "{}")


def test_a_listed_exception_becomes_its_status_with_its_sentence_and_metadata() -> None:
    reply = UnitServer({SERVICE: Servicer()}).unary("Login", auth_pb2.LoginRequest())

    assert reply == (
        None,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "slower, please",
        (("retry-after-ms", "5"),),
    )


def test_an_unlisted_exception_becomes_internal_and_leaks_nothing() -> None:
    reply = UnitServer({SERVICE: Servicer()}).unary("Refresh", auth_pb2.RefreshRequest())

    assert (reply.code, reply.details) == (grpc.StatusCode.INTERNAL, INTERNAL_DETAILS)


def test_every_response_of_a_stream_arrives() -> None:
    reply = UnitServer({SERVICE: Servicer()}).stream(
        "WatchRevocations", auth_pb2.WatchRevocationsRequest()
    )

    assert [response.revocations[0].user_id for response in reply.response] == ["a", "b"]


def test_an_unimplemented_method_is_not_taken_for_a_success() -> None:
    reply = UnitServer({SERVICE: Servicer()}).unary("GetUser", auth_pb2.GetUserRequest())

    assert reply.code is grpc.StatusCode.UNIMPLEMENTED
