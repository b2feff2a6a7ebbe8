"""Clocks of processes that can be set, one each, while they run: by libfaketime, which stands
between a process and the system's clock. What counts durations is left alone, as by a real step.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.stack import Stack

_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")


def library() -> Path | None:
    """Return libfaketime, or None where it is not installed."""
    found = (Path(place).glob("**/faketime/libfaketimeMT.so.1") for place in _PLACES)
    return next((file for files in found for file in files), None)


class Clocks:
    """The clocks of some processes; they are right until they are set."""

    def __init__(self, stack: Stack, names: Iterable[str], faketime: Path) -> None:
        """Give these processes clocks of their own, from their next start on."""
        self._folder = stack.directory / "clocks"
        self._folder.mkdir(parents=True)
        for name in names:
            self.set(name, 0)
            stack.set(
                name,
                {
                    "LD_PRELOAD": str(faketime),
                    "FAKETIME_TIMESTAMP_FILE": str(self._folder / name),
                    "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                },
            )

    def set(self, name: str, ahead_s: int) -> None:
        """Let a clock be so many seconds ahead of the system's, from now on."""
        whole = self._folder / f"{name}.new"
        whole.write_text(f"{ahead_s:+d}\n", encoding="ascii")
        whole.replace(self._folder / name)
