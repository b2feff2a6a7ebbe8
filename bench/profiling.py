"""Samples a running process with py-spy and tells where its time goes. It knows neither servers nor load.

py-spy reads the process from outside, so the process runs as it always does; on some systems only root may do that.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LONGEST_S = 120


class CannotProfile(Exception):
    """py-spy is missing or may not look into the process; the message says what to do."""


@dataclass(slots=True)
class Samples:
    """Collapsed stacks, one a line with its count: the input of most flame-graph tools."""

    stacks: str = ""


@contextlib.contextmanager
def sampled(
    pid: int, *, delay_s: float, native: bool = False, waiting: bool = False, rate: int = 500
) -> Iterator[Samples]:
    """Sample a process while the block runs, from `delay_s` on (so that preparations do not count).

    Only the thread that holds the interpreter's lock counts, unless `waiting`: then also those in C or asleep.
    The result is filled when the block ends. Raises CannotProfile.
    """
    tool = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which("py-spy")
    if tool is None:
        raise CannotProfile("py-spy is not installed; `pip install py-spy` brings it")
    samples = Samples()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "stacks")
        command = [tool, "record", "--pid", str(pid), "--rate", str(rate), "--duration", str(_LONGEST_S)]
        command += ["--format", "raw", "--function", "--output", str(output)]
        command += [*(["--native"] if native else []), *([] if waiting else ["--gil"])]
        running: list[subprocess.Popen[bytes]] = []

        def start() -> None:
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))

        timer = threading.Timer(delay_s, start)
        timer.start()
        try:
            yield samples
        finally:
            timer.cancel()
            timer.join()
            problem = _end(running)
        if not output.exists():
            raise CannotProfile(f"py-spy recorded nothing; it may need root.\n{problem}")
        samples.stacks = output.read_text(encoding="utf-8")


def _end(running: list[subprocess.Popen[bytes]]) -> str:
    if not running:
        return "The load was over before sampling began."
    (recorder,) = running
    if recorder.poll() is None:
        recorder.send_signal(2)  # as Ctrl-C: it writes what it has
    try:
        _, errors = recorder.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        recorder.kill()
        _, errors = recorder.communicate()
    return errors.decode("utf-8", "replace")


def summary(samples: Samples, *, top: int) -> str:
    """Return two tables: functions by their own time, and by time with all they call."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in samples.stacks.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        own[frames[-1]] += int(count)
        for frame in set(frames):
            whole[frame] += int(count)
    total = sum(own.values()) or 1
    parts = [f"{total} samples"]
    for title, counts in (("own time", own), ("with what it calls", whole)):
        parts += ["", title]
        parts += [f"{count / total:6.1%}  {frame}" for frame, count in counts.most_common(top)]
    return "\n".join(parts)


def _short(frame: str) -> str:
    """A frame without the line and with the last two parts of the file's path."""
    return re.sub(r"\((?:.*/)?([^/]*/[^/:)]*)(?::\d+)?\)$", r"(\1)", frame)
