"""Posts messages to endpoints: the only module here that imports an HTTP client."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Final, NamedTuple, Self

import httpx

from brain_service.webhooks import retrying
from brain_service.webhooks.endpoints import Endpoint
from brain_service.webhooks.signing import signed

TOGETHER: Final = 8
"""Requests to one endpoint at a time."""
_MOST_READ: Final = 16_384
"""Bytes of a response that are read, to reuse its connection; a longer one closes it."""
_READING_S: Final = 1.0
"""How long that may take; the status is known by then."""


class Answer(NamedTuple):
    """The outcome of an attempt."""

    fault: str
    """One of `retrying.FAULTS`; empty: delivered."""
    said: str
    """The same for people, without the receiver's text."""
    wait_s: float
    """How long the receiver asks us to wait."""


class Sender:
    """Posts to one endpoint: no redirects, no proxies of the environment, certificates checked."""

    def __init__(self, endpoint: Endpoint, *, longest_wait_s: float) -> None:
        """Reads the secrets. Raises WebhooksError."""
        self._endpoint = endpoint
        self._secrets = endpoint.secrets()
        self._longest_wait_s = longest_wait_s
        trusted = ssl.create_default_context(cafile=endpoint.ca_file or None)
        self._client = httpx.AsyncClient(
            verify=trusted,
            trust_env=False,
            follow_redirects=False,
            # Kept, they would grow with every answer and go back with every message.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            timeout=None,  # noqa: S113 - one for all of an attempt, in `post`
            limits=httpx.Limits(max_connections=TOGETHER),
            headers={
                "content-type": "application/json",
                "user-agent": "aivo-webhooks/1",
                "accept-encoding": "identity",
            },
        )

    async def __aenter__(self) -> Self:
        """Connect with the first message."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def post(self, message_id: str, body: bytes, now_s: float) -> Answer:
        """Make one attempt; raises nothing but a cancellation, after which it may have arrived."""
        headers = signed(message_id, int(now_s), body, self._secrets)
        found: Answer | None = None
        try:
            async with (
                asyncio.timeout(self._endpoint.timeout_s) as deadline,
                self._client.stream(
                    "POST", self._endpoint.url, content=body, headers=headers
                ) as answer,
            ):
                found = self._read(answer)
                deadline.reschedule(asyncio.get_running_loop().time() + _READING_S)
                await _finish(answer)
        except TimeoutError:
            return found or Answer("timeout", "no answer in time", 0.0)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return found or Answer("unreachable", f"not reached ({type(error).__name__})", 0.0)
        return found

    def _read(self, answer: httpx.Response) -> Answer:
        fault = retrying.fault_of(answer.status_code)
        asked = answer.headers.get("retry-after", "") if fault else ""
        wait_s = retrying.asked_to_wait_s(asked, longest_s=self._longest_wait_s)
        return Answer(fault, f"answered {answer.status_code}", wait_s)


async def _finish(answer: httpx.Response) -> None:
    read = 0
    async for piece in answer.aiter_raw():
        read += len(piece)
        if read > _MOST_READ:
            return


def senders(endpoints: Sequence[Endpoint], *, longest_wait_s: float) -> dict[str, Sender]:
    """Return a sender for each endpoint, by name. Raises WebhooksError."""
    return {one.name: Sender(one, longest_wait_s=longest_wait_s) for one in endpoints}
