"""`make run` on machines that lack something: it says what, does without the page, and leaves
nothing behind. npm and Python are scripts here.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.root import ROOT
from tests.support.eventually import eventually

pytestmark = pytest.mark.skipif(
    not shutil.which("make") or not shutil.which("timeout"), reason="make is not installed"
)

TOOLS = ("awk", "cat", "find", "mkdir", "rm", "sed", "sh", "sleep", "timeout", "touch")
HUNG = "trap '' INT TERM; echo $$ >npm.pid; while :; do sleep 1; done"
DEMO = "echo 'the demo runs'"


class Checkout:
    """A folder with our Makefile and little else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.tools = folder / "tools"
        self.tools.mkdir()
        for name in TOOLS:
            (self.tools / name).symlink_to(shutil.which(name) or name)
        shutil.copy(ROOT / "Makefile", folder)
        for name in ("requirements.txt", "web/package.json", "web/package-lock.json"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        self.script(".venv/bin/python", DEMO)
        self.paths = folder / ".venv/lib/python3.11/site-packages/aivo_checkout.pth"
        self.paths.parent.mkdir(parents=True)
        (folder / ".venv/.runtime").touch()

    def script(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)

    def start(self, *variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [shutil.which("make") or "make", "run", "PYTHON3=python3", *variables],
            cwd=self.folder,
            env={"PATH": str(self.tools)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            # A shell's background job would hand on that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def run(self, *variables: str) -> tuple[int, str]:
        process = self.start(*variables)
        told, _ = process.communicate(timeout=60)
        return process.returncode, told

    def npm_lives(self) -> bool:
        pid = int((self.folder / "web/npm.pid").read_text())
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] != "Z"


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_without_npm_it_goes_without_the_page(checkout: Checkout) -> None:
    assert checkout.run() == (0, "npm is not installed: starting without the page\nthe demo runs\n")


@pytest.mark.parametrize(
    "complaint",
    ["npm error code ECONNREFUSED", "npm ERR! code EBADENGINE", "SyntaxError: Unexpected token"],
)
def test_what_npm_complains_of_is_told(checkout: Checkout, complaint: str) -> None:
    checkout.script("tools/npm", f"echo a warning; echo '{complaint}'; exit 1")

    assert checkout.run("PAGE_S=20") == (
        0,
        "building the page, 20 s at most …\n"
        f"{complaint}\n"
        "the page could not be built, see .aivo/web.log; starting without it\n"
        "the demo runs\n",
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_hung_npm_is_given_up_and_ended(checkout: Checkout) -> None:
    checkout.script("tools/npm", HUNG)
    code, told = checkout.run("PAGE_S=1")

    assert code == 0
    assert told.splitlines() == [
        "building the page, 1 s at most …",
        "the page was not built within 1 s (PAGE_S=600 waits longer), see .aivo/web.log;"
        " starting without it",
        "the demo runs",
    ]
    assert not checkout.npm_lives()


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
async def test_ctrl_c_ends_a_build_that_hangs_without_a_word_of_make(checkout: Checkout) -> None:
    checkout.script("tools/npm", HUNG)

    async def begun() -> bool:
        pid = checkout.folder / "web/npm.pid"
        return pid.exists() and pid.read_text().endswith("\n")

    process = checkout.start("PAGE_S=100")
    try:
        await eventually(begun, bool, within_s=30)
        os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    except BaseException:
        process.kill()
        raise
    finally:
        told, _ = process.communicate(timeout=30)

    assert told.splitlines() == ["building the page, 100 s at most …"]
    assert process.returncode == -signal.SIGINT
    assert not checkout.npm_lives()


def test_an_environment_of_an_older_checkout_learns_where_things_are(checkout: Checkout) -> None:
    checkout.paths.write_text("../../../..\n")
    code, told = checkout.run()

    assert (code, told.splitlines()[-1]) == (0, "the demo runs")
    found = [checkout.paths.parent / line for line in checkout.paths.read_text().splitlines()]
    assert [path.resolve() for path in found] == [
        checkout.folder.resolve() / name for name in ("", "proto/gen", "client")
    ]


def test_an_environment_that_cannot_be_run_is_left_alone(checkout: Checkout) -> None:
    (checkout.folder / ".venv/bin/python").unlink()
    (checkout.folder / ".venv/kept").touch()
    checkout.script("tools/python3", "exit 0")
    code, told = checkout.run()

    assert code == 2
    assert ".venv is there, but its python cannot be run" in told
    assert "apt install" not in told
    assert (checkout.folder / ".venv/kept").exists()


@pytest.mark.parametrize(
    ("python3", "said"),
    [
        ('case "$*" in *ensurepip*) exit 1;; esac', "apt install python3-venv"),
        (
            'case "$*" in *-m*venv*) echo "Permission denied"; exit 1;; esac',
            "Permission denied\nno environment could be made in .venv: see above",
        ),
    ],
)
def test_why_no_environment_can_be_made_is_told(
    checkout: Checkout, python3: str, said: str
) -> None:
    shutil.rmtree(checkout.folder / ".venv")
    checkout.script("tools/python3", python3)
    code, told = checkout.run()

    assert code == 2
    assert said in told
    assert ("apt install" in told) == ("apt install" in said)
