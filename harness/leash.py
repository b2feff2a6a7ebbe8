"""Ties a process to the life of its parent, then becomes that process: `leash.py PARENT CORE
COMMAND …`.

It runs before the command in the same process, because doing this between fork and exec inside a
program with threads (gRPC has some) can deadlock. It is run by its path and uses the standard
library only, so that it costs milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Die with process `PARENT` (Linux only), run on `CORE` only ("-" for any), and execute the
    command.
    """
    parent, core, command = int(arguments[0]), arguments[1], arguments[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The parent may have died before the line above; then nothing would ever end this process.
        if os.getppid() != parent:
            sys.exit("the process that started this one is gone")
        if core != "-":
            os.sched_setaffinity(0, {int(core)})
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
