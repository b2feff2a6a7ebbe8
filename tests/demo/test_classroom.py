"""What the class says when it cannot begin."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from demo.classroom import main


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--url", "localhost:8000"], "--url must be like http://"),
        (["--users", "/no/such/file"], "there is no /no/such/file"),
        (["--pace", "0"], "--pace must be above 0"),
        (["--past-days", "7"], "--past-days must be from 0 to 6"),
    ],
)
def test_an_argument_that_means_nothing_is_told(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)

    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_a_file_that_lists_no_users_ends_it_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # the class makes its own
    (tmp_path / "users.json").write_text("nonsense")

    assert main(["--users", str(tmp_path / "users.json")]) == 1
    assert "is not a list of users" in capsys.readouterr().err
