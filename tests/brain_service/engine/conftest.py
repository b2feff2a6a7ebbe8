"""What tests of the engine begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.brain_service.engine.engine_support import Brain, running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "brain.db"


@pytest.fixture
async def brain(path: Path) -> AsyncIterator[Brain]:
    async with running(path) as brain:
        yield brain
