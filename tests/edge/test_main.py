"""What the command says that runs an edge."""

from __future__ import annotations

import sys

import pytest

from edge.__main__ import main


@pytest.mark.parametrize(
    ("argument", "code", "told"),
    [("--help", 0, "EDGE_BRAIN_ADDRESSES"), ("--port=9000", 2, "'--port=9000' means nothing here")],
)
def test_settings_are_variables(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argument: str, code: int, told: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge", argument])

    assert main() == code
    shown = capsys.readouterr()
    assert told in (shown.err if code else shown.out)
