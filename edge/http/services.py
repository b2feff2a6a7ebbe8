"""What the routes work with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import Depends, Request

from edge.admission.access import Access
from edge.admission.door import Door
from edge.admission.registry import Listing
from edge.ports import Auth, Brain
from edge.settings import EdgeSettings
from edge.telemetry.skew import Skew
from service_runtime.telemetry import Tracer


class BrainApi(Brain, Protocol):
    """What the HTTP API needs from the brains, beyond what sockets need."""

    @property
    def ready(self) -> bool:
        """Whether every brain is reached."""

    @property
    def clocks_agree(self) -> bool:
        """Whether no brain's clock is far from ours."""

    async def history(
        self, learner_id: str, *, after: int, limit: int, newest: bool
    ) -> dict[str, Any]:
        """Return a page of a learner's log."""

    async def erase(self, learner_id: str, *, requested_by: str) -> int:
        """Delete everything stored about a learner."""

    def export(self, learner_id: str, *, requested_by: str) -> AsyncIterator[bytes]:
        """Yield everything stored about a learner."""


class AuthApi(Auth, Protocol):
    """What the HTTP API needs from the auth service, beyond what sockets need."""

    is_open: asyncio.Event
    skew: Skew

    async def login(
        self, email: str, password: str, client_address: str, device_token: str
    ) -> dict[str, Any]:
        """Exchange credentials for tokens."""

    async def providers(self) -> dict[str, Any]:
        """Return how people may sign in."""

    async def begin_sign_in(self, provider_id: str, redirect_uri: str) -> tuple[str, str]:
        """Return where to send the browser, and what it must bring back."""

    async def finish_sign_in(
        self, flow: str, state: str, code: str, redirect_uri: str
    ) -> dict[str, Any]:
        """Exchange what the browser brought back for tokens."""

    async def logout_address(self, provider_id: str, return_to: str) -> str:
        """Return where the browser signs out at a provider."""

    async def refresh(self, refresh_token: str, request_id: str) -> dict[str, Any]:
        """Exchange a refresh token for new tokens; for the same `request_id`, soon after, the same
        again.
        """

    async def logout(self, *, refresh_token: str, access_token: str) -> None:
        """End a session."""

    async def user(self, user_id: str) -> dict[str, Any]:
        """Return a user."""

    async def learners(self, user_id: str) -> list[dict[str, Any]]:
        """Return the learners that a user may watch."""

    async def find_learners(self, emails: Sequence[str]) -> dict[str, str]:
        """Return which learners the users with these addresses are."""

    async def note_records(
        self,
        user_id: str,
        learner_ids: Sequence[str],
        *,
        stored: int,
        duplicates: int,
        refused: int,
    ) -> None:
        """Record in the audit log who sent learning records about whom."""

    async def delete_learner(self, learner_id: str) -> None:
        """Remove a learner."""

    async def jwks(self) -> str:
        """Return the public keys."""


class MetricsApi(Protocol):
    """What the HTTP API needs from the metrics service."""

    async def snapshot(self) -> dict[str, Any]:
        """Return the fleet's metrics."""

    def snapshots(self, interval_ms: int) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the fleet's metrics, at once and then per interval, until closed."""

    async def status(self) -> dict[str, Any]:
        """Return the metrics that anyone may see."""

    async def analytics(
        self,
        *,
        from_ms: int,
        to_ms: int,
        interval_s: int,
        types: Sequence[str],
        roles: Sequence[str],
    ) -> dict[str, Any]:
        """Return sums of the recorded messages."""

    async def erase_records(self, learner_id: str) -> int:
        """Delete the recorded messages whose content is about a learner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What the HTTP API works with."""

    settings: EdgeSettings
    door: Door
    brain: BrainApi
    auth: AuthApi
    metrics: MetricsApi
    access: Access
    streams: Listing
    """Open event streams, for revocations and the drain."""
    is_draining: Callable[[], bool]
    tracer: Tracer | None = None


async def services_of(request: Request) -> Services:
    """Return what the application was made with."""
    services: Services = request.app.state.services
    return services


Using = Annotated[Services, Depends(services_of)]
