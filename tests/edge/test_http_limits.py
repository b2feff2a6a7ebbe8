"""What one address may ask of the HTTP API, and that it is not asked in vain."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from edge.admission.door import MAX_LOGINS
from edge.admission.limits import Known
from edge.http.requests import while_there
from edge.ports import UpstreamError
from edge.settings import EdgeSettings
from tests.support.edge_server import WAIT_S, running_edge
from tests.support.eventually import until
from tests.support.http_api import Api, AuthApi

PAIR = {"email": "a@b.example", "password": "p"}


class Hashing(AuthApi):
    """Checks passwords without end."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.cancelled = 0, 0

    async def login(self, *credentials: str) -> Any:
        self.begun += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def test_a_password_is_not_checked_for_who_has_left() -> None:
    auth = Hashing()
    api = Api(auth=auth)
    body = json.dumps(PAIR).encode()
    head = (
        b"POST /api/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    async with running_edge(EdgeSettings(), api.app) as running:
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(head + body)
            before = auth.begun
            await until(lambda before=before: auth.begun > before)  # type: ignore[misc]
            writer.close()
        await until(lambda: auth.cancelled == 3)
        await until(lambda: not len(api.services.door.logins))


async def test_one_address_has_so_many_passwords_checked_at_once_and_no_more() -> None:
    auth = Hashing()
    api = Api(auth=auth)
    asked = [
        asyncio.create_task(api("POST", "/api/auth/login", json=PAIR)) for _ in range(MAX_LOGINS)
    ]
    await until(lambda: auth.begun == MAX_LOGINS)
    one_more = await api("POST", "/api/auth/login", json=PAIR)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)

    assert one_more.status_code == 429
    assert one_more.headers["retry-after"] == "1"
    assert one_more.json()["code"] == "rate_limited"
    assert auth.begun == MAX_LOGINS
    await until(lambda: not len(api.services.door.logins))


async def test_bad_tokens_of_an_address_keep_nobody_out_who_was_in_before() -> None:
    api = Api(address_failures_per_s=0.01)
    assert (await api("GET", "/api/me", token="ada")).status_code == 200
    bad = [(await api("GET", "/api/me", token="nobody")).status_code for _ in range(3)]

    assert bad == [401, 429, 429]
    assert (await api("GET", "/api/me", token="ada")).status_code == 200
    assert (await api("GET", "/api/me", token="admin")).status_code == 429


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/api/auth/refresh", {"Cookie": "aivo_refresh=forged"}),
        ("/api/auth/logout", {"Cookie": "aivo_refresh=forged"}),
        ("/api/auth/logout", {"Authorization": "Bearer forged"}),
    ],
)
async def test_who_forges_tokens_to_renew_or_end_sessions_waits(
    path: str, headers: dict[str, str]
) -> None:
    api = Api(address_failures_per_s=0.01)
    pair = await api("POST", "/api/auth/login", json=PAIR)
    api.auth.fault = UpstreamError("unauthenticated", "This is no token of ours.")
    api.auth.calls.clear()
    bad = [(await api("POST", path, headers=headers)).status_code for _ in range(3)]

    assert bad == [401, 429, 429]
    assert len(api.auth.calls) == 1
    api.auth.fault = None
    given = {"refresh_token": pair.json()["refresh_token"]}
    assert (await api("POST", "/api/auth/refresh", json=given)).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs", "/.well-known/jwks.json", "/api/me", "/nothing"])
async def test_an_address_asks_so_much_without_a_token_and_no_more(path: str) -> None:
    api = Api(address_requests_per_s=0.5)  # ten at once
    assert (await api("GET", "/api/me", token="ada")).status_code == 200
    answers = [await api("GET", path) for _ in range(12)]

    assert 429 not in [one.status_code for one in answers[:9]]
    assert answers[-1].status_code == 429
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert answers[-1].headers["x-content-type-options"] == "nosniff"
    assert (await api("GET", "/healthz")).status_code == 200
    assert (await api("GET", "/api/me", token="ada")).status_code == 200


async def test_large_documents_cost_their_address_more() -> None:
    api = Api(address_requests_per_s=0.5)
    path = "/docs/static/swagger-ui-bundle.js"
    script = [(await api("GET", path)).status_code for _ in range(3)]

    assert script == [200, 200, 429]


async def test_behind_a_proxy_each_client_pays_for_itself() -> None:
    api = Api(address_requests_per_s=0.5, trusted_proxies=("127.0.0.1",))
    for _ in range(12):
        loud = await api("GET", "/api/me", headers={"X-Forwarded-For": "192.0.2.7"})
    quiet = await api("GET", "/api/me", headers={"X-Forwarded-For": "192.0.2.8"})

    assert (loud.status_code, quiet.status_code) == (429, 401)


@pytest.mark.parametrize("path", ["/", "/docs/static/swagger-ui-bundle.js", "/api/nothing"])
async def test_who_shows_a_good_token_pays_whatever_is_asked_for(path: str) -> None:
    api = Api(user_units_per_s=1.0, user_units_burst=60.0)
    assert (await api("GET", "/api/me", token="ada")).status_code == 200
    answers = [(await api("GET", path, token="ada")).status_code for _ in range(4)]

    assert answers[-1] == 429
    assert (await api("GET", "/api/me", token="ada")).status_code == 429, "it is one budget"
    assert (await api("GET", path)).status_code != 429, "the address has its own"


async def test_pages_of_a_log_are_read_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    api, gate, under_way = Api(), asyncio.Event(), 0
    read = api.brain.history

    async def history(*asked: Any, **how: Any) -> Any:
        nonlocal under_way
        under_way += 1
        assert under_way == 1
        await gate.wait()
        under_way -= 1
        return await read(*asked, **how)

    monkeypatch.setattr(api.brain, "history", history)
    path = "/api/learners/ada/history"
    asked = [asyncio.create_task(api("GET", path, token=who)) for who in ("ada", "admin")]
    await until(lambda: under_way == 1 and api.services.door.pages.locked())
    gate.set()

    assert [(await one).status_code for one in asked] == [200, 200]


async def test_a_page_of_history_costs_what_it_holds() -> None:
    api = Api(user_units_per_s=1.0, user_units_burst=400.0)
    path = "/api/learners/ada/history?limit=1000"
    pages = [(await api("GET", path, token="ada")).status_code for _ in range(4)]

    assert pages == [200] * 4, "there is one entry"


async def test_a_token_that_is_good_no_more_is_one_of_many_bad_ones() -> None:
    api = Api(address_failures_per_s=0.01)
    assert (await api("GET", "/api/me", token="ada")).status_code == 200
    api.auth.tokens.pop("ada")
    answers = [(await api("GET", "/api/me", token="ada")).status_code for _ in range(3)]

    assert answers == [401, 429, 429]


async def test_a_device_that_was_here_before_needs_no_place_of_its_address() -> None:
    api = Api()
    first = (await api("POST", "/api/auth/login", json=PAIR)).json()["device_token"]
    while api.services.door.logins.take("127.0.0.1"):
        pass
    answers = [
        (await api("POST", "/api/auth/login", json=PAIR | {"device_token": token})).status_code
        for token in (first, "forged", "")
    ]

    assert answers == [200, 429, 429]
    while api.services.door.logins_of_devices.take(first):
        pass
    again = await api("POST", "/api/auth/login", json=PAIR | {"device_token": first})
    assert again.status_code == 429, "a device has few places itself"


def test_so_many_tokens_are_remembered_and_no_more() -> None:
    known = Known(2)
    for text in ("a", "b", "a", "c"):
        known.add(text, f"u-{text}")

    assert [text in known for text in "abc"] == [True, False, True]
    assert [known.owner(text) for text in "abc"] == ["u-a", "", "u-c"]
    known.discard("a")
    known.discard("never seen")
    assert known.owner("a") == ""


async def _answers(request: bytes, times: int, **limits: Any) -> bytes:
    """Return all that one connection hears that asks so often."""
    api = Api(address_requests_per_s=0.04, **limits)
    async with running_edge(EdgeSettings(), api.app) as running:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        heard = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(times):
                writer.write(request)
                async with asyncio.timeout(WAIT_S):
                    heard += (piece := await reader.read(65_536))
                if not piece:
                    break
        writer.close()
        return heard


async def test_the_connection_of_an_address_that_asks_too_much_ends() -> None:
    heard = await _answers(b"GET /api/me HTTP/1.1\r\nHost: x\r\n\r\n", 5)

    assert heard.count(b"HTTP/1.1 401 ") == 1
    assert heard.count(b"HTTP/1.1 429 ") == 1, "nobody hears it twice on one connection"
    assert heard.lower().count(b"connection: close") == 1


async def test_the_connection_of_a_proxy_of_ours_goes_on() -> None:
    request = b"GET /api/me HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n"
    heard = await _answers(request, 5, trusted_proxies=("127.0.0.1",))

    assert heard.count(b"HTTP/1.1 429 ") == 4


async def test_a_sign_in_costs_its_address_twenty_requests() -> None:
    api = Api(address_requests_per_s=2.0)  # forty at once
    answers = [(await api("POST", "/api/auth/login", json=PAIR)).status_code for _ in range(4)]

    assert answers == [200, 200, 200, 429], "one is owed"


async def test_auth_is_not_asked_for_who_has_left_before() -> None:
    begun = 0

    async def work() -> None:
        nonlocal begun
        begun += 1

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientDisconnect):
        await while_there(Request({"type": "http"}, gone), work())
    assert begun == 0
