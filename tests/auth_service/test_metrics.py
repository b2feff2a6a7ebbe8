"""What the auth service tells Prometheus of sign-ins, tokens, decisions and revocations; names of
nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import urllib.request

import grpc
import pytest

from aivo.auth.v1 import auth_pb2 as pb
from auth_service.domain import Change
from auth_service.revocations import Broadcaster
from auth_service.settings import Settings
from tests.auth_service.harness import ADMIN, Client, running


async def scraped(listen: str) -> dict[str, float]:
    def fetch() -> str:
        with urllib.request.urlopen(f"http://{listen}/metrics", timeout=20) as answer:
            text: str = answer.read().decode()
            return text

    lines = re.findall(r"(?m)^(aivo_\S+) (\S+)$", await asyncio.to_thread(fetch))
    return {name: float(value) for name, value in lines}


async def _attempt(client: Client, password: str) -> None:
    with contextlib.suppress(grpc.aio.AioRpcError):
        await client.login(ADMIN[0], password)


async def test_what_happens_is_counted_by_outcome(settings: Settings, unused_tcp_port: int) -> None:
    listen = f"127.0.0.1:{unused_tcp_port}"
    async with running(settings, exposition_listen=listen, login_free_attempts=2) as client:
        granted = await client.login(*ADMIN)
        for _ in range(3):
            await _attempt(client, "a wrong password")
        await _attempt(client, "x" * 5000)
        await client.Refresh(pb.RefreshRequest(refresh_token=granted.tokens.refresh_token))
        for token in (granted.tokens.refresh_token, "nonsense"):
            with contextlib.suppress(grpc.aio.AioRpcError):
                await client.Refresh(pb.RefreshRequest(refresh_token=token))
        await client.authenticate(granted.tokens.access_token, "nonsense", "more nonsense")
        await client.allowed(granted.user.user_id, pb.ACTION_ADMINISTER, "")
        await client.allowed("nobody", pb.ACTION_ADMINISTER, "")
        async with client.revocations():
            metrics = await scraped(listen)

    def outcomes(name: str) -> dict[str, float]:
        pattern = re.compile(rf'{name}_total\{{outcome="(\w+)"\}}')
        return {
            found[1]: value
            for key, value in metrics.items()
            if (found := pattern.fullmatch(key)) and value
        }

    assert outcomes("aivo_auth_logins") == {"granted": 1, "refused": 2, "slowed": 1, "failed": 1}
    assert metrics["aivo_auth_login_duration_seconds_count"] == 3
    assert outcomes("aivo_auth_refreshes") == {"granted": 1, "reused": 1, "refused": 1}
    assert outcomes("aivo_auth_tokens_verified") == {"refused": 3}
    assert outcomes("aivo_auth_decisions") == {"allowed": 1, "denied": 1}
    assert metrics["aivo_auth_revocations_total"] >= 1
    assert metrics["aivo_auth_revocation_streams"] == 1
    assert metrics["aivo_auth_people"] == 1


@pytest.mark.parametrize("way", ["lag", "all"])
def test_a_cut_stream_counts_once(way: str) -> None:
    broadcaster = Broadcaster(2)
    with broadcaster.watch(), broadcaster.watch():
        for _ in range(5):
            broadcaster.publish([Change(user_id="1")] if way == "lag" else [])
        for _ in range(2):
            broadcaster.cut_all()

        assert broadcaster.streams_cut == 2
        assert broadcaster.published == (5 if way == "lag" else 0)
