"""What every process says before it runs."""

from __future__ import annotations

import pytest

from service_runtime import process


async def _not_reached(stop: process.Stop) -> None:
    raise AssertionError


def test_a_log_level_that_does_not_exist_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOG_LEVEL", "loud")

    assert process.run(_not_reached, name="edge") == 2
    assert "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR" in capsys.readouterr().err
