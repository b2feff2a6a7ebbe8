"""The commands of the services, run beside them on the same databases as an operator does."""

from __future__ import annotations

import subprocess
import sys

from harness.root import ROOT
from harness.stack import Stack
from tests.support.school import School

PACKAGES = {"brain": "brain_service", "auth": "auth_service", "metrics": "metrics_service"}


def service_command(
    stack: Stack, name: str, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command of brain, auth or metrics beside the running one and return how it ended."""
    return subprocess.run(
        [sys.executable, "-m", PACKAGES[name], *arguments],
        env=stack.environment(name) | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def auth_command(school: School, *arguments: str) -> str:
    """Run a command of the auth service beside the running one and return what it prints."""
    done = service_command(school.stack, "auth", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
