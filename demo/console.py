"""What `make run` shows of the logs of its processes: warnings and worse, or everything. The files
keep all.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import IO, TextIO

_COLOURS = {"edge": "36", "brain": "35", "auth": "33", "metrics": "34", "class": "32"}
_BAD = {"warning": "33", "error": "31", "critical": "31"}
_KEPT_QUIET = frozenset({"ts", "level", "service", "logger", "message", "exception"})


class Follower:
    """Prints what has been added to some log files, a line with a coloured name each."""

    def __init__(self, logs: dict[str, Path], out: TextIO, *, everything: bool) -> None:
        """Watch these files by name; one that does not exist yet is read from its start."""
        self._logs: dict[str, Path] = {}
        self._out = out
        self._everything = everything
        self._colour = out.isatty()
        self._files: dict[str, IO[str]] = {}
        self._ends: dict[str, int] = {}
        self._parts: dict[str, str] = {}
        for name, path in logs.items():
            self.follow(name, path)

    def follow(self, name: str, log: Path) -> None:
        """Watch one more file from its present end; nothing changes for one that is watched
        already.
        """
        if name in self._logs:
            return
        self._logs[name] = log
        self._ends[name] = log.stat().st_size if log.exists() else 0
        self._parts[name] = ""

    def show(self) -> None:
        """Print what came since the last call."""
        for name, path in self._logs.items():
            if name not in self._files:
                if not path.exists():
                    continue
                self._files[name] = path.open(encoding="utf-8", errors="replace")
                self._files[name].seek(self._ends[name])
            *lines, self._parts[name] = (self._parts[name] + self._files[name].read()).split("\n")
            for line in lines:
                text = render(line, everything=self._everything)
                if text is not None:
                    self._out.write(
                        f"{self._paint(f'{name:<8}', _COLOURS.get(name, '37'))}{self._bad(text)}\n"
                    )
        self._out.flush()

    def close(self) -> None:
        """Print the rest and close the files."""
        self.show()
        for file in self._files.values():
            file.close()

    def _bad(self, text: str) -> str:
        level = text.split(" ", 1)[0]
        return self._paint(text, _BAD[level]) if level in _BAD else text

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colour else text


def render(line: str, *, everything: bool) -> str | None:
    """Return a log line as people read it, or None when it is not worth showing; what is no JSON is
    always shown.
    """
    if not line.strip():
        return None
    try:
        record = json.loads(line)
        level, message = record["level"], record["message"]
    except (ValueError, KeyError, TypeError):
        return line
    if level not in _BAD and not everything:
        return None
    extra = " ".join(f"{key}={value}" for key, value in record.items() if key not in _KEPT_QUIET)
    text = f"{level} {message}" + (f" ({extra})" if extra else "")
    if "exception" in record:
        text += "\n" + "\n".join(f"         {part}" for part in record["exception"].splitlines())
    return text
