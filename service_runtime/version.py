"""Which version this is, for commands, metrics and packages."""

from __future__ import annotations

import platform
from typing import Final

VERSION: Final = "0.1.0"


def told(program: str) -> str:
    """Return what `--version` prints: one line with the product's, the program's and Python's
    name.
    """
    return f"aivo-realtime {VERSION}, {program} (Python {platform.python_version()})"
