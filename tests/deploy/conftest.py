"""Secrets as an operator makes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.composed import make_secrets


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    make_secrets(folder)
    return folder
