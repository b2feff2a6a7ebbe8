"""Watches on a log in memory."""

from __future__ import annotations

import pytest

from brain_service.watch.watches import (
    Watches,
)
from tests.brain_service.watch.watch_support import Log


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def watches(log: Log) -> Watches:
    return Watches(log, pending=4, resume_limit=10, beat_learners=3, clock=lambda: 1.5)
