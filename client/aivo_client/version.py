"""Which version this is; a test keeps it that of the whole."""

from __future__ import annotations

from typing import Final

VERSION: Final = "0.1.0"
