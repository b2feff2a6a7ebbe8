"""The operator's commands: `python -m brain_service webhooks …`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from brain_service.engine.notices import Outbox

MOST: Final = 1000
"""Dead letters listed at a time."""


async def list_command(outbox: Outbox, tell: Callable[[str], None]) -> None:
    """List what waits for each endpoint, and the oldest dead letters, one a line."""
    backlog = await outbox.backlog()
    for name, (waiting, dead, oldest_ms) in sorted(backlog.items()):
        since = f", the oldest since {_moment(oldest_ms)}" if waiting else ""
        tell(f"{name}: {waiting} waiting{since}; {dead} dead letters")
    if not backlog:
        tell("Nothing waits, and there are no dead letters.")
    for letter in await outbox.dead(limit=MOST):
        content = json.loads(letter.body)
        tell(
            f"{letter.message_id} {letter.endpoint} {content['type']}"
            f" {content['data']['learner_id']} given up {_moment(letter.dead_ms)} after"
            f" {letter.attempts} attempts: {letter.why or 'never tried'}"
        )


async def redeliver_command(outbox: Outbox, message_ids: Sequence[str]) -> str:
    """Queue dead letters again, all if none is named; returns the sentence to print."""
    count = await outbox.redeliver(message_ids, now_ms=int(time.time() * 1000))
    return f"{count} dead letters wait for delivery again."


def _moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds")
