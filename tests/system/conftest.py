"""The four real processes with a small school in them; tests that break the stack take their own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.stack import private_stack
from tests.support.school import School, found_school


@pytest.fixture(scope="session")
def school() -> Iterator[School]:
    """A stack with default settings, shared by all tests that leave it as it was."""
    with private_stack() as stack:
        yield found_school(stack)


@pytest.fixture
def own_school() -> Iterator[School]:
    """A stack that a test may kill, restart and starve."""
    with private_stack() as stack:
        yield found_school(stack)
