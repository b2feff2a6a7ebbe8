"""The messages to endpoints when a learner's attention changes. They name learners by id only."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from brain_service.engine.notices import Notice
from brain_service.model import Assessment
from brain_service.model.attention import Attention
from brain_service.webhooks.endpoints import BEGAN, ENDED, Endpoint, WebhooksError

logger = logging.getLogger(__name__)


class Messages:
    """Makes the notices of the endpoints. Implements `notices.Notifier`."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        max_age_s: float,
        wake: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """`wake` is called when notices are durable; `clock` gives Unix seconds. Raises
        WebhooksError.
        """
        self._endpoints = endpoints
        self._audiences = {one.name: one.audience() for one in endpoints}
        self._max_age_s = max_age_s
        self._wake = wake
        self._clock = clock

    def notices(
        self, learner_id: str, before: int, assessment: Assessment, occurred_at_ms: int
    ) -> Sequence[Notice]:
        """Return the notices of a learner whose attention was `before`; none for events long
        past.
        """
        meaning = assessment.meaning
        now = Attention.NONE if meaning is None else Attention(meaning.attention)
        now_s = self._clock()
        if now_s - occurred_at_ms / 1000 > self._max_age_s:
            return ()
        found = []
        for endpoint in self._endpoints:
            needed, needs = before >= endpoint.least, now >= endpoint.least
            event = BEGAN if needs else ENDED
            audience = self._audiences[endpoint.name]
            if (
                needed == needs
                or event not in endpoint.events
                or (audience is not None and learner_id not in audience)
            ):
                continue
            body = message(event, learner_id, assessment, now, occurred_at_ms)
            found.append(
                Notice(
                    endpoint.name, learner_id, f"msg_{uuid.uuid4().hex}", int(now_s * 1000), body
                )
            )
        return found

    def written(self) -> None:
        """Wake the dispatcher."""
        self._wake()

    def reload(self) -> None:
        """Reread the endpoints' lists of learners. If that fails, the old ones stay."""
        for endpoint in self._endpoints:
            try:
                self._audiences[endpoint.name] = endpoint.audience()
            except WebhooksError as error:
                logger.warning("endpoint %s: %s", endpoint.name, error)


def message(
    event: str, learner_id: str, assessment: Assessment, level: Attention, occurred_at_ms: int
) -> bytes:
    """Return the body of a message."""
    code = assessment.meaning.code if assessment.meaning is not None and level else ""
    at = datetime.fromtimestamp(occurred_at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    content = {
        "type": event,
        "timestamp": at.replace("+00:00", "Z"),
        "data": {
            "learner_id": learner_id,
            "revision": assessment.revision,
            "level": level.name.lower(),
            "reasons": [code] if code else [],
        },
    }
    return json.dumps(content, separators=(",", ":")).encode()
