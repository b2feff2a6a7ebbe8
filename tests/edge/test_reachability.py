"""An operator reads in the log which services an edge cannot reach."""

from __future__ import annotations

import asyncio
import logging

import pytest

from edge import reachability

BRAIN = {"brain": "127.0.0.1:8001"}


async def test_what_stays_away_is_told_once_and_its_return_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    seen = iter([BRAIN, BRAIN, BRAIN, BRAIN, {}, {}, BRAIN, {}])
    done = asyncio.Event()

    def missing() -> dict[str, str]:
        try:
            return next(seen)
        except StopIteration:
            done.set()
            return {}

    telling = asyncio.create_task(reachability.tell(missing, patience_s=0.001))
    async with asyncio.timeout(10):
        await done.wait()
    telling.cancel()

    told = [(record.levelname, record.__dict__.get("missing")) for record in caplog.records]
    assert told == [("WARNING", BRAIN), ("INFO", None)], "the last absence was shorter than the patience"
