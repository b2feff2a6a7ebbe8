"""The evaluation judges, prints and skips as it says; one quick check runs on the research data
where they are.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import pytest

from evaluation import __main__ as command
from evaluation import checks, data, plots, report
from evaluation.check import Check
from evaluation.checks import Findings
from evaluation.data import Action
from evaluation.meaning import BandShare
from evaluation.measures import Bin

REPOSITORY = Path(__file__).resolve().parents[2]
CURVE = (Bin(0.25, 0.3, 100), Bin(0.75, 0.7, 300))


def found(*lines: Check) -> Findings:
    bands = BandShare("EdNet", "fatigue_level", (0.0, 0.1, 0.5, 0.2, 0.1, 0.1))
    return Findings(checks=lines, calibration=CURVE, bands=(bands,))


@pytest.fixture
def research() -> Path:
    try:
        return data.folder(os.environ)
    except data.MissingDataError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (Check(name="a", value=0.77, at_least=0.77), True),
        (Check(name="a", value=0.7699, at_least=0.77), False),
        (Check(name="a", value=0.02, at_most=0.02), True),
        (Check(name="a", value=0.021, at_most=0.02), False),
        (Check(name="a", value=float("nan"), at_least=0.5), False),
        (Check(name="a", value=float("nan"), at_most=0.5), False),
        (Check(name="a", value=0.1, at_least=0.77, judged=False), None),
        (Check(name="a", value=0.1), None),
    ],
)
def test_a_target_is_met_at_its_border_and_never_by_nan(check: Check, passed: bool | None) -> None:
    assert check.passed is passed


def test_without_data_the_command_says_skipped_and_succeeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command.main([], {data.VARIABLE: str(tmp_path)})

    assert code == 0
    assert (
        capsys.readouterr().out
        == f"evaluation skipped: the research data cannot be found in {tmp_path}; name the folder"
        " in AIVO_SHARED_DATA\n"
    )


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    for name in data.FILES[1:]:
        (tmp_path / name).touch()

    with pytest.raises(data.MissingDataError, match=re.escape(data.FILES[0])):
        data.folder({data.VARIABLE: str(tmp_path)})


@pytest.mark.parametrize(("value", "code"), [(0.8, 0), (0.7, 1)])
def test_the_exit_code_says_whether_a_target_was_missed(
    value: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in data.FILES:
        (tmp_path / name).touch()
    findings = found(Check(name="engagement", value=value, at_least=0.79))
    monkeypatch.setattr(checks, "run", lambda *_, **__: findings)

    assert command.main(["--json"], {data.VARIABLE: str(tmp_path)}) == code

    told = capsys.readouterr()
    assert json.loads(told.out)["checks"][0]["passed"] is (code == 0)
    assert ("missed: engagement" in told.err) is (code == 1)


def test_the_tables_show_ours_target_verdict_and_baselines() -> None:
    shown = report.tables(
        found(
            Check(
                name="AUC",
                value=0.776,
                at_least=0.77,
                baselines={"Elo": 0.755, "upside down": -0.3},
            ),
            Check(name="golden", value=5e-10, at_most=1e-6),
            Check(name="error", value=0.03, at_most=0.02, note="why"),
        )
    )

    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines() if line
    ]
    assert ["AUC", ".776", "≥ .770", "–", "yes", ""] in rows
    assert ["golden", "5e-10", "≤ 1e-06", "–", "yes", ""] in rows
    assert ["error", ".030", "≤ 0.02", "–", "NO", "why"] in rows
    assert ["AUC", ".776", ".755", "-.300"] in rows
    assert ["EdNet", "fatigue_level", "0.0%", "10.0%", "50.0%", "20.0%", "10.0%", "10.0%"] in rows


def test_writing_replaces_only_the_generated_part(tmp_path: Path) -> None:
    page = tmp_path / "model.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")

    report.write_block(page, found(Check(name="AUC", value=0.776)), "python -m evaluation")

    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{report.BEGIN}\nMade by `python -m evaluation` on ")
    assert text.endswith(f"{report.END}\nafter\n")
    assert "\nold\n" not in text


def test_the_page_of_the_model_has_a_place_for_the_tables() -> None:
    text = (REPOSITORY / "docs" / "model.md").read_text(encoding="utf-8")

    assert text.count(report.BEGIN) == text.count(report.END) == 1


def test_quiet_work_reads_as_more_engaged_than_gaming() -> None:
    calm = Action("s", 20.0, True, 0, 1, 0, concentrating=0.8, bored=0.2, off_task=0.1, gaming=0.0)
    hasty = Action("s", 1.0, False, 3, 4, 3, concentrating=0.3, bored=0.2, off_task=0.1, gaming=0.9)
    asking = Action("s", 1.0, None, 3, 4, 0, concentrating=0.3, bored=0.2, off_task=0.6, gaming=0.1)

    lines = checks.engagement([calm, hasty, asking, calm])

    assert [check.value for check in lines] == [1.0, 1.0, 1.0, 1.0]


def test_a_block_is_rated_against_the_levels_at_its_end(tmp_path: Path) -> None:
    """Two people for whom harder blocks go wrong and are rated as harder: the correlation is high,
    not perfect.
    """
    rows = [
        "newID,trialcode,N,correct,latency,mentaldemand,temporaldemand,performance,effort,frustration"
    ]
    for person in "ab":
        for n, right in ((1, 1), (2, 1), (3, 0), (4, 0)):
            rows += [f"{person},target,{n},{right},900,,,,,"] * 8
            rows.append(
                f"{person},ratingSummary,{n},0,0,{5 * n}.0,1.0,{21 - 5 * n}.0,1.0,{4 * n}.0"
            )
    with gzip.open(tmp_path / "nback_tlx.csv.gz", "wt") as file:
        file.write("\n".join(rows))

    lines = checks.workload(tmp_path)

    assert all(0.8 < check.value < 1.0 for check in lines)
    assert lines[0].baselines["difficulty alone"] == pytest.approx(1.0)


def test_plots_are_drawn_and_the_simulated_one_is_the_same_every_time(tmp_path: Path) -> None:
    plots.calibration(CURVE, tmp_path / "calibration.png")
    plots.simulated_session(tmp_path / "one.png")
    plots.simulated_session(tmp_path / "two.png")

    assert (tmp_path / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_pictures_of_real_people_go_where_git_looks_away() -> None:
    ignored = (REPOSITORY / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert f"{command.PRIVATE.relative_to(REPOSITORY).parts[0]}/" in ignored


def test_the_golden_files_agree(research: Path) -> None:
    check = checks.golden(research)

    assert check.passed, check.value
