"""The link to auth: what was revoked ends, also when it was out of reach meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from aivo.auth.v1 import auth_pb2
from edge.admission.access import Access
from edge.ports import UpstreamError
from edge.upstream.auth import AuthLink
from service_runtime.grpc_client import open_channel
from tests.edge.services import SETTINGS, WAIT_S, Auth, adder, asked
from tests.support.background import running, serving
from tests.support.eventually import until
from tests.support.fakes import FakeEdge


@contextlib.asynccontextmanager
async def following(auth: Auth, edge: FakeEdge) -> AsyncIterator[AuthLink]:
    """Follow what is revoked, from when the stream is open."""
    async with serving(adder(auth)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = AuthLink(channel, SETTINGS)
        async with running(link.run(), link.follow_revocations(edge.access, edge.registry)):
            await asyncio.wait_for(link.is_open.wait(), WAIT_S)
            yield link
        await channel.close()


async def test_a_lost_stream_of_revocations_is_opened_again_and_everything_asked_anew() -> None:
    auth = Auth()
    edge = FakeEdge()
    async with serving(adder(auth)) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = AuthLink(channel, SETTINGS)
        access = Access(link, edge.clock)
        async with running(link.run(), link.follow_revocations(access, edge.registry)):
            await asyncio.wait_for(link.is_open.wait(), WAIT_S)
            assert await asked(lambda done: access.ask("u", "watch", "ada", done)) is True
            auth.allowed = False
            assert access.known("u", "watch", "ada") is True
            auth.streams[-1].put_nowait(grpc.StatusCode.DATA_LOSS)
            await until(lambda: len(auth.streams) == 2 and link.is_open.is_set())
            assert access.known("u", "watch", "ada") is None
            assert await asked(lambda done: access.ask("u", "watch", "ada", done)) is False
            auth.allowed = True
            for revocation in (
                auth_pb2.Revocation(user_id="u"),
                auth_pb2.Revocation(learner_id="ada"),
            ):
                await asked(lambda done: access.ask("u", "watch", "ada", done))
                auth.streams[-1].put_nowait(
                    auth_pb2.WatchRevocationsResponse(revocations=[revocation])
                )
                await until(lambda: access.known("u", "watch", "ada") is None)
        await channel.close()


async def test_a_revoked_login_closes_its_sockets_and_no_others() -> None:
    auth = Auth()
    edge = FakeEdge()
    ada, ada_sink = edge.session("ada")
    _, ben_sink = edge.session("ben")
    async with following(auth, edge):
        other = auth_pb2.Revocation(user_id="u-ada", session_id="another")
        mine = auth_pb2.Revocation(user_id="u-ada", session_id=ada.session_id)
        auth.streams[-1].put_nowait(auth_pb2.WatchRevocationsResponse(revocations=[other]))
        auth.streams[-1].put_nowait(auth_pb2.WatchRevocationsResponse(revocations=[mine]))
        await until(lambda: ada_sink.closed is not None)

    assert ada_sink.closed is not None
    assert ada_sink.closed[0] == 4403
    assert ben_sink.closed is None


async def test_a_login_that_ended_while_auth_was_out_of_reach_ends_when_it_is_back() -> None:
    auth = Auth()
    edge = FakeEdge()
    _, ada_sink = edge.session("ada")
    _, ben_sink = edge.session("ben")
    async with following(auth, edge):
        assert ada_sink.closed is None
        auth.fallen.add("s-ada")
        auth.streams[-1].put_nowait(grpc.StatusCode.UNAVAILABLE)
        await until(lambda: ada_sink.closed is not None)

    assert ben_sink.closed is None


async def test_tokens_and_logins_are_answered_in_words_for_the_client() -> None:
    async with serving(adder(Auth())) as port:
        channel = open_channel(f"127.0.0.1:{port}", SETTINGS)
        link = AuthLink(channel, SETTINGS)
        async with running(link.run()):
            good = await asked(lambda done: link.authenticate("good", done))
            bad = await asked(lambda done: link.authenticate("bad", done))
            with pytest.raises(UpstreamError) as wrong:
                await link.login("someone@school.example", "x", "", "")
            with pytest.raises(UpstreamError) as ours:
                await link.login("whoever", "x", "", "")
        await channel.close()

    assert good == ("u", "teacher", "s", 5, ("ada",), 1.5)
    assert (bad.code, str(bad)) == ("unauthenticated", "Bad.")
    assert (wrong.value.code, ours.value.code) == ("unauthenticated", "unavailable")
    assert "someone" not in str(wrong.value)
