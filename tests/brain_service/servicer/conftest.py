"""What tests of the contract begin with."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from brain_service.store import SqlStore
from tests.brain_service.servicer.servicer_support import (
    Stack,
)


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    store = await SqlStore.open(tmp_path / "brain.db")
    try:
        async with Stack(store) as running:
            yield running
    finally:
        await store.close()
