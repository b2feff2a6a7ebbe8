"""Logs which services an edge cannot reach, and when all are reachable again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

PATIENCE_S = 2.0
"""How long a service may be away, as in a restart, before the log says so."""

_WARNING = (
    "services cannot be reached: UNAVAILABLE means that nobody answers there (do they run, and with"
    " TLS on both sides or neither?), UNAUTHENTICATED that EDGE_CREDENTIAL is not theirs"
)


async def tell(missing: Callable[[], Mapping[str, str]], *, patience_s: float = PATIENCE_S) -> None:
    """Log changes of what `missing` returns, the addresses and statuses of services by their names,
    until cancelled.
    """
    told: Mapping[str, str] = {}
    while True:
        before = missing()
        await asyncio.sleep(patience_s)
        lasting = {name: address for name, address in missing().items() if name in before}
        if lasting == told:
            continue
        told = lasting
        if lasting:
            logger.warning(_WARNING, extra={"missing": lasting})
        else:
            logger.info("all services can be reached")
