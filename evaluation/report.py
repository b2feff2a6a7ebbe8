"""Turns findings into tables for people and JSON for machines. It checks nothing."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import Final

from brain_service.model.habits import Band
from brain_service.model.params import PARAMS_HASH, VERSION
from evaluation.check import Check
from evaluation.checks import Findings
from evaluation.meaning import BandShare
from harness.reports import replace_part, table

BEGIN: Final = "<!-- evaluation: begin, written by `python -m evaluation --write` -->"
END: Final = "<!-- evaluation: end -->"
_VERDICTS: Final = {True: "yes", False: "NO", None: "–"}


def tables(findings: Findings) -> str:
    """Return the tables in Markdown: ours against the targets, ours beside simpler models, how
    often levels stand in which band.
    """
    return f"{_checked(findings)}\n\n{_bands(findings.bands)}"


def as_json(findings: Findings, command: str) -> str:
    """Return all figures, with the calibration curve behind the plot."""
    return json.dumps(
        {
            **_surroundings(command),
            "checks": [asdict(check) | {"passed": check.passed} for check in findings.checks],
            "calibration": [found._asdict() for found in findings.calibration],
            "bands": [share._asdict() for share in findings.bands],
        },
        indent=2,
    )


def write_block(path: Path, findings: Findings, command: str) -> None:
    """Replace the generated part of a document with the checks; how often levels stand in which
    band is left to the console. Raises ValueError where the document has no place for it.
    """
    where = _surroundings(command)
    made = fill(
        f"Made by `{command}` on {where['date']} with Python {where['python']}: "
        f"model `{where['model']}`, constants `{where['constants']}`.",
        width=100,
        break_long_words=False,
        break_on_hyphens=False,
    )
    replace_part(path, BEGIN, END, f"{made}\n\n{_checked(findings)}")


def _checked(findings: Findings) -> str:
    compared = [check for check in findings.checks if check.baselines]
    return f"{_targets(findings.checks)}\n\n{_comparison(compared)}"


def _surroundings(command: str) -> dict[str, str]:
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "model": VERSION,
        "constants": PARAMS_HASH.hex(),
    }


def _targets(checks: Sequence[Check]) -> str:
    head = ["check", "ours", "target", "reference", "met", "on what"]
    return table(
        head,
        [
            [
                check.name,
                _value(check),
                _target(check),
                check.reference,
                _VERDICTS[check.passed],
                check.note,
            ]
            for check in checks
        ],
    )


def _comparison(checks: Sequence[Check]) -> str:
    names = list(dict.fromkeys(name for check in checks for name in check.baselines))
    return table(
        ["beside simpler models", "ours", *names],
        [
            [
                check.name,
                _value(check),
                *[
                    _number(check.baselines[name], check.digits) if name in check.baselines else ""
                    for name in names
                ],
            ]
            for check in checks
        ],
    )


def _bands(shares: Sequence[BandShare]) -> str:
    head = ["log", "level", *[band.name.lower().replace("_", " ") for band in Band]]
    return table(
        head,
        [[each.log, each.level, *[f"{share:.1%}" for share in each.shares]] for each in shares],
    )


def _value(check: Check) -> str:
    return f"{check.value:.0e}" if 0.0 < check.value < 1e-5 else _number(check.value, check.digits)


def _target(check: Check) -> str:
    if check.at_least is not None:
        return f"≥ {_number(check.at_least, check.digits)}"
    return "" if check.at_most is None else f"≤ {check.at_most:g}"


def _number(value: float, digits: int) -> str:
    """A number with so many digits after the point; below one, without the zero before it."""
    return (
        f"{value:.{digits}f}".replace("0.", ".", 1)
        if abs(value) < 1.0 and digits
        else f"{value:.{digits}f}"
    )
