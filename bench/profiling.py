"""Samples a running process with py-spy and tells where its time goes.

py-spy reads the process from outside, so the process runs as it always does; on some systems only
root may do that.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_LONGEST_S = 120


class ProfilingError(Exception):
    """py-spy is missing or may not look into the process; the message says what to do."""


class Sampler:
    """Samples one process from `start` on; `stacks` are then collapsed, one a line, as flame graphs
    want them.
    """

    def __init__(self, pid: int, *, native: bool, waiting: bool, rate: int = 500) -> None:
        tool = shutil.which("py-spy", path=str(Path(sys.executable).parent)) or shutil.which(
            "py-spy"
        )
        if tool is None:
            raise ProfilingError("py-spy is not installed; `pip install py-spy` brings it")
        self._command = [
            tool,
            "record",
            "--pid",
            str(pid),
            "--rate",
            str(rate),
            "--duration",
            str(_LONGEST_S),
        ]
        self._command += ["--format", "raw", "--function", *(["--native"] if native else [])]
        self._command += [] if waiting else ["--gil"]
        self._folder = tempfile.TemporaryDirectory()
        self._output = Path(self._folder.name, "stacks")
        self._recorder: subprocess.Popen[bytes] | None = None
        self.stacks = ""

    def start(self) -> None:
        """Begin to sample."""
        command = [*self._command, "--output", str(self._output)]
        self._recorder = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def stop(self) -> None:
        """End, and collect the stacks. Raises ProfilingError where there are none."""
        problem = "The load failed before sampling began."
        with self._folder:
            if self._recorder is not None:
                self._recorder.send_signal(signal.SIGINT)  # it then writes what it has
                try:
                    problem = self._recorder.communicate(timeout=20)[1].decode("utf-8", "replace")
                except subprocess.TimeoutExpired:
                    self._recorder.kill()
                    self._recorder.communicate()
            if not self._output.exists():
                raise ProfilingError(f"py-spy recorded nothing; it may need root.\n{problem}")
            self.stacks = self._output.read_text(encoding="utf-8")


@contextlib.contextmanager
def sampler(pid: int, *, native: bool = False, waiting: bool = False) -> Iterator[Sampler]:
    """Yield a sampler that is stopped at the end of the block. Raises ProfilingError.

    Only the thread that holds the interpreter's lock counts, unless `waiting`: then also those in C
    or asleep.
    """
    samples = Sampler(pid, native=native, waiting=waiting)
    try:
        yield samples
    except BaseException:
        with contextlib.suppress(ProfilingError):
            samples.stop()
        raise
    samples.stop()


def summary(stacks: str, *, top: int) -> str:
    """Return two tables: functions by their own time, and by time with all they call."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks.splitlines():
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
