"""Makes the picture in docs/operations.md: one interaction in Jaeger's page, as Chromium shows it.

    python -m tests.system.trace_picture [FILE]

Needs a Jaeger (see tests/support/jaeger.py) and Chromium on the PATH.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from harness.root import ROOT
from harness.stack import private_stack
from tests.support import jaeger
from tests.support.school import School, found_school
from tests.support.second_edge import second_edge
from tests.support.socket import open_socket

PICTURE = ROOT / "docs" / "images" / "trace.png"
SIZE = "1600,610"
COUNTS = {
    "ws.receive": 1,
    "commit": 1,
    "state_update send": 2,
    "fan-out": 2,
    "auth.Authorize": 2,
}


async def interact(school: School, other_edge: str) -> str:
    """Let an answer be recorded while a teacher and a parent watch at two edges; return the trace's
    id.
    """
    for name in (
        "teacher",
        "admin",
    ):  # what only a first call loads is not what the picture is about
        async with open_socket(school.stack.ws_url, school.token(name)) as socket:
            await socket.ask("subscribe_learner", learner_id="ada")
    async with (
        open_socket(school.stack.ws_url, school.token("teacher")) as near,
        open_socket(other_edge, school.token("parent")) as far,
        open_socket(
            school.stack.ws_url, school.token("admin")
        ) as own,  # whose right only auth knows
    ):
        for watcher in (near, far):
            await watcher.ask("subscribe_learner", learner_id="ada")
        response = await own.interact("ada")
        for watcher in (near, far):
            await watcher.until_revision("ada", response["revision"])
    return str(response["trace_id"])


def main() -> int:
    """Make the picture."""
    script, chromium = jaeger.find(), shutil.which("chromium")
    if script is None or chromium is None:
        print(
            "trace_picture: needs a Jaeger (AIVO_JAEGER names the script that starts it) and"
            " chromium",
            file=sys.stderr,
        )
        return 1
    target = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else PICTURE
    with jaeger.running(script) as running, private_stack(env=running.environment) as stack:
        school = found_school(stack)
        with second_edge(stack) as other_edge:
            trace_id = asyncio.run(interact(school, other_edge))
            running.spans(trace_id, COUNTS)
        with tempfile.TemporaryDirectory(prefix="aivo-chromium-") as profile:
            subprocess.run(
                [
                    chromium,
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--hide-scrollbars",
                    f"--user-data-dir={profile}",
                    f"--window-size={SIZE}",
                    "--virtual-time-budget=10000",
                    f"--screenshot={target}",
                    running.page(trace_id),
                ],
                check=True,
                capture_output=True,
                timeout=120,
            )
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
