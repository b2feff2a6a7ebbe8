"""One deployment on the machine's Docker engine, with a small school in it, for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from harness.stack import Stack
from tests.compose.engine import Deployment, deployed, why_not
from tests.support.school import School, found_school

LEARNERS = 24


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all tests here: `make test-compose` runs them, and nothing else does."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.compose)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(400))


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """What `make up EDGES=2` starts, on a machine where nothing was there before."""
    if reason := why_not():
        pytest.skip(reason)
    with deployed(tmp_path_factory.mktemp("deployment")) as made:
        made.run("make", "up", "EDGES=2")
        yield made


@pytest.fixture(scope="session")
def school(started: Deployment) -> School:
    """The school, with learners to take."""
    school = found_school(cast(Stack, started))
    for number in range(LEARNERS):
        school.add_learner(f"l-{number}")
    return school


@pytest.fixture(scope="session")
def fresh(school: School) -> Iterator[str]:
    """Learners that no test has touched, one after the other."""
    return iter([f"l-{number}" for number in range(LEARNERS)])


@pytest.fixture
def learner(fresh: Iterator[str]) -> str:
    """A learner that no other test has touched."""
    return next(fresh)


@pytest.fixture
def learners(fresh: Iterator[str]) -> list[str]:
    """Four learners that no other test has touched."""
    return [next(fresh) for _ in range(4)]


@pytest.fixture
def deployment(started: Deployment, school: School) -> Iterator[Deployment]:
    """A deployment that a test may break: whatever does not run afterwards is started again."""
    yield started
    started.run("make", "up", "EDGES=2")
