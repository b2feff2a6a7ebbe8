"""The siege's own promises; how much anybody notices, no test here says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from siege import report
from siege.__main__ import main


@pytest.mark.system
def test_a_moment_of_siege_gives_a_table_and_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    goals = ["--ping-p99-ms", "60000", "--memory-mb", "10000", "--times", "10000"]
    goals += ["--sign-in-ms", "60000"]
    kinds = ["empty pings", "wrong passwords", "histories"]
    arguments = ["--kinds", *kinds, "--seconds", "0.7", "--clients", "3", "--honest", "2"]

    assert main([*arguments, *goals, "--json", str(figures)]) == 0
    table = capsys.readouterr().out
    assert [line.split(" | ")[0] for line in table.splitlines()[2:]] == [
        f"| {name}" for name in ("nobody", *kinds)
    ]
    runs = json.loads(figures.read_text())
    assert all(run["honest"]["pings_p50_ms"] > 0 for run in runs)
    assert runs[1]["hostile"]["outcomes"] == {"4429": pytest.approx(3, abs=3)}


@pytest.mark.parametrize("arguments", [["--kinds", "friends"], ["--seconds", "x"]])
def test_what_is_not_known_is_an_error(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "error: " in capsys.readouterr().err


def _run(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "some",
        "times": 1.0,
        "honest": {"pings_p99_ms": 10.0, "lost": 0, "shown": {}} | changed.pop("honest", {}),
        "hostile": {"sent_mb": 1.0, "opened": 1, "outcomes": {}},
        "memory_mb": {"edge": 1.0, "brain": 1.0},
        "busy": {"edge": 0.1},
        "others_busy": 0.0,
        "errors": [],
    } | changed


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({}, None),
        ({"honest": {"pings_p99_ms": 51.0}}, "p99 was 51 ms"),
        ({"times": 2.1}, "2.1 times"),
        ({"memory_mb": {"edge": 21.0}}, "21 MB more"),
        ({"honest": {"lost": 1}}, "lost 1 sockets"),
        ({"honest": {"logins_max_ms": 1001.0}}, "waited 1001 ms for a sign-in"),
        ({"honest": {"shown": {"internal": 2}}}, "internal"),
        ({"errors": ["edge: {}"]}, "1 errors logged"),
    ],
)
def test_each_goal_that_is_missed_is_told(changed: dict[str, Any], says: str | None) -> None:
    sentences = report.missed(
        [_run(**changed)], ping_p99_ms=50.0, memory_mb=20.0, times=2.0, sign_in_ms=1000.0
    )

    assert len(sentences) == (says is not None)
    assert says is None or says in sentences[0]


def test_rounds_are_held_against_their_own_quiet_and_medians_told() -> None:
    def runs(quiet_ms: float, waited_ms: float, lost: int) -> list[dict[str, Any]]:
        noticed = {"interactions_p95_ms": waited_ms, "lost": lost, "shown": {"internal": lost}}
        return [
            _run(kind="nobody", honest={"interactions_p95_ms": quiet_ms}),
            _run(honest=noticed, memory_mb={"edge": waited_ms}, errors=["edge: {}"] * lost),
        ]

    quiet, attacked = report.combined([runs(1.0, 3.0, 0), runs(10.0, 15.0, 1), runs(2.0, 4.0, 0)])

    assert (quiet["kind"], quiet["times"]) == ("nobody", 1.0)
    assert attacked["times"] == 2.0
    assert attacked["honest"]["interactions_p95_ms"] == 4.0
    assert attacked["memory_mb"] == {"edge": 4.0}
    assert (attacked["honest"]["lost"], attacked["honest"]["shown"]) == (1, {"internal": 1})
    assert attacked["errors"] == ["edge: {}"]
