"""The HTTP API with everything behind it faked: it knows ada, who may watch herself, ben, who may
nothing, and an administrator; tokens are their names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from edge.admission.access import Access
from edge.admission.door import Door
from edge.admission.registry import Listing
from edge.frames import outgoing
from edge.http import Services, make_app
from edge.ports import Identity
from edge.settings import EdgeSettings
from edge.telemetry.skew import Skew
from tests.support.clocks import FakeClock
from tests.support.edge_values import update
from tests.support.fakes import FakeAuth, FakeBrain

SESSION = {
    "access_token": "access",
    "refresh_token": "refresh-2",
    "token_type": "bearer",
    "expires_in": 900,
    "refresh_expires_in": 3600,
    "user": {"id": "u-ada"},
}


class BrainApi(FakeBrain):
    ready = True
    clocks_agree = True
    fault: Exception | None = None

    async def history(
        self, learner_id: str, *, after: int, limit: int, newest: bool
    ) -> dict[str, Any]:
        entry = {
            "revision": 1,
            "type": "practice",
            "context": outgoing.raw(b'{"correct":true}'),
            "update": update(learner_id, 1, "load"),
        }
        return {"epoch": "e1", "entries": [entry], "has_more": False}

    async def erase(self, learner_id: str, *, requested_by: str) -> int:
        return 7

    async def export(self, learner_id: str, *, requested_by: str) -> AsyncIterator[bytes]:
        if self.fault is not None:
            raise self.fault
        yield b'{"a":1}\n'
        yield b'{"a":2}\n'


class AuthApi(FakeAuth):
    def __init__(self) -> None:
        super().__init__()
        self.is_open = asyncio.Event()
        self.is_open.set()
        self.fault: Exception | None = None
        self.calls: list[Any] = []
        self.noted: list[tuple[str, list[str], dict[str, int]]] = []
        self.skew = Skew("auth")

    def _answer(self, *call: Any) -> Any:
        self.calls.append(call)
        if self.fault is not None:
            raise self.fault
        return dict(SESSION)

    async def login(self, email: str, password: str, client_address: str, device_token: str) -> Any:
        answer = self._answer("login", email, client_address, device_token)
        return answer | {"device_token": "device-1"}

    async def refresh(self, refresh_token: str, request_id: str) -> Any:
        return self._answer("refresh", refresh_token, request_id)

    async def logout(self, *, refresh_token: str, access_token: str) -> None:
        self._answer("logout", refresh_token, access_token)

    async def user(self, user_id: str) -> dict[str, Any]:
        return {"id": user_id}

    async def learners(self, user_id: str) -> list[dict[str, Any]]:
        return [{"learner_id": "ada"}]

    async def find_learners(self, emails: list[str]) -> dict[str, str]:
        return {email: "ada" for email in emails if email == "ada@school.example"}

    async def note_records(self, user_id: str, learner_ids: list[str], **counts: int) -> None:
        if self.fault is not None:
            raise self.fault
        self.noted.append((user_id, learner_ids, counts))

    async def delete_learner(self, learner_id: str) -> None:
        self._answer("delete", learner_id)

    async def jwks(self) -> str:
        return '{"keys":[]}'


class Metrics:
    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.erased: list[str] = []
        self.fault: Exception | None = None

    async def snapshot(self) -> dict[str, Any]:
        return {"connections": {"active": 1}}

    async def snapshots(self, interval_ms: int) -> AsyncGenerator[dict[str, Any], None]:
        self.asked.append({"interval_ms": interval_ms})
        if self.fault is not None:
            raise self.fault
        yield {"connections": {"active": 1}}

    async def status(self) -> dict[str, Any]:
        return {"active_connections": 1}

    async def analytics(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if self.fault is not None:
            raise self.fault
        row = dict.fromkeys(("count", "errors", "bytes", "answered"), 1) | dict.fromkeys(
            ("average_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms"), 0.5
        )
        kind = {
            "start": "2026-01-01T00:00:00.000Z",
            "type": "ping",
            "role": "admin",
            "direction": "inbound",
        }
        moments = {"from": "2026-01-01T00:00:00.000Z", "to": "2026-01-01T01:00:00.000Z"}
        return {**moments, "interval_s": asked["interval_s"], "rows": [row | kind]}

    async def erase_records(self, learner_id: str) -> int:
        if self.fault is not None:
            raise self.fault
        self.erased.append(learner_id)
        return 3


class Api:
    def __init__(
        self,
        static_dir: Path | None = None,
        debug: bool = False,
        auth: AuthApi | None = None,
        **more: Any,
    ) -> None:
        self.auth, self.brain, self.draining = auth or AuthApi(), BrainApi(), False
        self.metrics = Metrics()
        self.auth.default = False
        self.auth.tokens["gone"] = Identity("u-gone", "learner", "s", 1)
        for action, resource in (("watch", "ada"), ("administer", "")):
            self.auth.decisions["u-admin", action, resource] = True
        self.auth.decisions["u-ada", "watch", "ada"] = True
        settings = EdgeSettings(static_dir=static_dir, debug=debug, **more)
        self.services = Services(
            settings=settings,
            door=Door(settings),
            brain=self.brain,
            auth=self.auth,
            metrics=self.metrics,
            access=Access(self.auth, FakeClock()),
            streams=Listing(max_per_user=2),
            is_draining=lambda: self.draining,
        )
        self.app = make_app(self.services)
        self.transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)

    async def __call__(
        self, method: str, path: str, *, token: str = "", scheme: str = "http", **options: Any
    ) -> Any:
        headers = options.pop("headers", {})
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with httpx.AsyncClient(
            transport=self.transport, base_url=f"{scheme}://edge.example"
        ) as client:
            return await client.request(method, path, headers=headers, **options)


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Return the problem that an answer must be."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"], body["type"]) == (status, code, "about:blank")
    assert body["title"] != "Error"
    assert body["detail"]
    return body
