"""The commands of the auth service, run beside it on the same database as an operator does."""

from __future__ import annotations

import subprocess
import sys

from demo.stack import ROOT
from tests.support.school import School


def auth_command(school: School, *arguments: str) -> str:
    """Run a command of the auth service beside the running one and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "auth_service", *arguments],
        env=school.stack.environment("auth"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
