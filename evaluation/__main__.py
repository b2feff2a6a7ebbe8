"""Prints how well the learner model does on real people's data: `python -m evaluation`, or `make
evaluate`.

Exit code 0: every target was met, or the data are not here (it says "skipped"); 1: a target was
missed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation import checks, data, report

ROOT = Path(__file__).resolve().parents[1]
PRIVATE = ROOT / ".aivo" / "evaluation"
"""Where pictures of a real person go: a folder that git ignores."""


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run the evaluation and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m evaluation", description="Evaluate the learner model."
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the ASSISTments 2009 learners, not judged"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--write", type=Path, metavar="FILE", help="replace the generated part of this document"
    )
    parser.add_argument(
        "--plots",
        type=Path,
        metavar="DIR",
        help=(
            "draw calibration and a simulated session there; a real session, never to be shared, in"
            " .aivo/evaluation"
        ),
    )
    options = parser.parse_args(arguments)
    command = shlex.join(
        ["python", "-m", "evaluation", *(sys.argv[1:] if arguments is None else arguments)]
    )
    try:
        path = data.folder(environ)
    except data.MissingDataError as missing:
        print(f"evaluation skipped: {missing}")
        return 0
    findings = checks.run(path, quick=options.quick, progress=_say)
    if options.plots is not None:
        _say("plots")
        _draw(findings, path, options.plots)
    print(report.as_json(findings, command) if options.json else report.tables(findings))
    if options.write is not None:
        report.write_block(options.write, findings, command)
    missed = [check.name for check in findings.checks if check.passed is False]
    if missed:
        _say(f"missed: {'; '.join(missed)}")
    return 1 if missed else 0


def _draw(findings: checks.Findings, path: Path, folder: Path) -> None:
    from evaluation import plots  # matplotlib takes longer to import than most checks to run

    folder.mkdir(parents=True, exist_ok=True)
    PRIVATE.mkdir(parents=True, exist_ok=True)
    plots.calibration(findings.calibration, folder / "model-calibration.png")
    plots.simulated_session(folder / "model-session-simulated.png")
    plots.real_session(path, PRIVATE / "session-real.png")


def _say(what: str) -> None:
    print(f"… {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
