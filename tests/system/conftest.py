"""The four real processes with a small school in them; tests share stacks, those that break one
have another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.stack import private_stack
from tests.support.school import School, found_school


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests here, so that `-m "not system"` leaves it out."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


@contextlib.contextmanager
def running_school(
    *,
    database: str = "sqlite",
    foreseen: str = "-",
    edges: int = 1,
    brains: int = 1,
    **env: str,
) -> Iterator[School]:
    """Run a stack with a school in it; at the end no log has a token, a password, or an error that
    nobody foresaw: `foreseen` is in those that may be there.
    """
    with private_stack(env=env, database=database, edges=edges, brains=brains) as stack:
        school = found_school(stack)
        yield school
        stack.stop()
        for log in sorted(stack.logs.iterdir()):
            text = log.read_text(encoding="utf-8")
            assert not [
                secret for secret in (*school.secrets, stack.credential) if secret in text
            ], log.name
            assert not [
                line
                for line in text.splitlines()
                if ('"level": "error"' in line and foreseen not in line) or "Traceback" in line
            ], log.name


@pytest.fixture(scope="session")
def school() -> Iterator[School]:
    """A stack with default settings, shared by all tests that leave it as it was."""
    with running_school() as school:
        yield school


@pytest.fixture
def learner(school: School) -> str:
    """A learner that no other test has touched."""
    return school.new_learner()


@pytest.fixture(scope="session")
def wide_school() -> Iterator[School]:
    """A stack whose rate limits are lifted, shared by all tests that send much and leave it as it
    was.
    """
    with running_school(
        EDGE_FRAMES_PER_S="0",
        EDGE_USER_UNITS_PER_S="0",
        EDGE_MAX_IN_FLIGHT="1024",
        EDGE_REPORT_S="0.1",
    ) as school:
        yield school


@pytest.fixture(scope="module")
def own_school() -> Iterator[School]:
    """A stack of one module, whose tests may kill, restart and starve it, and repair it at their
    end.
    """
    with running_school(
        EDGE_FRAMES_PER_S="60",
        EDGE_FRAMES_BURST="400",
        EDGE_UPSTREAM_S="6",
        EDGE_SLOW_S="2",
        EDGE_REPORT_S="0.1",
        BRAIN_HEARTBEAT_S="1",
        BRAIN_MAX_BACKDATE_S="0",
        METRICS_TOTALS_INTERVAL_S="0.1",
    ) as school:
        yield school
