"""What all tests share: properties may take their time on a busy machine, and a failing one prints
how to repeat it.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

from harness.proxies import spare_loopback

# What checks there fail with must be told, too.
pytest.register_assert_rewrite("tests.support", "tests.chaos")

from tests.support.postgres import address, postgres  # noqa: E402
from tests.support.valkey import valkey  # noqa: E402

__all__ = ["address", "postgres", "valkey"]

settings.register_profile(
    "patient", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")
spare_loopback(os.environ)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let parallel workers begin with what runs real processes: the long files first, so that all
    end together.
    """
    if hasattr(config, "workerinput"):
        long = {item.path for item in items if item.get_closest_marker("system")}
        items.sort(key=lambda item: item.path not in long)
