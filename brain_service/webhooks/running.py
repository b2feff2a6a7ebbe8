"""Wires the webhooks of a running brain."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from brain_service.engine.notices import Outbox
from brain_service.webhooks.dispatcher import Dispatcher, WebhookCounters
from brain_service.webhooks.endpoints import Webhooks
from brain_service.webhooks.messages import Messages
from brain_service.webhooks.sending import senders


class Running(NamedTuple):
    """Webhooks that run."""

    messages: Messages
    counters: WebhookCounters


@asynccontextmanager
async def running(settings: Webhooks | None, outbox: Outbox) -> AsyncIterator[Running | None]:
    """Deliver while the block runs; does nothing without settings. Raises WebhooksError."""
    if settings is None:
        yield None
        return
    endpoints = settings.endpoints
    posters = senders(endpoints, longest_wait_s=settings.longest_retry_s)
    messages = Messages(
        endpoints,
        max_age_s=settings.max_age_s,
        wake=lambda: dispatcher.wake(),
        clock=time.time,
    )
    dispatcher = Dispatcher(outbox, settings, posters, reload=messages.reload)
    async with AsyncExitStack() as stack:
        for poster in posters.values():
            await stack.enter_async_context(poster)
        dispatcher.start()
        try:
            yield Running(messages, dispatcher.counters)
        finally:
            await dispatcher.stop()
