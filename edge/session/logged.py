"""A session that logs the type of each frame, for DEBUG. It never logs what a frame says."""

from __future__ import annotations

import logging

from edge.frames import incoming
from edge.session.session import Session

logger = logging.getLogger(__name__)


class LoggedSession(Session):
    """Logs each frame before it is handled."""

    __slots__ = ()

    def on_text(self, payload: bytes) -> None:
        """Log one frame and answer it."""
        extra = {
            "type": incoming.type_of(payload),
            "bytes": len(payload),
            "connection_id": self.connection_id,
        }
        logger.info("frame", extra=extra)
        super().on_text(payload)
