"""The console shows what a person must know and keeps quiet about the rest."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from demo.console import Follower, render

INFO = json.dumps(
    {"ts": "t", "level": "info", "service": "s", "logger": "l", "message": "listening", "port": 1}
)
BAD = json.dumps(
    {
        "ts": "t",
        "level": "error",
        "service": "s",
        "logger": "l",
        "message": "broken",
        "exception": "Traceback\nX",
    }
)


@pytest.mark.parametrize(
    ("line", "everything", "shown"),
    [
        (INFO, False, None),
        (INFO, True, "info listening (port=1)"),
        (BAD, False, "error broken\n         Traceback\n         X"),
        ("Segmentation fault", False, "Segmentation fault"),
        ("", True, None),
        ("[1]", False, "[1]"),
    ],
)
def test_lines_are_shown_as_people_read_them(line: str, everything: bool, shown: str | None):
    assert render(line, everything=everything) == shown


def test_a_follower_prints_whole_lines_that_came_after_it_began(tmp_path: Path):
    log, out = tmp_path / "edge.log", io.StringIO()
    log.write_text("old\n")
    follower = Follower({"edge": log, "later": tmp_path / "later.log"}, out, everything=False)
    with log.open("a") as file:
        file.write("new\nhal")
        file.flush()
        follower.show()
        file.write("f\n")
    (tmp_path / "later.log").write_text("first\n")
    follower.close()

    assert out.getvalue().splitlines() == ["edge    new", "edge    half", "later   first"]
